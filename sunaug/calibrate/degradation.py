"""Degradation: the loss of sensitivity since launch.

Three kinds of tables: a folder of CSV files ``degrad_<wavelength>.csv`` without header, each row a time (ISO) and the
factor that the instrument has kept; the response table of SolarSoft (``aia_V10_..._response_table.txt``), of which
aiapy makes the factor; and ``aiapy``, which is that table as aiapy downloads it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sunaug.errors import SunaugError, UsageError
from sunaug.lexicon import CHANNELS
from sunaug.sources import RejectedFile

__all__ = ["AIAPY", "correct_degradation", "degradation_factor", "read_degradation"]

AIAPY = "aiapy"
"""In place of tables: the table that aiapy downloads from SolarSoft and keeps."""


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
    import pandas as pd

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


def degradation_factor(tables: Path | str, channel: str, time: np.datetime64) -> float:
    """Share of its sensitivity at launch that a channel has at `time`.

    Parameters
    ----------
    tables : pathlib.Path or str
        A folder of daily tables, read linearly between their days; a response table of SolarSoft; or ``"aiapy"``. With
        the latter two the factor is that of ``aiapy.calibrate.degradation`` at noon of the day.
    channel : str
        Lexicon name.
    time : numpy.datetime64
        UTC.

    Raises
    ------
    RejectedFile
        If `time` is outside the table.
    UsageError
        If the table has no factors for the channel, or aiapy is needed and not installed.
    SunaugError
        If a table cannot be read or downloaded.
    """
    path = Path(tables)
    if str(tables) == AIAPY or path.is_file():
        return _response_factor(str(tables), channel, time.astype("datetime64[D]"))
    times, factors = read_degradation(path, channel)
    when = time.astype("datetime64[ns]").astype(np.int64)
    if not times[0] <= when <= times[-1]:
        first, last = (str(moment.astype("datetime64[ns]").astype("datetime64[D]")) for moment in times[[0, -1]])
        raise RejectedFile(f"the degradation table of {channel} does not reach it: it covers {first} to {last}.")
    return float(np.interp(when, times, factors))


@lru_cache(maxsize=4)
def _response_table(tables: str) -> Any:
    try:
        from aiapy.calibrate import util
    except ImportError:
        try:
            from aiapy.calibrate import utils as util  # its name from aiapy 0.11 on
        except ImportError:
            raise UsageError(
                "the response table is read with aiapy, which is not installed: pip install 'sunaug[aia]', "
                "or give a folder of daily tables with --degradation FOLDER."
            ) from None
    if tables != AIAPY:
        try:
            return util.get_correction_table(Path(tables))
        except Exception as error:  # astropy's readers raise what they like on a file of another kind
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise SunaugError(f"{tables}: not a response table of SolarSoft ({line}).") from None
    try:
        return util.get_correction_table("SSW")
    except Exception:  # parfive, aiohttp and sunpy raise what they like, and tell it in a warning
        raise SunaugError(
            "aiapy could not download the response table from SolarSoft; try again with a network, or give the table, "
            "or a folder of daily tables, with --degradation."
        ) from None


@lru_cache(maxsize=65536)
def _response_factor(tables: str, channel: str, day: np.datetime64) -> float:
    table = _response_table(tables)
    import astropy.units as u
    from aiapy.calibrate import degradation
    from astropy.time import Time

    name = "aiapy's response table" if tables == AIAPY else tables
    known = CHANNELS[channel]
    rows = table[table["WAVELNTH"] == known.wavelength * u.angstrom]
    if known.instrument != "AIA" or not len(rows):
        raise UsageError(f"{name}: no factors for {channel}; leave the channel or the degradation out.")
    noon = Time(f"{day}T12:00:00")
    if not ((rows["T_START"] <= noon) & (noon < rows["T_STOP"])).any():
        raise RejectedFile(f"the response table of {channel} does not reach it.")
    factor = float(degradation(known.wavelength * u.angstrom, noon, correction_table=table)[0])
    if not factor > 0:
        raise SunaugError(f"{name}: the factor of {channel} on {day} is {factor:g}; it must be above zero.")
    return factor


def correct_degradation(image: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Divide an image (y, x) in DN/s by the degradation factor: what the instrument would have seen at launch."""
    return image / np.float32(factor)
