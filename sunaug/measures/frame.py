"""Every measure of a frame at once, one number each, by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sunaug.errors import UsageError
from sunaug.lexicon import channel
from sunaug.measures.limb import OFF_LIMB, Geometry, fit_limb, off_limb_fall
from sunaug.measures.regions import active_regions, centre_distance, coronal_hole_area
from sunaug.scaling import default_scaling

__all__ = [
    "COOL_CHANNEL",
    "HOLE_CHANNELS",
    "HOT_CHANNELS",
    "REGION_CHANNELS",
    "UNITS",
    "measure_frames",
    "measure_unit",
]

HOT_CHANNELS = ("aia131", "aia94")
COOL_CHANNEL = "aia171"

REGION_CHANNELS = {
    "aia94": (5.0, 4.0),
    "aia131": (3.0, 3.0),
    "aia335": (3.0, 3.0),
    "aia211": (3.0, 3.0),
    "aia193": (3.0, 3.0),
    "aia171": (3.0, 2.5),
}
"""Channels to find active regions on, the best first, with the threshold of browse and of physical cubes.

94 Å was the clearest by eye, on frames of 17 days of January to July 2012: its quiet disk is dark and even. 131 and
171 Å show the same regions with less contrast. 193 Å was looked at on 12 browse images of 2011; 211 and 335 Å, of which
there were none, go by it. Browse images of 94 and 171 Å are stretched by a square root, the others by a logarithm:
hence the two thresholds.
"""

HOLE_CHANNELS = {"aia193": (0.5, 0.35), "aia211": (0.5, 0.35), "aia171": (0.7, 0.5)}
"""Channels to find coronal holes on, the best first, with the darkness of browse and of physical cubes.

