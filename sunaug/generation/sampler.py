"""From numbers to frames: latents, steering, the critic.

A sample is decided by the bundle, the seed, its number, its condition and its steering, all of which a synthetic cube
holds; neither how many samples are made, nor who makes which, nor the number of threads has a part in it. The random
numbers of attempt k at sample i come from a counter-based generator (Philox) whose counter starts at (k, i), so any
sample can be made alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from sunaug.bundle import Bundle
from sunaug.critic import Reading
from sunaug.cube import FrameStatus, refuse_reconstructions
from sunaug.devices import torch_device
from sunaug.errors import SunaugError, UsageError
from sunaug.generation.conditions import Conditions, support
from sunaug.generation.request import Request
from sunaug.latent import FLARE
from sunaug.networks.patches import in_tiles, synthesize_whole
from sunaug.threads import in_order, one_thread, worker_count

__all__ = ["Sampler", "regenerate"]

GROUP = 8
"""Samples in one forward pass, always: a matrix product may round differently with the number of its rows, so that a
fixed group is what makes the bits of a sample independent of how many are made. Images that are made by tiles come one
by one."""

HOPELESS_RATE, HOPELESS_AFTER = 0.01, 512
"""With a smaller share of accepted samples after so many drawn, the bundle is said to be unable."""

READINGS = {"nowcast_flux": "nowcast_reading", "forecast_flux": "forecast_reading"}


@dataclass
class _Drawn:
    """What attempts gave: fluxes (n, labels), images (n, channel, y, x) in the cube's units, what the critic read."""

    fluxes: NDArray[np.float64]
    images: NDArray[np.float32]
    reading: Reading | None
    accepted: NDArray[np.bool_]


