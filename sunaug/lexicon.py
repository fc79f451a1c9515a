"""Channels under all their names.

Every vendor writes the same channel differently: ``aia193``, ``193A``, ``193 Å``, ``AIA_193``, ``aia_0193``. The
lexicon maps them to one name, and knows for each channel its unit, its clip range and its sunpy colour table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sunaug.errors import UsageError

__all__ = ["CHANNELS", "Channel", "channel", "channel_names"]


@dataclass(frozen=True)
class Channel:
    """One SDO channel.

    Attributes
    ----------
    name : str
        The lexicon name, used in every cube and bundle (``aia193``, ``hmi_m``).
    instrument : str
        ``AIA`` or ``HMI``.
    wavelength : int
        Ångström.
    unit : str
        CF unit of the intensity.
    clip : tuple of float
        Range of quiet-Sun to flare intensities in `unit`, lower and upper. Only a default for intensity scaling and
        pictures: nothing is clipped on the way into a cube.
    colormap : str
        Name of the colour table with matplotlib, where `sunpy.visualization.colormaps` registers those of SDO.
    signed : bool
        True where values below zero mean something (magnetograms, Dopplergrams): never log-scaled, never mirrored.
    """

    name: str
    instrument: str
    wavelength: int
    unit: str
    clip: tuple[float, float]
    colormap: str
    signed: bool = False

    @property
    def label(self) -> str:
        """How the channel is written for people: ``AIA 193 Å``."""
        if self.signed:
            return f"{self.instrument} {self.name.removeprefix('hmi_').upper()}"
        return f"{self.instrument} {self.wavelength} Å"


# Lower limits and the EUV order follow SDOML's log10 clip table; the upper limits are ITI's asinh maxima, because the
# table's own maxima cut flare cores off.
_AIA_CLIP = {
    94: (0.1, 340.0),
    131: (0.7, 1900.0),
    171: (5.0, 8600.0),
    193: (20.0, 9800.0),
    211: (7.0, 5800.0),
    304: (0.1, 8800.0),
    335: (0.4, 1000.0),
    1600: (10.0, 4000.0),
    1700: (220.0, 5000.0),
    4500: (4000.0, 20000.0),
}
_HMI = ("m", "bx", "by", "bz")
# HMI's dynamic range (Schou et al. 2012, Sol. Phys. 275, 229): SDO's orbit shifts the whole disk by up to 3.5 km/s, and
# rotation the limbs by 2 km/s. Positive is away from the observer, so red.
_VELOCITY_CLIP = (-6500.0, 6500.0)

CHANNELS: dict[str, Channel] = {
    f"aia{wavelength}": Channel(f"aia{wavelength}", "AIA", wavelength, "DN s-1", clip, f"sdoaia{wavelength}")
    for wavelength, clip in _AIA_CLIP.items()
} | {
    f"hmi_{component}": Channel(f"hmi_{component}", "HMI", 6173, "gauss", (-3000.0, 3000.0), "hmimag", signed=True)
    for component in _HMI
}
CHANNELS["hmi_v"] = Channel("hmi_v", "HMI", 6173, "m s-1", _VELOCITY_CLIP, "RdBu_r", signed=True)

_AIA_NAME = re.compile(r"^(?:sdo[ _-]*)?(?:aia)?[ _.-]*0*(\d{2,4})[ _-]*(?:å|a|angstroms?)?$")
_HMI_NAME = re.compile(r"^(?:sdo[ _-]*)?hmi[ _.-]*(m|bx|by|bz|v|magnetogram|dopplergram)?$|^(bx|by|bz)$")
_HMI_PRODUCTS = {"magnetogram": "m", "dopplergram": "v"}


def channel(name: str | int | Channel) -> Channel:
    """Look a channel up by any of its names.

    Parameters
    ----------
    name : str, int or Channel
        ``aia193``, ``193``, ``193A``, ``193 Å``, ``AIA_0193``, ``hmi_m``, ``HMI magnetogram`` and their like.

    Raises
    ------
    UsageError
        If no channel has that name.

    Examples
    --------
    >>> channel("AIA 0094").name
    'aia94'
    """
    if isinstance(name, Channel):
        return name
    # U+212B ANGSTROM SIGN and U+00C5 look the same and lower() keeps them apart.
    text = str(name).strip().replace("\u212b", "å").lower()
    if match := _AIA_NAME.match(text):
        found = CHANNELS.get(f"aia{int(match[1])}")
        if found:
            return found
    if match := _HMI_NAME.match(text):
        component = match[1] or match[2] or "m"
        return CHANNELS[f"hmi_{_HMI_PRODUCTS.get(component, component)}"]
    raise UsageError(f"unknown channel {str(name)!r}: sunaug knows {', '.join(CHANNELS)}.")


def channel_names(names: Iterable[str | int | Channel]) -> list[str]:
    """Lexicon names of several channels, in the order given; a repeated one is refused."""
    found = [channel(name).name for name in names]
    if len(set(found)) != len(found):
        raise UsageError(f"channels {', '.join(found)}: one of them is named twice; name each once.")
    return found
