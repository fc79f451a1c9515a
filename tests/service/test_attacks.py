"""What comes from people who mean harm."""

import json
import pickle
import re
import shutil
import socket
import time
from urllib.parse import urlsplit

import pytest

from sunaug.bundle import load_bundle
from sunaug.errors import SunaugError
from tests.service.serving import file, in_thread, make_key


@pytest.fixture(scope="module")
def service(tiny, tmp_path_factory):
    state = tmp_path_factory.mktemp("service") / "state"
    with in_thread(state, tiny, per_second=500, body_seconds=0.5) as running:
        yield running


@pytest.fixture(scope="module")
def ada(service):
    with service.client(make_key(service.state, "Ada")[1]) as client:
        yield client


def _raw(service, content: bytes, *, pause: float = 0, then: bytes = b"", seconds: float = 20) -> bytes:
    """Send bytes as they are, and read what comes back until the connection is closed."""
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=seconds) as connection:
        connection.sendall(content)
        time.sleep(pause)
        if then:
            connection.sendall(then)
        found = b""
        while part := connection.recv(65536):
            found += part
        return found


def _authorization(client) -> bytes:
    return f"Authorization: {client.headers['authorization']}\r\n".encode()


def test_paths_lead_nowhere(service, ada):
    secret = service.state / "pepper"
    for path in (
        "/v1/batches/../../pepper",
        "/v1/batches/%2e%2e%2f%2e%2e%2fpepper",
        "/v1/batches/..%5c..%5cpepper/download",
        "/v1/batches//etc/passwd/download",
        "/v1/batches/" + "a" * 32 + "%00/download",
        "/explorer/..%2frouter.py",
        "/explorer/%2e%2e/router.py",
    ):
        answer = _raw(
            service,
            b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + _authorization(ada) + b"\r\n",
        )
        assert re.match(rb"HTTP/1.1 4\d\d ", answer), (path, answer[:200])
        assert secret.read_bytes() not in answer
        assert b"import" not in answer


def test_long_bodies(service, ada):
    assert ada.post("/v1/batches", content=b"{" + b" " * 70_000 + b"}").status_code == 413
    chunks = (b" " * 1000 for _ in range(80))  # of a length that is not announced
    assert ada.post("/v1/batches", content=chunks).status_code == 413
    unnamed = service.client().post("/v1/batches", content=b" " * 10_000_000)
    assert unnamed.status_code == 413


def test_slow_bodies(service, ada):
    head = b"POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
    started = time.monotonic()
    answer = _raw(service, head + _authorization(ada) + b'\r\n{"n"')
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive" in answer
    assert time.monotonic() - started < 10


def test_lines_of_the_log_cannot_be_forged(service, ada):
    ada.get("/v1/batches/x%0d%0a2026-01-01T00:00:00Z%20INFO%20forged%20line")
    ada.get("/v1/%1b[2Jx")
    _raw(service, b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: b\r\n\r\n")
    lines = service.log().splitlines()
    assert not [line for line in lines if line.startswith("2026-01-01T00:00:00Z")]
    assert [line for line in lines if "x\\r\\n2026-01-01" in line]
    assert "\x1b" not in service.log()


def test_headers_cannot_be_injected(service, ada):
    answer = ada.post("/v1/batches", json={"n": 1, "bundle": "x\r\nSet-Cookie: a=b"})
    assert answer.status_code == 422
    assert "set-cookie" not in answer.headers
    batch = file(ada, n=12, seed=41)
    found = ada.get(f"/v1/batches/{batch['id']}/download", headers={"If-None-Match": '"a", W/"b'})
    assert found.status_code == 409


def test_secrets_are_not_in_the_log(service, ada):
    key, token = make_key(service.state, "Mallory")
    client = service.client(token)
    file(client, n=12, seed=42)
    client.get(f"/v1/batches/{token}")
    client.get("/v1/batches", params={"key": token})
    client.post("/v1/batches", json={"n": 1, token: 1})
    log = service.log()
    assert f"key {key.id}" in log
    secret = token.rsplit("_", 1)[-1]
    assert token[20:] not in log
    assert secret not in log
    assert (service.state / "pepper").read_bytes() not in log.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    "body",
    [
        b'{"n": NaN}',
        b'{"n": 1e999}',
        b'{"n": 1, "truncation": Infinity}',
        b'{"n": 1, "\\ud800": 1}',
        b'{"n": 1, "bundle": "\\ud800"}',
        b'{"n": 1, "bundle": "\\u0000"}',
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"n": ' + b"9" * 60_000 + b"}",
        b"\x80\x04\x95",
    ],
)
def test_bodies_that_are_no_requests(service, ada, body):
    answer = ada.post("/v1/batches", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert isinstance(answer.json()["detail"], str)


class _Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["model.safetensors", "reference.safetensors", "critic.safetensors", "bundle.json"])
def test_a_pickle_in_a_bundle_is_not_loaded(tiny, tmp_path, name):
    bundle = shutil.copytree(tiny, tmp_path / "trap")
    (bundle / name).write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    (bundle / "extra.pt").write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    with pytest.raises(SunaugError, match=re.escape(str(bundle))):
        load_bundle(bundle)
    assert not (tmp_path / "sprung").exists()


def test_nothing_can_be_uploaded(service, ada):
    description = ada.get("/v1/openapi.json").json()
    kinds = {
        kind
        for path in description["paths"].values()
        for operation in path.values()
        for kind in operation.get("requestBody", {}).get("content", {})
    }
    assert kinds == {"application/json"}
    assert json.dumps(description).count('"format": "binary"') == 0
