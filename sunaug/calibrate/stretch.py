"""The display stretch of browse images, and its inverse: from 8-bit counts to approximate DN/s.

SDO browse JPEGs show DN/s through one monotonic function per channel, cut off at both ends. Level 0 therefore means
"this or less" and level 255 "this or more": they come back as the ends of the range, and what is saturated is counted
elsewhere, on the levels themselves.

A stretch holds for the browse images that it was measured on. The archive has not always used the same (images of early
2010 are paler), and nothing in a file tells which one made it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sunaug.errors import UsageError
from sunaug.sources import Observation

__all__ = ["NOT_OF_HELIOVIEWER", "STRETCHES", "Stretch", "stretch_step", "undo_stretch"]

TOP_LEVEL = 255.0


@dataclass(frozen=True)
class Stretch:
    """The function from DN/s to display levels of one channel.

    Attributes
    ----------
    function : {"log", "sqrt"}
        Levels are linear in the logarithm or in the square root of the intensity.
    low, high : float
        Intensity at level 0 and at level 255 in DN/s.
    origin : str
        Where the constants come from.
    measured : bool
        False where no browse image was compared with science data: right in order of magnitude at best.
    error : float, optional
        Error of the intensity given back, rms in dex of pixels on the disk with levels between the stops, on images
        that the fit has not seen; NaN where it was not measured.
    """

    function: Literal["log", "sqrt"]
    low: float
    high: float
    origin: str
    measured: bool = False
    error: float = np.nan

    def intensity(self, level: NDArray[Any]) -> NDArray[np.float32]:
        """DN/s of display levels of any shape, 0 to 255; NaN stays NaN."""
        share = np.asarray(level, dtype=np.float32) / np.float32(TOP_LEVEL)
        if self.function == "log":
            return np.float32(self.low) * np.float32(self.high / self.low) ** share
        low, high = np.sqrt([self.low, self.high], dtype=np.float32)
        return (low + share * (high - low)) ** 2


_MEASURED = "measured by benchmarks/browse_stretch.py"
_HELIOVIEWER = (
    "limits of Helioviewer's jp2gen (hvs_version6_aia), which those measured for 193 Å agree with; not compared"
)
_JP2GEN_MEASURED = f"limits of jp2gen, {_MEASURED} as 20.4 to 2553 DN/s on images of January and February 2017"
_SOLARSOFT = "limits of SolarSoft's aia_intscale, as two Python ports of it have them; not compared"


def _solarsoft(function: Literal["log", "sqrt"], low: float, high: float, exposure_time: float) -> Stretch:
    # aia_intscale has its limits in DN of a standard exposure.
    return Stretch(function, low / exposure_time, high / exposure_time, _SOLARSOFT)


STRETCHES: dict[str, Stretch] = {
    "aia94": _solarsoft("sqrt", 1.5, 50.0, 4.99803),
    "aia131": _solarsoft("log", 7.0, 1200.0, 6.99685),
    "aia171": Stretch("sqrt", 0.1, 910.0, f"{_MEASURED} on RGB images of 2012-07-19", measured=True, error=0.13),
    "aia193": Stretch("log", 20.0, 2500.0, _JP2GEN_MEASURED, measured=True, error=0.05),
    "aia211": Stretch("log", 7.0, 1500.0, _HELIOVIEWER),
    "aia304": Stretch("log", 0.8, 250.0, _HELIOVIEWER),
    "aia335": Stretch("log", 0.4, 80.0, _HELIOVIEWER),
}
"""Stretch by channel, in DN/s as observed: nothing is corrected for the loss of sensitivity.

The RGB images (171, 131, 94 Å) show a square root in 171 Å, as aia_intscale does though with limits of its own; the
single-channel ones of 2017 show the logarithm of jp2gen in 193 Å. Channels that could not be compared have the limits
of the routine that their kind of image comes nearest to.
"""


NOT_OF_HELIOVIEWER = frozenset({"aia94", "aia131", "aia171"})
"""Channels that Helioviewer's JPEG 2000 images have in another stretch than browse images (limits of its jp2gen)."""


def undo_stretch(observation: Observation) -> Observation:
    """Approximate DN/s of a browse image.

    Parameters
    ----------
    observation : Observation
        In display counts; one in another unit comes back unchanged.

    Returns
    -------
    Observation
        In DN/s, float32, missing pixels NaN. Level 0 is the lowest intensity that the stretch can show, level 255 the
        highest, a lower bound.

    Raises
    ------
    UsageError
        If the stretch of the channel is not known.
    """
    if observation.unit != "counts":
        return observation
    stretch = STRETCHES.get(observation.channel)
    if stretch is None:
        raise UsageError(
            f"{observation.channel}: the display stretch of its browse images is not known, only those of "
            f"{', '.join(STRETCHES)}; leave the channel out, or keep display counts."
        )
    image = stretch.intensity(observation.image)
    if observation.blank is not None:
        image[observation.image == observation.blank] = np.nan
    saturation_level = float(stretch.intensity(np.asarray(observation.saturation_level)))
    return replace(observation, image=image, unit="DN s-1", blank=None, saturation_level=saturation_level)


def stretch_step() -> dict[str, Any]:
    """The step with its constants, as it is written into a cube's attributes (JSON types only)."""
    return {
        "step": "stretch",
        "inverts": "display stretch of browse images, approximately",
        "channels": {
            name: {
                "function": stretch.function,
                "low": round(stretch.low, 4),
                "high": round(stretch.high, 4),
                "measured": stretch.measured,
                "rms_error_dex": None if np.isnan(stretch.error) else stretch.error,
                "origin": stretch.origin,
            }
            for name, stretch in STRETCHES.items()
        },
    }
