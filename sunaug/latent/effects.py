"""What a component changes, measured: no name is given by hand.

Frames are made at -2 and +2 standard deviations along a component from the same latents, with the same noise, and
measured as real ones are (`sunaug.measures`). What a step changes is set beside how much the measure differs between
samples anyway.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sunaug.bundle import Bundle
from sunaug.latent.ganspace import draw_latents
from sunaug.latent.steering import FLARE, pictures
from sunaug.measures.frame import measure_frames, measure_unit
from sunaug.measures.limb import Geometry

__all__ = ["Effects", "layer_ranges", "measure_effects", "shifted"]

N_LATENTS, N_SPREAD = 32, 256
_STEPS = 2.0
_SEED = 11


@dataclass(frozen=True)
class Effects:
    """Changes of measures along directions.

    Attributes
    ----------
    directions : list of str
        ``component=0``, ... and ``flare``.
    ranges : dict of str to (int, int)
        Layers (first, last) that were steered, by name: ``all`` and three parts.
    measures : list of str
    units : list of str
    change : ndarray, shape (directions, ranges, measures)
        Mean change by one standard deviation, in the measure's unit.
    agreement : ndarray, shape (directions, ranges, measures)
        Share of latents that change the same way as their mean does.
    spread : ndarray, shape (measures,)
        Standard deviation between samples under the conditions of the training frames.
    """

    directions: list[str]
    ranges: dict[str, tuple[int, int]]
    measures: list[str]
    units: list[str]
    change: NDArray[np.float64]
    agreement: NDArray[np.float64]
    spread: NDArray[np.float64]

    def strongest(self, direction: str, layers: str = "all", count: int = 3) -> list[tuple[str, float]]:
        """Measures that a direction changes most: names and changes in units of their spread, the largest first."""
        row = self.change[self.directions.index(direction), list(self.ranges).index(layers)]
        relative = np.nan_to_num(row / np.maximum(self.spread, 1e-12))
        order = np.argsort(-np.abs(relative), kind="stable")[:count]
        return [(self.measures[number], float(relative[number])) for number in order]


def layer_ranges(n_styles: int) -> dict[str, tuple[int, int]]:
    """All layers, and a third each: the coarse ones set where things are, the fine ones what they look like.

    A generator of two layers has no third part, which is left out.
    """
    thirds = zip(("coarse", "middle", "fine"), np.array_split(np.arange(n_styles), 3), strict=True)
    return {"all": (0, n_styles - 1)} | {name: (int(part[0]), int(part[-1])) for name, part in thirds if len(part)}


def shifted(w: Tensor, vector: Tensor, layers: tuple[int, int], n_styles: int) -> Tensor:
    """W (n, w_dim) for each layer (n, n_styles, w_dim), with `vector` added in some of them.

    The vector is one for all layers (w_dim,), or has one for each (n_styles, w_dim).
    """
    styles = w[:, None].repeat(1, n_styles, 1)
    chosen = slice(layers[0], layers[1] + 1)
    styles[:, chosen] += vector.expand(n_styles, -1)[chosen]
    return styles


def step_vectors(bundle: Bundle, components: int) -> dict[str, Tensor]:
    """Steps of one standard deviation along the first components and the flare direction, by name, for `shifted`."""
    found = {
        f"component={number}": bundle.directions["components"][number] * bundle.directions["stddev"][number]
        for number in range(min(components, len(bundle.directions["components"])))
    }
    return found | {FLARE: bundle.directions[FLARE]}


def measure_effects(
    bundle: Bundle,
    *,
    components: int = 10,
    latents: int = N_LATENTS,
    report: Callable[[int], None] | None = None,
) -> Effects:
    """Measure what the leading components and the flare direction change.

    Parameters
    ----------
    bundle : Bundle
        With its directions fitted.
    components : int
        Leading components that are measured.
    latents : int
        Latents that each change is the mean over.
    report : callable, optional
        Called with the number of directions done.
    """
    info, n_styles = bundle.info, bundle.generator.n_styles
    geometry = Geometry(info.network.size, info.disk_radius)

    def measured(styles: Tensor) -> dict[str, NDArray[np.float64]]:
        images = info.within_range(info.scaling.unscale(pictures(bundle, styles, _SEED)).numpy())
        return measure_frames(images, info.channels, info.intensity_scale, geometry)

    w = next(draw_latents(bundle, N_SPREAD, _SEED, batch=N_SPREAD))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a measure that no frame gives
        spread = {name: float(np.nanstd(values)) for name, values in measured(w).items()}
        names, ranges, vectors = list(spread), layer_ranges(n_styles), step_vectors(bundle, components)
        change = np.full((len(vectors), len(ranges), len(names)), np.nan)
        agreement = np.full_like(change, np.nan)
        for row, vector in enumerate(vectors.values()):
            for column, layers in enumerate(ranges.values()):
                below, above = (
                    measured(shifted(w[:latents], sign * _STEPS * vector, layers, n_styles)) for sign in (-1, 1)
                )
                for place, name in enumerate(names):
                    difference = (above[name] - below[name]) / (2 * _STEPS)
                    mean = np.nanmean(difference)
                    change[row, column, place] = mean
                    agreement[row, column, place] = np.nanmean(np.sign(difference) == np.sign(mean))
            if report:
                report(row + 1)
    return Effects(
        directions=list(vectors),
        ranges=ranges,
        measures=names,
        units=[measure_unit(name, info.intensity_scale) for name in names],
        change=change,
        agreement=agreement,
        spread=np.array([spread[name] for name in names]),
    )
