"""PyTorch datasets of real, synthetic and mixed frames.

A sample is a dict, the same for real and synthetic frames, and goes through PyTorch's default collate:

- ``image``: float32 tensor (C, H, W), intensities scaled to about [-1, 1]; a pixel without data has -1, the lowest;
- ``label``: int64 tensor (), 1 where the flux of the chosen label reaches the threshold;
- ``forecast_flux``, ``nowcast_flux``: float32 tensors (), W m-2, 0 = no flare listed, NaN = unknown;
- ``sample_id``: str, ``sdo2012/2012-03-07T00:00:00`` or ``SYNTHETIC/rare/000123``;
- ``synthetic``: bool tensor ().
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Dataset, WeightedRandomSampler

from forecasting_adapters.leakage import LeakageError, TimeRange, check_leakage
from sunaug.cube import FrameStatus, open_cube, select_split, shard_ranges
from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity.verdict import refuse_ungated
from sunaug.flares import parse_goes_class
from sunaug.lexicon import channel_names
from sunaug.scaling import IntensityScaling, default_scaling

__all__ = ["MixedSolarDataset", "Sample", "SolarDataset", "SyntheticSolarDataset", "balanced_sampler"]

Sample = dict[str, Any]
Transform = Callable[[Sample], Sample]

LABELS = ("forecast", "nowcast")
# A cache may take this share of the machine's memory: the training and its workers need the rest.
_CACHE_SHARE = 0.5


class _CubeFrames(Dataset[Sample], ABC):
    """Complete frames of a cube whose label is known, as dict samples."""

    def __init__(
        self,
        cube: str | Path | xr.Dataset,
        *,
        split: str | None,
        label: str,
        threshold: str | float,
        scaling: IntensityScaling | str | None,
        channels: Sequence[str] | None,
        transform: Transform | None,
        cache: bool,
    ) -> None:
        if label not in LABELS:
            raise UsageError(f"unknown label {label!r}: choose one of {', '.join(LABELS)}.")
        opened = cube if isinstance(cube, xr.Dataset) else open_cube(cube)
        self._cube = cube
        self._opened: xr.DataArray | None = None
        self._opened_by = -1
        where = str(opened.encoding.get("source", "the cube"))
        self.name = Path(where).stem
        self.attrs: dict[str, Any] = dict(opened.attrs)
        self.label = label
        self.threshold = parse_goes_class(threshold) if isinstance(threshold, str) else float(threshold)
        self.transform = transform

        stored = [str(name) for name in opened["channel"].values]
        self.channels = channel_names(channels) if channels is not None else stored
        if not self.channels or not set(self.channels) <= set(stored):
            raise UsageError(
                f"{where}: has the channels {', '.join(stored)}, not {', '.join(self.channels) or 'none'}; choose "
                "among them."
            )
        self._channel_rows = [stored.index(name) for name in self.channels]
        self.scaling = (
            scaling
            if isinstance(scaling, IntensityScaling)
            else default_scaling(self.channels, self.attrs["intensity_scale"], scaling)
        )
        if len(self.scaling.low) != len(self.channels):
            raise UsageError(
                f"the scaling has {len(self.scaling.low)} channels, the images have {len(self.channels)}; give one "
                "lower and one upper limit for each."
            )

        axis = "sample" if "sample" in opened.dims else "time"
        rows = opened.assign_coords(row=(axis, np.arange(opened.sizes[axis])))
        if split is not None:
            rows = select_split(rows, split)
        chosen_flux = rows[f"{label}_flux"].values
        keep = (rows["frame_status"].values == FrameStatus.COMPLETE) & ~np.isnan(chosen_flux)
        if not keep.any():
            raise SunaugError(
                f"{where}: none of {len(keep)} frames is complete with a known {label} label; ingest the cube with "
                "--flares, or finish it."
            )
        self._rows: NDArray[np.int64] = rows["row"].values[keep]
        self._axis: NDArray[Any] = rows[axis].values[keep]
        self.forecast_flux: NDArray[np.float64] = rows["forecast_flux"].values[keep]
        self.nowcast_flux: NDArray[np.float64] = rows["nowcast_flux"].values[keep]
        # As in `sunaug.flares.class_letters`: half an ulp must not decide on which side of M1.0 an M1.0 flare falls.
        self.labels: NDArray[np.int64] = (chosen_flux[keep] * (1 + 1e-6) >= self.threshold).astype(np.int64)
        self._cache = self._read_all(opened, where) if cache else None

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        if self._cache is not None:
            # A copy, so that a transform in place does not write into the cache.
            image = self._cache[index].clone()
        else:
            image = self._scale(self._intensity()[int(self._rows[index])].values)
        sample: Sample = {
            "image": image,
            "label": torch.tensor(self.labels[index]),
            "forecast_flux": torch.tensor(self.forecast_flux[index], dtype=torch.float32),
            "nowcast_flux": torch.tensor(self.nowcast_flux[index], dtype=torch.float32),
            "sample_id": self._sample_id(index),
            "synthetic": torch.tensor(isinstance(self, SyntheticSolarDataset)),
        }
        return self.transform(sample) if self.transform else sample

    def __getstate__(self) -> dict[str, Any]:
        # An open store holds threads and sockets, which do not travel to another process.
        return self.__dict__ | {"_opened": None, "_opened_by": -1}

    def class_counts(self) -> dict[str, int]:
        """Number of samples of each label: ``negative`` and ``positive``."""
        return _count(self.labels)

    @abstractmethod
    def _sample_id(self, index: int) -> str:
        """Name of a sample, for people and logs."""

    def _intensity(self) -> xr.DataArray:
        if self._opened is None or self._opened_by != os.getpid():
            opened = self._cube if isinstance(self._cube, xr.Dataset) else open_cube(self._cube)
            self._opened, self._opened_by = opened["intensity"], os.getpid()
        return self._opened

    def _scale(self, intensity: NDArray[np.float32]) -> torch.Tensor:
        """Intensities (..., all channels, y, x) to the scaled images of the chosen channels."""
        scaled = self.scaling.scale(intensity[..., self._channel_rows, :, :])
        scaled[np.isnan(scaled)] = -1
        return torch.from_numpy(np.ascontiguousarray(scaled, dtype=np.float32))

    def _read_all(self, opened: xr.Dataset, where: str) -> torch.Tensor:
        shape = (len(self._rows), len(self.channels), opened.sizes["y"], opened.sizes["x"])
        needed = 4 * int(np.prod(shape))
        if needed > (allowed := _CACHE_SHARE * _machine_memory()):
            raise UsageError(
                f"{where}: {len(self._rows)} frames need {needed / 2**30:.1f} GiB of memory, more than the "
                f"{allowed / 2**30:.1f} GiB that a cache may take here; use cache=False."
            )
        images = torch.empty(shape)
        # Shard by shard: each is read and decompressed once, and memory holds one beside the cache.
        blocks = shard_ranges(opened) if "shards" in opened["intensity"].encoding else [(0, int(self._rows.max()) + 1)]
        for start, stop in blocks:
            inside = np.flatnonzero((self._rows >= start) & (self._rows < stop))
            if len(inside):
                block = opened["intensity"][start:stop].values
                images[torch.from_numpy(inside)] = self._scale(block[self._rows[inside] - start])
        return images


class SolarDataset(_CubeFrames):
    """Real frames of an observed cube.

    Only complete frames are served, and only those whose label is known. Each is read when it is asked for (one Zarr
    chunk); with `cache` the whole set is read once and kept in memory.

    Parameters
    ----------
    cube : str, pathlib.Path or xarray.Dataset
        An observed cube. A path is opened anew in each worker process.
    split : {"train", "validation", "test"}, optional
        Frames of one split only (`sunaug.cube.select_split`); by default all.
    label : {"forecast", "nowcast"}
        Which flux makes the label: the strongest flare of the 24 h after, or the peak of the hour before.
    threshold : str or float
        GOES class, or flux in W m-2, from which on a sample is positive.
    scaling : IntensityScaling or {"log", "asinh", "linear"}, optional
        By default that of `sunaug.scaling.default_scaling` for the cube.
    channels : sequence of str, optional
        Channels in the order wanted, any spelling that the lexicon knows; by default all.
    transform : callable, optional
        Applied to each sample, dict to dict.
    cache : bool
        Keep all scaled images in memory, as one float32 tensor (n, C, H, W).

    Attributes
    ----------
    times : ndarray of datetime64, shape (n,)
        UTC.
    held_out_times : ndarray of datetime64, shape (m,)
        With the split ``train``: the times of the cube's validation and test months, on which a forecaster is to be
        judged. Empty otherwise.
    labels : ndarray of int64, shape (n,)
    forecast_flux, nowcast_flux : ndarray of float64, shape (n,)
        W m-2.

    Raises
    ------
    UsageError
        If the cube is synthetic, an option has an unknown value, or the cache would not fit into memory.
    SunaugError
        If no frame is left.
    """

    def __init__(
        self,
        cube: str | Path | xr.Dataset,
        split: str | None = None,
        label: str = "forecast",
        threshold: str | float = "M1.0",
        scaling: IntensityScaling | str | None = None,
        channels: Sequence[str] | None = None,
        transform: Transform | None = None,
        *,
        cache: bool = False,
    ) -> None:
        opened = cube if isinstance(cube, xr.Dataset) else open_cube(cube)
        if "time" not in opened.dims:
            raise UsageError(f"{_where(opened)}: is a synthetic cube; open it with SyntheticSolarDataset.")
        super().__init__(
            cube,
            split=split,
            label=label,
            threshold=threshold,
            scaling=scaling,
            channels=channels,
            transform=transform,
            cache=cache,
        )
        self.times: NDArray[np.datetime64] = self._axis
        self.held_out_times: NDArray[np.datetime64] = opened["time"].values[:0]
        if split == "train":
            months = pd.DatetimeIndex(opened["time"].values).month
            self.held_out_times = opened["time"].values[~months.isin(opened.attrs["splits"]["train"])]

    def _sample_id(self, index: int) -> str:
        return f"{self.name}/{np.datetime_as_string(self.times[index], unit='s')}"


class SyntheticSolarDataset(_CubeFrames):
    """Synthetic frames, as `sunaug generate` wrote them, in the form of `SolarDataset`.

    The fluxes of a sample are those that it was conditioned on.

    Parameters
    ----------
    source : str, pathlib.Path or xarray.Dataset
        A synthetic cube.
    label, threshold, scaling, channels, transform, cache
        As for `SolarDataset`; to be mixed with real frames they must be the same.
    allow_ungated : bool
        Take a cube that the fidelity gate has refused or not judged.

    Attributes
    ----------
    training_ranges : tuple of (start, end)
        Time ranges that the generator was trained on, ISO 8601, UTC, half-open; empty where the cube does not say.
    bundle_hash : str
        Hash of the generator bundle, empty where the cube does not say.
    labels : ndarray of int64, shape (n,)
    forecast_flux, nowcast_flux : ndarray of float64, shape (n,)
        W m-2.

    Raises
    ------
    UsageError
        If `source` is not there, is a bundle or an observed cube, an option has an unknown value, or the cache would
        not fit into memory.
    SunaugError
        If no sample is complete.
    GateRefused
        If the gate has not passed the cube, unless `allow_ungated`.
    """

    def __init__(
        self,
        source: str | Path | xr.Dataset,
        label: str = "forecast",
        threshold: str | float = "M1.0",
        scaling: IntensityScaling | str | None = None,
        channels: Sequence[str] | None = None,
        transform: Transform | None = None,
        *,
        cache: bool = False,
        allow_ungated: bool = False,
    ) -> None:
        opened = source if isinstance(source, xr.Dataset) else _open_synthetic(source)
        if "sample" not in opened.dims:
            raise UsageError(f"{_where(opened)}: is an observed cube; open it with SolarDataset.")
        refuse_ungated(opened.attrs, _where(opened), allow=allow_ungated)
        super().__init__(
            source,
            split=None,
            label=label,
            threshold=threshold,
            scaling=scaling,
            channels=channels,
            transform=transform,
            cache=cache,
        )
        self.training_ranges: tuple[TimeRange, ...] = tuple(
            (str(start), str(end)) for start, end in self.attrs.get("training_ranges", ())
        )
        self.bundle_hash = str(self.attrs.get("bundle_hash", ""))

    def _sample_id(self, index: int) -> str:
        return f"SYNTHETIC/{self.name}/{int(self._axis[index]):06d}"


class MixedSolarDataset(Dataset[Sample]):
    """Real samples, all of them, followed by as many synthetic ones as a ratio asks for.

    Parameters
    ----------
    real : torch.utils.data.Dataset
        `SolarDataset`, or any map-style dataset whose items are dicts with ``image`` and ``label``, or can be made into
        such by `to_sample`. What else a sample holds is filled in where it is missing: fluxes as NaN, a ``sample_id``.
    synthetic : SyntheticSolarDataset
    ratio : float
        Synthetic samples for each real one: 0.5 adds half as many as there are real ones.
    seed : int
        Decides which synthetic samples are taken; the same seed takes the same ones, none of them twice.
    evaluation : iterable of SolarDataset or array_like of datetime64, optional
        What the forecaster will be validated and tested on. By default `SolarDataset.held_out_times` of `real`; any
        other dataset does not know them, and nothing is checked.
    to_sample : callable, optional
        Turns an item of `real` into a dict sample.
    allow_leakage : bool
        Mix in spite of the guard; `leakage` and `provenance` then say so.

    Attributes
    ----------
    leakage : str or None
        What the guard found and was told to allow.

    Raises
    ------
    LeakageError
        If the generator was trained on any time of `evaluation`.
    UsageError
        If there are too few synthetic samples for the ratio, or the two kinds of sample do not fit together.
    """

    def __init__(
        self,
        real: Any,
        synthetic: SyntheticSolarDataset,
        ratio: float,
        *,
        seed: int = 0,
        evaluation: Iterable[Any] | None = None,
        to_sample: Callable[[Any], Sample] | None = None,
        allow_leakage: bool = False,
    ) -> None:
        if not np.isfinite(ratio) or ratio < 0:
            raise UsageError(f"a ratio of {ratio} cannot be mixed; give synthetic samples per real one, as 0.5.")
        wanted = round(ratio * len(real))
        if wanted > len(synthetic):
            raise UsageError(
                f"SYNTHETIC/{synthetic.name}: holds {len(synthetic)} samples, and a ratio of {ratio:g} to {len(real)} "
                f"real ones needs {wanted}; generate them with `sunaug generate --n {wanted}` or take a smaller ratio."
            )
        self.real, self.synthetic, self.ratio, self.seed = real, synthetic, ratio, seed
        self._to_sample = to_sample
        self.leakage = _guard(real, synthetic, evaluation, allow_leakage) if wanted else None
        self._chosen = np.sort(np.random.default_rng(seed).permutation(len(synthetic))[:wanted])
        self._real_labels: NDArray[np.int64] | None = getattr(real, "labels", None) if to_sample is None else None
        if wanted:
            self._check_fit()

    def __len__(self) -> int:
        return len(self.real) + len(self._chosen)

    def __getitem__(self, index: int) -> Sample:
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        if index >= len(self.real):
            return self.synthetic[int(self._chosen[index - len(self.real)])]
        item = self.real[index]
        sample = self._to_sample(item) if self._to_sample else item
        if not isinstance(sample, dict) or not {"image", "label"} <= set(sample):
            raise UsageError(
                f"item {index} of the real dataset is not a dict with image and label; give to_sample=, a callable "
                "that makes one of it."
            )
        return {
            "image": torch.as_tensor(sample["image"], dtype=torch.float32),
            "label": torch.as_tensor(sample["label"], dtype=torch.int64),
            "forecast_flux": torch.tensor(float("nan")),
            "nowcast_flux": torch.tensor(float("nan")),
            "sample_id": f"real/{index:06d}",
            "synthetic": torch.tensor(False),
        } | {name: value for name, value in sample.items() if name not in ("image", "label")}

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of all samples, real ones first, shape (n,); reads every real sample once if they are not known."""
        if self._real_labels is None:
            self._real_labels = np.array([int(self[index]["label"]) for index in range(len(self.real))], dtype=np.int64)
        return np.concatenate([self._real_labels, self.synthetic.labels[self._chosen]])

    def class_counts(self) -> dict[str, dict[str, int]]:
        """Number of negative and positive samples, of the ``real`` and the ``synthetic`` ones."""
        labels = self.labels
        return {"real": _count(labels[: len(self.real)]), "synthetic": _count(labels[len(self.real) :])}

    def provenance(self) -> dict[str, Any]:
        """What a forecaster trained on this has seen, ready for JSON: counts, ratio, seed, bundle, ranges, leakage."""
        return {
            "class_counts": self.class_counts(),
            "ratio": self.ratio,
            "seed": self.seed,
            "synthetic": self.synthetic.name,
            "bundle_hash": self.synthetic.bundle_hash,
            "training_ranges": [list(one) for one in self.synthetic.training_ranges],
            "leakage": self.leakage,
        }

    def _check_fit(self) -> None:
        """Find out now, and in words, what would otherwise end in a collate error or in two kinds of normalisation."""
        if isinstance(self.real, _CubeFrames):
            for what in ("channels", "scaling", "label", "threshold"):
                ours, theirs = getattr(self.real, what), getattr(self.synthetic, what)
                if ours != theirs:
                    raise UsageError(
                        f"real and synthetic frames differ in {what} ({ours} and {theirs}); open both with the same "
                        "settings."
                    )
        real, synthetic = self[0], self[len(self.real)]
        if real["image"].shape != synthetic["image"].shape:
            raise UsageError(
                f"real images have the shape {tuple(real['image'].shape)} and synthetic ones "
                f"{tuple(synthetic['image'].shape)} (C, H, W); bring both to one with channels= and transform=."
            )
        if odd := set(real) ^ set(synthetic):
            raise UsageError(
                f"real and synthetic samples do not both hold {', '.join(sorted(odd))}, and cannot be in one batch; "
                "add or drop it with to_sample= or transform=."
            )