class Sampler:
    """Makes the samples of a request, any range of them at a time.

    Parameters
    ----------
    bundle : Bundle
    request : Request
    device : str or torch.device

    Attributes
    ----------
    steering : dict of str to float
        Steps along each direction, in standard deviations.
    support : Support or None
        What the bundle has seen of the class of a rare request.

    Raises
    ------
    UsageError, SunaugError
        If the bundle cannot make what is asked for, see `support`.
    """

    def __init__(self, bundle: Bundle, request: Request, device: str | torch.device = "cpu") -> None:
        self.bundle, self.request, self.device = bundle, request, torch_device(device)
        self.generator = bundle.generator.to(self.device)
        self._group = 1 if in_tiles(self.generator) else GROUP
        self.support = support(bundle, request) if request.rare else None
        self.conditions = Conditions(bundle, request)
        self.steering = _steering(bundle, request)
        shift = torch.zeros(self.generator.n_styles, bundle.info.network.latent_width)
        for name, steps in self.steering.items() if bundle.directions else ():
            vector, layers = _direction(bundle, name, self.generator.n_styles)
            shift[layers] += steps * vector
        self._finish = bundle.finish.to(self.device) if bundle.finish else None
        self._shift = shift.to(self.device) if shift.any() else None
        self.critic = bundle.critic.to(self.device) if request.rare and request.critic and bundle.critic else None
        self.weakest = None
        if self.critic is not None:
            self.weakest = self.critic.weakest_reading(request.label_name, request.border)

    def _numbers(self, sample: int, attempt: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """The condition's fluxes (k,) and the standard normal numbers (latent, then noise) of one attempt."""
        # Two streams: the latent is the same however many numbers it takes to draw a condition.
        conditions, normals = (
            np.random.Generator(np.random.Philox(key=[self.request.seed, stream], counter=[0, 0, attempt, sample]))
            for stream in (0, 1)
        )
        size = self.bundle.info.network.z_dim + self.generator.noise_size
        return self.conditions.draw(sample, conditions), normals.standard_normal(size, dtype=np.float32)

    def _images(self, fluxes: NDArray[np.float64], normal: Tensor) -> Tensor:
        """Scaled images of one group."""
        config = self.bundle.info.network
        condition = torch.from_numpy(config.encode(fluxes)).to(self.device) if config.labels else None
        z, noise = normal.to(self.device).split([config.z_dim, self.generator.noise_size], dim=1)
        w = self.generator.mapping(z, condition)
        if self.request.truncation != 1:
            w = self.generator.truncate(w, condition, self.request.truncation)
        if self._shift is not None:
            w = w[:, None] + self._shift
        images: Tensor = synthesize_whole(self.generator, w, noise).to(self.device)
        return images if self._finish is None else self._finish(images)

    def _drawn(self, pairs: list[tuple[int, int]]) -> tuple[NDArray[np.float64], Tensor]:
        """Fluxes and normal numbers of a group, full or not, of (sample, attempt) pairs."""
        numbers = [self._numbers(*pair) for pair in pairs]
        # A group that is not full is filled up with copies of its last sample, which are thrown away.
        filled = numbers + [numbers[-1]] * (self._group - len(numbers))
        return np.stack([flux for flux, _ in filled]), torch.from_numpy(np.stack([normal for _, normal in filled]))

    def _attempts(self, pairs: list[tuple[int, int]]) -> Iterator[_Drawn]:
        """Make (sample, attempt) pairs, a group in a pass of one thread; the cores share the groups."""
        groups = [pairs[first : first + self._group] for first in range(0, len(pairs), self._group)]
        # Of images that are made by tiles, one is held at a time: the cores share its tiles.
        if self.device.type == "cpu" and worker_count() > 1 and not in_tiles(self.generator):
            yield from in_order(lambda group: self._made(len(group), *self._drawn(group)), groups)
            return
        # Numbers are drawn while the network works.
        with ThreadPoolExecutor(1) as drawer:
            drawn = drawer.submit(self._drawn, groups[0])
            for group, following in zip_longest(groups, groups[1:]):
                numbers = drawn.result()
                if following:
                    drawn = drawer.submit(self._drawn, following)
                yield self._made(len(group), *numbers)

    def _made(self, count: int, fluxes: NDArray[np.float64], normal: Tensor) -> _Drawn:
        """The `count` frames of one group."""
        with one_thread(), torch.inference_mode():
            scaled = self._images(fluxes, normal)
            reading = None if self.critic is None else self.critic.read(scaled)
            images = self.bundle.info.scaling.unscale(scaled[:count].cpu()).numpy()
        accepted = np.ones(count, bool)
        if reading is not None:
            reading = Reading(reading.flux[:count], reading.distance[:count])
            accepted = self.accepts(reading)
        return _Drawn(fluxes[:count], self.bundle.info.within_range(images), reading, accepted)

    def accepts(self, reading: Reading) -> NDArray[np.bool_]:
        """Which samples (n,) are kept: not far from all real frames, and not weaker than real ones of their class."""
        assert self.critic is not None
        accepted = reading.distance <= 1
        if self.weakest is not None:
            accepted &= reading.flux[:, self.critic.labels.index(self.request.label_name)] >= self.weakest
        return accepted

    def sample(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Make the samples from `start` up to `stop`, see `choose`."""
        return self.choose(np.arange(start, stop))

    def choose(self, numbers: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Make the samples of some numbers.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n,)
            In any order.

        Returns
        -------
        dict of str to ndarray
            Variables of a synthetic cube, frame axis first: ``intensity`` (n, channel, y, x) float32 in the cube's
            units, the fluxes, ``seed``, ``draw``, ``attempt``, ``steering``, what the critic read, ``frame_status``.

        Raises
        ------
        SunaugError
            If next to none is accepted by the critic.
        """
        config, count = self.bundle.info.network, len(numbers)
        images = np.empty((count, config.image_channels, config.size, config.size), np.float32)
        fluxes = np.empty((count, len(config.labels)))
        made: dict[str, NDArray[Any]] = {
            "seed": np.full(count, self.request.seed, np.int64),
            "draw": np.asarray(numbers, np.int64),
            "attempt": np.zeros(count, np.int32),
            "steering": np.tile(np.array([list(self.steering.values())], np.float32), (count, 1)),
            "critic_distance": np.full(count, np.nan, np.float32),
            **{name: np.full(count, np.nan) for name in READINGS.values()},
            "frame_status": np.full(count, FrameStatus.COMPLETE, np.int8),
        }
        drawn = 0
        tried = np.zeros(count, np.int64)
        pending = np.arange(count)
        while len(pending):
            # When few are left, several attempts at each share a pass; the first that is accepted counts.
            each = max(1, self._group // len(pending))
            pairs = [(slot, int(tried[slot]) + number) for slot in pending.tolist() for number in range(each)]
            tried[pending] += each
            settled: set[int] = set()
            tasks = iter(pairs)
            for found in self._attempts([(int(numbers[slot]), attempt) for slot, attempt in pairs]):
                drawn += len(found.accepted)
                for place, (slot, attempt) in enumerate(islice(tasks, len(found.accepted))):
                    if slot in settled or not found.accepted[place]:
                        continue
                    settled.add(slot)
                    images[slot], fluxes[slot] = found.images[place], found.fluxes[place]
                    made["attempt"][slot] = attempt
                    if found.reading is not None and self.critic is not None:
                        made["critic_distance"][slot] = found.reading.distance[place]
                        for column, name in enumerate(self.critic.labels):
                            made[READINGS[name]][slot] = found.reading.flux[place, column]
            pending = np.array([slot for slot in pending.tolist() if slot not in settled], np.int64)
            if len(pending) and drawn >= HOPELESS_AFTER and count - len(pending) < HOPELESS_RATE * drawn:
                raise SunaugError(
                    f"{self.bundle.path}: of {drawn:,} samples of {self.request.min_class} or more its critic accepted "
                    f"{count - len(pending)}; it cannot make such frames. Ask for a lower --min-class, steer less, or "
                    "add --no-critic to get them as they are."
                )
        known = {name: fluxes[:, column] for column, name in enumerate(config.labels)}
        nothing = np.full(count, np.nan)
        return {"intensity": images, **{name: known.get(name, nothing) for name in READINGS}, **made}

    def batches(self, start: int, stop: int, batch_size: int) -> Iterator[dict[str, NDArray[Any]]]:
        """The samples from `start` up to `stop`, `batch_size` at a time."""
        for first in range(start, stop, batch_size):
            yield self.sample(first, min(first + batch_size, stop))

    def sketch(self, number: int) -> NDArray[np.float32]:
        """The first attempt at a sample in a pass of its own, shape (channel, y, x), in the cube's units.

        It takes a fifth of the time of a group, and may differ from `sample` in the last digits.
        """
        fluxes, normal = self._numbers(number, 0)
        with one_thread(), torch.inference_mode():
            scaled = self._images(fluxes[None], torch.from_numpy(normal)[None]).cpu()
        return self.bundle.info.within_range(self.bundle.info.scaling.unscale(scaled).numpy())[0]

    def once(self, start: int, stop: int) -> tuple[NDArray[np.float32], Reading | None, NDArray[np.bool_]]:
        """The first attempts at the samples from `start` up to `stop`, accepted or not.

        Returns
        -------
        images : ndarray of float32, shape (n, channel, y, x)
        reading : Reading or None
        accepted : ndarray of bool, shape (n,)
        """
        pairs = [(number, 0) for number in range(start, stop)]
        found = list(self._attempts(pairs))
        readings = [one.reading for one in found if one.reading is not None]
        joined = None
        if readings:
            joined = Reading(
                np.concatenate([one.flux for one in readings]), np.concatenate([one.distance for one in readings])
            )
        images = np.concatenate([one.images for one in found])
        return images, joined, np.concatenate([one.accepted for one in found])


def _steering(bundle: Bundle, request: Request) -> dict[str, float]:
    """Steps by direction: what was asked for, and the calibrated flare steps of rare samples."""
    asked = request.steering
    if any(asked.values()) and not bundle.directions:
        raise UsageError(
            f"{bundle.path}: has no directions yet; fit them with `sunaug directions {bundle.path} --fit --out FOLDER`."
        )
    calibrated = bundle.directions.get("flare_calibration")
    flare = float(calibrated[0]) if request.rare and calibrated is not None else 0.0
    # The flare direction always comes first, so that the cubes of all requests have it. In single precision, as a cube
    # keeps them.
    return {name: float(np.float32(steps)) for name, steps in {FLARE: flare, **asked}.items()}


def _direction(bundle: Bundle, name: str, n_styles: int) -> tuple[Tensor, slice]:
    """Vector of one standard deviation, (w_dim,) or (n_styles, w_dim), and the layers that it is added to."""
    if name == FLARE:
        return bundle.directions[FLARE], slice(None)
    number, _, layers = name.removeprefix("component=").partition("@")
    components = bundle.directions["components"]
    if int(number) >= len(components):
        raise UsageError(f"--steer {name}: {bundle.path} has components 0 to {len(components) - 1}.")
    first, last = (int(one) for one in layers.split("-")) if layers else (0, n_styles - 1)
    if not first <= last < n_styles:
        raise UsageError(f"--steer {name}: the generator has layers 0 to {n_styles - 1}.")
    return components[int(number)] * bundle.directions["stddev"][int(number)], slice(first, last + 1)


def regenerate(cube: xr.Dataset, sample: int, bundle: Bundle) -> NDArray[np.float32]:
    """Make one sample of a synthetic cube again, from its seed, number, condition and steering alone.

    Parameters
    ----------
    cube : xarray.Dataset
        A synthetic cube.
    sample : int
        Its place in the cube.
    bundle : Bundle
        The one that made it.

    Returns
    -------
    ndarray of float32, shape (channel, y, x)
        The same bits.

    Raises
    ------
    UsageError
        If the bundle is another one, or the cube holds reconstructions.
    """
    refuse_reconstructions(cube.attrs, "the cube")
    if cube.attrs["bundle_hash"] != bundle.hash:
        raise UsageError(f"{bundle.path}: is not the bundle that made this sample ({cube.attrs['bundle_name']}).")
    row = cube.isel(sample=sample)
    names = [str(name) for name in cube["direction"].values]
    request = Request(
        n=1,
        seed=int(row["seed"]),
        steer=dict(zip(names, row["steering"].values.tolist(), strict=True)),
        truncation=cube.attrs["request"].get("truncation", 1.0),
        conditions=(tuple(float(row[name]) for name in bundle.info.network.labels),),
    )
    made = next(Sampler(bundle, request)._attempts([(int(row["draw"]), int(row["attempt"]))]))
    return made.images[0]
