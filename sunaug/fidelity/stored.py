"""The reference that travels with a bundle: what samples are held against where the observed cube is not at hand.

Numbers of every real frame are kept as they are. Histograms and curves, thousands of numbers a frame, are kept as
coordinates on their leading components: they are only ever summed over many frames, where what is left out of each
averages out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sunaug.bundle import readable
from sunaug.critic import Critic
from sunaug.encoder import SolarEncoder
from sunaug.errors import SunaugError
from sunaug.fidelity.backbones import GATE_NETWORK
from sunaug.fidelity.claims import Classifier
from sunaug.fidelity.instruments import CONTENT, TEXTURE, Instruments
from sunaug.fidelity.measured import Measured, pack, unpack
from sunaug.fidelity.memorisation import Nearest, PixelSpace
from sunaug.fidelity.physics.energy import EnergyBudget, Relation
from sunaug.fidelity.reference import Looked, Reference
from sunaug.installed import refuse_installed
from sunaug.measures.limb import Geometry

__all__ = ["FILE", "StoredReference", "read_reference", "write_reference"]

FILE = "fidelity.safetensors"
_VERSION = "1"
_COMPONENTS = 64
_KEPT = (TEXTURE, CONTENT, GATE_NETWORK)
"""Feature networks whose features of real frames travel with a bundle."""


@dataclass(frozen=True)
class StoredReference:
    """Real frames, and what they were measured with."""

    reference: Reference = field(repr=False)
    instruments: Instruments

    @property
    def instruments_alone(self) -> Instruments:
        """What single samples are checked with: without what sees sets and without what reads fluxes."""
        return replace(self.instruments, backbones=(), reader=None)


def _wide(layout: str) -> NDArray[np.bool_]:
    """Which numbers of a packed row are part of a histogram or a curve."""
    return np.concatenate([np.full(max(entry["width"], 1), entry["width"] > 0) for entry in json.loads(layout)])


def _filled(values: NDArray[np.floating], middle: NDArray[np.floating]) -> NDArray[np.float64]:
    """Values (n, k) with what is missing at the mean of the others, which changes no mean."""
    return np.where(np.isfinite(values), values, np.nan_to_num(middle)).astype(np.float64)


def write_reference(path: Path, reference: Reference, instruments: Instruments) -> None:
    """Store a reference with its encoder and its regressor.

    Parameters
    ----------
    path : pathlib.Path
        File to write.
    reference : Reference
        Measured with `instruments`; of the features, those of its encoder and of `GATE_NETWORK` are kept.
    instruments : Instruments
    """
    refuse_installed(path)
    tensors: dict[str, Tensor] = {}
    text: dict[str, str] = {"version": _VERSION, "near": reference.near}
    rows, layout = pack(reference.train.measured.physics)
    wide = _wide(layout)
    known = np.isfinite(rows[:, wide])
    there = known.sum(axis=0)
    middle = np.where(known, rows[:, wide], 0).sum(axis=0) / np.maximum(there, 1)
    # A place that no frame has a value at stays without one.
    middle = np.where(there > 0, middle, np.nan)
    flat = _filled(rows[:, wide], middle)
    spread = flat.std()
    if wide.any():
        # Each kind of curve counts the same, whatever its unit.
        starts = np.cumsum([0] + [entry["width"] for entry in json.loads(layout) if entry["width"]])
        weight = np.concatenate(
            [
                np.full(
                    stop - start,
                    1 / max(float(flat[:, start:stop].std(axis=0).mean()), 1e-6 * spread + 1e-12),
                )
                for start, stop in pairwise(starts)
            ]
        )
        centred = torch.from_numpy((flat - np.nan_to_num(middle)) * weight).float()
        axes = torch.linalg.svd(centred, full_matrices=False)[2][:_COMPONENTS]
        tensors |= {
            "curves.mean": torch.from_numpy(middle).float(),
            "curves.weight": torch.from_numpy(weight).float(),
            "curves.axes": axes.half(),
        }
    text["layout"] = layout
    for name, side in (("train", reference.train), ("validation", reference.validation)):
        rows, _ = pack(side.measured.physics)
        tensors[f"{name}.numbers"] = torch.from_numpy(rows[:, ~wide]).float()
        if wide.any():
            left = (_filled(rows[:, wide], middle) - np.nan_to_num(middle)) * weight
            tensors[f"{name}.curves"] = (torch.from_numpy(left).float() @ axes.half().float().T).half()
        measured = side.measured
        assert measured.times is not None
        tensors |= {
            **{
                f"{name}.features.{key}": torch.from_numpy(values).half()
                for key, values in measured.features.items()
                if key.split(" ")[0] in _KEPT
            },
            f"{name}.pixels": torch.from_numpy(measured.thumbnails).half(),
            f"{name}.times": torch.from_numpy(measured.times.astype("datetime64[ns]").astype(np.int64)),
            **{f"{name}.flux.{key}": torch.from_numpy(values) for key, values in measured.fluxes.items()},
            **{f"{name}.reading.{key}": torch.from_numpy(values).float() for key, values in measured.readings.items()},
        }
        for where, nearest in (("pixels", side.pixels), ("features", side.features)):
            tensors[f"{name}.near.{where}.distance"] = torch.from_numpy(nearest.distance)
            tensors[f"{name}.near.{where}.row"] = torch.from_numpy(nearest.row.astype(np.int32))
    tensors |= {
        "space.mean": torch.from_numpy(reference.space.mean).half(),
        "space.axes": torch.from_numpy(reference.space.axes).half(),
    }
    if reference.budget is not None:
        text["budget"] = json.dumps(
            {
                name: [one.log_flux.tolist(), one.log_emission.tolist()]
                for name, one in reference.budget.relations.items()
            }
        )
    if reference.classifier is not None:
        tensors |= {
            f"classifier.{name}": torch.from_numpy(getattr(reference.classifier, name))
            for name in ("weights", "mean", "spread")
        }
    text["instruments"] = json.dumps(
        [
            list(instruments.channels),
            instruments.intensity_scale,
            instruments.geometry.size,
            instruments.geometry.disk_radius,
        ]
    )
    fitted, words = instrument_state(instruments)
    tensors, text = tensors | fitted, text | words
    partial = path.with_suffix(".partial")
    save_file({name: value.contiguous() for name, value in tensors.items()}, partial, metadata=text)
    partial.replace(path)
    readable(path.parent)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and text of a file; `SafetensorError` or `OSError` where it is none."""
    with safe_open(path, framework="pt") as file:
        # Not a mapping, though it has keys.
        names = list(file.keys())
        return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})


