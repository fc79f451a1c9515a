"""Synthetic samples as FITS files, one per channel, for whoever reads images with sunpy, ds9 or IDL.

The image is float32 in the primary HDU, as it is in the cube. Lossless tile compression (GZIP_2) makes such a file 15 %
smaller at ten times the writing time, and puts the image where old readers do not look for it.

The header holds the geometry of the cube's frames (helioprojective, seen from the Earth's direction at 1 au) and all
that a sample can be made again from; `read_provenance` gives it back, bit by bit. ``SYNTHET = T`` marks the file, and
neither TELESCOP nor INSTRUME names an observatory, so that nothing takes it for an observation.

A sample was observed at no time, yet FITS readers ask for one. DATE-OBS is `NOMINAL_DATE`, before SDO, and
DATENOM = T says that it is nominal: a real time would be that of another Sun, and one of those that the generator was
trained on would take the sample for a frame of that day. The files hold no date of writing, so that the same sample
gives the same bytes.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from upath import UPath

import sunaug
from sunaug.cube.schema import INTENSITY_SCALES, SUN_RADIUS_1AU_ARCSEC, wcs_keywords
from sunaug.cube.time_ranges import parse_ranges
from sunaug.errors import SunaugError
from sunaug.lexicon import channel
from sunaug.storage import is_remote, location, reachable, replace_object

__all__ = ["NOMINAL_DATE", "SyntheticSample", "file_name", "read_provenance", "write_sample"]

ASTRONOMICAL_UNIT = 149_597_870_700.0
"""Metres (IAU 2012 Resolution B2)."""

NOMINAL_DATE = "2009-02-01T00:00:00"
"""A year before SDO was launched, so that no observation has it; no published split holds it out. A year to come would
have every reader warn that UTC is not known yet."""

HASH_KIND = "sha256:"
BLOCK = 2880
CARD = 80

# As FITS spells them and sunpy parses them; display values have no unit.
_UNITS = {"DN s-1": "DN/s", "gauss": "G", "m s-1": "m/s"}

_FULL = (errno.ENOSPC, errno.EDQUOT)

_WCS_COMMENTS = {
    "CTYPE1": "helioprojective longitude, gnomonic",
    "CTYPE2": "helioprojective latitude, gnomonic",
    "CUNIT1": "unit of axis 1",
    "CUNIT2": "unit of axis 2",
    "CRVAL1": "[arcsec] centre of the Sun",
    "CRVAL2": "[arcsec] centre of the Sun",
    "CRPIX1": "pixel of the Sun's centre, from 1",
    "CRPIX2": "pixel of the Sun's centre, row 1 south",
    "CDELT1": "[arcsec] per pixel, on a Sun at 1 au",
    "CDELT2": "[arcsec] per pixel, on a Sun at 1 au",
}

# Attribute of the sample, its keyword and comment; the numbered ones (ranges, steering) come on top.
_PROVENANCE = (
    ("number", "SAMPLE", "number of the sample in its cube"),
    ("intensity_scale", "INTSCALE", "physical, or display values (browse)"),
    ("disk_radius", "DISKRAD", "[pixel] radius of the photosphere"),
    ("bundle_name", "BUNDLE", "name of the generator bundle"),
    ("bundle_hash", "BUNDHASH", "hash of the generator bundle"),
    ("seed", "SEED", "seed of the request"),
    ("draw", "DRAW", "number of the draw within the seed"),
    ("attempt", "ATTEMPT", "number of the attempt at the draw"),
    ("nowcast_flux", "NOWFLUX", "[W m-2] peak of the hour before"),
    ("forecast_flux", "FORFLUX", "[W m-2] peak of the 24 h after"),
    ("truncation", "TRUNC", "truncation psi; no value: none"),
    ("rare", "RARE", "drawn from the rare tail"),
    ("min_class", "MINCLASS", "weakest GOES class asked for"),
    ("label", "LABEL", "the label that MINCLASS speaks of"),
    ("gate", "GATE", "verdict of the fidelity gate"),
    ("sunaug_version", "SUNAUGV", "version of sunaug that made the sample"),
)
_OPTIONAL = {"nowcast_flux": math.nan, "forecast_flux": math.nan, "truncation": None, "min_class": None, "label": None}
"""What is unknown or was not asked for: the keyword has no value then."""

_Value = str | bool | int | float | np.generic | None


@dataclass(frozen=True)
class SyntheticSample:
    """One sample and where it comes from.

    Attributes
    ----------
    number : int
        Number of the sample in its cube; it names the files.
    intensity : ndarray, shape (channel, y, x)
        float32, in the cube's units, south first.
    channels : sequence of str
        Lexicon names.
    intensity_scale : str
        That of the cube: ``physical`` or ``browse``.
    disk_radius : float
        Radius of the photosphere in pixels.
    bundle_name, bundle_hash : str
    training_ranges : sequence of (start, end)
        Times that the generator was trained on, ISO 8601, UTC, half-open.
    seed, draw, attempt : int
        What the random numbers of the sample follow from.
    nowcast_flux, forecast_flux : float
        W m-2; NaN = unknown.
    steering : mapping of str to float
        Steps along each direction of the bundle, in standard deviations.
    truncation : float, optional
        Truncation psi; None where none was asked for.
    rare : bool
    min_class, label : str, optional
        Of a rare sample: the weakest GOES class and the label that it speaks of.
    gate : str
        The verdict of the fidelity gate.
    sunaug_version : str
        Version that made the sample.
    """

    number: int
    intensity: NDArray[np.float32] = field(repr=False)
    channels: Sequence[str]
    intensity_scale: str
    disk_radius: float
    bundle_name: str
    bundle_hash: str
    training_ranges: Sequence[Sequence[str]]
    seed: int
    draw: int
    attempt: int = 0
    nowcast_flux: float = math.nan
    forecast_flux: float = math.nan
    steering: Mapping[str, float] = field(default_factory=dict)
    truncation: float | None = None
    rare: bool = False
    min_class: str | None = None
    label: str | None = None
    gate: str = "unjudged"
    sunaug_version: str = sunaug.__version__

    def __post_init__(self) -> None:
        shape = np.shape(self.intensity)
        if len(shape) != 3 or shape[0] != len(self.channels) or shape[1] != shape[2]:
            raise SunaugError(
                f"sample {self.number}: an intensity of shape {shape} for {len(self.channels)} channels; "
                "give (channel, y, x), square."
            )
        if self.intensity_scale not in INTENSITY_SCALES:
            raise SunaugError(
                f"sample {self.number}: intensity scale {self.intensity_scale!r}; choose {', '.join(INTENSITY_SCALES)}."
            )
        if not (math.isfinite(self.disk_radius) and self.disk_radius > 0):
            raise SunaugError(f"sample {self.number}: a disk radius of {self.disk_radius} pixels; give one above 0.")


def file_name(number: int, channel_name: str) -> str:
    """Name of the file of one channel of a sample: ``sample-0000012_aia171.fits``."""
    return f"sample-{number:07d}_{channel_name}.fits"


def _number_text(keyword: str, value: float) -> str:
    """A float in full: astropy cuts what is longer than 20 characters, so that its last bits would be lost."""
    if math.isinf(value):
        raise SunaugError(f"{keyword}: {value} cannot be written to a FITS header; give a finite number.")
    if math.isnan(value):
        return ""
    mantissa, *exponent = repr(float(value)).split("e")
    return "E".join([mantissa if "." in mantissa else f"{mantissa}.0", *exponent])


def _escape(text: str) -> str:
    """Text as a FITS string holds it: ASCII, no quote that a CONTINUE could cut in two, no blanks at the end."""
    escaped = text.encode("unicode_escape").decode("ascii").replace("'", r"\x27").replace("&", r"\x26")
    kept = escaped.rstrip(" ")
    return kept + r"\x20" * (len(escaped) - len(kept))


def _unescape(text: str) -> str:
    return text.encode("ascii").decode("unicode_escape")


def _card(keyword: str, value: _Value, comment: str) -> str:
    """A header card, or several for long text (CONTINUE, FITS 4.0 section 4.2.1.2); None and NaN have no value."""
    if len(keyword) > 8:
        raise SunaugError(f"{keyword}: more of them than FITS keywords can number; write the sample to a cube.")
    plain = value.item() if isinstance(value, np.generic) else value  # a cube's variables are of numpy's types
    if isinstance(plain, str):
        escaped = _escape(plain)
        quoted = f"'{escaped:8}'"
        if len(f"{quoted:20}") + len(comment) + 13 <= CARD:
            return f"{keyword:8}= {quoted:20} / {comment}".ljust(CARD)
        pieces = [escaped[first : first + 67] for first in range(0, len(escaped), 67)]
        if len(pieces) == 1 or len(pieces[-1]) + len(comment) + 15 > CARD:
            pieces.append("")  # the last card has to hold the comment as well
        cards = [f"{keyword:8}= '{pieces[0]}&'", *(f"CONTINUE  '{one}&'" for one in pieces[1:-1])]
        return "".join(one.ljust(CARD) for one in [*cards, f"CONTINUE  '{pieces[-1]}' / {comment}"])
    if isinstance(plain, bool):
        text = "T" if plain else "F"
    elif plain is None:
        text = ""
    else:
        text = str(plain) if isinstance(plain, int) else _number_text(keyword, plain)
    return f"{keyword:8}= {text:>20} / {comment}".ljust(CARD)


def _written(name: str, value: _Value) -> _Value:
    # With its kind before it the hash is too long for one card. Alone it would just fill one, and astropy drops the
    # comment of such a card, with a warning, when somebody saves the file again.
    return f"{HASH_KIND}{value}" if name == "bundle_hash" else value


def _check_ranges(sample: SyntheticSample) -> None:
    """Refuse a sample that does not say what its generator was trained on."""
    if not sample.training_ranges:
        raise SunaugError(
            f"sample {sample.number}: its bundle {sample.bundle_name} does not say what it was trained on "
            "(training_ranges), and no FITS file is written without; take a bundle that does."
        )
    try:
        parse_ranges(sample.training_ranges)
    except SunaugError as error:
        raise SunaugError(f"sample {sample.number}: {error}") from error


def _common_cards(sample: SyntheticSample) -> str:
    """All cards that do not depend on the channel."""
    _check_ranges(sample)
    sun_radius = ASTRONOMICAL_UNIT * math.sin(math.radians(SUN_RADIUS_1AU_ARCSEC / 3600))
    wcs = wcs_keywords(np.shape(sample.intensity)[-1], sample.disk_radius)
    cards: list[tuple[str, _Value, str]] = [
        ("SYNTHET", True, "made by a generator, not an observation"),
        ("ORIGIN", "sunaug", "software that wrote the file"),
        ("TELESCOP", "sunaug", "no telescope: a synthetic image"),
        ("INSTRUME", "sunaug generator", "no instrument: a synthetic image"),
        ("DATE-OBS", NOMINAL_DATE, "nominal: no time of observation"),
        ("DATENOM", True, "DATE-OBS is nominal, nothing was observed"),
        ("TIMESYS", "UTC", "scale of all times"),
        ("WCSAXES", 2, "number of axes"),
        *((keyword, value, _WCS_COMMENTS[keyword]) for keyword, value in wcs.items()),
        ("RSUN_OBS", SUN_RADIUS_1AU_ARCSEC, "[arcsec] radius of the photosphere"),
        ("RSUN_REF", sun_radius, "[m] radius that is RSUN_OBS at DSUN_OBS"),
        ("DSUN_OBS", ASTRONOMICAL_UNIT, "[m] nominal: 1 au"),
        ("HGLN_OBS", 0.0, "[deg] nominal: from the Earth"),
        ("HGLT_OBS", 0.0, "[deg] nominal: no B0 angle"),
        *((keyword, _written(name, getattr(sample, name)), comment) for name, keyword, comment in _PROVENANCE),
    ]
    for number, (name, steps) in enumerate(sample.steering.items(), 1):
        cards.append((f"STDIR{number}", name, "direction that was steered along"))
        cards.append((f"STEP{number}", float(steps), "[sigma] steps along it"))
    for number, (start, end) in enumerate(sample.training_ranges, 1):
        cards.append((f"TBEG{number}", start, "generator trained on times from here"))
        cards.append((f"TEND{number}", end, "up to here, not included"))
    return "".join(_card(*one) for one in cards)


def _file_content(image: NDArray[np.float32], name: str, common: str, *, physical: bool) -> bytes:
    known = channel(name)
    height, width = image.shape
    cards: list[tuple[str, _Value, str]] = [
        ("SIMPLE", True, "conforms to the FITS standard"),
        ("BITPIX", -32, "float32"),
        ("NAXIS", 2, "number of axes"),
        ("NAXIS1", width, "pixels from east to west"),
        ("NAXIS2", height, "pixels from south to north"),
        ("CHANNEL", known.name, "channel of SDO that the generator learnt"),
        ("WAVELNTH", known.wavelength, "[angstrom] of that channel"),
        ("WAVEUNIT", "angstrom", "unit of WAVELNTH"),
    ]
    if physical:
        cards.append(("BUNIT", _UNITS[known.unit], "unit of the image"))
    header = ("".join(_card(*one) for one in cards) + common + "END").encode("ascii")
    data = image.astype(">f4").tobytes()
    return header + b" " * (-len(header) % BLOCK) + data + b"\0" * (-len(data) % BLOCK)


def write_sample(folder: str | Path | UPath, sample: SyntheticSample) -> list[UPath]:
    """Write a sample as FITS files, one per channel; files of the same names are replaced.

    Each file is written under another name (``.partial``) and renamed when it is whole, so that a writer which is
    killed leaves no half file; `sunaug.storage.remove_partial` clears away what it left.

    Parameters
    ----------
    folder : str or path
        Made where it does not exist; a local folder or an fsspec URL.
    sample : SyntheticSample

    Returns
    -------
    list of UPath
        The files, in the order of the channels.

    Raises
    ------
    SunaugError
        If the sample does not say what its generator was trained on, or the disk is full.
    """
    common, physical = _common_cards(sample), sample.intensity_scale == "physical"
    place = location(folder)
    paths = []
    try:
        if not is_remote(place):
            place.mkdir(parents=True, exist_ok=True)
        for name, image in zip(sample.channels, np.asarray(sample.intensity, np.float32), strict=True):
            path = place / file_name(sample.number, channel(name).name)
            with reachable(path):
                replace_object(path, _file_content(image, name, common, physical=physical))
            paths.append(path)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise SunaugError(
            f"{folder}: the disk is full, sample {sample.number} could not be written; free space and give the same "
            "command again."
        ) from None
    return paths


def _numbered(header: fits.Header, keyword: str) -> Iterator[Any]:
    number = 1
    while f"{keyword}{number}" in header:
        yield header[f"{keyword}{number}"]
        number += 1


def _synthetic_header(path: UPath) -> fits.Header:
    try:
        # In any unit, so that a file which somebody has compressed since (fpack, gzip) is read as well.
        with path.open("rb") as file, fits.open(file, memmap=False, lazy_load_hdus=True) as units:
            for unit in units:
                if unit.header.get("SYNTHET"):
                    return unit.header.copy()
    except (OSError, fits.VerifyError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk; errors of damaged content have no number
        raise SunaugError(f"{path}: not a FITS file, or a damaged one ({error}); export it again.") from None
    raise SunaugError(f"{path}: not a synthetic image of sunaug (no SYNTHET = T); nothing is known of its origin.")


def read_provenance(path: str | Path | UPath) -> dict[str, Any]:
    """Where the image of a file comes from, from a file that `write_sample` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dict
        ``channel``, and every attribute of `SyntheticSample` but the images: numbers to the last bit, ``steering`` as
        a dict, ``training_ranges`` as a list of [start, end].

    Raises
    ------
    SunaugError
        If it is no FITS file of a synthetic sample, or a keyword is missing.
    """
    header = _synthetic_header(location(path))
    found: dict[str, Any] = {}
    for name, keyword, _ in (("channel", "CHANNEL", ""), *_PROVENANCE):
        value = header.get(keyword)
        if value is None or isinstance(value, fits.card.Undefined):
            if name not in _OPTIONAL:
                raise SunaugError(f"{path}: the header has lost its {keyword}; export the sample again.")
            value = _OPTIONAL[name]
        found[name] = _unescape(value) if isinstance(value, str) else value
    found["bundle_hash"] = found["bundle_hash"].removeprefix(HASH_KIND)
    steps = zip(_numbered(header, "STDIR"), _numbered(header, "STEP"), strict=True)
    found["steering"] = {_unescape(name): value for name, value in steps}
    ranges = zip(_numbered(header, "TBEG"), _numbered(header, "TEND"), strict=True)
    found["training_ranges"] = [[_unescape(start), _unescape(end)] for start, end in ranges]
    return found
