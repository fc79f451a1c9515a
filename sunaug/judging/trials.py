"""Which frames the judges are shown, and in what order each judge sees them.

The frames depend on the seed alone, so that every judge of an experiment speaks of the same samples and their answers
add up. The order, and what stands beside what, depend on the seed and the judge's name.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sunaug.cube import FrameStatus, select_split
from sunaug.errors import SunaugError, UsageError
from sunaug.flares import format_goes_class

__all__ = ["DEFAULT_TRIALS", "MODES", "SIDES", "Choice", "Trial", "choose", "judge_key", "judge_name", "trials_of"]

DEFAULT_TRIALS = 40
LONGEST_NAME = 40

_HOURS_APART = (48, 36, 24, 18, 12, 9, 6, 4, 3, 2, 1)

SIDES = {"single": ("real", "synthetic"), "pair": ("left", "right")}
"""What a judge can answer, by mode; of a pair, the side of the real frame."""

MODES = tuple(SIDES)


@dataclass(frozen=True)
class Trial:
    """One question to one judge.

    Attributes
    ----------
    number : int
        From 1.
    sample : int or None
        Number of the sample that is shown, None where only a real frame is.
    time : str or None
        Time of the real frame that is shown (ISO 8601, UTC), None where only a sample is.
    truth : str
        The right answer: ``real`` or ``synthetic``, or the side of the real frame, ``left`` or ``right``.
    """

    number: int
    sample: int | None
    time: str | None
    truth: str

    def shown(self, side: str) -> int | str | None:
        """The sample's number or the real frame's time on one side: ``image``, or ``left`` or ``right`` of a pair."""
        if side == "image":
            return self.time if self.sample is None else self.sample
        return self.time if side == self.truth else self.sample


@dataclass(frozen=True)
class Choice:
    """The frames of an experiment.

    Attributes
    ----------
    mode : {"single", "pair"}
    n : int
        Trials of each judge.
    samples : tuple of int
        Sample numbers; half of the trials (the larger one) in mode ``single``, one for each trial in mode ``pair``.
    times : tuple of str
        Times of as many real frames (ISO 8601, UTC).
    matched : bool
        Whether the real frames have forecast fluxes in the samples' range.
    note : str
        One sentence about the real frames for people.
    """

    mode: str
    n: int
    samples: tuple[int, ...]
    times: tuple[str, ...]
    matched: bool
    note: str


def choose(
    synthetic: xr.Dataset,
    real: xr.Dataset,
    *,
    mode: str = "single",
    n: int | None = None,
    split: str = "validation",
    matched: bool | None = None,
    seed: int = 0,
) -> Choice:
    """Choose the frames of an experiment, none of them twice.

    Real frames lie apart in time, by two days where there are enough: a Sun that comes back an hour later would give
    itself away, since no sample does.

    Parameters
    ----------
    synthetic : xarray.Dataset
        A synthetic cube, as `sunaug.open_cube` gives it.
    real : xarray.Dataset
        An observed cube.
    mode : {"single", "pair"}
        One frame in each trial, or a real and a synthetic one side by side.
    n : int, optional
        Trials. By default 40, or as many as there are frames for.
    split : {"train", "validation", "test"}
        Of the real frames.
    matched : bool, optional
        Take real frames only whose forecast flux lies in the samples' range. By default where there are enough.
    seed : int
        Of the choice.

    Raises
    ------
    UsageError
        If the cubes are not a synthetic and an observed one, or there are fewer frames than `n` asks for.
    SunaugError
        If a cube has no usable frame.
    """
    if mode not in SIDES:
        raise UsageError(f"unknown mode {mode!r}: choose {' or '.join(MODES)}.")
    if n is not None and n < 1:
        raise UsageError(f"--n {n}: a judge needs one trial at least.")
    made, observed = (str(cube.encoding.get("source", "the cube")) for cube in (synthetic, real))
    if "sample" not in synthetic.dims:
        raise UsageError(f"{made}: is an observed cube; give a synthetic one, made with `sunaug generate`.")
    if "time" not in real.dims:
        raise UsageError(f"{observed}: is a synthetic cube; give an observed one to compare with.")
    samples = synthetic["sample"].values[synthetic["frame_status"].values == FrameStatus.COMPLETE]
    if not len(samples):
        raise SunaugError(f"{made}: no complete sample in it; give the `sunaug generate` command again to finish it.")
    frames = select_split(real, split)
    times = np.asarray(frames["time"].values)
    alike, of = _matched(synthetic, frames)

    per_frame = 2 if mode == "single" else 1
    possible = [per_frame * min(len(samples), int(count)) for count in (alike.sum(), len(times))]
    if matched is None:
        matched = possible[0] >= (n or min(DEFAULT_TRIALS, possible[1]))
    n = n or min(DEFAULT_TRIALS, possible[0 if matched else 1])
    wanted = -(-n // per_frame)
    usable = times[alike] if matched else times
    kind = f"{'matched ' if matched else ''}{split} frames"
    for name, count, what in ((made, len(samples), "samples"), (observed, len(usable), kind)):
        if not wanted or count < wanted:
            way = "give --all, or another cube" if what == kind and matched else "give a smaller --n, or a larger cube"
            raise UsageError(f"{name}: {count:,} {what}, {n} trials need {max(wanted, 1)}; {way}.")

    drawn = np.random.default_rng((seed, 0)).choice(samples, wanted, replace=False)
    taken = _apart(usable, wanted, np.random.default_rng((seed, 1)))
    why = f"with {of}, as the samples" if matched else "of any flux"
    return Choice(
        mode,
        n,
        tuple(sorted(map(int, drawn))),
        tuple(f"{moment.astype('datetime64[s]')}Z" for moment in taken),
        bool(matched),
        f"{wanted} of {len(usable):,} {split} frames {why}",
    )


def _apart(times: NDArray[np.datetime64], wanted: int, random: np.random.Generator) -> NDArray[np.datetime64]:
    """Draw `wanted` of the times, ascending, as far apart as a draw one by one can have them."""
    order = random.permutation(times)
    for hours in _HOURS_APART:
        taken: list[np.datetime64] = []
        for moment in order:
            if all(abs(moment - other) >= np.timedelta64(hours, "h") for other in taken):
                taken.append(moment)
            if len(taken) == wanted:
                return np.sort(np.array(taken))
    return np.sort(order[:wanted])


def _matched(synthetic: xr.Dataset, frames: xr.Dataset) -> tuple[NDArray[np.bool_], str]:
    """Which frames have a forecast flux in the samples' range, and that range in words."""
    complete = synthetic["frame_status"].values == FrameStatus.COMPLETE
    fluxes = np.asarray(synthetic["forecast_flux"].values, np.float64)[complete]
    fluxes = fluxes[np.isfinite(fluxes)]
    real = np.asarray(frames["forecast_flux"].values, np.float64)
    if not len(fluxes):
        return np.zeros(len(real), bool), "a known forecast"
    low, high = float(fluxes.min()), float(fluxes.max())
    # Half an ulp between a catalogue's M1.0 and a generator's must not decide what is matched.
    inside = (real >= low * (1 - 1e-6)) & (real <= high * (1 + 1e-6))
    return inside, f"a forecast of {_class(low)} to {_class(high)}"


