"""Which real frames are reconstructed, and how a bundle's generator sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from sunaug.bundle import Bundle, BundleInfo
from sunaug.cube import FrameStatus, select_split
from sunaug.cube.schema import SPLIT_NAMES
from sunaug.errors import SunaugError, UsageError
from sunaug.lexicon import channel_names

__all__ = ["SPLITS", "RealFrames", "real_frames"]

SPLITS = (*SPLIT_NAMES[1:], "all")


@dataclass(frozen=True)
class RealFrames:
    """Real frames that are reconstructed.

    Attributes
    ----------
    cube : xarray.Dataset
        These frames alone.
    info : BundleInfo
        Of the bundle that they are reconstructed with.
    counted : tuple of str
        Channels that the reconstruction goes by, in the bundle's order.
    split : str
        Where they were chosen from.
    """

    cube: xr.Dataset
    info: BundleInfo
    counted: tuple[str, ...]
    split: str

    def __len__(self) -> int:
        return int(self.cube.sizes["time"])

    @property
    def name(self) -> str:
        """What messages call the cube."""
        return str(self.cube.encoding.get("source", "the cube"))

    @property
    def times(self) -> NDArray[np.datetime64]:
        """When the frames were observed, datetime64[ns], shape (n,)."""
        return np.asarray(self.cube["time"].values, "datetime64[ns]")

    @property
    def fluxes(self) -> NDArray[np.float64]:
        """The bundle's labels of each frame, shape (n, n_labels), W m-2, NaN where not known."""
        columns = [self.cube[name].values for name in self.info.network.labels]
        return np.stack(columns, axis=1) if columns else np.empty((len(self), 0))

    def described(self) -> dict[str, object]:
        """What is reconstructed, as a cube keeps it."""
        return {
            "source": Path(self.name).name,
            "split": self.split,
            "frames": len(self),
            "times_sha256": hashlib.sha256(self.times.tobytes()).hexdigest(),
            "counted_channels": list(self.counted),
        }

    def intensity(self, chosen: slice = slice(None)) -> NDArray[np.float32]:
        """Some of the frames in the cube's units, shape (n, channel, y, x), in the bundle's order of channels.

        NaN where there are no data, and all over a channel that the cube lacks.
        """
        part = self.cube["intensity"].isel(time=chosen)
        size = self.info.network.size
        found = np.full((part.sizes["time"], len(self.info.channels), size, size), np.nan, np.float32)
        for number, name in enumerate(self.info.channels):
            if name in part["channel"].values:
                found[:, number] = part.sel(channel=name).values
        return found

    def what_counts(self, intensity: NDArray[np.float32]) -> Tensor:
        """Scaled frames of `intensity` with NaN in all channels but those that count.

        Raises
        ------
        SunaugError
            If a frame has no pixel left.
        """
        scaled = torch.from_numpy(self.info.scaling.scale(intensity))
        left_out = [number for number, name in enumerate(self.info.channels) if name not in self.counted]
        scaled[:, left_out] = torch.nan
        if not scaled.isfinite().flatten(1).any(dim=1).all():
            raise SunaugError(
                f"{self.name}: a frame has no pixel in {', '.join(self.counted)}, though its status says so; ingest "
                "the cube again, or go by other channels."
            )
        return scaled


def _check(cube: xr.Dataset, bundle: Bundle, counted: Sequence[str]) -> None:
    """Refuse a cube that the bundle's generator does not make frames like, or that lacks a channel."""
    name, info = cube.encoding.get("source", "the cube"), bundle.info
    if "time" not in cube.dims:
        raise UsageError(f"{name}: is a synthetic cube; give an observed one, whose frames are to be reconstructed.")
    pairs = {
        "frame sizes": (cube.sizes["y"], info.network.size),
        "disk radii": (round(float(cube.attrs["solar_radius_pixels"]), 3), round(info.disk_radius, 3)),
        "intensity scales": (cube.attrs["intensity_scale"], info.intensity_scale),
    }
    for what, (one, other) in pairs.items():
        if one != other:
            raise UsageError(
                f"{name} and the bundle {info.name} have different {what} ({one} against {other}); give a bundle that "
                "was trained on such frames, or ingest the cube alike."
            )
    known = {f"the bundle {info.name}": info.channels, f"{name}": [str(one) for one in cube["channel"].values]}
    for whose, channels in known.items():
        missing = [one for one in counted if one not in channels]
        if missing:
            raise UsageError(f"{whose} has no channel {', '.join(missing)}, only {', '.join(channels)}.")


def real_frames(
    cube: xr.Dataset, bundle: Bundle, channels: Sequence[str] | None = None, *, split: str = "validation", n: int = 16
) -> RealFrames:
    """Choose frames of a cube, evenly spaced over a split.

    Frames that lack one of the channels which count are left out; one that lacks another is not.

    Parameters
    ----------
    cube : xarray.Dataset
        An observed cube, as `sunaug.open_cube` gives it.
    bundle : Bundle
    channels : sequence of str, optional
        Channels that the reconstruction goes by; all that bundle and cube have in common by default.
    split : {"train", "validation", "test", "all"}
    n : int
        Number of frames; all if there are fewer.

    Raises
    ------
    UsageError
        If cube and bundle do not go together, a channel is unknown, or `n` or `split` makes no sense.
    SunaugError
        If there is no frame to take.
    """
    if n < 1:
        raise UsageError(f"--n {n}: ask for at least one frame.")
    if split not in SPLITS:
        raise UsageError(f"--split {split}: choose one of {', '.join(SPLITS)}.")
    theirs = {str(name) for name in cube["channel"].values}
    asked = channel_names(channels) if channels is not None else [one for one in bundle.info.channels if one in theirs]
    _check(cube, bundle, asked)
    if not asked:
        raise UsageError(
            f"{cube.encoding.get('source', 'the cube')}: has no channel that counts; give one or more of "
            f"{', '.join(bundle.info.channels)}."
        )
    counted = tuple(name for name in bundle.info.channels if name in asked)
    chosen = cube if split == "all" else select_split(cube, split, usable_only=False)
    status = chosen["frame_status"].values
    observed = np.isfinite(chosen["observed_at"].sel(channel=list(counted)).values).all(axis=1)
    usable = np.flatnonzero((status == FrameStatus.COMPLETE) | ((status == FrameStatus.PARTIAL) & observed))
    if not len(usable):
        raise SunaugError(
            f"{cube.encoding.get('source', 'the cube')}: no usable frame of {', '.join(counted)} in the split {split}; "
            "choose another --split or other channels."
        )
    places = usable[np.linspace(0, len(usable) - 1, min(n, len(usable))).round().astype(int)]
    return RealFrames(chosen.isel(time=places), bundle.info, counted, split)
