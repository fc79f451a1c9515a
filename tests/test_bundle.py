import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from sunaug.bundle import load_bundle, write_metrics
from sunaug.errors import SunaugError, UsageError
from tests.models import make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def copy(bundle, tmp_path):
    return shutil.copytree(bundle.path, tmp_path / "copy")


def test_weights_come_back_in_half_precision(bundle):
    stored = load_file(bundle.path / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    for name, value in bundle.generator.state_dict().items():
        assert torch.equal(value, stored[name].float())


def test_no_file_is_a_pickle(bundle):
    assert {path.name for path in bundle.path.iterdir()} == {
        "bundle.json",
        "model.safetensors",
        "reference.safetensors",
        "directions.safetensors",
        "README.md",
    }


def test_hash_depends_on_the_weights_and_directions(bundle, copy):
    assert load_bundle(copy).hash == bundle.hash
    tensors = load_file(copy / "directions.safetensors")
    save_file({**tensors, "flare": tensors["flare"] * 1.01}, copy / "directions.safetensors")
    assert load_bundle(copy).hash != bundle.hash


def test_metrics_are_added_and_leave_the_hash(bundle, copy):
    write_metrics(copy, {"fid": {"value": 1.5}})
    write_metrics(copy, {"other": 2})
    assert load_bundle(copy).info.metrics == {"fid": {"value": 1.5}, "other": 2}
    assert load_bundle(copy).hash == bundle.hash


@pytest.mark.parametrize("name", ["bundle.json", "model.safetensors", "reference.safetensors", "README.md"])
def test_missing_file(copy, name):
    (copy / name).unlink()
    with pytest.raises(SunaugError, match=rf"not a whole bundle, {name} missing"):
        load_bundle(copy)


def test_unknown_name():
    with pytest.raises(UsageError, match="nowhere: no such bundle"):
        load_bundle("nowhere")


def test_damaged_weights(copy):
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(SunaugError, match="not a safetensors file"):
        load_bundle(copy)


def test_other_format_version(copy):
    content = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps({**content, "format_version": "9"}))
    with pytest.raises(SunaugError, match="bundle format 9, this sunaug reads 1"):
        load_bundle(copy)


def test_weights_of_another_network(copy):
    content = json.loads((copy / "bundle.json").read_text())
    content["network"]["max_width"] = 8
    (copy / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(SunaugError, match=r"does not fit bundle\.json"):
        load_bundle(copy)
