"""What an ingest is asked for: its options, checked, and the calibration that comes of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sunaug.calibrate.chain import Calibration
from sunaug.cube import SPLIT_MONTHS
from sunaug.cube.encoding import photon_noise_bits
from sunaug.cube.schema import DISK_RADIUS_FRACTION, SUN_RADIUS_1AU_ARCSEC
from sunaug.cube.splits import Splits, check_splits
from sunaug.errors import UsageError
from sunaug.lexicon import CHANNELS, channel_names
from sunaug.storage import local_or_url

if TYPE_CHECKING:
    from sunaug.calibrate.pointing import PointingTable
    from sunaug.calibrate.psf import PsfStore

__all__ = ["IngestOptions", "encoding_step"]

FIELD_ARCSEC = 2457.6
"""Width of SDO's field, 4096 pixels of 0.6 arcsec: that of a frame whose disk keeps its apparent radius."""

LONGEST_TOLERANCE = 86400.0
"""Seconds; within a day the Sun's rotation moves everything on it."""

ROUNDINGS = ("photon", "none")
_TABLES = ("flares", "xrs")
_FILES = ("pointing", "degradation", "psf")


@dataclass(frozen=True)
class IngestOptions:
    """Options of `pipelines.ingest.ingest`.

    Attributes
    ----------
    size : int
        Width and height of a frame in pixels.
    channels : sequence of str, optional
        Channels of the cube, any spelling; by default those that the files have.
    flares : str or pathlib.Path, optional
        Flare catalogue for the labels; without it they are unknown (NaN).
    xrs : str or pathlib.Path, or a sequence of them, optional
        GOES X-ray flux for ``nowcast_flux``; without it the catalogue serves.
    disk_radius : float or "keep", optional
        Radius of the photosphere in pixels, 7/16 of `size` by default; ``keep`` fixes the plate scale instead
        (2457.6 arcsec over the frame's width), so that the Sun keeps its apparent size.
    lenient_quality : bool
        Take frames whose QUALITY spoils them only in part.
    pointing : str or pathlib.Path, optional
        Table of master pointing for AIA level 1, or ``jsoc`` to download one; by default the headers' pointing.
    degradation : str or pathlib.Path, optional
        Folder of degradation tables, or ``aiapy``; without it the intensity is as the instrument saw it.
    psf : str or pathlib.Path, optional
        Folder of point spread functions: deconvolve AIA level 1 with them.
    undo_stretch : bool
        Turn browse images' display counts back into approximate DN/s.
    saturation_mask : bool
        Keep the share of saturated pixels in each pixel's footprint.
    tolerance : float
        Seconds between files of different channels that are one frame. AIA takes its channels in turn within 12 s,
        browse archives within a minute.
    keep_partial : bool
        Keep frames that lack a channel; otherwise they are left out.
    rounding : {"photon", "none"}
        Round the intensity to what photon noise can tell, or keep every bit.
    splits : mapping of str to sequence of int
        Months of the train, validation and test frames.

    Raises
    ------
    UsageError
        If one makes no sense.
    """

    size: int = 256
    channels: Sequence[str] | None = None
    flares: str | Path | None = None
    xrs: str | Path | Sequence[str | Path] | None = None
    disk_radius: float | str | None = None
    lenient_quality: bool = False
    pointing: str | Path | None = None
    degradation: str | Path | None = None
    psf: str | Path | None = None
    undo_stretch: bool = False
    saturation_mask: bool = False
    tolerance: float = 60.0
    keep_partial: bool = True
    rounding: str = "photon"
    splits: Splits = field(default_factory=lambda: SPLIT_MONTHS)

    def __post_init__(self) -> None:
        if self.channels is not None:
            object.__setattr__(self, "channels", channel_names(self.channels))
        for name in (*_TABLES, *_FILES):
            object.__setattr__(self, name, _expanded(getattr(self, name)))
        check_splits(self.splits)
        if self.size < 8:
            raise UsageError(f"a frame of {self.size} pixels holds no Sun; choose a size of 8 or more.")
        if not 0 <= self.tolerance <= LONGEST_TOLERANCE:
            most = f"{LONGEST_TOLERANCE:g}"
            raise UsageError(f"a tolerance of {self.tolerance:g} s: give a number of seconds from 0 to {most}.")
        if self.rounding not in ROUNDINGS:
            raise UsageError(f"rounding {self.rounding!r}: choose {' or '.join(ROUNDINGS)}.")
        try:
            radius = self.radius
        except ValueError:
            raise UsageError(f"disk radius {self.disk_radius!r}: give a number of pixels, or keep.") from None
        if not 0 < radius <= self.size / 2:
            most = f"at most {self.size / 2:g}"
            raise UsageError(f"a disk radius of {radius:g} does not fit a frame of {self.size} pixels; {most}.")

    @classmethod
    def names(cls) -> list[str]:
        """Names of all options."""
        return [one.name for one in fields(cls)]

    @property
    def plate_scale(self) -> float | None:
        """Arcsec per pixel where that is fixed in place of the disk's radius."""
        return FIELD_ARCSEC / self.size if self.disk_radius == "keep" else None

    @property
    def radius(self) -> float:
        """Radius of the photosphere in pixels; that at 1 au where each frame keeps its own."""
        if self.plate_scale is not None:
            return SUN_RADIUS_1AU_ARCSEC / self.plate_scale
        return DISK_RADIUS_FRACTION * self.size if self.disk_radius is None else float(self.disk_radius)

    @property
    def tables(self) -> list[Path]:
        """The files that labels come from."""
        xrs = self.xrs if isinstance(self.xrs, Sequence) and not isinstance(self.xrs, str) else [self.xrs]
        return [Path(one) for one in (self.flares, *xrs) if one]

    def bits(self, intensity_scale: str) -> int | None:
        """Bits of mantissa that the cube keeps; None for all."""
        return photon_noise_bits(self.radius, intensity_scale) if self.rounding == "photon" else None

    def recorded(self, channels: Sequence[str]) -> dict[str, Any]:
        """What decides on a cube's content, as JSON values: frames that are appended must be made with the same."""
        settings: dict[str, Any] = {name: getattr(self, name) for name in self.names() if name not in _TABLES}
        files = {name: None if settings[name] is None else Path(settings[name]).name for name in _FILES}
        splits = {name: list(months) for name, months in self.splits.items()}
        radius = "keep" if self.plate_scale is not None else self.radius
        return settings | files | {"channels": list(channels), "disk_radius": radius, "splits": splits}

    def calibration(
        self, channels: Sequence[str], intensity_scale: str, first: np.datetime64, last: np.datetime64
    ) -> Calibration:
        """The steps for the images of a source.

        Parameters
        ----------
        channels : sequence of str
            Lexicon names.
        intensity_scale : str
            Of the source.
        first, last : numpy.datetime64
            Times of the frames: what a pointing table has to cover.

        Raises
        ------
        UsageError, SunaugError
            If an option does not go with the source, or a table cannot be had.
        """
        if self.undo_stretch:
            _check_stretch(channels, intensity_scale)
        return Calibration(
            size=self.size,
            disk_radius=self.radius if self.plate_scale is None else None,
            plate_scale=self.plate_scale,
            lenient_quality=self.lenient_quality,
            degradation=None if self.degradation is None else _degradation(self.degradation, channels, intensity_scale),
            pointing=None if self.pointing is None else _pointing(self.pointing, first, last),
            psf=None if self.psf is None else _psf(self.psf),
            undo_stretch=self.undo_stretch,
            saturation_mask=self.saturation_mask,
        )


