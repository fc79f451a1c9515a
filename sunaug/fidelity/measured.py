"""Sets of frames as the checks see them: what is measured of each frame, and of its pixels a thumbnail.

Whatever a check compares is a function of rows, one row a frame: a subset of the frames (a class, a month, a resample)
is compared without looking at a pixel again, and rows that were made once are found again by the content of the frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sunaug.fidelity.physics import Table
from sunaug.fidelity.physics.columns import Column, join, take

__all__ = ["Measured", "concatenate", "pack", "unpack"]


@dataclass(frozen=True)
class Measured:
    """What is measured of some frames.

    Attributes
    ----------
    physics : dict of str to Column
        See `sunaug.fidelity.physics`.
    features : dict of str to ndarray of float32, shape (n, dims)
        Feature vectors by the network's label; where frames make several images, by ``label image``.
    thumbnails : ndarray, shape (n, ...)
        Small pictures of the frames (`sunaug.fidelity.memorisation.thumbnails`), or what is kept of them.
    fluxes : dict of str to ndarray of float64, shape (n,)
        ``nowcast_flux`` and ``forecast_flux``, W m-2; for samples the condition.
    times : ndarray of datetime64[ns], shape (n,), or None
        When the frames were observed; None for samples.
    readings : dict of str to ndarray of float64
        What is read off the frames, see `sunaug.fidelity.claims.claims`; always by what has not seen the frame.
    """

    physics: Table
    features: dict[str, NDArray[np.float32]]
    thumbnails: NDArray[Any] = field(repr=False)
    fluxes: dict[str, NDArray[np.float64]] = field(repr=False)
    times: NDArray[np.datetime64] | None = field(default=None, repr=False)
    readings: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.thumbnails)

    def take(self, rows: NDArray[np.integer]) -> Measured:
        """The frames with these numbers, in their order."""
        return replace(
            self,
            physics=take(self.physics, rows),
            features={name: values[rows] for name, values in self.features.items()},
            thumbnails=self.thumbnails[rows],
            fluxes={name: values[rows] for name, values in self.fluxes.items()},
            times=None if self.times is None else self.times[rows],
            readings={name: values[rows] for name, values in self.readings.items()},
        )

    @property
    def forecast_flux(self) -> NDArray[np.float64]:
        """W m-2, NaN where it is not known."""
        return self.fluxes["forecast_flux"]


def concatenate(parts: Sequence[Measured]) -> Measured:
    """Sets of frames that were measured alike, as one."""
    first = parts[0]
    times = [part.times for part in parts if part.times is not None]
    return Measured(
        physics=join([part.physics for part in parts]),
        features={name: np.concatenate([part.features[name] for part in parts]) for name in first.features},
        thumbnails=np.concatenate([part.thumbnails for part in parts]),
        fluxes={name: np.concatenate([part.fluxes[name] for part in parts]) for name in first.fluxes},
        times=np.concatenate(times) if len(times) == len(parts) else None,
        readings={name: np.concatenate([part.readings[name] for part in parts]) for name in first.readings},
    )


def pack(table: Mapping[str, Column]) -> tuple[NDArray[np.float32], str]:
    """A table as one row of numbers a frame, and the layout of a row as JSON."""
    layout, parts = [], []
    for name, column in table.items():
        values = column.values if column.values.ndim == 2 else column.values[:, None]
        parts.append(values.astype(np.float32))
        layout.append(
            {
                "name": name,
                "width": values.shape[1] if column.values.ndim == 2 else 0,
                "kind": column.kind,
                "unit": column.unit,
                "positions": None if column.positions is None else column.positions.tolist(),
                "axis": column.axis,
                "family": column.family,
            }
        )
    return np.concatenate(parts, axis=1), json.dumps(layout)


def unpack(rows: NDArray[np.floating], layout: str) -> Table:
    """The table that `pack` has packed."""
    table: Table = {}
    start = 0
    for entry in json.loads(layout):
        width = max(entry["width"], 1)
        values = rows[:, start : start + width].astype(np.float32)
        start += width
        table[entry["name"]] = Column(
            values=values if entry["width"] else values[:, 0],
            kind=entry["kind"],
            unit=entry["unit"],
            positions=None if entry["positions"] is None else np.asarray(entry["positions"], np.float64),
            axis=entry["axis"],
            family=entry["family"],
        )
    return table
