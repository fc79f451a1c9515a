"""The life of a batch: a service of its own process, asked over HTTP."""

import base64
import hashlib
import io
import json
import signal
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr.storage
from astropy.io import fits
from torch.utils.data import DataLoader

import sunaug
from forecasting_adapters import SyntheticSolarDataset
from sunaug.client import Client, fetch_cube
from sunaug.cube import open_cube
from sunaug.errors import GateRefused, SunaugError, UsageError
from sunaug.synthetic_fits import read_provenance
from tests.service.serving import file, make_key, served, until

POLICY = (
    "name: lenient\ngating: [nothing]\nminimum_frames: 12\nenough: 12\nsamples: 32\njudges: 0\n"
    "drop: false\ndrop_share: 1.0\n"
)
"""Refuses sets of less than 12 samples, and nothing else."""

WANTED = {"n": 14, "rare": True, "min_class": "C1.0", "seed": 5, "ungated": True}


@pytest.fixture(scope="module")
def serve(tiny, tmp_path_factory):
    """Starts the service, always with the same files."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "lenient.yaml").write_text(POLICY)
    options = ("--bundle", tiny, "--bundle", "sdo2012-128", "--policy", folder / "lenient.yaml")
    return lambda: served(folder / "state", *options, "--max-samples", 4000, "--rate", 500)


@pytest.fixture(scope="module")
def service(serve):
    with serve() as running:
        yield running


@pytest.fixture(scope="module")
def token(service):
    return make_key(service.state, "Ada")[1]


@pytest.fixture(scope="module")
def ada(service, token):
    with service.client(token) as client:
        yield client


@pytest.fixture(scope="module")
def expected(tiny):
    """The samples of `WANTED`, made without the service."""
    return sunaug.generate(tiny, n=14, rare=True, min_class="C1.0", seed=5)["intensity"]


def _download(client, batch):
    answer = client.get(f"/v1/batches/{batch['id']}/download")
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    return answer


def test_a_zarr_batch(ada, expected, tmp_path):
    filed = file(ada, **WANTED)
    assert (filed["state"], filed["n"], filed["from_store"], filed["download"]) == ("queued", 14, False, None)
    assert filed["request"]["bundle"] == "tiny"
    batch = until(ada, filed["id"])
    assert (batch["state"], batch["done"], batch["gate"]["verdict"]) == ("done", 14, "ungated"), batch
    answer = _download(ada, batch)
    assert answer.headers["content-type"] == "application/zip"
    (tmp_path / "made.zarr.zip").write_bytes(answer.content)
    with zarr.storage.ZipStore(tmp_path / "made.zarr.zip", mode="r") as store:
        cube = xr.open_zarr(store)
        assert (cube.attrs["synthetic"], cube.attrs["gate"]["verdict"]) == (True, "ungated")
        np.testing.assert_array_equal(cube["intensity"].values, expected.values)


def test_a_webdataset_batch(ada, expected, tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="needs the package webdataset")
    batch = until(ada, file(ada, **WANTED, format="webdataset")["id"])
    assert batch["state"] == "done", batch
    (tmp_path / "made.tar").write_bytes(_download(ada, batch).content)
    samples = list(webdataset.WebDataset(str(tmp_path / "made.tar"), shardshuffle=False).decode())
    assert len(samples) == 14
    for sample, image in zip(samples, expected.values, strict=True):
        np.testing.assert_array_equal(sample["npy"], image)
        assert sample["json"]["SYNTHETIC"] is True


def test_a_fits_batch(ada, expected, tmp_path):
    batch = until(ada, file(ada, **WANTED, format="fits")["id"])
    assert batch["state"] == "done", batch
    with tarfile.open(fileobj=io.BytesIO(_download(ada, batch).content)) as archive:
        # Not `extractall`, whose argument `filter` Python 3.12 asks for and 3.11.2 does not know.
        for member in archive.getmembers():
            (tmp_path / Path(member.name).name).write_bytes(archive.extractfile(member).read())
    files = sorted(tmp_path.glob("*.fits"))
    assert len(files) == 14 * 3
    image, header = fits.getdata(tmp_path / "sample-0000003_aia131.fits", header=True)
    np.testing.assert_array_equal(image, expected.sel(channel="aia131").values[3])
    assert header["SYNTHET"] is True
    assert read_provenance(files[0])["gate"] == "ungated"


def test_the_same_request_is_made_once(service, ada):
    first, second = (file(ada, n=12, seed=77, ungated=True) for _ in range(2))
    assert (first["from_store"], second["from_store"]) == (False, True)
    assert first["id"] != second["id"]
    with service.client(make_key(service.state, "Grace")[1]) as grace:
        until(ada, first["id"])
        third = file(grace, n=12, seed=77, ungated=True)
        assert (third["state"], third["from_store"]) == ("done", True)
        for one in (first, second):
            assert ada.delete(f"/v1/batches/{one['id']}").status_code == 204
        _download(grace, third)  # still there for the other one
        folders = _cubes(service.state)
        assert grace.delete(f"/v1/batches/{third['id']}").status_code == 204
        assert len(_cubes(service.state)) == len(folders) - 1
    again = file(ada, n=12, seed=77, ungated=True)
    assert not again["from_store"]
    until(ada, again["id"])


def _cubes(state: Path) -> list[Path]:
    return list((state / "sets").glob("*/SYNTHETIC.zarr"))


def test_ranges(ada):
    batch = until(ada, file(ada, **WANTED)["id"])
    whole = _download(ada, batch)
    address, etag = batch["download"], whole.headers["etag"]
    part = ada.get(address, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    rest = ada.get(address, headers={"Range": "bytes=-7", "If-Range": etag})
    assert (rest.status_code, rest.content) == (206, whole.content[-7:])
    changed = ada.get(address, headers={"Range": "bytes=100-199", "If-Range": '"another"'})
    assert (changed.status_code, len(changed.content)) == (200, len(whole.content))
    assert ada.get(address, headers={"Range": f"bytes={len(whole.content)}-"}).status_code == 416
    assert ada.get(address, headers={"If-None-Match": etag}).status_code == 304


def test_a_file_that_is_gone_is_made_again(service, ada):
    batch = until(ada, file(ada, **WANTED, format="fits")["id"])
    whole = _download(ada, batch)
    next((service.state / "sets").glob("*/*.fits.tar")).unlink()
    answer = ada.get(batch["download"])
    assert (answer.status_code, "made again" in answer.json()["detail"]) == (409, True)
    until(ada, batch["id"])
    assert _download(ada, batch).content == whole.content


@pytest.mark.slow
def test_the_gate_has_the_last_word(ada):
    small, enough = (file(ada, n=n, seed=1, bundle="sdo2012-128")["id"] for n in (8, 12))
    refused = until(ada, small)
    assert (refused["state"], refused["gate"]["verdict"], refused["download"]) == ("done", "refused", None)
    answer = ada.get(f"/v1/batches/{small}/download")
    assert answer.status_code == 409
    assert refused["gate"]["sentence"] in answer.json()["detail"]
    lines = [json.loads(line) for line in ada.get(refused["stream"]).iter_lines()]
    assert not [line for line in lines if "sample" in line]
    assert lines[-1]["gate"]["verdict"] == "refused"

    passed = until(ada, enough)
    assert passed["gate"]["verdict"] == "passed"
    assert _download(ada, passed).content
    lines = [json.loads(line) for line in ada.get(passed["stream"]).iter_lines()]
    assert len([line for line in lines if "sample" in line]) == 12


def test_what_cannot_be_judged_stays_here(ada):
    batch = until(ada, file(ada, n=1, seed=1)["id"])
    assert (batch["gate"]["verdict"], batch["download"]) == ("unjudged", None)
    assert ada.get(f"/v1/batches/{batch['id']}/download").status_code == 409


def test_samples_as_they_come(ada, tiny):
    filed = file(ada, n=300, seed=9, ungated=True)
    with ada.stream("GET", filed["stream"]) as answer:
        lines = [json.loads(line) for line in answer.iter_lines()]
    samples = [line for line in lines if "sample" in line]
    assert [line["sample"] for line in samples] == list(range(300))
    assert lines[0]["progress"] < 300
    assert lines[-1]["end"] == "done"
    made = sunaug.generate(tiny, n=2, seed=9)["intensity"].values
    for sample, image in zip(samples, made, strict=False):
        found = np.frombuffer(base64.b64decode(sample["intensity"]), sample["dtype"]).reshape(sample["shape"])
        np.testing.assert_array_equal(found, image)


def test_a_batch_is_cancelled_while_it_is_made(service, ada):
    filed = file(ada, n=4000, seed=11, ungated=True)
    waiting = file(ada, n=4000, seed=12, ungated=True)
    until(ada, filed["id"], "running")
    before = set(_cubes(service.state))
    for one in (waiting, filed):
        assert ada.delete(f"/v1/batches/{one['id']}").status_code == 204
    assert ada.get(f"/v1/batches/{filed['id']}").status_code == 404
    assert until(ada, file(ada, n=12, seed=13, ungated=True)["id"])["state"] == "done"
    assert ": stopped" in service.log()
    assert len(set(_cubes(service.state)) - before) <= 1
    assert not [cube for cube in _cubes(service.state) if open_cube(cube).sizes["sample"] == 4000]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"n": 0}, "n: Input should be greater than or equal to 1"),
        ({"n": 4001}, "up to 4,000 samples"),
        ({"n": 1, "bundle": "../tiny"}, "bundle: none of that name is served"),
        ({"n": 1, "bundle": "http://203.0.113.7/x"}, "bundle: none of that name is served"),
        ({"n": 1, "format": "pickle"}, "format: Input should be"),
        ({"n": 1, "steer": {"component=9999": 1}}, "tiny has components"),
        ({"n": 1, "steer": {"flare": 21}}, "less than or equal to 20"),
        ({"n": 1, "rare": True, "min_class": "X9"}, "tiny: trained on no frame"),
        ({"n": 1, "out": "/etc/passwd"}, "out: Extra inputs are not permitted"),
    ],
)
def test_requests_that_make_no_sense(ada, tiny, wanted, sentence):
    answer = ada.post("/v1/batches", json=wanted)
    assert answer.status_code == 422, answer.text
    assert sentence in answer.json()["detail"]
    assert str(tiny.parent) not in answer.text


def test_bundles(ada, tiny):
    found = ada.get("/v1/bundles").json()
    assert [(one["name"], one["size"], one["gate"]) for one in found] == [
        ("tiny", 16, False),
        ("sdo2012-128", 128, True),
    ]
    assert str(tiny.parent) not in json.dumps(found)


def test_the_client(service, token, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("SUNAUG_CACHE", str(tmp_path / "cache"))
    with Client(service.url, token) as client:
        batch = client.submit(**WANTED)
        seen = []
        assert client.wait(batch["id"], every=0.1, report=seen.append)["state"] == "done"
        assert seen[-1] == 14
        whole = client.download(batch["id"], tmp_path / "whole.zarr.zip").read_bytes()
        # As a download leaves it that was broken off.
        partial = tmp_path / f"again.zarr.zip.{batch['id'][:8]}.partial"
        partial.write_bytes(whole[:1000])
        partial.with_name(f"{partial.name}.etag").write_text(f'"{hashlib.sha256(whole).hexdigest()}"')
        assert client.download(batch["id"], tmp_path / "again.zarr.zip").read_bytes() == whole
        assert sorted(path.name for path in tmp_path.glob("*zip*")) == ["again.zarr.zip", "whole.zarr.zip"]
        images = [sample["intensity"] for sample in client.stream(batch["id"])]
        np.testing.assert_array_equal(np.stack(images), expected.values)
        assert batch["id"] in [one["id"] for one in client.batches()]
        unjudged = client.submit(n=1, seed=1)
        client.wait(unjudged["id"], every=0.1)
        with pytest.raises(GateRefused, match="Unjudged"):
            client.download(unjudged["id"], tmp_path / "none")
        with pytest.raises(GateRefused, match="Unjudged"):
            list(client.stream(unjudged["id"]))
        with pytest.raises(UsageError, match="n: Input should be"):
            client.submit(n=0)
        with pytest.raises(SunaugError, match="no such batch"):
            client.batch("0" * 32)
    cube = fetch_cube(f"{service.url}/v1/batches/{batch['id']}", token)
    np.testing.assert_array_equal(open_cube(cube)["intensity"].values, expected.values)
    assert fetch_cube(f"{service.url}/v1/batches/{batch['id']}", "no key is needed now") == cube
    with pytest.raises(UsageError, match="not the address of a batch"):
        fetch_cube("http://localhost/cube.zarr")


def test_a_training_reads_a_batch_by_its_address(service, ada, token, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("SUNAUG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SUNAUG_API_KEY", token)
    address = f"{service.url}/v1/batches/{file(ada, **WANTED)['id']}"
    with pytest.raises(GateRefused, match="allow_ungated"):
        SyntheticSolarDataset(address)
    frames = SyntheticSolarDataset(address, allow_ungated=True)
    images = np.stack([sample["image"].numpy() for sample in DataLoader(frames, batch_size=None)])
    np.testing.assert_allclose(images, frames.scaling.scale(expected.values), atol=1e-6)
    assert frames.training_ranges


@pytest.mark.slow
def test_a_killed_service_goes_on(service, serve, ada, token, tiny):
    """The last test of this file: it kills the service of the others."""
    batch = file(ada, n=1000, seed=51, ungated=True)
    waiting = file(ada, n=12, seed=52, ungated=True)
    shards = service.state / "sets"
    last = time.monotonic() + 300
    while not (first := [path for path in shards.glob("*/SYNTHETIC.zarr/intensity/c/0/0/0/0") if _of(path) == 1000]):
        assert time.monotonic() < last
        time.sleep(0.05)
    written = first[0].stat()
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    with serve() as again, again.client(token) as client:
        done = until(client, batch["id"])
        assert (done["state"], done["done"]) == ("done", 1000)
        assert until(client, waiting["id"])["state"] == "done"
        assert first[0].stat().st_mtime_ns == written.st_mtime_ns  # what was whole was kept
        cube = open_cube(first[0].parents[5])
        for place in (0, 999):
            made = next(iter(sunaug.stream(tiny, 1, n=1, start=place, seed=51)))["intensity"].values[0]
            np.testing.assert_array_equal(cube["intensity"].values[place], made)
        answer = _download(client, done)
        assert len(answer.content) > 1000
    assert again.log().count(f"{first[0].parents[6].name}-zarr: made") == 1


def _of(shard: Path) -> int:
    return open_cube(shard.parents[5]).sizes["sample"]
