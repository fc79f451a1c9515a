"""The QUALITY keyword: which frames are science data.

Bits of AIA (and of all level 1): JSOC's quallev1.h. Those of HMI's observables mean other things: JSOC's
doc/data/hmi/Quality_Bits/QUALITY.txt of 2013-05-24.
"""

from __future__ import annotations

from sunaug.sources import RejectedFile

QUALITY_BITS = {
    3: "no master pointing",
    8: "missing values",
    9: "missing values",
    10: "missing values",
    11: "missing values",
    12: "not science data",
    13: "eclipse",
    14: "no Sun",
    15: "safe mode",
    16: "dark frame",
    17: "image stabilisation open",
    18: "calibration",
    20: "out of focus",
    30: "quicklook",
    31: "image missing",
}
FATAL_BITS = frozenset({12, 13, 14, 15, 16, 18, 20, 31})
"""Bits that no science frame has; the rest only make one less good."""

HMI_QUALITY_BITS = {
    5: "poor quality",
    9: "eclipse",
    10: "cosmic-ray lists missing",
    11: "limb fit discarded",
    12: "gaps not filled",
    31: "no observable",
}
HMI_FATAL_BITS = frozenset({9, *range(22, 32)})
"""An eclipse, or no observable; the bits from 22 up tell why there is none."""


def quality_bits(quality: int) -> list[int]:
    """Numbers of the bits that are set in a QUALITY value (the keyword is a signed 32-bit number in some files)."""
    return [bit for bit in range(32) if (quality & 0xFFFFFFFF) >> bit & 1]


def check_quality(quality: int, *, lenient: bool = False, instrument: str = "AIA") -> None:
    """Refuse frames by their QUALITY.

    Parameters
    ----------
    quality : int
        The QUALITY keyword of the file.
    lenient : bool
        Let bits pass that spoil a frame only in part (missing values, quicklook, stabilisation); by default QUALITY
        must be 0, as in ITI and SDOML-lite.
    instrument : str
        ``AIA`` or ``HMI``.

    Raises
    ------
    RejectedFile
        Naming the bits.
    """
    hmi = instrument == "HMI"
    meanings, fatal = (HMI_QUALITY_BITS, HMI_FATAL_BITS) if hmi else (QUALITY_BITS, FATAL_BITS)
    bad = [bit for bit in quality_bits(quality) if not lenient or bit in fatal]
    if bad:
        names = ", ".join(f"bit {bit}: {meanings.get(bit, 'see JSOC')}" for bit in bad)
        raise RejectedFile(f"QUALITY is {quality} ({names}).")
