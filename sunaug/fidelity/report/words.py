"""Measures in words: what they are called, how they are defined, and how their figures are written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from sunaug.lexicon import CHANNELS, channel

__all__ = ["DEFINITIONS", "HEADINGS", "SOURCES", "Definition", "label", "number", "signed"]

_NAMES = {
    "frechet": "Fréchet distance",
    "kid": "Kernel distance (KID)",
    "copies pixels": "Copies, in pixels",
    "copies features": "Copies, in features",
    "membership": "Membership (area under the ROC)",
    "obeys nowcast_flux": "Obeys its nowcast flux",
    "obeys forecast_flux": "Obeys its forecast flux",
    "obeys class": "Obeys its class",
    "reading nowcast_flux": "Nowcast flux that is read off",
    "reading forecast_flux": "Forecast flux that is read off",
    "reading class": "Class that is read off",
    "spread": "Spread within the set",
    "total": "Total intensity",
    "peak": "Brightest 0.1 % of the disk",
    "quiet_level": "Level of the quiet disk",
    "intensity": "Intensity histogram",
    "power_spectrum": "Power spectrum, disk",
    "power_spectrum_centre": "Power spectrum, centre",
    "power_spectrum_middle": "Power spectrum, middle",
    "power_spectrum_rim": "Power spectrum, rim",
    "spectral_slope": "Slope of the spectrum",
    "corner_structure": "Structure finer than a pixel",
    "stripes": "Stripes of upsampling",
    "straight_edges": "Straight edges",
    "straight_edges_across": "Straight edges across the frame",
    "checkerboard": "Checkerboard of upsampling",
    "off_limb_fall": "Fall of the corona",
    "profile": "Centre-to-limb profile",
    "joint": "Joint histogram",
    "conditional_mean": "Conditional mean",
    "hot_to_cool": "Hot over cool emission",
    "energy_budget": "Energy budget",
    "energy_budget_peak": "Energy budget of the peak",
    "region_number": "Number of regions",
    "region_area": "Area of regions",
    "region_largest": "Largest region",
    "region_latitude": "Latitude of regions",
    "region_latitude_spread": "Spread of latitudes",
    "region_longitude": "Longitude of regions",
    "region_belts": "Area over latitude",
    "region_meridians": "Area over longitude",
    "hole_area": "Area of coronal holes",
}

HEADINGS = {
    "intensity": "Brightness",
    "saturation": "Saturation",
    "spectrum": "Texture",
    "limb": "Limb and corona",
    "profile": "Centre to limb",
    "channels": "What belongs together",
    "regions": "Active regions and coronal holes",
    "energy": "Energy budget",
    "magnetic": "Magnetic field",
}
"""Of the families of physical measures."""

_CHANNEL = re.compile("|".join(sorted(map(re.escape, CHANNELS), key=len, reverse=True)))


def label(name: str, *, without: str = "") -> str:
    """A check's name for people: ``Power spectrum, disk: 171 Å``.

    Parameters
    ----------
    name : str
        As in `sunaug.fidelity.comparison.compare_sets`.
    without : str
        What it was measured with, where a heading says so already.
    """
    if name in _NAMES:
        return _NAMES[name]
    measure, _, where = name.partition(" ")
    where = where.removeprefix(without).strip()
    what = _NAMES.get(measure, measure.replace("_", " ").capitalize())
    if not where:
        return what
    place = _CHANNEL.sub(lambda hit: channel(hit[0]).label.removeprefix("AIA "), where)
    return f"{what}: {place.replace('|', ' given ').replace('/', ' / ')}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 3) -> str:
    """A figure of three digits, ``1.2 × 10⁻⁵`` where it is small or large; nothing for what is not known."""
    if value is None or not math.isfinite(value):
        return ""
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa} × 10{str(int(exponent)).translate(_RAISED)}".replace("-", "−")
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.{digits}g}".rstrip(".")
    return ("0" if value == 0 else text).replace("-", "−")


def signed(value: float) -> str:
    """A figure of one decimal place with a minus sign of its own."""
    return f"{value:.1f}".replace("-", "−")


@dataclass(frozen=True)
class Definition:
    """One line on what a kind of figure means."""

    what: str
    means: str
    source: str = ""


DEFINITIONS = (
    Definition(
        "Fréchet distance",
        "Distance of two normal distributions with the mean and the covariance of the features of either side; 0 is "
        "equal. It falls with the number of frames, so it is only compared at the same number.",
        "Heusel et al. 2017",
    ),
    Definition(
        "Kernel distance (KID)",
        "Squared maximum mean discrepancy of the features under a polynomial kernel of degree three; unbiased, so that "
        "it scatters around zero for equal sets.",
        "Bińkowski et al. 2018",
    ),
    Definition(
        "Precision, recall",
        "Share of the samples that lie within the neighbourhoods of real frames, and of the real frames that lie "
        "within those of samples.",
        "Kynkäänniemi et al. 2019",
    ),
    Definition(
        "Density, coverage",
        "How many neighbourhoods of real frames a sample lies in, over what is expected; share of the real frames "
        "with a sample in their neighbourhood.",
        "Naeem et al. 2020",
    ),
    Definition(
        "Spread", "Median distance of a frame to the nearest other one of its own set; small where samples agree."
    ),
    Definition(
        "Physical measures",
        "Wasserstein-1 distance of the distributions over the frames for numbers, of the summed histograms for "
        "histograms; mean absolute difference of the mean curves for curves. In the unit that is given.",
    ),
    Definition(
        "Copies",
        "Share of the samples that are nearer to a training frame than all but 1 % of unseen real frames are: in "
        "pixels (32 × 32, turned and mirrored as in training), and in features.",
    ),
    Definition(
        "Authenticity",
        "Share of the samples that are further from the nearest training frame than that frame is from its own "
        "nearest neighbour.",
        "Alaa et al. 2022",
    ),
    Definition(
        "Membership",
        "Whether the distance to the nearest sample tells training frames from unseen ones: area under the ROC curve, "
        "0.5 where it does not.",
        "Chen et al. 2020",
    ),
    Definition(
        "Obeys, reading",
        "Rank correlation of a sample's flux with the flux that networks read off it which have seen real frames only; "
        "distance of what is read off samples to what is read off real frames.",
    ),
)

SOURCES = (
    "Heusel et al. 2017, GANs trained by a two time-scale update rule converge to a local Nash equilibrium, "
    "arXiv:1706.08500",
    "Bińkowski et al. 2018, Demystifying MMD GANs, arXiv:1801.01401",
    "Kynkäänniemi et al. 2019, Improved precision and recall metric for assessing generative models, arXiv:1904.06991",
    "Naeem et al. 2020, Reliable fidelity and diversity metrics for generative models, arXiv:2002.09797",
    "Alaa et al. 2022, How faithful is your synthetic data? Sample-level metrics for evaluating and auditing "
    "generative models, arXiv:2102.08921",
    "Chen et al. 2020, GAN-Leaks: a taxonomy of membership inference attacks against generative models, "
    "arXiv:1909.03935",
)