In 193 Å (12 browse images of 2011) the dark patches are the holes that one sees. In 171 Å they are a proxy at most: the
darkest parts of holes are among them, and filament channels and the gaps around active regions too.
"""

UNITS = {
    "total": "{value}",
    "peak": "{value}",
    "off_limb": "{value}",
    "limb_fall": "{value} per solar radius",
    "limb_radius": "pixels",
    "limb_x": "pixels",
    "limb_y": "pixels",
    "regions": "1",
    "region_area": "share of the disk",
    "region_latitude": "degrees",
    "region_longitude": "degrees",
    "hole_area": "share of the disk within 0.9 radii",
    "hot_to_cool": "{ratio}",
}
"""Unit of each kind of measure (a name's first word); `measure_unit` fills in what depends on the cube."""

BRIGHTEST_SHARE = 0.001
_PEAK_RADII = 1.1
_FAINTEST = 1e-6
_FRAMES_AT_ONCE = 128


def measure_unit(name: str, intensity_scale: str) -> str:
    """Unit of a measure.

    Parameters
    ----------
    name : str
        A name that `measure_frames` gives, such as ``total aia171``.
    intensity_scale : str
        The cube's attribute.

    Raises
    ------
    UsageError
        If there is no such measure.
    """
    kind = name.split(" ")[0]
    if kind not in UNITS:
        raise UsageError(f"unknown measure {name!r}: one of {', '.join(UNITS)}.")
    browse = intensity_scale == "browse"
    return UNITS[kind].format(value="counts / 255" if browse else "dex", ratio="ratio of counts" if browse else "dex")


def measure_frames(
    images: NDArray[np.floating], channels: Sequence[str], intensity_scale: str, geometry: Geometry
) -> dict[str, NDArray[np.float64]]:
    """Measure frames one by one.

    For every channel CH that is not a magnetogram:

    - ``total CH``: mean intensity of the frame;
    - ``peak CH``: mean of the brightest 0.1 % of the pixels within 1.1 radii;
    - ``off_limb CH``: mean from 1.03 to 1.10 radii, and ``limb_fall CH``, its fall between the two per solar radius
      (both only where the frame reaches so far).

    On the first of these channels ``limb_radius``, ``limb_x`` and ``limb_y`` (`fit_limb`). On the best channel there is
    (`REGION_CHANNELS`) ``regions``, ``region_area``, ``region_latitude`` (mean |latitude|) and ``region_longitude``
    (mean signed longitude), see `active_regions`; on the best of `HOLE_CHANNELS` ``hole_area``, see
    `coronal_hole_area`. And ``hot_to_cool HOT/aia171``, the total of 131 Å or 94 Å over that of 171 Å. A measure whose
    channel is not there is left out.

    Intensities and ratios are log10 in a physical cube (dex), display counts over 255 in a browse cube; means are
    taken before the logarithm.

    Parameters
    ----------
    images : ndarray, shape (n, channel, y, x)
        In the cube's units. NaN counts as the channel's lowest value, for regions and holes as quiet disk.
    channels : sequence of str
        Lexicon names.
    intensity_scale : str
        The cube's attribute.
    geometry : Geometry

    Returns
    -------
    dict of str to ndarray of float64, shape (n,)
        By the measure's name, its unit from `measure_unit`. NaN for frames that do not give one: a channel without any
        pixel, latitude and longitude without regions.

    Raises
    ------
    UsageError
        If the images do not fit the channels and the geometry, or all channels are magnetograms.

    Notes
    -----
    Browse counts stop at 255: in browse frames of January to July 2012 at 128 pixels ``peak`` is above 0.98 in all of
    171 Å, and says something for 94 Å only (98 of 100 frames between 0.70 and 1).

    The threshold of the regions follows how uneven the quiet disk is. In 94 Å that falls from January to July 2012 (a
    spread of 10 and of 7.5 counts): set ``regions`` and ``region_area`` beside those of the same months. Blur matters
    less: by 1.5 pixels of 128 it takes 6 % off the area and a tenth off the number.
    """
    images = np.asarray(images)
    wanted = (len(channels), geometry.size, geometry.size)
    if images.ndim != 4 or images.shape[1:] != wanted:
        raise UsageError(
            f"images of shape {images.shape} do not fit {len(channels)} channels of {geometry.size} pixels: "
            f"give (n, {', '.join(map(str, wanted))})."
        )
    if all(channel(name).signed for name in channels):
        raise UsageError(
            f"channels {', '.join(channels) or '(none)'}: magnetograms have no brightness to measure; "
            "give frames with at least one channel of intensities (EUV or UV)."
        )
    parts = [
        _measure(images[start : start + _FRAMES_AT_ONCE], channels, intensity_scale == "browse", geometry)
        for start in range(0, max(len(images), 1), _FRAMES_AT_ONCE)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measure(
    images: NDArray[np.floating], channels: Sequence[str], browse: bool, geometry: Geometry
) -> dict[str, NDArray[np.float64]]:
    """`measure_frames` of a few frames, so that its copies of them stay small."""
    distance = centre_distance(geometry)
    near = distance <= _PEAK_RADII
    ring = (distance >= OFF_LIMB[0]) & (distance <= OFF_LIMB[1])
    brightest = max(1, int(np.ceil(near.sum() * BRIGHTEST_SHARE)))
    measures: dict[str, NDArray[np.float64]] = {}
    totals: dict[str, NDArray[np.float64]] = {}
    missing: dict[str, NDArray[np.bool_]] = {}

    for index, name in enumerate(channels):
        if channel(name).signed:
            continue
        scaling = default_scaling([name], "browse" if browse else "physical")
        missing[name] = ~np.isfinite(images[:, index]).any(axis=(1, 2))
        intensity = np.asarray(images[:, index], np.float32)
        intensity = np.where(np.isfinite(intensity), intensity, np.float32(scaling.low[0]))

        totals[name] = intensity.mean(axis=(1, 2), dtype=np.float64)
        top = np.partition(intensity[:, near], -brightest, axis=1)[:, -brightest:]
        found = {
            f"total {name}": _level(totals[name], browse),
            f"peak {name}": _level(top.mean(axis=1, dtype=np.float64), browse),
        }
        fall = off_limb_fall(intensity, geometry, browse=browse, lowest=scaling.low[0])
        if fall is not None:
            found[f"off_limb {name}"] = _level(intensity[:, ring].mean(axis=1, dtype=np.float64), browse)
            found[f"limb_fall {name}"] = fall
        if len(totals) == 1:
            share = np.clip((scaling.scale(intensity[:, None])[:, 0] + 1) / 2, 0, 1)
            radius, centre = fit_limb(share, geometry)
            found |= {"limb_radius": radius, "limb_x": centre[:, 0], "limb_y": centre[:, 1]}
        measures |= {key: np.where(missing[name], np.nan, values) for key, values in found.items()}

    if best := _first(REGION_CHANNELS, totals):
        plane = np.asarray(images[:, channels.index(best)], np.float32)
        display = plane / 255 if browse else np.log10(np.maximum(plane, channel(best).clip[0]))
        regions = active_regions(display, geometry, threshold=REGION_CHANNELS[best][0 if browse else 1])
        measures |= {
            "regions": regions.number,
            "region_area": regions.area,
            "region_latitude": regions.latitude,
            "region_longitude": regions.longitude,
        }
    if best := _first(HOLE_CHANNELS, totals):
        plane = images[:, channels.index(best)]
        measures["hole_area"] = coronal_hole_area(plane, geometry, darkness=HOLE_CHANNELS[best][0 if browse else 1])
    for hot in HOT_CHANNELS:
        if hot in totals and COOL_CHANNEL in totals:
            ratio = np.maximum(totals[hot], _FAINTEST) / np.maximum(totals[COOL_CHANNEL], _FAINTEST)
            measures[f"hot_to_cool {hot}/{COOL_CHANNEL}"] = np.where(
                missing[hot] | missing[COOL_CHANNEL], np.nan, ratio if browse else np.log10(ratio)
            )
    return measures


def _level(mean: NDArray[np.float64], browse: bool) -> NDArray[np.float64]:
    return mean / 255 if browse else np.log10(np.maximum(mean, _FAINTEST))


def _first(preferred: dict[str, tuple[float, float]], there: dict[str, NDArray[np.float64]]) -> str | None:
    return next((name for name in preferred if name in there), None)
