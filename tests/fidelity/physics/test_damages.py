"""Damages to real frames: the right measure has to notice each, against the difference of two real months."""

import numpy as np
import pytest
from scipy import ndimage

from sunaug.fidelity.physics import Geometry, distance, tabulate
from sunaug.measures.regions import centre_distance

pytestmark = pytest.mark.realdata

CHANNELS = ["aia171", "aia131", "aia94"]
GEOMETRY = Geometry(128, 56.0)
ROWS, COLUMNS = np.indices((128, 128))


def without_regions(frames):
    """Active regions of 94 Å painted over with pixels of the quiet disk, in all channels."""
    random, disk = np.random.default_rng(0), centre_distance(GEOMETRY) <= 0.95
    frames = frames.copy()
    for frame in frames:
        smooth = ndimage.gaussian_filter(frame[2], 1.7)
        quartile, median = np.percentile(smooth[disk], [25, 50])
        bright = ndimage.binary_dilation((smooth > median + 3.7 * (median - quartile)) & disk, iterations=2)
        quiet = np.flatnonzero(disk & ~bright)
        for plane in frame:
            plane[bright] = plane.ravel()[random.choice(quiet, bright.sum())]
    return frames


def noisy(frames):
    return np.clip(frames + np.random.default_rng(0).normal(0, 0.02 * 255, frames.shape), 0, 255)


def stretched(frames):
    """An ellipse of 2 % in place of a circle."""
    scale = np.array([1, 1, 1.01, 1 / 1.01])
    return ndimage.affine_transform(frames, scale, (1 - scale) * np.array([0, 0, 63.5, 63.5]), order=1)


DAMAGES = {
    "blur": (
        lambda frames: ndimage.gaussian_filter(frames, (0, 0, 1, 1)),
        {"fine_structure aia171": 30, "power_spectrum aia94": 15, "spectral_slope aia131": 10, "limb_width aia94": 4},
    ),
    "noise": (noisy, {"corner_structure aia171": 5, "corner_structure aia94": 5, "fine_structure aia94": 3}),
    "shift": (lambda frames: np.roll(frames, 2, axis=3), {f"limb_offset {name}": 10 for name in CHANNELS}),
    "swapped channels": (
        lambda frames: frames[:, [1, 0, 2]],
        {"joint aia171/aia131": 3, "hot_to_cool aia131/aia171": 6, "conditional_mean aia131|aia171": 6},
    ),
    "one channel brighter": (
        lambda frames: np.clip(frames * np.array([1, 1.1, 1])[:, None, None], 0, 255),
        {
            "quiet_level aia131": 1.2,
            "intensity aia131": 1.3,
            "hot_to_cool aia131/aia171": 4,
            "conditional_mean aia131|aia171": 4,
        },
    ),
    "no active regions": (
        without_regions,
        {"region_number": 5, "region_area": 5, "region_largest": 3, "peak aia94": 2},
    ),
    "checkerboard": (
        lambda frames: frames * (1 + 0.01 * (-1.0) ** (ROWS + COLUMNS)),
        {f"checkerboard {name}": 10 for name in CHANNELS},
    ),
    "stripes": (lambda frames: frames * (1 + 0.01 * (-1.0) ** COLUMNS), {f"stripes {name}": 10 for name in CHANNELS}),
    "ellipse": (stretched, {"limb_ellipticity aia131": 6, "limb_ellipticity aia94": 6}),
    "no corona": (
        lambda frames: frames * (centre_distance(GEOMETRY) < 1.08),
        {f"off_limb_fall {name}": 4 for name in CHANNELS},
    ),
    "regions at the poles": (
        lambda frames: np.rot90(frames, axes=(2, 3)),
        {"region_latitude": 3, "region_belts": 2},
    ),
}


@pytest.fixture(scope="module")
def august(real_months):
    return real_months(8)


@pytest.fixture(scope="module")
def sound(august, real_months):
    """Tables of August and of September."""
    return tuple(tabulate(frames, CHANNELS, "browse", GEOMETRY) for frames in (august, real_months(9)))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed(damage, august, sound):
    inflict, noticed_by = DAMAGES[damage]
    damaged = tabulate(inflict(august), CHANNELS, "browse", GEOMETRY)
    first, second = sound
    times = {name: distance(damaged[name], second[name]) / distance(first[name], second[name]) for name in noticed_by}
    for name, least in noticed_by.items():
        assert times[name] > least, times


def test_damage_is_noticed_by_nothing_that_it_does_not_touch(august, sound):
    """A shifted Sun is as bright and as sharp as before, a checkerboard as round."""
    first, second = sound
    for damage, names in {
        "shift": ["total aia171", "fine_structure aia171", "corner_structure aia94", "spectral_slope aia131"],
        "checkerboard": ["total aia131", "limb_radius aia94", "region_number", "stripes aia171", "profile aia131"],
    }.items():
        damaged = tabulate(DAMAGES[damage][0](august), CHANNELS, "browse", GEOMETRY)
        for name in names:
            floor = distance(first[name], second[name])
            assert distance(damaged[name], first[name]) < 0.5 * floor, (damage, name)


def test_one_frame_again_and_again_is_noticed(august, sound):
    same = tabulate(np.repeat(august[:1], len(august), axis=0), CHANNELS, "browse", GEOMETRY)
    spread = [name for name, column in same.items() if column.kind == "scalar" and column.family != "saturation"]
    first, second = sound
    ratios = [distance(same[name], second[name]) / distance(first[name], second[name]) for name in spread]
    assert np.median(ratios) > 1.5
