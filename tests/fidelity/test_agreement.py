"""Figures beside those of the programs that everyone quotes: pytorch-fid, torch-fidelity and prdc."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from sunaug.fidelity import inception
from sunaug.fidelity.backbones import image_features, inception_backbone
from sunaug.fidelity.coverage import overlap
from sunaug.fidelity.frechet import FeatureStatistics, frechet_distance
from sunaug.fidelity.images import display_images
from sunaug.fidelity.inception import SMALL_WEIGHTS
from sunaug.fidelity.kernel import kernel_distance

COUNT = 12
CHANNELS = ["aia171", "aia131", "aia94"]
SETS = {"real": {"seed": 1}, "synthetic": {"seed": 2, "limb": 1.03}}

# `python -m pytorch_fid`, on a machine where torchvision may be of another torch and nothing is downloaded.
COMMAND = """
import runpy, sys
from pathlib import Path
from sunaug.fidelity import inception

weights = Path(sys.argv.pop(1))
state = inception._complete_state(inception._read_weights(weights), 768, weights)
inception._pytorch_fid().load_state_dict_from_url = lambda *_, **__: state
runpy.run_module("pytorch_fid", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def weights(real_data):
    path = real_data / "weights" / SMALL_WEIGHTS
    if not path.is_file():
        pytest.skip(f"no Inception weights at {path}")
    return path


@pytest.fixture(scope="module")
def pictures(suns):
    """Two sets of images (COUNT, 3, 64, 64) that differ."""
    made = {name: display_images(suns(COUNT, **how), CHANNELS, "browse") for name, how in SETS.items()}
    return {name: images["+".join(CHANNELS)] for name, images in made.items()}


@pytest.fixture(scope="module")
def seen(weights, pictures):
    """Inception's features of both, by the way that `sunaug evaluate` takes."""
    backbone = inception_backbone(weights, device="cpu")
    return {name: image_features([{"sun": images}], [backbone])["FID-768"]["sun"] for name, images in pictures.items()}


@pytest.mark.realdata
def test_fid_is_that_of_pytorch_fids_command(weights, pictures, seen, tmp_path):
    for name, images in pictures.items():
        (tmp_path / name).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / name / f"{number:03}.png")
    told = [str(weights), *(str(tmp_path / name) for name in pictures), "--dims", "768", "--device", "cpu"]
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, *told], capture_output=True, text=True, env={**os.environ, "TQDM_DISABLE": "1"}
    )
    assert ended.returncode == 0, ended.stderr
    expected = float(re.search(r"^FID:\s+(\S+)$", ended.stdout, re.MULTILINE).group(1))
    ours = frechet_distance(*(FeatureStatistics.of(seen[name]) for name in pictures))
    assert expected > 0.01
    assert ours == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module", params=[pytest.param("inception", marks=pytest.mark.realdata), "made up"])
def features(request):
    """Features of two sets: those of Inception where there are weights, and more vectors without them."""
    if request.param == "inception":
        return request.getfixturevalue("seen")
    random = np.random.default_rng(7)
    # Averages of what a ReLU lets through: positive, many near zero, correlated.
    mix = random.normal(size=(24, 96)) / 5
    return {
        name: np.maximum(random.normal(shift, 1, size=(150, 24)) @ mix, 0).astype(np.float32)
        for name, shift in (("real", 0.0), ("synthetic", 0.25))
    }


@pytest.mark.parametrize("share", [1.0, 0.5], ids=["all", "halves"])
def test_kid_is_that_of_torch_fidelity(features, share):
    inception._pytorch_fid()  # mends torchvision, which torch-fidelity imports too
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    real, synthetic = (features[name].astype(np.float64) for name in SETS)
    count = round(share * len(real))
    subsets = 1 if share == 1 else 5
    expected = kid.kid_features_to_metric(
        torch.from_numpy(synthetic),
        torch.from_numpy(real),
        kid_subsets=subsets,
        kid_subset_size=count,
        rng_seed=3,
        verbose=False,
    )
    # The subsets that it draws.
    random = np.random.RandomState(3)
    ours = []
    for _ in range(subsets):
        chosen = [values[random.choice(len(values), count, replace=False)] for values in (synthetic, real)]
        ours.append(kernel_distance(*chosen, subsets=0).value)
    assert np.mean(ours) == pytest.approx(expected[kid.KEY_METRIC_KID_MEAN], rel=1e-9)
    assert np.std(ours) == pytest.approx(expected[kid.KEY_METRIC_KID_STD], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("k", [3, 5])
def test_overlap_is_that_of_prdc(features, k):
    prdc = pytest.importorskip("prdc")
    ours = overlap(features["real"], features["synthetic"], k=k)
    expected = prdc.compute_prdc(features["real"], features["synthetic"], nearest_k=k)
    for name, value in expected.items():
        assert getattr(ours, name) == pytest.approx(value, rel=1e-9), name


def test_precision_and_recall_are_those_of_torch_fidelity(features):
    inception._pytorch_fid()
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    ours = overlap(features["real"], features["synthetic"], k=3)
    synthetic, real = (torch.from_numpy(features[name]) for name in ("synthetic", "real"))
    expected = prc.prc_features_to_metric(
        synthetic, real, prc_neighborhood=3, prc_batch_size=10_000, save_cpu_ram=False, verbose=False
    )
    found = {prc.KEY_METRIC_PRECISION: ours.precision, prc.KEY_METRIC_RECALL: ours.recall}
    for name, value in found.items():
        assert value == pytest.approx(expected[name], rel=1e-3), name
