"""The judge: how good a generator is while it is trained.

A judge holds some validation frames as one feature network sees them, their fluxes as the conditions under which a
generator makes its answer, and the floor, what as many real frames of the train months get. It compares an answer of a
few hundred images in seconds, so that a training can keep the best generator and not the last one. No frame of the test
months is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from upath import UPath

from sunaug.cube import select_split
from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity.backbones import Backbone, image_features
from sunaug.fidelity.coverage import NEIGHBOURS
from sunaug.fidelity.distribution import distances, mean_over_images
from sunaug.fidelity.images import BATCH, display_images, image_batches
from sunaug.storage import replace_object

__all__ = ["Judge"]

Features = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Judge:
    """Reference frames that a generator's answers are compared with.

    Attributes
    ----------
    backbone : Backbone
    channels : tuple of str
        Lexicon names, in the order of the images' channels.
    intensity_scale : str
        The cube's.
    conditions : tuple of str
        Names of the fluxes.
    fluxes : ndarray of float64, shape (n, len(conditions))
        W m-2, of the reference frames, all known: what a generator is to be asked for.
    floor : dict of str to float
        The figures of `judge` for n frames of the train months.
    """

    backbone: Backbone
    channels: tuple[str, ...]
    intensity_scale: str
    conditions: tuple[str, ...]
    fluxes: NDArray[np.float64] = field(repr=False)
    floor: dict[str, float]
    _reference: Features = field(repr=False)
    _times: NDArray[np.datetime64] = field(repr=False)

    @classmethod
    def of(
        cls,
        cube: xr.Dataset,
        *,
        n: int,
        split: str = "validation",
        backbone: Backbone,
        cache: Path | None,
        conditions: tuple[str, ...],
        seed: int = 0,
    ) -> Judge:
        """Choose reference frames of a cube and measure them.

        Parameters
        ----------
        cube : xarray.Dataset
            An observed cube with train months.
        n : int
            Frames per side, chosen at random among those with known fluxes; as many as there are where one side has
            fewer. A few hundred tell generators apart.
        split : {"validation", "test"}
            Of the reference frames. The test months are for the last measurement only.
        backbone : Backbone
        cache : pathlib.Path or None
            Folder where features are kept between runs; made if need be.
        conditions : tuple of str
            Flux variables of the cube; empty for a generator without conditions.
        seed : int
            Of the choice of frames.

        Raises
        ------
        UsageError
            If `n` is too small for a coverage, `split` is the train months, or the cube lacks a condition.
        SunaugError
            If a side has too few frames, or `cache` cannot be written.
        """
        if n <= NEIGHBOURS:
            raise UsageError(f"a judge of {n} frames: give it {NEIGHBOURS + 1} at least, a few hundred to be useful.")
        if split == "train":
            raise UsageError("a judge that has seen the training frames praises what copies them; give another split.")
        unknown = [name for name in conditions if name not in cube]
        if unknown:
            raise UsageError(f"{_source(cube)}: has no {', '.join(unknown)} to ask a generator for.")
        sides = {name: select_split(cube, name) for name in (split, "train")}
        orders = {
            name: np.random.default_rng((seed, number)).permutation(_known(side, conditions))
            for number, (name, side) in enumerate(sides.items())
        }
        size = min(n, *map(len, orders.values()))
        if size <= NEIGHBOURS:
            raise SunaugError(
                f"{_source(cube)}: {len(orders[split]):,} {split} and {len(orders['train']):,} train frames with known "
                f"fluxes, a judge needs {NEIGHBOURS + 1} of each; ingest more frames or train without one."
            )
        chosen = {name: np.sort(order[:size]) for name, order in orders.items()}
        reference, train = (_stored_features(sides[name], chosen[name], backbone, cache) for name in (split, "train"))
        times, train_times = (np.asarray(sides[name]["time"].values)[chosen[name]] for name in (split, "train"))
        columns = [np.asarray(sides[split][name].values, np.float64)[chosen[split]] for name in conditions]
        return cls(
            backbone,
            tuple(map(str, cube["channel"].values)),
            str(cube.attrs["intensity_scale"]),
            conditions,
            np.stack(columns, axis=1) if columns else np.empty((size, 0)),
            _compare(train, train_times, reference, times),
            reference,
            times,
        )

    @property
    def label(self) -> str:
        """How the figures are called: the feature network's label."""
        return self.backbone.label

    @property
    def n(self) -> int:
        """Number of reference frames, and of images in an answer."""
        return len(self.fluxes)

    def judge(self, images: NDArray[np.floating]) -> dict[str, float]:
        """Compare an answer with the reference frames.

        Parameters
        ----------
        images : ndarray, shape (n, channel, y, x)
            One image for each row of `fluxes`, in the cube's units; NaN becomes the channel's lowest value.

        Returns
        -------
        dict of str to float
            ``frechet``, ``kid``, ``kid_stderr``, ``precision``, ``recall``, ``density``, ``coverage`` (see
            `sunaug.fidelity.distribution.distances`), to be read beside `floor`.

        Raises
        ------
        UsageError
            If there are more or fewer images than reference frames, which would move every figure.
        """
        if images.ndim != 4 or images.shape[:2] != (self.n, len(self.channels)):
            raise UsageError(
                f"the judge wants {self.n} images of {len(self.channels)} channels, as many as its reference has; "
                f"these have the shape {images.shape}."
            )
        found = image_features(_batches(images, self.channels, self.intensity_scale), [self.backbone])
        return _compare(found[self.label], None, self._reference, self._times)


