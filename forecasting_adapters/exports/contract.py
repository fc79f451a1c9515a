"""What joins `export` and the writers: the plan of an export, its frames, and what an ecosystem wants and can do.

A writer knows one layout and nothing else. Frames come to it one by one, in its units, size and channels, each with a
time of its own; gate, guard, resampling and the note of where the frames come from are the business of `export`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

__all__ = ["Ecosystem", "Frame", "Plan"]


@dataclass(frozen=True)
class Frame:
    """One synthetic frame on its way into another layout.

    Attributes
    ----------
    number : int
        Number of the sample in its cube.
    time : datetime64
        UTC; assigned, as nothing was observed.
    image : ndarray of float32, shape (channel, y, x)
        South first, in the plan's channels and units; missing pixels NaN.
    forecast_flux, nowcast_flux : float
        W m-2, 0 = no flare, NaN = unknown.
    """

    number: int
    time: np.datetime64
    image: NDArray[np.float32] = field(repr=False)
    forecast_flux: float
    nowcast_flux: float


@dataclass(frozen=True)
class Plan:
    """All that a writer is told beside the frames themselves.

    Attributes
    ----------
    name : str
        Of the synthetic cube.
    channels : tuple of str
        Lexicon names, in the order of the images.
    size : int
    disk_radius : float
        Pixels, of the images as they are handed over.
    intensity_scale : str
        ``physical`` (DN/s) or ``browse`` (display counts, 0 to 255).
    numbers : ndarray of int64, shape (n,)
        Samples of the cube, in the order of the frames.
    times : ndarray of datetime64[ns], shape (n,)
        UTC, rising.
    forecast_flux, nowcast_flux : ndarray of float64, shape (n,)
        W m-2.
    options : mapping
        The ecosystem's own options, checked by `Ecosystem.options`.
    note : mapping
        What will be in ``SYNTHETIC.json``: bundle, hash, training ranges, gate, steps taken.
    """

    name: str
    channels: tuple[str, ...]
    size: int
    disk_radius: float
    intensity_scale: str
    numbers: NDArray[np.int64]
    times: NDArray[np.datetime64]
    forecast_flux: NDArray[np.float64]
    nowcast_flux: NDArray[np.float64]
    options: Mapping[str, Any]
    note: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class Ecosystem:
    """A project whose loader reads what its writer writes.

    Attributes
    ----------
    name : str
        As in ``sunaug export --to NAME``.
    title : str
        The project, and the loader class that the layout was checked with.
    wants : str
        Two or three sentences for ``--list``: files, size, units, channels, labels, how it tells train from test.
    channels : mapping of str to str
        Its name of each lexicon channel that it has a place for.
    write : callable
        ``write(plan, frames, out, done)`` writes into the folder `out`, which is there. Called again after it was
        killed, it goes on: files that are whole stay. ``done(n)`` is told how many frames are written.
    read : callable
        ``read(out, note)`` gives the frames back as a synthetic cube in memory or lazily: ``intensity`` (sample,
        channel, y, x), ``forecast_flux``, ``nowcast_flux``, ``time`` (all of sample).
    size : int, optional
        The only size that it takes; None takes any.
    disk_radius : float, optional
        Pixels, of the frames that it takes; None leaves frames as they are.
    intensity_scale : {"physical", "browse"}, optional
        None takes either.
    cadence : timedelta64
        Between the assigned times.
    options : mapping of str to Any
        Its own options with their default values.
    disk_share : float, optional
        In place of `disk_radius` where any size is taken: the disk radius as a share of the width.
    reach : timedelta64
        How far before and after a frame's time its files reach; they too stay out of held-out months.
    split : str, optional
        The published split that its project evaluates by, see `forecasting_adapters.published_splits`.
    """

    name: str
    title: str
    wants: str
    channels: Mapping[str, str]
    write: Callable[[Plan, Iterator[Frame], Path, Callable[[int], None]], None]
    read: Callable[[Path, Mapping[str, Any]], xr.Dataset]
    size: int | None = None
    disk_radius: float | None = None
    intensity_scale: str | None = None
    cadence: np.timedelta64 = field(default_factory=lambda: np.timedelta64(1, "h"))
    options: Mapping[str, Any] = field(default_factory=dict)
    disk_share: float | None = None
    reach: np.timedelta64 = field(default_factory=lambda: np.timedelta64(0, "m"))
    split: str | None = None
