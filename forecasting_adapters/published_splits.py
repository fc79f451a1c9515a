"""How published projects split time into what they train on, validate on and test on.

Each split is a list of rules of dates, read in the project's own code (named beside it). Those that go by folds have a
name for each fold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sunaug.errors import UsageError

__all__ = ["PUBLISHED_SPLITS", "HeldOut", "PublishedSplit", "published_split"]

MONTHS = tuple(range(1, 13))


@dataclass(frozen=True)
class HeldOut:
    """Times that nothing may be trained on.

    Attributes
    ----------
    start, end : str
        Dates, half-open; an empty one is without bound.
    months : tuple of int
        Months within them, 1 to 12; all if left out.
    days : tuple of int
        First and last day of these months.
    """

    start: str = ""
    end: str = ""
    months: tuple[int, ...] = MONTHS
    days: tuple[int, int] = (1, 31)

    def holds(self, times: pd.DatetimeIndex) -> NDArray[np.bool_]:
        """Which of some times it holds out."""
        inside = times.month.isin(self.months) & (times.day >= self.days[0]) & (times.day <= self.days[1])
        if self.start:
            inside &= times >= pd.Timestamp(self.start)
        if self.end:
            inside &= times < pd.Timestamp(self.end)
        return np.asarray(inside, bool)

    @property
    def every_date(self) -> bool:
        """Whether no date from some day on is left."""
        return not self.end and self.months == MONTHS and self.days == (1, 31)

    def __str__(self) -> str:
        months = ", ".join(f"{pd.Timestamp(2000, month, 1):%B}" for month in self.months)
        what = f"the {self.days[0]}th to the {self.days[1]}st of {months}" if self.days != (1, 31) else months
        what = "all times" if self.months == MONTHS and self.days == (1, 31) else what
        last = str(pd.Timestamp(self.end) - pd.Timedelta("1D"))[:10] if self.end else ""
        if self.start and last:
            return f"{what} from {self.start} to {last}"
        if self.start:
            return f"{what} from {self.start} on"
        return f"{what} until {last}" if last else f"{what} of every year"


@dataclass(frozen=True)
class PublishedSplit:
    """What a published project validates and tests on.

    Attributes
    ----------
    title : str
        What messages name.
    validation, test : tuple of HeldOut
    """

    title: str
    validation: tuple[HeldOut, ...] = ()
    test: tuple[HeldOut, ...] = ()

    @property
    def held_out(self) -> tuple[HeldOut, ...]:
        """All that nothing may be trained on."""
        return self.validation + self.test

    def holds(self, times: ArrayLike) -> NDArray[np.bool_]:
        """Which of some times it validates or tests on, shape as `times`."""
        index = pd.DatetimeIndex(np.asarray(times, dtype="datetime64[ns]").reshape(-1))
        inside = np.zeros(len(index), bool)
        for rule in self.held_out:
            inside |= rule.holds(index)
        return inside.reshape(np.shape(times))

    @property
    def no_date_is_safe(self) -> bool:
        """Whether it holds out every date from some day on, so that none to come is left for synthetic frames."""
        return any(rule.every_date for rule in self.held_out)

    @property
    def sentence(self) -> str:
        """What it holds out, in words."""
        parts = [("validates on", self.validation), ("tests on", self.test)]
        return "; ".join(f"{verb} {' and '.join(map(str, rules))}" for verb, rules in parts if rules)


def _months(*months: int) -> tuple[HeldOut, ...]:
    return (HeldOut(months=months),)


def _periods(*periods: tuple[str, str]) -> tuple[HeldOut, ...]:
    """Of first and last day, both held out."""
    return tuple(HeldOut(first, str((pd.Timestamp(last) + pd.Timedelta("1D")).date())) for first, last in periods)


# get_args of ml/src: FOLD_PERIODS. All validate on the second half of 2011 as well.
_FLAREBENCH = {
    1: (("2019-06-01", "2019-11-30"), ("2019-12-01", "2021-11-30")),
    2: (("2019-12-01", "2020-05-31"), ("2020-06-01", "2022-05-31")),
    3: (("2020-06-01", "2020-11-30"), ("2020-12-01", "2022-11-30")),
    4: (("2020-12-01", "2021-05-31"), ("2021-06-01", "2023-05-31")),
    5: (("2021-06-01", "2021-11-30"), ("2021-12-01", "2023-11-30")),
    6: (("2021-12-01", "2022-05-30"), ("2025-03-01", "2026-03-31")),
}
_BEFORE = ("2011-06-01", "2011-11-30")

PUBLISHED_SPLITS: dict[str, PublishedSplit] = {
    # assign_split in flare/flare_split.py; Surya's downstream task takes its tables. What it calls leaky validation
    # (the first half of January and of February) is meant to leak, and is not held out here.
    "suryabench": PublishedSplit(
        "SuryaBench and Surya",
        validation=(HeldOut("2011-01-01", "2020-01-01", months=(1,), days=(15, 31)),),
        test=(HeldOut("2020-01-01"),),
    ),
    # Defaults of SDOMLDataModule in sdofm/datasets/SDOML.py.
    "sdofm": PublishedSplit("SDO-FM", validation=_months(10, 1), test=_months(11, 12)),
    # configs/pretrain/*.yaml. Its downstream tasks hold out other months each: give their times.
    "sdofmv2": PublishedSplit("sdofmv2 (pre-training)", validation=_months(11), test=_months(12)),
    **{
        f"flarebench-{fold}": PublishedSplit(
            f"FlareBench's fold {fold}", validation=_periods(_BEFORE, validation), test=_periods(test)
        )
        for fold, (validation, test) in _FLAREBENCH.items()
    },
    # All folds at once: what some fold validates or tests on.
    "flarebench": PublishedSplit(
        "FlareBench (all folds)",
        validation=_periods(_BEFORE, *(validation for validation, _ in _FLAREBENCH.values())),
        test=_periods(*(test for _, test in _FLAREBENCH.values())),
    ),
    # create_CVDataset in data_labeling/labeling.py: a quarter of every year, of hours from December 2010 to 2018.
    **{
        f"pandey-{fold}": PublishedSplit(
            f"Pandey's fold {fold}",
            validation=(HeldOut("2010-12-01", "2019-01-01", months=tuple(range(3 * fold - 2, 3 * fold + 1))),),
        )
        for fold in (1, 2, 3, 4)
    },
}
"""Published splits by name; see `forecasting_adapters.leakage.check_leakage`."""


def published_split(name: str) -> PublishedSplit:
    """A published split by its name.

    Raises
    ------
    UsageError
        If there is no such split.
    """
    if name not in PUBLISHED_SPLITS:
        raise UsageError(f"unknown published split {name!r}: choose one of {', '.join(PUBLISHED_SPLITS)}.")
    return PUBLISHED_SPLITS[name]


def safe_splits() -> Iterable[PublishedSplit]:
    """Splits that leave some date to come for synthetic frames."""
    return (split for split in PUBLISHED_SPLITS.values() if not split.no_date_is_safe)
