"""The description of the API, and requests made up from it by schemathesis."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.service.serving import in_thread, make_key

SCHEMATHESIS = pytest.mark.skipif(find_spec("schemathesis") is None, reason="needs schemathesis")

CHECKS = ("--exclude-checks", "positive_data_acceptance,allow_header_conformance")
"""Some rules go beyond a schema (which bundles are served), and Starlette names the methods of one route only."""


@pytest.fixture(scope="module")
def service(tiny, tmp_path_factory):
    state = tmp_path_factory.mktemp("service") / "state"
    # Without workers the streams of batches never end, so that none is asked for.
    with in_thread(state, tiny, per_second=1e6, burst=10**6, samples=64, body_seconds=2) as running:
        yield running


@pytest.fixture(scope="module")
def token(service):
    return make_key(service.state, "all", ("generate", "read", "admin"))[1]


def test_every_address_has_an_example_or_needs_none(service):
    description = service.client().get("/v1/openapi.json").json()
    filed = description["paths"]["/v1/batches"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = description["components"]["schemas"][filed.rsplit("/", 1)[1]]
    assert [example["format"] for example in schema["examples"]] == ["zarr", "webdataset"]
    for path, operations in description["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert path == "/v1/health" or operation["security"] == [{"HTTPBearer": []}]


def test_the_examples_are_accepted(service, token):
    description = service.client().get("/v1/openapi.json").json()
    with service.client(token) as client:
        for example in description["components"]["schemas"]["BatchRequest"]["examples"]:
            weaker = {"min_class": "C1.0"} if example.get("rare") else {}
            answer = client.post("/v1/batches", json=example | {"bundle": "tiny", "n": 16, **weaker})
            assert answer.status_code == 202, answer.text


def _schemathesis(service, token: str, folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    command = [
        *(Path(sys.executable).with_name("schemathesis"), "run", f"{service.url}/v1/openapi.json"),
        *("--header", f"Authorization: Bearer {token}", "--exclude-path-regex", "/stream$", "--no-color"),
        *("--generation-deterministic", "--suppress-health-check", "all", *options),
    ]
    return subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@SCHEMATHESIS
def test_no_request_breaks_the_service(service, token, tmp_path):
    options = ("--checks", "not_a_server_error", "--max-examples", 8, "--phases", "examples,fuzzing")
    found = _schemathesis(service, token, tmp_path, *options)
    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-2000:]
    assert "POST /v1/batches" in found.stdout or "Tested" in found.stdout
    assert " 500 " not in service.log()


@SCHEMATHESIS
@pytest.mark.slow
def test_many_requests_and_all_checks(service, token, tmp_path):
    found = _schemathesis(service, token, tmp_path, "--max-examples", 200, *CHECKS)
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
    assert " 500 " not in service.log()