def _source(cube: xr.Dataset) -> str:
    return str(cube.encoding.get("source", "the cube"))


def _known(cube: xr.Dataset, conditions: Sequence[str]) -> NDArray[np.int64]:
    """Numbers of the frames whose fluxes are known."""
    known = np.ones(cube.sizes["time"], bool)
    for name in conditions:
        known &= np.isfinite(cube[name].values)
    return np.flatnonzero(known)


def _batches(
    images: NDArray[np.floating], channels: Sequence[str], intensity_scale: str
) -> Iterator[dict[str, NDArray[np.uint8]]]:
    for start in range(0, len(images), BATCH):
        yield display_images(images[start : start + BATCH], channels, intensity_scale)


def _compare(
    synthetic: Features,
    synthetic_times: NDArray[np.datetime64] | None,
    real: Features,
    real_times: NDArray[np.datetime64],
) -> dict[str, float]:
    return mean_over_images(
        {
            name: distances(synthetic[name], real[name], synthetic_times=synthetic_times, real_times=real_times)
            for name in real
        }
    )


def _stored_features(cube: xr.Dataset, numbers: NDArray[np.int64], backbone: Backbone, cache: Path | None) -> Features:
    """Features of some frames by image name, from the cache where it has them.

    A file's name is a hash of the images and of the network, so that other frames or weights never find it.
    """
    if cache is None:
        return image_features(image_batches(cube, numbers), [backbone])[backbone.label]
    digest = hashlib.sha256(backbone.fingerprint.encode())
    names: list[str] = []
    for batch in image_batches(cube, numbers):
        names = list(batch)
        for name, images in batch.items():
            digest.update(json.dumps([name, images.shape]).encode() + images.tobytes())
    file = cache / f"features-{digest.hexdigest()[:32]}.safetensors"
    stored = _read(file)
    if stored is not None and {name: one.shape for name, one in stored.items()} == dict.fromkeys(
        names, (len(numbers), backbone.dims)
    ):
        return stored
    made = image_features(image_batches(cube, numbers), [backbone])[backbone.label]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        replace_object(UPath(file), save(made, metadata={"sha256": _checksum(made)}))
    except OSError as error:
        raise SunaugError(
            f"{file}: the reference's features cannot be kept ({error.strerror or error}); give another folder."
        ) from None
    return made


def _read(file: Path) -> Features | None:
    """The features in a file; None where there is none, or it is damaged."""
    try:
        with safe_open(file, framework="numpy") as content:
            found = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118, no mapping
            checksum = (content.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    return found if checksum == _checksum(found) else None


def _checksum(values: Mapping[str, NDArray[np.float32]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(values):
        digest.update(name.encode() + np.ascontiguousarray(values[name]).tobytes())
    return digest.hexdigest()
