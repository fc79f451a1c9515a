"""Make frames: draw conditions, steer, and stream the samples into a synthetic cube.

A sample is decided by the bundle, the seed, the number of its draw, its condition and its steering, all of which the
cube holds; neither the number of samples nor the batch size has a part in it. The random numbers of draw i come from a
counter-based generator (Philox) whose counter starts at i, so any sample can be made again alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

import sunaug
from sunaug.bundle import BUNDLED, Bundle, load_bundle
from sunaug.cube import FrameStatus, create_cube, open_cube, shard_ranges, write_frames
from sunaug.errors import SunaugError, UsageError
from sunaug.flares import format_goes_class, parse_goes_class
from sunaug.latent import FLARE

__all__ = ["Request", "generate", "generate_cube", "tail_rows"]

FORWARD_GROUP = 8
"""Samples in one forward pass, always: a matrix product may round differently with the number of its rows, so that a
fixed group is what makes the bits of a sample independent of how many are made."""

FLUX_JITTER_DEX = 0.1
"""Width of the kernel that smooths the real frames' joint distribution of fluxes."""

FEW_FRAMES = 50
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Request:
    """What is to be made.

    Attributes
    ----------
    n : int
        Number of samples.
    rare : bool
        Draw conditions from the real tail and steer along the flare direction.
    min_class : str
        Weakest GOES class of the label in a rare sample.
    label : {"forecast", "nowcast"}
        The label that `min_class` speaks of.
    seed : int
    steer : float, optional
        Steps along the flare direction, in standard deviations; None takes the bundle's calibrated value for rare
        samples, 0 for others.
    """

    n: int
    rare: bool = False
    min_class: str = "M1.0"
    label: str = "forecast"
    seed: int = 0
    steer: float | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UsageError(f"--n {self.n}: ask for at least one sample.")
        if not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"--seed {self.seed}: give a whole number from 0 to {MAX_SEED}.")
        if self.label not in ("forecast", "nowcast"):
            raise UsageError(f"--label {self.label}: choose forecast or nowcast.")
        parse_goes_class(self.min_class)


def tail_rows(bundle: Bundle, request: Request) -> NDArray[np.intp]:
    """Rows of the bundle's reference fluxes that conditions are drawn from: all of them, or the rare tail.

    Raises
    ------
    UsageError
        If the bundle is not conditioned on the label.
    SunaugError
        If no frame that it was trained on is that rare: it cannot know what one looks like.
    """
    fluxes = bundle.reference["fluxes"].numpy()
    if not request.rare:
        return np.arange(len(fluxes))
    name = f"{request.label}_flux"
    if name not in bundle.info.network.labels:
        known = ", ".join(bundle.info.network.labels) or "nothing"
        raise UsageError(f"{bundle.path}: conditioned on {known}, not on {name}; rare samples need a bundle that is.")
    column = fluxes[:, bundle.info.network.labels.index(name)]
    rows = np.flatnonzero(column >= parse_goes_class(request.min_class) * (1 - 1e-9))
    if not len(rows):
        raise SunaugError(
            f"{bundle.path}: trained on no frame with {name} of {request.min_class} or more (its strongest is "
            f"{format_goes_class(column.max())}); ask for a lower --min-class."
        )
    return rows


def _flare_steps(bundle: Bundle, request: Request) -> float:
    if request.steer is not None and request.steer != 0 and FLARE not in bundle.directions:
        raise UsageError(f"{bundle.path}: has no flare direction yet; run `sunaug directions {bundle.path}` first.")
    if request.steer is not None:
        return request.steer
    calibrated = bundle.directions.get("flare_calibration")
    return float(calibrated[0]) if request.rare and calibrated is not None else 0.0


