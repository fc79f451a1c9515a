"""Straight edges: on made frames, where the cut is known, and on real ones, which have none."""

import warnings

import numpy as np
import pytest

from sunaug.fidelity.physics import Geometry, tabulate
from tests.fidelity.physics.conftest import RADIUS, SIZE

CHANNELS = ["aia171", "aia131", "aia94"]
LARGE = Geometry(128, 56.0)
HARD, ACROSS = "straight_edges aia171", "straight_edges_across aia171"


def grain(size, number=8, seed=0):
    """Rough frames of 100 counts on average, of one channel."""
    return (100 + 12 * np.random.default_rng(seed).normal(size=(number, 1, size, size))).astype(np.float32)


def measured(frames, scale="browse", size=None):
    size = size or frames.shape[-1]
    return tabulate(frames, CHANNELS[: frames.shape[1]], scale, Geometry(size, 0.4375 * size))


def cut(frames, row, first, last, step):
    damaged = frames.copy()
    damaged[..., row:, first:last] += step
    return damaged


@pytest.mark.parametrize("size", [32, 64, 128, 256])
@pytest.mark.parametrize("turned", [False, True])
def test_a_cut_stands_out_at_every_size_and_along_both_axes(size, turned):
    frames = grain(size)
    damaged = cut(frames, round(0.45 * size), 0, size // 2, 30)
    if turned:
        damaged = np.ascontiguousarray(np.swapaxes(damaged, 2, 3))
    before, after = measured(frames), measured(damaged)
    assert (after[HARD].values > 1.2 * before[HARD].values.max()).all()
    np.testing.assert_allclose(after[ACROSS].values, 15 / 255, atol=0.02)


def test_frames_turned_by_a_right_angle_have_the_same_figures():
    frames = cut(grain(64), 30, 5, 50, 25)
    turned = np.ascontiguousarray(np.rot90(frames, axes=(2, 3)))
    for name in (HARD, ACROSS):
        np.testing.assert_allclose(measured(turned)[name].values, measured(frames)[name].values, rtol=1e-4)


def disk(size, level=100.0, radius=0.4375):
    """A bright disk with a sharp limb, and the same noise on it as beside it."""
    axis = np.arange(size) - (size - 1) / 2
    inside = np.hypot(axis[:, None], axis[None, :]) <= radius * size
    return grain(size) - 100 + np.where(inside, level, 12).astype(np.float32)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_the_limb_is_no_straight_edge(size):
    even, sun = measured(grain(size)), measured(disk(size))
    assert (sun[HARD].values < 1.3 * even[HARD].values.max()).all()
    # Rows that end at the limb differ by it all over the frame, and are not counted there.
    assert (sun[ACROSS].values < 0.2).all()


@pytest.mark.parametrize("width", [1, 2])
def test_lines_are_no_edges(width):
    """Bleeding and lost rows: the far side is as before."""
    frames = grain(128)
    line, edge = frames.copy(), frames.copy()
    line[..., 60 : 60 + width] += 100
    edge[..., 60:] += 100
    plain, lined, edged = (measured(one)[HARD].values for one in (frames, line, edge))
    assert (lined < 1.2 * plain.max()).all()
    assert (edged > 2 * plain.max()).all()


def test_a_slope_is_no_edge():
    frames = grain(128)
    slope = frames + np.linspace(-60, 60, 128, dtype=np.float32)[:, None]
    edge = frames + np.where(np.arange(128) < 64, -60, 60).astype(np.float32)[:, None]
    assert (2 * measured(slope)[HARD].values.max() < measured(edge)[HARD].values).all()


def test_missing_pixels_make_no_edge():
    frames = disk(128)
    gap = frames.copy()
    gap[:, :, 40:60] = np.nan
    gap[:, :, :, 100:] = np.nan
    before, after = measured(frames), measured(gap)
    for name in (HARD, ACROSS):
        assert (after[name].values < 1.3 * before[name].values.max()).all(), name
    gap[0] = np.nan
    assert np.isnan(measured(gap)[HARD].values[0])


def test_even_frames_have_none():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = measured(np.full((2, 1, 64, 64), 80.0))
    assert (table[HARD].values == 0).all()
    assert (table[ACROSS].values < 1e-6).all()


def test_precision_and_batches_do_not_matter():
    frames = cut(grain(64, number=40), 30, 5, 50, 25)
    single, double = measured(frames), measured(frames.astype(np.float64))
    parts = [measured(one[None])[HARD].values[0] for one in frames]
    np.testing.assert_array_equal(single[HARD].values, double[HARD].values)
    np.testing.assert_allclose(single[HARD].values, parts, rtol=1e-4)


def test_physical_frames_and_magnetograms_have_the_figures(suns):
    frames = suns(3, 1)
    table = tabulate(
        np.concatenate([frames[:, :1] * 10 + 30, frames[:, :1] - 50], axis=1),
        ["aia171", "hmi_m"],
        "physical",
        Geometry(64, 28.0),
    )
    for name in ("aia171", "hmi_m"):
        assert np.isfinite(table[f"straight_edges {name}"].values).all()
        assert (table[f"straight_edges_across {name}"].values < 0.5).all()


@pytest.mark.realdata
def test_cuts_of_real_frames_stand_out_and_real_frames_do_not(real_months):
    """The limit of the gate, of one month's frames; another month keeps to it."""
    known, other = (real_months(month) for month in (8, 10))
    table = {name: column.values for name, column in real(known).items()}
    limits = {name: 2 * values.max() - np.quantile(values, 0.99) for name, values in table.items()}

    def rejected(frames):
        found = real(frames)
        return np.logical_or.reduce([found[name].values > limit for name, limit in limits.items()])

    assert not rejected(other).any()
    half = other.copy()
    half[:, :, 50:] = np.clip(1.4 * half[:, :, 50:], 0, 255)
    assert rejected(half).mean() > 0.8


def real(frames):
    table = tabulate(frames, CHANNELS, "browse", Geometry(SIZE, RADIUS))
    return {name: column for name, column in table.items() if name.startswith("straight_edges")}
