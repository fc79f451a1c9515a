"""Pointing: the master pointing of AIA, fitted to the limb every three hours, in place of what a level-1 header says.

A header keeps the pointing that was known when the file was written; JSOC's series ``aia.master_pointing3h`` holds what
is known now (for each channel the disk's centre, the plate scale and the roll of the instrument). Level 1.5 images were
registered with it already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sunaug.errors import SunaugError, UsageError
from sunaug.lexicon import CHANNELS
from sunaug.sources import DiskGeometry, Observation, RejectedFile

__all__ = ["PointingTable", "fetch_pointing", "read_pointing", "update_pointing"]

DETECTOR_SHAPE = (4096, 4096)
ROLLED_DEGREES = 0.1
"""A header that is rolled further than this from the instrument tells of a rolled spacecraft. On its ordinary days the
spacecraft keeps to 0.0003 degrees, and an instrument's own roll moved by 0.002 from 2012 to 2017 (headers of 193 Å)."""


@dataclass(frozen=True, eq=False)
class PointingTable:
    """Master pointing of n time spans for w channels.

    Attributes
    ----------
    start, stop : ndarray of datetime64[ns], shape (n,)
        A row holds from `start` until before `stop`, UTC, in order of time.
    wavelengths : tuple of int
        Ångström.
    x0, y0 : ndarray, shape (n, w)
        Centre of the disk in pixels of the 4096 x 4096 detector; the first pixel's centre is at 0. NaN where missing,
        as in all that follow.
    imscale : ndarray, shape (n, w)
        Plate scale in arcsec per pixel.
    instrot : ndarray, shape (n, w)
        Roll of the instrument against the spacecraft in degrees.
    sat_rot : ndarray, shape (n, w)
        Roll of the spacecraft in degrees; JSOC's series does not hold it.
    date : str
        When the table was obtained, ISO; empty where unknown.
    source : str
    """

    start: NDArray[np.datetime64]
    stop: NDArray[np.datetime64]
    wavelengths: tuple[int, ...]
    x0: NDArray[np.float64]
    y0: NDArray[np.float64]
    imscale: NDArray[np.float64]
    instrot: NDArray[np.float64]
    sat_rot: NDArray[np.float64]
    date: str
    source: str


def _times(column: Any) -> NDArray[np.datetime64]:
    texts = [str(text).strip().removesuffix("Z") for text in getattr(column, "isot", column)]
    return np.array(texts, dtype="datetime64[ns]")


