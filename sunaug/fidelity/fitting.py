"""What has to be fitted on real frames before samples can be judged: the encoder, the regressor, the reference."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import xarray as xr
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from sunaug.bundle import Bundle
from sunaug.critic import Critic, fit_critic
from sunaug.cube import select_split
from sunaug.encoder import SolarEncoder, fit_encoder
from sunaug.errors import SunaugError
from sunaug.fidelity.backbones import Backbone, gate_backbones
from sunaug.fidelity.cache import RowCache, default_cache
from sunaug.fidelity.instruments import FLUXES, Instruments, measure_set
from sunaug.fidelity.measured import Measured
from sunaug.fidelity.reference import Reference
from sunaug.fidelity.stored import FILE, instrument_state, read_instruments, read_safetensors, write_reference
from sunaug.flares import class_letters
from sunaug.threads import one_thread

__all__ = ["add_reference", "fit_instruments", "fit_reference", "known_rows"]

READER_SEED = 7
"""Not that of the critic, which chooses samples: what chooses them cannot judge them."""

_SIZE = 128
_BATCH = 64
_VERSION = 1
_BALANCE = 0.5


def known_rows(side: xr.Dataset) -> NDArray[np.int64]:
    """Frames of an observed cube whose labels are known, as far as it has labels; none of a cube that has none."""
    labels = _labels(side)
    known = np.full(side.sizes["time"], bool(labels))
    for name in labels:
        known &= np.isfinite(side[name].values)
    return np.flatnonzero(known)


def _labels(cube: xr.Dataset) -> tuple[str, ...]:
    """The flux labels that are known of some frame of a cube."""
    return tuple(name for name in FLUXES if name in cube and np.isfinite(cube[name].values).any())


def _small_frames(side: xr.Dataset, rows: NDArray[np.int64], instruments: Instruments) -> Tensor:
    """Scaled frames averaged down to 128 pixels where they are larger, (n, channel, y, x)."""
    parts = []
    for start in range(0, len(rows), _BATCH):
        frames = np.asarray(side["intensity"].isel(time=rows[start : start + _BATCH]).values, np.float32)
        scaled = torch.from_numpy(instruments.scaled(frames))
        parts.append(F.adaptive_avg_pool2d(scaled, _SIZE) if scaled.shape[-1] > _SIZE else scaled)
    return torch.cat(parts)


def fit_instruments(
    cube: xr.Dataset,
    backbones: Sequence[Backbone] = (),
    *,
    cache: Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Instruments:
    """Fit encoder and regressor on the train months of an observed cube.

    Parameters
    ----------
    cube : xarray.Dataset
    backbones : sequence of Backbone
        Taken over into the instruments.
    cache : pathlib.Path, optional
        Folder in which what was fitted on the same frames is found again.
    seed : int
    say : callable, optional
        Told what takes minutes.

    Raises
    ------
    SunaugError
        If there is no train frame with known labels.
    """
    train = select_split(cube, "train")
    rows = known_rows(train)
    if not len(rows):
        raise SunaugError(
            f"{cube.encoding.get('source', 'the cube')}: no train frame with known labels; ingest it with --flares."
        )
    plain = Instruments.of(cube)
    images, times = _small_frames(train, rows, plain), np.asarray(train["time"].values)[rows]
    labels = _labels(train)
    fluxes = np.stack([np.asarray(train[name].values, np.float64)[rows] for name in labels], axis=1)
    digest = hashlib.sha256(f"{_VERSION} {seed} {labels} {plain.channels} {plain.intensity_scale}".encode())
    digest.update(images.numpy().tobytes() + fluxes.tobytes() + times.tobytes())
    file = None if cache is None else cache / f"instruments-{digest.hexdigest()[:32]}.safetensors"
    if file is not None and (found := _read(file)):
        return Instruments.of(cube, backbones, *found)
    say(f"fitting the encoder and the regressor on {len(rows):,} real frames, once for these frames")
    encoder = fit_encoder(images, times, seed=seed)
    if encoder is None:
        # What is too little for an encoder is too little for a regressor, and for a gate.
        return Instruments.of(cube, backbones)
    _, membership, counts = np.unique(class_letters(fluxes[:, -1]), return_inverse=True, return_counts=True)
    weights = torch.from_numpy(counts[membership] ** -_BALANCE)
    reader = fit_critic(images, fluxes, times, labels, weights / weights.sum(), seed=READER_SEED + seed)
    fitted = Instruments.of(cube, backbones, encoder, reader)
    if file is not None:
        _write(file, fitted)
    return fitted


def _write(file: Path, instruments: Instruments) -> None:
    tensors, text = instrument_state(instruments)
    file.parent.mkdir(parents=True, exist_ok=True)
    written = file.with_suffix(".partial")
    save_file(tensors, written, metadata=text)
    written.replace(file)


def _read(file: Path) -> tuple[SolarEncoder | None, Critic | None] | None:
    """What was fitted before; None where there is none, or the file is damaged."""
    try:
        return read_instruments(*read_safetensors(file))
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError):
        return None


def add_reference(bundle: Bundle, cube: xr.Dataset, say: Callable[[str], None] = lambda text: None) -> bool:
    """Fit what a bundle's samples are judged by, and store it with the bundle.

    Parameters
    ----------
    bundle : Bundle
    cube : xarray.Dataset
        The observed cube that it was trained on.
    say : callable, optional
        Told what takes minutes.

    Returns
    -------
    bool
        False where the cube has too few frames for it.
    """
    try:
        sides = [select_split(cube, split) for split in ("train", "validation")]
    except SunaugError:  # all of its frames lack channels
        return False
    if not all(len(known_rows(side)) for side in sides):
        return False
    cache = default_cache()
    instruments = fit_instruments(cube, gate_backbones(), cache=cache, say=say)
    if instruments.encoder is None:
        return False
    write_reference(bundle.path / FILE, fit_reference(cube, instruments, cache=RowCache(cache)), instruments)
    return True


@one_thread(blas=True)
def fit_reference(
    cube: xr.Dataset,
    instruments: Instruments,
    *,
    cache: RowCache | None = None,
    report: Callable[[int], None] | None = None,
) -> Reference:
    """Measure the train and the validation frames of an observed cube.

    Parameters
    ----------
    cube : xarray.Dataset
    instruments : Instruments
        Fitted on this cube.
    cache : RowCache, optional
    report : callable, optional
        Called with the number of frames done so far.
    """
    sides: list[Measured | None] = []
    done = 0
    for split in ("train", "validation"):
        side = select_split(cube, split)
        rows = known_rows(side)
        sides.append(measure_set(side, rows, instruments, cache, report, before=done) if len(rows) else None)
        done += len(rows)
    train, validation = sides
    if train is None or validation is None:
        raise SunaugError(
            f"{cube.encoding.get('source', 'the cube')}: no frame with known labels in its train or its validation "
            "months; ingest more months, with --flares."
        )
    return Reference.of(train, validation, instruments)
