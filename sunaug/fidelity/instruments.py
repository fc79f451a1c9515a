"""What frames are measured with, and measuring them: batch by batch, from the cache where it has them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from sunaug.critic import Critic
from sunaug.encoder import SolarEncoder
from sunaug.fidelity import physics
from sunaug.fidelity.backbones import Backbone, features
from sunaug.fidelity.cache import RowCache, content_keys
from sunaug.fidelity.images import display_images
from sunaug.fidelity.measured import Measured, concatenate, pack, unpack
from sunaug.fidelity.memorisation import thumbnails
from sunaug.measures.limb import Geometry
from sunaug.scaling import IntensityScaling, default_scaling, missing_values
from sunaug.threads import in_order, one_thread

__all__ = ["CONTENT", "FLUXES", "TEXTURE", "Instruments", "measure_set"]

TEXTURE, CONTENT = "solar-texture", "solar-content"
"""Labels of the two blocks of the self-supervised encoder's features."""

_SOLAR = "solar"

FLUXES = ("nowcast_flux", "forecast_flux")
_BATCH = 64
_GROUP = 8
"""Frames that are measured together, always, by one thread: what is measured of a frame depends neither on how many
others there are, nor on which of them were found in the cache, nor on the number of threads."""

_PHYSICS_VERSION = 2
"""Raised when a physical measure changes, so that no row of an older definition is found."""


@dataclass(frozen=True)
class Instruments:
    """What is looked with.

    Attributes
    ----------
    channels : tuple of str
        Lexicon names.
    intensity_scale : str
    geometry : Geometry
    backbones : sequence of Backbone
        Networks that see 8-bit images.
    encoder : SolarEncoder or None
        Trained on solar frames without labels.
    reader : Critic or None
        Reads the fluxes.
    """

    channels: tuple[str, ...]
    intensity_scale: str
    geometry: Geometry
    backbones: Sequence[Backbone] = ()
    encoder: SolarEncoder | None = field(default=None, repr=False)
    reader: Critic | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        cube: xr.Dataset,
        backbones: Sequence[Backbone] = (),
        encoder: SolarEncoder | None = None,
        reader: Critic | None = None,
    ) -> Instruments:
        """Instruments for the frames of a cube."""
        geometry = Geometry(cube.sizes["y"], float(cube.attrs["solar_radius_pixels"]))
        channels = tuple(str(name) for name in cube["channel"].values)
        return cls(channels, str(cube.attrs["intensity_scale"]), geometry, backbones, encoder, reader)

    @property
    def scaling(self) -> IntensityScaling:
        """Scaling of what encoder and reader see."""
        return default_scaling(self.channels, self.intensity_scale)

    def scaled(self, intensity: NDArray[np.floating]) -> NDArray[np.float32]:
        """Scaled intensities of frames in the cube's units, NaN at `sunaug.scaling.missing_values`."""
        scaled = self.scaling.scale(intensity)
        filled = np.where(np.isnan(scaled), missing_values(self.channels)[:, None, None], scaled)
        return np.clip(filled, -1, 1).astype(np.float32)

    def _makers(self) -> dict[str, tuple[str, Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], str]]]]:
        """By what it makes: a fingerprint, and the function from intensities to rows and their layout."""
        what = repr((self.channels, self.intensity_scale, self.geometry, _GROUP))

        def measured(frames: NDArray[np.float32]) -> tuple[NDArray[np.float32], str]:
            return pack(physics.tabulate(frames, self.channels, self.intensity_scale, self.geometry))

        makers: dict[str, tuple[str, Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], str]]]] = {
            "physics": (f"physics {_PHYSICS_VERSION} {what}", measured)
        }
        for backbone in self.backbones:
            makers[backbone.label] = (f"{backbone.fingerprint} {what}", _eyes(backbone, self))
        if self.encoder is not None:
            encoder = self.encoder

            def embedded(frames: NDArray[np.float32]) -> tuple[NDArray[np.float32], str]:
                return encoder.embed(torch.from_numpy(self.scaled(frames))).numpy().astype(np.float32), ""

            makers[_SOLAR] = (f"{_fingerprint(encoder)} {what}", embedded)
        if self.reader is not None:
            reader = self.reader

            def read(frames: NDArray[np.float32]) -> tuple[NDArray[np.float32], str]:
                apart = np.log10(reader.read_apart(torch.from_numpy(self.scaled(frames))))
                return np.moveaxis(apart, 1, 0).reshape(len(frames), -1).astype(np.float32), ""

            tensors, _ = reader.state()
            makers["reader"] = (f"{_digest(tensors)} {what}", read)
        return makers


