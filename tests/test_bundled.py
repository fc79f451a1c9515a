"""The bundle that comes with sunaug."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import sunaug
from sunaug.bundle import BUNDLED, bundled_names, load_bundle
from sunaug.cube import SPLIT_MONTHS
from sunaug.fidelity.gate import assess, described
from sunaug.fidelity.instruments import measure_set
from sunaug.fidelity.measured import concatenate
from sunaug.fidelity.physics import Geometry, fit_limb
from sunaug.fidelity.policy import load_policy
from sunaug.fidelity.roles import roles_of
from sunaug.fidelity.stored import FILE, read_reference
from sunaug.generation import Request, Sampler


@pytest.fixture(scope="module", params=bundled_names())
def bundle(request):
    return load_bundle(request.param)


def test_it_is_small_and_in_half_precision(bundle):
    assert BUNDLED in bundled_names()
    # Half of it are the judge's features of 3,122 real frames.
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) <= 18 * 2**20
    stored = load_file(bundle.path / "model.safetensors")
    assert {str(value.dtype) for value in stored.values()} == {"torch.float16"}


def test_it_was_trained_on_train_months_only(bundle):
    for start, end in bundle.info.training_ranges:
        first, last = (np.datetime64(moment.removesuffix("Z")) for moment in (start, end))
        months = np.arange(first.astype("datetime64[M]"), last.astype("datetime64[M]") + 1)
        assert set(months.astype(int) % 12 + 1) <= set(SPLIT_MONTHS["train"])
        assert first.astype("datetime64[Y]") == np.datetime64("2012")


def test_its_card_says_what_it_is(bundle):
    card = (bundle.path / "README.md").read_text()
    for word in ("SYNTHETIC", "aia171, aia131, aia94", bundle.info.training_ranges[0][0], "no forecast"):
        assert word in card


def test_its_suns_have_a_disk_with_a_limb_in_the_middle(bundle):
    """Real frames of 64 pixels show the limb at 1.06 of the photosphere's radius, within half a pixel of the middle."""
    size, disk_radius = bundle.info.network.size, bundle.info.disk_radius
    images = sunaug.generate(bundle, 64, rare=True, seed=3)["intensity"].sel(channel="aia171").values
    radius, centre = fit_limb(images, Geometry(size, disk_radius))
    assert np.median(radius) / disk_radius == pytest.approx(1.05, abs=0.03)
    assert np.median(np.hypot(*centre.T)) < size / 128


def test_a_sample_does_not_depend_on_its_neighbours(bundle):
    """Made alone, at the head of a group of copies, a sample has the bits that it has in the middle of others."""
    many = sunaug.generate(bundle, 20, rare=True, seed=11)["intensity"].values
    sampler = Sampler(bundle, Request(1, rare=True, seed=11))
    for draw in (0, 5, 13, 19):
        np.testing.assert_array_equal(sampler.sample(draw, draw + 1)["intensity"][0], many[draw])


@pytest.mark.parametrize("rare", [False, True])
def test_threads_and_batches_have_no_part_in_the_bits(bundle, rare):
    """Sums are rounded by the number of threads that share them: no sample is made by more than one."""

    def made(threads, batch_size):
        torch.set_num_threads(threads)
        batches = list(Sampler(bundle, Request(20, rare=rare, seed=5)).batches(0, 20, batch_size))
        assert torch.get_num_threads() == threads
        return {name: np.concatenate([one[name] for one in batches]) for name in batches[0]}

    before = torch.get_num_threads()
    try:
        first = made(1, 20)
        for threads, batch_size in ((2, 20), (4, 20), (2, 3), (3, 11)):
            again = made(threads, batch_size)
            for name, values in first.items():
                np.testing.assert_array_equal(again[name], values, err_msg=f"{name}, {threads} threads")
    finally:
        torch.set_num_threads(before)


def test_threads_have_no_part_in_what_the_gate_measures():
    control, bundle = pytest.importorskip("threadpoolctl"), load_bundle(BUNDLED)
    samples = sunaug.generate(bundle, 40, rare=True, seed=2)
    stored = read_reference(bundle.path / FILE)
    rows = np.arange(40)

    def measured(threads, parts):
        torch.set_num_threads(threads)
        with control.threadpool_limits(threads, user_api="blas"):
            found = concatenate([measure_set(samples, part, stored.instruments) for part in parts])
            assessed = assess(stored.reference.look(found), stored.reference, load_policy(), roles_of(bundle))
        figures = described(assessed, everything=True)
        return found, figures, [(one.name, one.value, one.limit) for one in assessed.checks]

    before = torch.get_num_threads()
    try:
        first, figures, exact = measured(1, [rows])
        for threads, parts in ((2, [rows]), (4, [rows[:3], rows[3:]])):
            again, judged, checks = measured(threads, parts)
            for name, values in first.features.items():
                np.testing.assert_array_equal(again.features[name], values, err_msg=name)
            for name, values in first.readings.items():
                np.testing.assert_array_equal(again.readings[name], values, err_msg=name)
            for name, column in first.physics.items():
                np.testing.assert_array_equal(again.physics[name].values, column.values, err_msg=name)
            assert judged == figures
            np.testing.assert_equal(checks, exact)
    finally:
        torch.set_num_threads(before)


def test_rare_samples_are_hotter_than_quiet_ones(bundle):
    rare = sunaug.generate(bundle, 128, rare=True)["intensity"].sel(channel=["aia131", "aia94"])
    plain = sunaug.generate(bundle, 128)["intensity"].sel(channel=["aia131", "aia94"])
    brightest = [float(np.quantile(cube, 0.99, axis=(2, 3)).mean()) for cube in (rare, plain)]
    assert brightest[0] > brightest[1]
