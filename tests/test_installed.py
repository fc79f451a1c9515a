import json

import pytest
import torch

from sunaug.bundle import load_bundle, write_bundle, write_critic, write_directions, write_metrics, write_reference
from sunaug.bundle import write_finish as write_spectral_filter
from sunaug.errors import SunaugError
from sunaug.fidelity.stored import write_reference as write_fidelity_reference
from sunaug.finish import SpectralFinish
from sunaug.installed import refuse_installed
from sunaug.measures.limb import Geometry


def test_nothing_writes_into_a_bundle_that_comes_with_sunaug():
    bundle = load_bundle("sdo2012-64")
    before = {one.name: one.read_bytes() for one in bundle.path.iterdir()}
    gains = SpectralFinish(torch.ones(2, 3, 64, 33), Geometry(64, 28.0))
    for write in (
        lambda path: write_directions(path, bundle.directions),
        lambda path: write_critic(path, bundle.critic),
        lambda path: write_reference(path, bundle.reference),
        lambda path: write_metrics(path, {"a": 1}),
        lambda path: write_spectral_filter(path, gains),
        lambda path: write_bundle(path, bundle.info, bundle.generator, bundle.reference, "# card"),
        lambda path: write_fidelity_reference(path / "fidelity.safetensors", None, None),
    ):
        with pytest.raises(SunaugError, match="comes with sunaug and is never changed; copy it"):
            write(bundle.path)
    assert {one.name: one.read_bytes() for one in bundle.path.iterdir()} == before
    assert json.loads((bundle.path / "bundle.json").read_text())["name"] == bundle.info.name


def test_other_places_may_be_written(tmp_path):
    refuse_installed(tmp_path / "bundle")
    (tmp_path / "link").symlink_to(load_bundle("sdo2012-64").path)
    with pytest.raises(SunaugError, match="comes with sunaug"):
        refuse_installed(tmp_path / "link" / "x")
