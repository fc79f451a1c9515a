"""What a cube holds: its variables, their dimensions, types, units and CF attributes, and its geometry."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION = "2"
DISK_RADIUS_FRACTION = 7 / 16
"""Default disk radius as a share of the frame's width: the corona to 1.14 solar radii, and a whole number of pixels at
every power-of-two size. All of SDO's browse and science products cover that field."""

SUN_RADIUS_1AU_ARCSEC = 959.63
"""Angular radius of the photosphere at 1 au (IAU 2015 nominal radius): the scale of a cube's x and y."""

INTENSITY_SCALES = ("physical", "browse", "browse-inverted")

SPLIT_NAMES = ("none", "train", "validation", "test")
"""Splits in the order of their numbers in the variable ``split``."""


class FrameStatus(IntEnum):
    """State of a frame (CF flag values of ``frame_status``)."""

    PENDING = 0
    COMPLETE = 1
    PARTIAL = 2
    REJECTED = 3


@dataclass(frozen=True)
class Variable:
    """One variable of the cube: `dims` after the frame dimension, its type, fill value and CF attributes."""

    dims: tuple[str, ...]
    dtype: str
    fill: Any
    attrs: dict[str, Any] = field(default_factory=dict)


_NOT_A_TIME = np.iinfo(np.int64).min

FRAME_VARIABLES: dict[str, Variable] = {
    "intensity": Variable(
        ("channel", "y", "x"),
        "float32",
        np.nan,
        {"long_name": "intensity", "units": "DN s-1", "ancillary_variables": "quality frame_status"},
    ),
    "frame_status": Variable(
        (),
        "int8",
        0,
        {
            "long_name": "state of the frame",
            "flag_values": [int(status) for status in FrameStatus],
            "flag_meanings": " ".join(status.name.lower() for status in FrameStatus),
        },
    ),
    "nowcast_flux": Variable(
        (),
        "float64",
        np.nan,
        {
            "long_name": "peak 1-8 angstrom X-ray flux of the hour before",
            "units": "W m-2",
            "comment": "NaN = unknown, 0 = no flare listed",
        },
    ),
    "forecast_flux": Variable(
        (),
        "float64",
        np.nan,
        {
            "long_name": "peak 1-8 angstrom X-ray flux of the strongest flare starting in the 24 h after",
            "units": "W m-2",
            "comment": "NaN = unknown, 0 = no flare listed",
        },
    ),
}

OBSERVED_VARIABLES: dict[str, Variable] = {
    "exposure_time": Variable(("channel",), "float32", np.nan, {"long_name": "exposure time", "units": "s"}),
    "quality": Variable(("channel",), "int64", 0, {"long_name": "QUALITY keyword of the source file"}),
    "saturated_fraction": Variable(
        ("channel",),
        "float32",
        np.nan,
        {"long_name": "share of the source's pixels that are saturated", "units": "1"},
    ),
    "pixel_area": Variable(
        ("channel",),
        "float32",
        np.nan,
        {
            "long_name": "area of a cube pixel in source pixels",
            "units": "1",
            "comment": "sum(intensity * pixel_area) is the frame's total flux in DN s-1",
        },
    ),
    "disk_radius": Variable(
        ("channel",),
        "float32",
        np.nan,
        {"long_name": "radius of the photosphere in the frame", "units": "pixel"},
    ),
    "degradation_factor": Variable(
        ("channel",),
        "float64",
        np.nan,
        {
            "long_name": "share of the sensitivity at launch, divided out",
            "units": "1",
            "comment": "NaN = intensity is not corrected for degradation",
        },
    ),
    "mean_intensity": Variable(
        ("channel",),
        "float32",
        np.nan,
        {"long_name": "mean intensity of the frame's valid pixels", "comment": "in the units of intensity"},
    ),
    "observed_at": Variable(
        ("channel",),
        "int64",
        _NOT_A_TIME,
        {
            "long_name": "time of observation of the channel",
            "units": "nanoseconds since 1970-01-01",
            "calendar": "proleptic_gregorian",
        },
    ),
    "source": Variable(("channel",), "str", "", {"long_name": "file that the channel came from"}),
    "split": Variable(
        (),
        "int8",
        0,
        {
            "long_name": "time split",
            "flag_values": list(range(len(SPLIT_NAMES))),
            "flag_meanings": " ".join(SPLIT_NAMES),
        },
    ),
}
"""Variables of an observed cube only (dimension ``time``)."""