def _eyes(
    backbone: Backbone, instruments: Instruments
) -> Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], str]]:
    def seen(frames: NDArray[np.float32]) -> tuple[NDArray[np.float32], str]:
        images = display_images(frames, instruments.channels, instruments.intensity_scale)
        return np.concatenate([features([one], backbone) for one in images.values()], axis=1), " ".join(images)

    return seen


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _fingerprint(network: torch.nn.Module) -> str:
    return _digest(dict(network.state_dict()))


@one_thread(blas=True)
def measure_set(
    cube: xr.Dataset,
    numbers: NDArray[np.integer],
    instruments: Instruments,
    cache: RowCache | None = None,
    report: Callable[[int], None] | None = None,
    *,
    before: int = 0,
) -> Measured:
    """Measure some frames of a cube.

    Parameters
    ----------
    cube : xarray.Dataset
        Observed or synthetic, as `sunaug.open_cube` gives it.
    numbers : ndarray of int, shape (n,)
        Positions of the frames on the cube's frame axis.
    instruments : Instruments
        For frames of this kind.
    cache : RowCache, optional
        What is in it is not measured again.
    report : callable, optional
        Called with the number of frames done so far.
    before : int
        Frames that were done before these, for `report`.
    """
    dim = "time" if "time" in cube.dims else "sample"
    makers, cache = instruments._makers(), cache or RowCache(None)
    parts = []
    for start in range(0, len(numbers), _BATCH):
        chosen = cube.isel({dim: numbers[start : start + _BATCH]})
        frames = np.asarray(chosen["intensity"].values, np.float32)
        keys = content_keys(frames)
        rows = {name: _rows(cache, maker, keys, frames, make) for name, (maker, make) in makers.items()}
        parts.append(_measured(chosen, frames, rows, instruments))
        if report:
            report(before + min(start + _BATCH, len(numbers)))
    return concatenate(parts)


def _rows(
    cache: RowCache,
    maker: str,
    keys: list[bytes],
    frames: NDArray[np.float32],
    make: Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], str]],
) -> tuple[NDArray[np.float32], str]:
    found = cache.find(maker, keys)
    missing = [place for place in range(len(keys)) if place not in found]
    layout = cache.layout(maker) if found else ""
    if missing:
        groups = [missing[first : first + _GROUP] for first in range(0, len(missing), _GROUP)]
        rows = list(in_order(lambda group: _made(make, frames[group]), groups))
        made, layout = np.concatenate([row for row, _ in rows]), rows[0][1]
        cache.keep(maker, [keys[place] for place in missing], made, layout)
        found |= dict(zip(missing, made, strict=True))
    return np.stack([found[place] for place in range(len(keys))]), layout


def _made(
    make: Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], str]], frames: NDArray[np.float32]
) -> tuple[NDArray[np.float32], str]:
    """The rows of up to a group of frames, which is filled up with copies of its last one."""
    filled = np.concatenate([frames, np.repeat(frames[-1:], _GROUP - len(frames), axis=0)])
    made, layout = make(filled)
    return made[: len(frames)], layout


def _measured(
    chosen: xr.Dataset,
    frames: NDArray[np.float32],
    rows: dict[str, tuple[NDArray[np.float32], str]],
    instruments: Instruments,
) -> Measured:
    vectors: dict[str, NDArray[np.float32]] = {}
    for backbone in instruments.backbones:
        values, layout = rows[backbone.label]
        images = layout.split(" ")
        for image, part in zip(images, np.split(values, len(images), axis=1), strict=True):
            vectors[backbone.label if len(images) == 1 else f"{backbone.label} {image}"] = part
    if instruments.encoder is not None:
        blocks = np.split(rows[_SOLAR][0], [instruments.encoder.texture_dims], axis=1)
        vectors |= dict(zip((TEXTURE, CONTENT), blocks, strict=True))
    readings: dict[str, NDArray[np.float64]] = {}
    if instruments.reader is not None:
        read = rows["reader"][0].reshape(len(frames), -1, len(instruments.reader.labels)).astype(np.float64)
        readings = {name: read[:, :, column] for column, name in enumerate(instruments.reader.labels)}
    return Measured(
        physics=unpack(*rows["physics"]),
        features=vectors,
        thumbnails=thumbnails(instruments.scaled(frames)),
        fluxes={
            name: np.asarray(chosen[name].values, np.float64) if name in chosen else np.full(len(frames), np.nan)
            for name in FLUXES
        },
        times=np.asarray(chosen["time"].values, "datetime64[ns]") if "time" in chosen.dims else None,
        readings=readings,
    )
