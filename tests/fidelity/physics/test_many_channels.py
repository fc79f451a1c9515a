"""Relations of ten channels, of frames that have all of them and of frames that do not."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from sunaug.fidelity.physics import Geometry, distance, tabulate
from sunaug.lexicon import CHANNELS as KNOWN
from sunaug.measures.regions import centre_distance

NAMES = [name for name, channel in KNOWN.items() if channel.instrument == "AIA"]
SIZE = 32
GEOMETRY = Geometry(SIZE, 14.0)


def suns(n, seed, *, own=0.3):
    """Frames in DN/s whose channels show the same structure, each in its range, and a share `own` of their own."""
    random = np.random.default_rng(seed)
    both = random.normal(0, 1, (n, 1, SIZE, SIZE)) + random.normal(0, own, (n, len(NAMES), SIZE, SIZE))
    low, high = (np.log(np.array([KNOWN[name].clip[end] for name in NAMES]))[:, None, None] for end in (0, 1))
    return np.exp(low + (high - low) * (0.5 + 0.12 * both)).astype(np.float32)


def measured(frames):
    return tabulate(frames, NAMES, "physical", GEOMETRY)


def test_every_pair_of_ten_channels_has_a_correlation():
    frames = suns(4, 0)
    table = measured(frames)
    disk = centre_distance(GEOMETRY) <= 1
    pairs = list(combinations(range(10), 2))
    assert len(pairs) == 45
    for first, second in pairs:
        column = table[f"correlation {NAMES[first]}/{NAMES[second]}"]
        for frame, value in zip(frames, column.values, strict=True):
            expected = np.corrcoef(*np.log10(frame[[first, second]][:, disk]))[0, 1]
            assert value == pytest.approx(expected, abs=2e-3)
    # The histograms are of neighbours alone: 256 numbers for each pair and frame would be most of the table.
    joint = {name for name in table if name.startswith("joint")}
    assert joint == {f"joint {first}/{second}" for first, second in pairwise(NAMES)}
    assert sum(name.startswith("conditional_mean") for name in table) == 9


def test_a_channel_of_another_frame_is_noticed_by_all_of_its_pairs():
    real, others = measured(suns(12, 0)), suns(12, 1)
    floor = {name: distance(column, real[name]) for name, column in measured(others).items()}
    others[:, 0] = np.roll(others[:, 0], 1, axis=0)
    table = measured(others)
    for name in (one for one in table if one.startswith("correlation")):
        apart = distance(table[name], real[name])
        assert (apart > 10 * floor[name] + 0.1) == (NAMES[0] in name.replace("/", " ").split(" ")), name


def test_a_missing_channel_leaves_the_other_pairs_as_they_are():
    frames = suns(5, 2)
    whole = measured(frames)
    partial = frames.copy()
    partial[0, 3] = np.nan
    partial[1, [0, 9]] = np.nan
    partial[2, :9] = np.nan
    gone = np.isnan(partial).all(axis=(2, 3))
    table = measured(partial)
    assert table.keys() == whole.keys()
    kinds = ("correlation", "joint", "conditional_mean")
    for name in (one for one in table if one.startswith(kinds)):
        pair = name.split(" ")[1].replace("|", "/").split("/")
        lacking = gone[:, [NAMES.index(one) for one in pair]].any(axis=1)
        assert np.isnan(table[name].values[lacking]).all(), name
        np.testing.assert_allclose(table[name].values[~lacking], whole[name].values[~lacking], rtol=1e-4, atol=1e-5)
        assert np.isfinite(distance(table[name], whole[name])), name
    for name, hot in (("hot_to_cool aia94/aia171", NAMES.index("aia94")), ("total aia335", NAMES.index("aia335"))):
        assert np.array_equal(np.isnan(table[name].values), gone[:, hot] | (gone[:, 2] if "/" in name else False))