def balanced_sampler(labels: ArrayLike, num_samples: int | None = None, seed: int = 0) -> WeightedRandomSampler:
    """Sampler that draws every class equally often, with replacement.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
    num_samples : int, optional
        Draws in an epoch; by default n. Give all arms of a comparison the same number, so that they train equally
        long.
    seed : int

    Raises
    ------
    UsageError
        If `labels` is empty.
    """
    values = np.asarray(labels).reshape(-1)
    if not len(values):
        raise UsageError("no labels to balance; give the labels of a dataset that has samples.")
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return WeightedRandomSampler(
        (1 / counts)[inverse].tolist(),
        num_samples=len(values) if num_samples is None else num_samples,
        generator=torch.Generator().manual_seed(seed),
    )


def _guard(
    real: Any, synthetic: SyntheticSolarDataset, evaluation: Iterable[Any] | None, allow_leakage: bool
) -> str | None:
    """Check every set evaluated on; returns what was found where that is allowed."""
    if evaluation is None:
        evaluation = [real.held_out_times] if isinstance(real, SolarDataset) else []
    elif isinstance(evaluation, np.ndarray) or hasattr(evaluation, "times"):
        evaluation = [evaluation]
    times = [np.asarray(getattr(one, "times", one), dtype="datetime64[ns]").reshape(-1) for one in evaluation]
    try:
        check_leakage(
            synthetic.training_ranges,
            np.concatenate(times) if times else np.empty(0, "datetime64[ns]"),
            source=f"SYNTHETIC/{synthetic.name}",
        )
    except LeakageError as error:
        if not allow_leakage:
            raise
        return str(error)
    return None


def _open_synthetic(source: str | Path) -> xr.Dataset:
    if "://" not in str(source):
        if (Path(source) / "bundle.json").exists():
            raise UsageError(
                f"{source}: is a generator bundle, and frames cannot be made inside a loader yet; make a cube with "
                f"`sunaug generate --bundle {source} --out rare.zarr` and give that."
            )
        if not Path(source).exists():
            raise UsageError(
                f"{source}: no such synthetic cube; make one with `sunaug generate --rare --out {source}` (a Hugging "
                "Face id cannot be read yet, download it first)."
            )
    return open_cube(source)


def _where(cube: xr.Dataset) -> str:
    return str(cube.encoding.get("source", "the cube"))


def _count(labels: NDArray[np.int64]) -> dict[str, int]:
    return {"negative": int((labels == 0).sum()), "positive": int((labels != 0).sum())}


def _machine_memory() -> float:
    """Bytes of memory that the machine has; infinite where it does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
