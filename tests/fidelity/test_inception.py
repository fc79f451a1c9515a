from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity import inception
from sunaug.fidelity.backbones import features, inception_backbone
from sunaug.fidelity.inception import SMALL_WEIGHTS, InceptionFeatures, find_weights, load_inception


def test_weights_are_looked_for_in_order(no_weights, monkeypatch):
    with pytest.raises(SunaugError, match="--weights FILE") as error:
        find_weights()
    assert error.value.exit_code == 1
    names = ["hub/checkpoints/pt_inception-2015-12-05-6726825d.pth", f"data/weights/{SMALL_WEIGHTS}", "environment.pth"]
    for name in names:
        (no_weights / name).parent.mkdir(parents=True, exist_ok=True)
        (no_weights / name).write_bytes(b"")
        if name.startswith("environment"):
            monkeypatch.setenv("SUNAUG_FID_WEIGHTS", str(no_weights / name))
        assert find_weights() == no_weights / name
    given = no_weights / "given.pth"
    given.write_bytes(b"")
    assert find_weights(given) == given


def test_bad_weights_are_named(no_weights):
    with pytest.raises(UsageError, match="no such file"):
        load_inception(no_weights / "absent.pth")
    damaged = no_weights / "damaged.safetensors"
    damaged.write_bytes(b"not weights")
    foreign = no_weights / "foreign.pth"
    foreign.write_bytes(b"no zip file")
    code = no_weights / "code.pth"
    torch.save({"layer": Path("a class that is no tensor")}, code)
    for path in (damaged, foreign, code):
        with pytest.raises(SunaugError, match=rf"{path.name}: no Inception weights; give pytorch-fid's") as caught:
            load_inception(path)
        # torch advises to switch its safety off.
        assert "weights_only" not in str(caught.value)
    other = no_weights / "other.pth"
    torch.save({"layer": torch.zeros(2)}, other)
    with pytest.raises(SunaugError, match="not the weights of pytorch-fid"):
        load_inception(other)


def test_images_go_through_in_small_groups(monkeypatch):
    monkeypatch.setattr(inception, "_TOGETHER_ON_CPU", 3)
    seen = []

    class Halves(torch.nn.Module):
        def forward(self, images):
            seen.append(len(images))
            return [images / 2]

    images = torch.rand(8, 3, 5, 5)
    found = InceptionFeatures(Halves(), 768, "none")(images)
    assert seen == [3, 3, 2]
    torch.testing.assert_close(found, images.mean(dim=(2, 3)) / 2)
    assert InceptionFeatures(Halves(), 768, "none")(images[:0]).shape == (0, 3)


@pytest.fixture
def backbone(real_data):
    weights = real_data / "weights" / SMALL_WEIGHTS
    if not weights.is_file():
        pytest.skip(f"no Inception weights at {weights}")
    return inception_backbone(weights, device="cpu")


@pytest.mark.realdata
def test_features_are_those_of_pytorch_fid(backbone, real_data, tmp_path):
    """The same PNG files through pytorch-fid's own code, around the network before batch norms are folded."""
    from pytorch_fid.fid_score import get_activations

    files = sorted((real_data / "sdo2012" / "images").glob("*.jpg"))[:1200:100]
    images = np.stack([np.asarray(Image.open(file).resize((64, 64))) for file in files])
    paths = [tmp_path / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    weights = real_data / "weights" / SMALL_WEIGHTS
    unfolded = inception._unfolded_network(inception._read_weights(weights), 768, weights)

    ours = features([images[:5].transpose(0, 3, 1, 2), images[5:].transpose(0, 3, 1, 2)], backbone)
    theirs = get_activations(paths, unfolded, batch_size=6, dims=768, num_workers=0)
    assert ours.shape == (12, 768)
    assert np.abs(ours - theirs).max() < 1e-3 * np.abs(theirs).max()
    assert backbone.label == "FID-768"
    assert backbone.description.startswith("FID-768 (pytorch-fid Inception up to Mixed_6e, ")