class Sampler:
    """Makes the samples of a request, any range of draws at a time.

    Parameters
    ----------
    bundle : Bundle
    request : Request
    device : str or torch.device
    """

    def __init__(self, bundle: Bundle, request: Request, device: str | torch.device = "cpu") -> None:
        self.bundle, self.request, self.device = bundle, request, torch.device(device)
        self.generator = bundle.generator.to(self.device)
        self.steps = _flare_steps(bundle, request)
        self._rows = tail_rows(bundle, request)
        self._fluxes = bundle.reference["fluxes"].numpy()
        names = bundle.info.network.labels
        self._tail_column = names.index(f"{request.label}_flux") if request.rare else None
        direction = bundle.directions.get(FLARE)
        self._shift = None if self.steps == 0 or direction is None else self.steps * direction.to(self.device)

    def _draw(self, draw: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """The condition's fluxes (k,) and the standard normal numbers (latent, then noise) of one draw."""
        random = np.random.Generator(np.random.Philox(key=self.request.seed, counter=[0, 0, 0, draw]))
        flux = self._fluxes[self._rows[random.integers(len(self._rows))]]
        flux = flux * 10 ** (FLUX_JITTER_DEX * random.standard_normal(len(flux)))
        if self._tail_column is not None:
            # Reflected at the border of the tail, so that smoothing leaves every condition in it.
            border = parse_goes_class(self.request.min_class)
            drawn = flux[self._tail_column]
            flux[self._tail_column] = drawn if drawn >= border else border**2 / drawn
        config = self.bundle.info.network
        normal = random.standard_normal(config.z_dim + self.generator.noise_size, dtype=np.float32)
        return flux, normal

    def sample(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Make the draws from `start` up to `stop`.

        Returns
        -------
        dict of str to ndarray
            Variables of a synthetic cube, frame axis first: ``intensity`` (n, channel, y, x) float32 in the cube's
            units, the fluxes, ``seed``, ``draw``, ``steering``, ``frame_status``.
        """
        config = self.bundle.info.network
        parts = [self._draw(draw) for draw in range(start, stop)]
        fluxes = np.stack([flux for flux, _ in parts])
        normal = torch.from_numpy(np.stack([numbers for _, numbers in parts])).to(self.device)
        condition = torch.from_numpy(config.encode(fluxes)).to(self.device)
        images = np.empty((stop - start, config.image_channels, config.size, config.size), np.float32)
        for first in range(0, stop - start, FORWARD_GROUP):
            # A group that is not full is filled up with copies of its last sample, which are thrown away.
            last = min(first + FORWARD_GROUP, stop - start)
            index = torch.arange(first, first + FORWARD_GROUP).clamp_max(last - 1).to(self.device)
            z, noise = normal[index].split([config.z_dim, self.generator.noise_size], dim=1)
            with torch.inference_mode():
                w = self.generator.mapping(z, condition[index])
                if self._shift is not None:
                    w = w + self._shift
                scaled = self.generator.synthesize(w, noise)
            images[first:last] = self.bundle.info.scaling.unscale(scaled[: last - first].cpu()).numpy()
        # What lies below the range of the scaling is below its lowest intensity, not negative light.
        low = np.asarray(self.bundle.info.scaling.low, np.float32)[:, None, None]
        count = stop - start
        known = {name: fluxes[:, column] for column, name in enumerate(config.labels)}
        return {
            "intensity": np.maximum(images, low),
            "nowcast_flux": known.get("nowcast_flux", np.full(count, np.nan)),
            "forecast_flux": known.get("forecast_flux", np.full(count, np.nan)),
            "seed": np.full(count, self.request.seed, np.int64),
            "draw": np.arange(start, stop, dtype=np.int64),
            "steering": np.full((count, 1), self.steps, np.float32),
            "frame_status": np.full(count, FrameStatus.COMPLETE, np.int8),
        }

    def batches(self, start: int, stop: int, batch_size: int) -> Iterator[dict[str, NDArray[Any]]]:
        """The draws from `start` up to `stop`, `batch_size` at a time."""
        for first in range(start, stop, batch_size):
            yield self.sample(first, min(first + batch_size, stop))


def _attributes(bundle: Bundle, request: Request, steps: float) -> dict[str, Any]:
    """What a synthetic cube says of its origin; two cubes with the same are the same samples."""
    return {
        "SYNTHETIC": "made by sunaug; not an observation",
        "bundle_name": bundle.info.name,
        "bundle_hash": bundle.hash,
        "training_ranges": bundle.info.training_ranges,
        "request": {
            "n": request.n,
            "rare": request.rare,
            "min_class": request.min_class if request.rare else None,
            "label": request.label if request.rare else None,
            "seed": request.seed,
            "flare_steps": steps,
        },
        "torch_version": torch.__version__,
        "gate": "not checked",
    }


def _open_or_create(path: Path, sampler: Sampler) -> xr.Dataset:
    info, attributes = sampler.bundle.info, _attributes(sampler.bundle, sampler.request, sampler.steps)
    if not path.exists():
        create_cube(
            path,
            channels=info.channels,
            size=info.network.size,
            disk_radius=info.disk_radius,
            intensity_scale=info.intensity_scale,
            n_samples=sampler.request.n,
            directions=[FLARE],
            attrs=attributes,
        )
    cube = open_cube(path)
    if any(cube.attrs.get(name) != attributes[name] for name in ("bundle_hash", "request", "torch_version")):
        raise SunaugError(f"{path}: exists already and was made by another request; choose another --out or remove it.")
    return cube


def generate_cube(
    path: str | Path,
    bundle: Bundle,
    request: Request,
    *,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    report: Callable[[int], None] | None = None,
) -> Path:
    """Write the samples of a request into a synthetic cube, shard by shard, in flat memory.

    A cube that was left unfinished by the same request is completed: shards which are whole are kept.

    Parameters
    ----------
    path : str or pathlib.Path
    bundle : Bundle
    request : Request
    batch_size : int
        Samples made between two progress reports; the result does not depend on it.
    device : str or torch.device
    report : callable, optional
        Called with the number of samples written so far.

    Raises
    ------
    UsageError, SunaugError
        If the bundle cannot make what is asked for, or something else stands at `path`.
    """
    if batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: at least one sample at a time.")
    sampler = Sampler(bundle, request, device)
    cube = _open_or_create(Path(path), sampler)
    status = cube["frame_status"].values
    for start, stop in shard_ranges(cube):
        if (status[start:stop] == FrameStatus.PENDING).any():
            shard: dict[str, list[NDArray[Any]]] = {}
            for batch in sampler.batches(start, stop, batch_size):
                for name, values in batch.items():
                    shard.setdefault(name, []).append(values)
                if report:
                    report(int(batch["draw"][-1]) + 1)
            write_frames(path, start, {name: np.concatenate(values) for name, values in shard.items()})
        elif report:
            report(stop)
    return Path(path)


def generate(
    bundle: Bundle | str | Path = BUNDLED, n: int = 1, *, device: str | torch.device = "cpu", **request: Any
) -> xr.Dataset:
    """Make samples in memory.

    Parameters
    ----------
    bundle : Bundle, str or pathlib.Path
        An open bundle, the path of one, or the name of one that comes with sunaug.
    n : int
        Number of samples.
    device : str or torch.device
    **request
        Further fields of `Request`: ``rare``, ``min_class``, ``label``, ``seed``, ``steer``.

    Returns
    -------
    xarray.Dataset
        ``intensity`` (sample, channel, y, x) in the cube's units with the labels and the origin of each sample; the
        same values as `generate_cube` writes.

    Examples
    --------
    >>> sunaug.generate(n=4, rare=True, min_class="M5").intensity.shape
    (4, 3, 128, 128)
    """
    opened = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    wanted = Request(n=n, **request)
    sampler = Sampler(opened, wanted, device)
    made: Mapping[str, NDArray[Any]] = sampler.sample(0, n)
    dims = {"intensity": ("sample", "channel", "y", "x"), "steering": ("sample", "direction")}
    return xr.Dataset(
        {name: (dims.get(name, ("sample",)), values) for name, values in made.items()},
        coords={"sample": np.arange(n), "channel": opened.info.channels, "direction": [FLARE]},
        attrs={
            "synthetic": True,
            "intensity_scale": opened.info.intensity_scale,
            "solar_radius_pixels": opened.info.disk_radius,
            "sunaug_version": sunaug.__version__,
            **_attributes(opened, wanted, sampler.steps),
        },
    )