def _class(flux: float) -> str:
    return format_goes_class(flux) if flux > 0 else "no flare"


def judge_name(text: str) -> str:
    """A judge's name as it is kept: one line without needless blanks.

    Raises
    ------
    UsageError
        If nothing is left of it, it is longer than 40 characters or holds characters that cannot be seen.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise UsageError("Please enter a name or initials.")
    if len(name) > LONGEST_NAME:
        raise UsageError(f"This name has {len(name)} characters; please take {LONGEST_NAME} at most.")
    if any(unicodedata.category(letter).startswith("C") for letter in name):
        raise UsageError("This name holds characters that cannot be seen; please type it anew.")
    return name


def judge_key(name: str) -> str:
    """What names of one judge have in common: ``anna`` is ``Anna``."""
    return judge_name(name).casefold()


def trials_of(choice: Choice, judge: str, seed: int) -> list[Trial]:
    """The trials of one judge, decided by the choice, the judge's name and the seed.

    In mode ``single`` half of the trials show a real frame (of an odd number, either the smaller or the larger half);
    in mode ``pair`` half of the real frames stand on the left.
    """
    digest = hashlib.sha256(judge_key(judge).encode()).digest()
    random = np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])
    sides = SIDES[choice.mode]
    first = int(random.integers(2))
    order = random.permutation([sides[(number + first) % 2] for number in range(choice.n)])
    samples, times = (random.permutation(np.array(one, dtype=object)) for one in (choice.samples, choice.times))
    trials = []
    left_samples, left_times = iter(samples), iter(times)
    for number, truth in enumerate(map(str, order), 1):
        sample = int(next(left_samples)) if truth != "real" else None
        time = str(next(left_times)) if truth != "synthetic" else None
        trials.append(Trial(number, sample, time, truth))
    return trials
