"""Faulty frames: found by comparing the channels of one moment, and a frame with its set and its neighbours in time.

Archives hold frames that no keyword marks: a channel left over from days before, one rendered wrongly, blocks missing,
the Moon or the Earth before the disk, the spacecraft rolled. Four measures find them, all on a coarse grid:

- *incomplete*: a share of the disk is dark against the channel's usual level;
- *level*: a channel is much darker than in the frames around it;
- *channels disagree*: fine structure (after a high pass) of two channels correlates less than it does in the set;
- *misplaced*: no channel looks like the frames of the hours around it.

Signed channels (magnetograms) are measured on absolute values, which never come near zero where there is a measurement:
only what is missing is dark in them, and their level, which follows the few active regions, is not watched.

The limits were set by looking at the 3,644 frames of January to October 2012 (171, 131 and 94 Å): ghosts begin at a
loss of correlation of 0.12, while the X5.4 flare of 2012-03-07, with its diffraction cross over half the disk, loses
0.10. Levels are only watched downward, because flares brighten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from sunaug.calibrate.registration import resample
from sunaug.lexicon import CHANNELS

__all__ = ["FrameMeasures", "consistency_step", "find_faulty", "measure_frames"]

GRID = 56
"""Width of the coarse grid: active regions stay apart, JPEG blocks and noise average out."""
DISK_SHARE = 0.95
"""Part of the disk's radius that is compared: the limb would correlate whatever else is wrong."""
HIGH_PASS_PIXELS = 5.0

DARK_LEVEL = 0.05
DARK_SHARE = 0.012
DARK_HABIT = 3.0
"""A frame may be dark over three times the share that nine in ten frames stay below: in 193 Å the coronal holes of a
quiet year go below `DARK_LEVEL` by themselves."""
LEVEL_LIMIT = 0.6
LEVEL_WINDOW = 13
LEAST_FRAMES = 5
CORRELATION_LOSS = 0.12
CORRELATION_DEVIATIONS = 7.0
NEIGHBOUR_HOURS = 8
NEIGHBOUR_FRAMES = 3
NEIGHBOUR_CORRELATION = 0.4


def consistency_step() -> dict[str, Any]:
    """The check and its limits, as they are written into a cube's attributes."""
    return {
        "step": "consistency",
        "rejects": "blank, incomplete, disagreeing or misplaced frames",
        "correlation_loss": CORRELATION_LOSS,
        "level_limit": LEVEL_LIMIT,
        "dark_share": DARK_SHARE,
        "neighbour_correlation": NEIGHBOUR_CORRELATION,
    }