def _numbers(table: Any, name: str) -> NDArray[np.float64]:
    if name not in table.colnames:
        return np.full(len(table), np.nan)

    def number(value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            return np.nan  # JSOC writes MISSING

    # A column with a unit gives quantities, which are no plain numbers.
    values = getattr(table[name], "value", table[name])
    return np.array([number(value) for value in np.ma.filled(values, np.nan)])


def read_pointing(path: Path) -> PointingTable:
    """Read a pointing table from a file.

    Parameters
    ----------
    path : pathlib.Path
        ECSV or CSV with the columns of JSOC's ``aia.master_pointing3h``: ``T_START``, ``T_STOP``, ``A_171_X0``,
        ``A_171_Y0``, ``A_171_IMSCALE``, ``A_171_INSTROT`` and those of other channels, as `fetch_pointing` keeps it or
        ``aiapy.calibrate.util.get_pointing_table("lmsal").write(path)`` writes it. Other columns are passed over.

    Raises
    ------
    UsageError
        If there is no such file.
    SunaugError
        If it is no pointing table.
    """
    from astropy.table import Table

    if not path.is_file():
        raise UsageError(f"{path}: no such file; give a pointing table as ECSV or CSV.")
    try:
        text = path.read_text()
        table = Table.read(text, format="ascii.ecsv" if text.startswith("# %ECSV") else "ascii.csv")
        start, stop = _times(table["T_START"]), _times(table["T_STOP"])
    except Exception as error:  # astropy's readers raise what they like on a file of another kind
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise SunaugError(
            f"{path}: not a pointing table with T_START and T_STOP ({line}); save the master pointing as ECSV or CSV."
        ) from None
    present = {
        name.removeprefix("A_").removesuffix("_X0")
        for name in table.colnames
        if name.startswith("A_") and name.endswith("_X0")
    }
    digits = sorted((name for name in present if name.isdigit()), key=int)
    if not digits or not len(table):
        raise SunaugError(f"{path}: the pointing table is empty or has no column such as A_171_X0; download it again.")
    order = np.argsort(start, kind="stable")
    x0, y0, imscale, instrot, sat_rot = (
        np.stack([_numbers(table, f"A_{wavelength}_{parameter}") for wavelength in digits], axis=1)[order]
        for parameter in ("X0", "Y0", "IMSCALE", "INSTROT", "SAT_ROT")
    )
    return PointingTable(
        start=start[order],
        stop=stop[order],
        wavelengths=tuple(map(int, digits)),
        x0=x0,
        y0=y0,
        imscale=imscale,
        instrot=instrot,
        sat_rot=sat_rot,
        date=str(table.meta.get("obtained", "")),
        source=str(table.meta.get("source", path.name)),
    )


def fetch_pointing(start: np.datetime64, end: np.datetime64, cache: Path) -> PointingTable:
    """Get the master pointing of a time range from JSOC, or from the cache where it was got before.

    Parameters
    ----------
    start, end : numpy.datetime64
        First and last time of observation, UTC.
    cache : pathlib.Path
        Folder of tables, one file per download, named by first day, last day and the day of the download. A table that
        covers the range and was obtained after it is read again and keeps its date; delete it to have it fetched anew.

    Raises
    ------
    UsageError
        If aiapy is not installed.
    SunaugError
        If JSOC cannot be reached or has no pointing for the range.
    """
    first, last = start.astype("datetime64[D]") - 1, end.astype("datetime64[D]") + 1
    for path in sorted(cache.glob("aia-pointing_*.ecsv"), reverse=True):
        try:
            days = [np.datetime64(day, "D") for day in path.stem.removeprefix("aia-pointing_").split("_")]
            since, until, obtained = days
        except ValueError:
            continue  # named by someone else
        if since <= first and until >= last and obtained >= last:
            return read_pointing(path)
    try:
        from aiapy.calibrate import util as tables
    except ImportError:
        try:
            from aiapy.calibrate import utils as tables  # its name from aiapy 0.11 on
        except ImportError:
            raise UsageError(
                "the master pointing is fetched with aiapy, which is not installed: pip install 'sunaug[aia]', "
                "or give a table with --pointing FILE."
            ) from None
    from astropy.table import Table
    from astropy.time import Time

    try:
        found = tables.get_pointing_table("JSOC", time_range=(Time(str(first)), Time(str(last))))
    except Exception as error:  # drms, urllib and pandas raise what they like on a bad answer
        reason = (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0]
        raise SunaugError(
            f"the master pointing of {first} to {last} could not be fetched from JSOC ({reason}); try again later, "
            "or give a table with --pointing FILE."
        ) from None
    plain = Table(
        {
            name: found[name].isot if name in ("T_START", "T_STOP") else _numbers(found, name)
            for name in found.colnames
            if name in ("T_START", "T_STOP") or name.startswith("A_")
        }
    )
    today = str(np.datetime64("now", "D"))
    plain.meta = {"source": "JSOC aia.master_pointing3h", "obtained": today}
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"aia-pointing_{first}_{last}_{today}.ecsv"
    partial = path.with_suffix(".partial")
    plain.write(partial, format="ascii.ecsv", overwrite=True)
    partial.replace(path)
    return read_pointing(path)


def update_pointing(observation: Observation, table: PointingTable) -> Observation:
    """Give an AIA level-1 image the pointing of a table; every other image comes back unchanged.

    Equals ``aiapy.calibrate.update_pointing``: a row holds for ``T_START <= T_OBS < T_STOP``, the centre is X0 and Y0
    counted from 0 (CRPIX = X0 + 1), the roll INSTROT + SAT_ROT (AIA-SDO FITS Keyword Document, AIA02840, section 2.2),
    and a missing value leaves the header's. JSOC's table lacks SAT_ROT, which is the header's then. Where that has none
    it is 0, and where the header is rolled by more than `ROLLED_DEGREES` from INSTROT, as in calibration manoeuvres,
    the difference.

    Parameters
    ----------
    observation : Observation
        Images of other than 4096 x 4096 pixels are left alone, as the table counts in pixels of the detector, and
        whether a smaller one is binned or cut out is not known.
    table : PointingTable

    Raises
    ------
    RejectedFile
        If the time of observation lies outside the table or in a gap of it.
    UsageError
        If the table lacks the channel.
    """
    channel = CHANNELS[observation.channel]
    if observation.level != 1 or channel.instrument != "AIA" or observation.image.shape != DETECTOR_SHAPE:
        return observation
    if channel.wavelength not in table.wavelengths:
        raise UsageError(f"{table.source}: the pointing table has no columns for {channel.label}; give one that has.")
    held = (table.start <= observation.time) & (observation.time < table.stop)
    if not held.any():
        first, last = table.start[0].astype("datetime64[m]"), table.stop.max().astype("datetime64[m]")
        raise RejectedFile(f"the pointing table has no row for its time: it covers {first} to {last}.")
    place = int(held.argmax()), table.wavelengths.index(channel.wavelength)

    def known(value: float, otherwise: float) -> float:
        return float(value) if np.isfinite(value) else otherwise

    old = observation.geometry
    centre = known(table.x0[place], old.centre[0]), known(table.y0[place], old.centre[1])
    radius = known(observation.sun_radius / table.imscale[place], old.radius)
    header_roll = float(np.rad2deg(np.arctan2(old.to_pixels[0, 1], old.to_pixels[0, 0])))
    away = (header_roll - table.instrot[place] + 180) % 360 - 180
    otherwise = known(observation.satellite_roll, away if abs(away) > ROLLED_DEGREES else 0.0)
    sat_rot = known(table.sat_rot[place], otherwise)
    roll = np.deg2rad(known(table.instrot[place] + sat_rot, header_roll))
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return replace(observation, geometry=DiskGeometry(centre, turn * radius))