SATURATED_SHARE: dict[str, Variable] = {
    "saturated_share": Variable(
        ("channel", "y", "x"),
        "float32",
        np.nan,
        {"long_name": "share of the pixel's footprint that is saturated in the source", "units": "1"},
    )
}
"""The mask of saturated pixels: only in a cube that was made with one."""

SYNTHETIC_VARIABLES: dict[str, Variable] = {
    "seed": Variable((), "int64", -1, {"long_name": "seed that the sample was drawn with"}),
    "draw": Variable(
        (),
        "int64",
        -1,
        {"long_name": "number of the draw within the seed: seed, draw and attempt give the latent and the noise"},
    ),
    "attempt": Variable((), "int32", -1, {"long_name": "attempts at this draw that the critic refused before it"}),
    "critic_distance": Variable(
        (),
        "float32",
        np.nan,
        {
            "long_name": "distance to the nearest real frames in the critic's features",
            "units": "1",
            "comment": "only 1 % of unseen real frames lie beyond 1; NaN = no critic was asked",
        },
    ),
    "nowcast_reading": Variable(
        (), "float64", np.nan, {"long_name": "nowcast_flux that the critic reads off the sample", "units": "W m-2"}
    ),
    "forecast_reading": Variable(
        (), "float64", np.nan, {"long_name": "forecast_flux that the critic reads off the sample", "units": "W m-2"}
    ),
    "steering": Variable(
        ("direction",),
        "float32",
        0.0,
        {"long_name": "steps along the bundle's directions in W", "units": "1", "comment": "in standard deviations"},
    ),
}
"""Variables of a synthetic cube only (dimension ``sample``)."""

RECONSTRUCTION_VARIABLES: dict[str, Variable] = {
    "source_time": Variable(
        (),
        "int64",
        _NOT_A_TIME,
        {
            "long_name": "time of the real frame that was reconstructed",
            "units": "nanoseconds since 1970-01-01",
            "calendar": "proleptic_gregorian",
        },
    ),
    "w": Variable(
        ("style", "latent"),
        "float32",
        np.nan,
        {"long_name": "intermediate latent of each layer", "units": "1", "comment": "makes the frame, without noise"},
    ),
    "rms_error": Variable(
        ("channel",),
        "float32",
        np.nan,
        {
            "long_name": "root mean square difference from the real frame, in scaled units",
            "units": "1",
            "comment": "the bundle's scaling has a range of 2; NaN = the real frame lacks the channel",
        },
    ),
    "total_error": Variable(
        ("channel",),
        "float32",
        np.nan,
        {"long_name": "relative error of the total intensity of the real frame's valid pixels", "units": "1"},
    ),
}
"""Variables of a cube of reconstructions, in place of those of a synthetic cube (dimension ``sample``, too)."""


def frame_coordinates(size: int, disk_radius: float) -> NDArray[np.float64]:
    """Helioprojective x (or y) of the pixel centres, in arcsec on a Sun seen from 1 au, shape (size,)."""
    return (np.arange(size, dtype=np.float64) - (size - 1) / 2) * np.float64(SUN_RADIUS_1AU_ARCSEC / disk_radius)


def wcs_keywords(size: int, disk_radius: float) -> dict[str, float | str]:
    """FITS WCS of every frame: helioprojective TAN, north up, centred, scaled to 1 au (FITS pixels count from 1)."""
    scale = SUN_RADIUS_1AU_ARCSEC / disk_radius
    return {
        "CTYPE1": "HPLN-TAN",
        "CTYPE2": "HPLT-TAN",
        "CUNIT1": "arcsec",
        "CUNIT2": "arcsec",
        "CRVAL1": 0.0,
        "CRVAL2": 0.0,
        "CRPIX1": (size + 1) / 2,
        "CRPIX2": (size + 1) / 2,
        "CDELT1": scale,
        "CDELT2": scale,
    }