def instrument_state(instruments: Instruments) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Encoder and regressor as tensors and text, as far as there are any."""
    tensors: dict[str, Tensor] = {}
    text: dict[str, str] = {}
    for name, part in (("encoder", instruments.encoder), ("reader", instruments.reader)):
        if part is not None:
            state, words = part.state()
            tensors |= {f"{name}.{key}": value for key, value in state.items()}
            text[name] = json.dumps(words)
    return tensors, text


def read_instruments(
    tensors: Mapping[str, Tensor], text: Mapping[str, str]
) -> tuple[SolarEncoder | None, Critic | None]:
    """The encoder and the regressor that `instrument_state` gave.

    Raises
    ------
    KeyError, ValueError, RuntimeError
        If something is missing or does not fit.
    """
    encoder = (
        SolarEncoder.from_state(_part(tensors, "encoder."), json.loads(text["encoder"])) if "encoder" in text else None
    )
    reader = Critic.from_state(_part(tensors, "reader."), json.loads(text["reader"])) if "reader" in text else None
    return encoder, reader


def read_reference(path: Path) -> StoredReference:
    """Open a stored reference.

    Raises
    ------
    SunaugError
        If it is not one, or of another version.
    """
    try:
        tensors, text = read_safetensors(path)
        if text.get("version") != _VERSION:
            raise SunaugError(
                f"{path}: fidelity reference of version {text.get('version')}, this sunaug reads {_VERSION}; fit it "
                "again with `sunaug directions BUNDLE --fit --cube CUBE --out FOLDER`."
            )
        return _read(tensors, text)
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError, json.JSONDecodeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise SunaugError(
            f"{path}: not a fidelity reference ({reason}); the bundle is damaged, get it again."
        ) from None


def _part(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _array(value: Tensor) -> NDArray[Any]:
    found: NDArray[Any] = (value.float() if value.dtype == torch.float16 else value).numpy()
    return found


def _read(tensors: Mapping[str, Tensor], text: Mapping[str, str]) -> StoredReference:
    near, layout = text["near"], text["layout"]
    wide = _wide(layout)
    sides = []
    for name in ("train", "validation"):
        rows = np.empty((len(tensors[f"{name}.times"]), len(wide)), np.float32)
        rows[:, ~wide] = tensors[f"{name}.numbers"].numpy()
        if wide.any():
            back = tensors[f"{name}.curves"].float() @ tensors["curves.axes"].float()
            rows[:, wide] = (back / tensors["curves.weight"] + tensors["curves.mean"]).numpy()
        measured = Measured(
            physics=unpack(rows, layout),
            features={key: _array(value) for key, value in _part(tensors, f"{name}.features.").items()},
            thumbnails=_array(tensors[f"{name}.pixels"]),
            fluxes={key: _array(value) for key, value in _part(tensors, f"{name}.flux.").items()},
            times=_array(tensors[f"{name}.times"]).view("datetime64[ns]"),
            readings={
                key: _array(value).astype(np.float64) for key, value in _part(tensors, f"{name}.reading.").items()
            },
        )
        nearest = [
            Nearest(
                _array(tensors[f"{name}.near.{where}.distance"]),
                _array(tensors[f"{name}.near.{where}.row"]).astype(np.int64),
            )
            for where in ("pixels", "features")
        ]
        sides.append(Looked(measured, nearest[0], nearest[1], of_reference=True))
    budget = None
    if "budget" in text:
        budget = EnergyBudget(
            {
                name: Relation(np.array(flux), np.array(emission))
                for name, (flux, emission) in json.loads(text["budget"]).items()
            }
        )
    classifier = None
    if "classifier.weights" in tensors:
        classifier = Classifier(**{name: _array(value) for name, value in _part(tensors, "classifier.").items()})
    space = PixelSpace(_array(tensors["space.mean"]), _array(tensors["space.axes"]))
    channels, scale, size, radius = json.loads(text["instruments"])
    encoder, reader = read_instruments(tensors, text)
    instruments = Instruments(tuple(channels), scale, Geometry(size, radius), (), encoder, reader)
    return StoredReference(Reference(sides[0], sides[1], space, budget, classifier, near, radius), instruments)