@dataclass(frozen=True)
class FrameMeasures:
    """What `find_faulty` needs of n frames with c channels.

    Attributes
    ----------
    level : ndarray, shape (n, c)
        Mean over the disk; NaN where a channel is missing.
    values : ndarray of float32, shape (n, p, c)
        The p coarse pixels on the disk.
    ranks : ndarray of float16, shape (n, p, c)
        Ranks of the high-passed pixels, centred, of unit length.
    """

    level: NDArray[np.float64]
    values: NDArray[np.float32]
    ranks: NDArray[np.float16]

    @classmethod
    def join(cls, parts: Sequence[FrameMeasures]) -> FrameMeasures:
        """Measures of several runs of frames as one."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("level", "values", "ranks")))


def measure_frames(
    intensity: NDArray[np.float32], disk_radius: float, channels: Sequence[str] | None = None
) -> FrameMeasures:
    """Measure registered frames.

    Parameters
    ----------
    intensity : ndarray, shape (n, channel, y, x)
    disk_radius : float
        In pixels of the frames.
    channels : sequence of str, optional
        Lexicon names, which tell the signed channels; without them none is.
    """
    size = intensity.shape[-1]
    grid = min(GRID, size)
    signed = [CHANNELS[name].signed for name in channels or ()] or [False] * intensity.shape[1]
    middle = (size - 1) / 2
    coarse = np.empty((*intensity.shape[:2], grid, grid), dtype=np.float32)
    for frame, number in np.ndindex(intensity.shape[:2]):
        image = np.nan_to_num(intensity[frame, number])
        # Before averaging: the two polarities of a quiet Sun would cancel.
        image = np.abs(image) if signed[number] else image
        coarse[frame, number] = resample(image, (middle, middle), np.eye(2) * (size / grid), grid).frame
    away = np.arange(grid) - (grid - 1) / 2
    disk = np.hypot(away[:, None], away) < DISK_SHARE * disk_radius * grid / size
    fine = coarse - gaussian_filter(coarse, (0, 0, HIGH_PASS_PIXELS, HIGH_PASS_PIXELS))
    values, fine = (np.moveaxis(array[..., disk], 1, 2) for array in (coarse, fine))
    ranks = rankdata(fine, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    ranks /= np.linalg.norm(ranks, axis=1, keepdims=True) + 1e-9
    level = values.mean(axis=1, dtype=np.float64)
    level[np.isnan(intensity).all(axis=(2, 3))] = np.nan
    return FrameMeasures(level, values.astype(np.float32), ranks.astype(np.float16))


def _deviation(values: NDArray[np.float64]) -> float:
    return float(1.4826 * np.nanmedian(np.abs(values - np.nanmedian(values))))


def find_faulty(measures: FrameMeasures, times: NDArray[np.datetime64], channels: Sequence[str]) -> dict[int, str]:
    """Find the frames that a set's own habits contradict.

    Parameters
    ----------
    measures : FrameMeasures
        Of frames in order of time.
    times : ndarray of datetime64, shape (n,)
    channels : sequence of str
        Lexicon names.

    Returns
    -------
    dict of int to str
        Reason by number of the frame. With fewer than five frames nothing but a blank frame is found, for there is no
        habit to measure against.
    """
    names = [CHANNELS[name].label for name in channels]
    signed = [CHANNELS[name].signed for name in channels]
    level, values, ranks = measures.level, measures.values, measures.ranks
    faulty: dict[int, str] = {}

    def report(frames: NDArray[np.bool_], reason: str, *figures: NDArray[np.float64]) -> None:
        for frame in np.flatnonzero(frames):
            faulty.setdefault(int(frame), reason.format(*(figure[frame] for figure in figures)))

    blank = np.nan_to_num(level).max(axis=1) <= 0
    report(blank, "blank: no channel shows anything on the disk.")
    if len(level) < LEAST_FRAMES or blank.all():
        return faulty
    usual = np.array([np.median(column[column > 0]) if (column > 0).any() else np.nan for column in level.T])
    report(~blank & (np.nan_to_num(level / usual) < DARK_LEVEL).all(axis=1), "blank: hardly anything is on the disk.")

    for index, name in enumerate(names):
        present = ~np.isnan(level[:, index])
        # A quiet Sun's field is weak nearly everywhere, and yet nowhere exactly zero.
        lit = values[..., index] > 0 if signed[index] else values[..., index] >= DARK_LEVEL * usual[index]
        dark = 1 - lit.mean(axis=1)
        around = _running_median(level[:, index], LEVEL_WINDOW)
        ratio = np.nan_to_num(level[:, index] / around, nan=1.0)
        rest = (values[..., index] * lit).sum(axis=1) / np.maximum(lit.sum(axis=1), 1)
        # Missing blocks leave the rest as bright as ever; in a wrong rendering the whole disk is dark.
        habit = DARK_HABIT * np.quantile(dark[present], 0.9) if present.any() else 0.0
        missing = present & (dark > max(DARK_SHARE, habit)) & (dark < 0.9)
        report(
            missing & (signed[index] | (rest > LEVEL_LIMIT * around)),
            name + ": incomplete, {:.1%} of the disk is dark.",
            dark,
        )
        report(present & (dark >= 0.9), name + ": blank while other channels are not.")
        report(
            present & ((ratio < LEVEL_LIMIT) | missing) & (not signed[index]),
            name + ": rendered wrongly or eclipsed, {:.2f} of its level in the frames around.",
            ratio,
        )

    for first, second in combinations(range(len(names)), 2):
        both = ~np.isnan(level[:, [first, second]]).any(axis=1)
        likeness = np.einsum("np,np->n", ranks[..., first], ranks[..., second], dtype=np.float64, casting="unsafe")
        if both.sum() < LEAST_FRAMES:
            continue
        middle = float(np.median(likeness[both]))
        limit = middle - max(CORRELATION_LOSS, CORRELATION_DEVIATIONS * _deviation(likeness[both]))
        report(
            both & (likeness < limit),
            f"channels disagree: {names[first]} and {names[second]} correlate {{:.2f}}, usual is {middle:.2f}; "
            "they may show different moments.",
            likeness,
        )

    good = np.array([frame for frame in range(len(level)) if frame not in faulty])
    for place, frame in enumerate(good):
        around = good[max(0, place - NEIGHBOUR_FRAMES) : place + NEIGHBOUR_FRAMES + 1]
        hours = np.abs(times[around] - times[frame]) / np.timedelta64(1, "h")
        near = around[(hours <= NEIGHBOUR_HOURS) & (around != frame)]
        if len(near) < 2:
            continue
        alike = np.einsum("pc,npc->nc", ranks[frame].astype(np.float32), ranks[near].astype(np.float32))
        best = float(np.median(alike, axis=0).max())
        if best < NEIGHBOUR_CORRELATION:
            faulty[int(frame)] = (
                f"misplaced: the disk correlates {best:.2f} with the frames within {NEIGHBOUR_HOURS} h; "
                "the pointing may be off or rolled."
            )
    return faulty


def _running_median(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    padded = np.pad(values, window // 2, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)
    known = ~np.isnan(windows).all(axis=1)
    middle = np.full(len(values), np.nan)
    middle[known] = np.nanmedian(windows[known], axis=1)
    return middle