def _expanded(path: Any) -> Any:
    """A path, or a sequence of them, with ``~`` expanded in local ones."""
    if isinstance(path, str | Path):
        return type(path)(str(local_or_url(path)))
    return [_expanded(one) for one in path] if isinstance(path, Sequence) else path


def encoding_step(bits: int | None) -> dict[str, Any]:
    """The rounding of the intensity, as it is written into the cube's attributes."""
    if bits is None:
        return {"step": "encoding", "intensity": "float32, every bit"}
    text = f"float32 rounded to {bits} bits of mantissa"
    return {"step": "encoding", "intensity": text, "largest_relative_error": 2.0 ** -(bits + 1)}


def _check_stretch(channels: Sequence[str], intensity_scale: str) -> None:
    from sunaug.calibrate.stretch import STRETCHES

    if intensity_scale != "browse":
        raise UsageError("only browse images have a display stretch to undo; leave --undo-stretch out.")
    unknown = [name for name in channels if name not in STRETCHES]
    if unknown:
        raise UsageError(f"the display stretch of {', '.join(unknown)} is not known; leave --undo-stretch out.")


def _degradation(tables: str | Path, channels: Sequence[str], intensity_scale: str) -> Path | str:
    from sunaug.calibrate.degradation import read_degradation

    if intensity_scale != "physical":
        raise UsageError("a degradation table corrects DN/s; browse images hold display counts: leave it out.")
    if str(tables) == "aiapy":
        return str(tables)
    path = Path(tables).absolute()
    if not path.is_file():
        for name in channels:
            if not CHANNELS[name].signed:
                read_degradation(path, name)
    return path


def _pointing(table: str | Path, first: np.datetime64, last: np.datetime64) -> PointingTable:
    from sunaug.calibrate.pointing import fetch_pointing, read_pointing

    if str(table) != "jsoc":
        return read_pointing(Path(table))
    cache = Path(os.environ.get("SUNAUG_CACHE") or Path.home() / ".cache" / "sunaug").expanduser()
    return fetch_pointing(first, last, cache)


def _psf(folder: str | Path) -> PsfStore:
    from sunaug.calibrate.psf import PsfStore

    return PsfStore(Path(folder).absolute())
