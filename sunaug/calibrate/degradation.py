"""Degradation: the loss of sensitivity since launch, from tables of one factor a day.

Tables are CSV files ``degrad_<wavelength>.csv`` without header, each row a time (ISO) and the factor that the
instrument has kept.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sunaug.errors import SunaugError, UsageError
from sunaug.lexicon import CHANNELS
from sunaug.sources import RejectedFile


@lru_cache(maxsize=32)
def read_degradation(folder: Path, channel: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Times (nanoseconds since 1970) and factors of a channel's table, in order of time.

    Raises
    ------
    UsageError
        If the folder has no table for the channel.
    SunaugError
        If the table cannot be read.
    """
    path = folder / f"degrad_{CHANNELS[channel].wavelength}.csv"
    if not path.exists():
        raise UsageError(f"{path}: no degradation table for {channel}; give a folder that has one for each channel.")
    try:
        table = pd.read_csv(path, header=None, names=["time", "factor"], dtype={"factor": float})
        times = pd.to_datetime(table["time"], format="ISO8601").to_numpy("datetime64[ns]").astype(np.int64)
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise SunaugError(f"{path}: not a degradation table of time and factor ({error}).") from None
    order = np.argsort(times)
    factors = table["factor"].to_numpy()[order]
    if not len(factors) or not (factors > 0).all():
        raise SunaugError(f"{path}: the degradation factors must be above zero.")
    return times[order], factors


def degradation_factor(folder: Path, channel: str, time: np.datetime64) -> float:
    """Share of its sensitivity at launch that a channel has at `time`, linear between the table's days.

    Raises
    ------
    RejectedFile
        If `time` is outside the table.
    """
    times, factors = read_degradation(folder, channel)
    when = time.astype("datetime64[ns]").astype(np.int64)
    if not times[0] <= when <= times[-1]:
        first, last = (str(moment.astype("datetime64[ns]").astype("datetime64[D]")) for moment in times[[0, -1]])
        raise RejectedFile(f"the degradation table of {channel} ends before it: it covers {first} to {last}.")
    return float(np.interp(when, times, factors))


def correct_degradation(image: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Divide an image (y, x) in DN/s by the degradation factor: what the instrument would have seen at launch."""
    return image / np.float32(factor)
