"""The generator bundle: a folder with everything that a sample can be made from, and nothing that runs.

========================== ============================================================================================
``model.safetensors``      weights of the averaged generator, in half precision, and its statistics as they are
``bundle.json``            architecture, channels, scaling, labels, recipe, the exact time ranges trained on, metrics
``directions.safetensors`` GANSpace components and the flare direction (absent until they have been fitted)
``encoder.safetensors``    what reads latents off images, in half precision (architectures with an encoder only)
``critic.safetensors``     what reads fluxes off frames, see `sunaug.critic` (absent where there was too little to fit)
``fidelity.safetensors``   the real frames that samples are judged by, see `sunaug.fidelity.stored` (absent likewise)
``finish.safetensors``     filters that give samples the spectrum of real frames, see `sunaug.finish` (may be absent)
``reference.safetensors``  fluxes, times and hot emission of the training frames, which conditions are drawn from
``README.md``              the model card
========================== ============================================================================================
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError, ValidationInfo, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import sunaug
from sunaug.critic import Critic
from sunaug.errors import SunaugError, UsageError
from sunaug.field_errors import field_error
from sunaug.finish import SpectralFinish
from sunaug.hub import download, parse_hub_id
from sunaug.installed import refuse_installed
from sunaug.measures.limb import Geometry
from sunaug.networks import ARCHITECTURES, BaseGenerator, NetworkConfig, make_encoder, make_generator
from sunaug.scaling import IntensityScaling
from sunaug.storage import local_or_url

__all__ = [
    "BUNDLED",
    "Bundle",
    "BundleInfo",
    "bundled_names",
    "load_bundle",
    "readable",
    "write_bundle",
    "write_critic",
    "write_directions",
    "write_finish",
    "write_metrics",
    "write_reference",
]

FORMAT_VERSION = "1"
BUNDLED = "sdo2012-128"
"""Name of the bundle that is used where none is named; `bundled_names` lists all that come with sunaug."""

_DECIDING = (
    "model.safetensors",
    "reference.safetensors",
    "directions.safetensors",
    "critic.safetensors",
    "encoder.safetensors",
    "finish.safetensors",
)
_REQUIRED = ("bundle.json", "model.safetensors", "reference.safetensors", "README.md")

Network = TypeVar("Network", bound=nn.Module)


class BundleInfo(BaseModel):
    """What ``bundle.json`` holds.

    Attributes
    ----------
    architecture : str
        One of `sunaug.networks.ARCHITECTURES`.
    network : NetworkConfig
        The architecture's own.
    channels : list of str
        Lexicon names, in the order of the image's channels.
    intensity_scale : str
        That of the cube trained on.
    disk_radius : float
        Radius of the photosphere in pixels.
    scaling : IntensityScaling
    recipe : dict
        The training recipe as it was run.
    training_ranges : list of [str, str]
        Half-open time ranges of the frames trained on: an adapter refuses to evaluate a forecaster on them.
    training : dict
        Images shown, seconds, number of frames, fingerprint of the cube.
    metrics : dict
        Measured after the training, each with what it was measured against.
    """

    model_config = ConfigDict(extra="forbid")

    format_version: Literal["1"] = "1"
    sunaug_version: str = sunaug.__version__
    name: str
    architecture: str = "stylegan2"
    network: SerializeAsAny[NetworkConfig]
    channels: list[str]
    intensity_scale: str
    disk_radius: float
    scaling: IntensityScaling
    recipe: dict[str, Any]
    training_ranges: list[list[str]]
    training: dict[str, Any]
    metrics: dict[str, Any] = {}
    licence: str = "BSD-3-Clause"

    @field_validator("architecture")
    @classmethod
    def _known(cls, architecture: str) -> str:
        if architecture not in ARCHITECTURES:
            raise ValueError(f"unknown architecture {architecture!r}, this sunaug knows {', '.join(ARCHITECTURES)}")
        return architecture

    @field_validator("network", mode="before")
    @classmethod
    def _of_its_architecture(cls, network: Any, found: ValidationInfo) -> Any:
        if isinstance(network, NetworkConfig) or "architecture" not in found.data:
            return network
        return ARCHITECTURES[found.data["architecture"]].config.model_validate(network)

    def within_range(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unscaled images (n, channel, y, x) without what no frame can hold.

        Below the range of the scaling is its lowest intensity, not negative light; channels with a sign have no such
        end. Display counts end at 255.
        """
        return np.clip(images, self.scaling.floor[:, None, None], 255 if self.intensity_scale == "browse" else None)


@dataclass
class Bundle:
    """An open bundle.

    Attributes
    ----------
    path : pathlib.Path
    info : BundleInfo
    generator : BaseGenerator
        In evaluation mode, float32, on the CPU.
    reference : dict of str to Tensor
        Of the training frames: ``fluxes`` (n, n_conditions), float64, W m-2; ``hot_emission`` (n,), see
        `sunaug.latent.activity`, NaN where a frame lacks the channels; ``times`` (n,), int64, nanoseconds since 1970
        (absent in bundles of sunaug before it counted events).
    directions : dict of str to Tensor
        Empty until fitted; see `sunaug.latent`.
    critic : Critic or None
    image_encoder : torch.nn.Module or None
        From scaled images (n, channel, y, x) to intermediate latents w (n, latent_width), of architectures that have
        one; as the generator.
    finish : SpectralFinish or None
        What is done to its images before they are samples.
    hash : str
        SHA-256 over the files that decide what is generated.
    """

    path: Path
    info: BundleInfo
    generator: BaseGenerator = field(repr=False)
    reference: dict[str, Tensor] = field(repr=False)
    directions: dict[str, Tensor] = field(repr=False)
    hash: str
    critic: Critic | None = field(default=None, repr=False)
    image_encoder: nn.Module | None = field(default=None, repr=False)
    finish: SpectralFinish | None = field(default=None, repr=False)

    def synthesize(self, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """Scaled images (n, channel, y, x) as samples have them, of w as `BaseGenerator.synthesize` takes it."""
        images = self.generator.synthesize(w, noise)
        finished: Tensor = images if self.finish is None else self.finish(images)
        return finished


def bundled_names() -> list[str]:
    """Names of the bundles that come with sunaug."""
    root = resources.files("sunaug") / "bundles"
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []


def _resolve(source: str | Path) -> Path:
    if (path := Path(local_or_url(source))).is_dir():
        return path
    if str(source) in bundled_names():
        return Path(str(resources.files("sunaug") / "bundles" / str(source)))
    if str(source).startswith("hf://") and (hub_id := parse_hub_id(source)):
        return download(hub_id)
    raise UsageError(
        f"{source}: no such bundle; give a bundle's folder, hf://org/name or one of "
        f"{', '.join(bundled_names()) or '(none)'}."
    )


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise SunaugError(f"{path}: not a safetensors file; the bundle is damaged, download it again.") from error


def load_bundle(source: str | Path = BUNDLED) -> Bundle:
    """Open a bundle. No code from it is run.

    Parameters
    ----------
    source : str or pathlib.Path
        Path of a bundle folder, the name of one that comes with sunaug, or ``hf://org/name`` on the Hugging Face Hub.

    Raises
    ------
    UsageError
        If there is no such bundle.
    SunaugError
        If a file is missing or damaged, or of another format version.
    """
    path = _resolve(source)
    missing = [name for name in _REQUIRED if not (path / name).is_file()]
    if missing:
        raise SunaugError(
            f"{path}: not a whole bundle, {', '.join(missing)} missing; copy it again or train a new one."
        )
    try:
        content = json.loads((path / "bundle.json").read_text())
        version = content.get("format_version") if isinstance(content, dict) else None
        if version != FORMAT_VERSION:
            raise SunaugError(f"{path}: bundle format {version}, this sunaug reads {FORMAT_VERSION}; update sunaug.")
        info = BundleInfo(**content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SunaugError(
            f"{path / 'bundle.json'}: not JSON ({error}); the bundle is damaged, download it again."
        ) from error
    except ValidationError as error:
        raise SunaugError(f"{path / 'bundle.json'}: {field_error(error)}; the bundle is damaged.") from error
    directions = path / "directions.safetensors"
    return Bundle(
        path=path,
        info=info,
        generator=_read_network(path / "model.safetensors", make_generator(info.network)),
        reference=_read_tensors(path / "reference.safetensors"),
        directions=_read_tensors(directions) if directions.is_file() else {},
        hash=_hash(path, content),
        critic=_read_critic(path / "critic.safetensors"),
        image_encoder=_read_encoder(path / "encoder.safetensors", info.network),
        finish=_read_finish(path / "finish.safetensors", info),
    )


def _read_network(path: Path, network: Network) -> Network:
    try:
        network.load_state_dict(_read_tensors(path))
    except RuntimeError as error:
        raise SunaugError(f"{path}: does not fit bundle.json; the bundle is damaged, download it again.") from error
    return network.eval().requires_grad_(False)


def _read_encoder(path: Path, config: NetworkConfig) -> nn.Module | None:
    if not path.is_file():
        return None
    encoder = make_encoder(config)
    if encoder is None:
        raise SunaugError(f"{path}: {config.architecture} has no encoder; the bundle is damaged, download it again.")
    return _read_network(path, encoder)


def _read_finish(path: Path, info: BundleInfo) -> SpectralFinish | None:
    if not path.is_file():
        return None
    gains = _read_tensors(path).get("gains", torch.empty(0))
    expected = (2, info.network.image_channels, info.network.size, info.network.size // 2 + 1)
    if gains.shape != expected:
        raise SunaugError(
            f"{path}: gains of shape {tuple(gains.shape)} in place of {expected}; download the bundle again."
        )
    return SpectralFinish(gains.float(), Geometry(info.network.size, info.disk_radius))


def _read_critic(path: Path) -> Critic | None:
    if not path.is_file():
        return None
    tensors = _read_tensors(path)
    with safe_open(path, framework="pt") as file:
        text = file.metadata() or {}
    try:
        return Critic.from_state(tensors, text)
    except (KeyError, ValueError, RuntimeError) as error:
        raise SunaugError(f"{path}: not a critic; the bundle is damaged, download it again.") from error


def _hash(path: Path, content: Mapping[str, Any]) -> str:
    """Hash of what decides the samples: metrics may be added later and leave it as it is.

    `content` is ``bundle.json`` as it stands, so that a field with a default which a later sunaug adds changes no hash.
    """
    kept = {name: value for name, value in content.items() if name != "metrics"}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
    for name in _DECIDING:
        if (path / name).is_file():
            digest.update(name.encode() + b"\0" + (path / name).read_bytes())
    return digest.hexdigest()


def write_bundle(
    path: Path,
    info: BundleInfo,
    generator: BaseGenerator,
    reference: Mapping[str, Tensor],
    card: str,
    *,
    encoder: nn.Module | None = None,
) -> None:
    """Write a bundle folder, complete or not at all; one that stands at `path` is replaced.

    Parameters
    ----------
    path : pathlib.Path
    info : BundleInfo
    generator : BaseGenerator
        Its weights are stored in half precision, and buffers (the statistics of batch norms) as they are.
    reference : mapping of str to Tensor
    card : str
        The model card, Markdown.
    encoder : torch.nn.Module, optional
        From images to w; its weights are stored in half precision as well.

    Raises
    ------
    SunaugError
        If `path` lies in the installed package; so it is with all that writes into a bundle.
    """
    refuse_installed(path)
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, network in (("model", generator), ("encoder", encoder)):
        if network is not None:
            save_file(_stored(network), partial / f"{name}.safetensors")
    save_file(dict(reference), partial / "reference.safetensors")
    (partial / "bundle.json").write_text(info.model_dump_json(indent=2) + "\n")
    (partial / "README.md").write_text(card)
    readable(partial)
    if path.exists():
        shutil.rmtree(path)
    partial.replace(path)


def _stored(network: nn.Module) -> dict[str, Tensor]:
    """A network's tensors as bundles keep them; half precision has not the range of a variance, nor whole numbers."""
    weights = {name for name, _ in network.named_parameters()}
    state = network.state_dict()
    return {name: (value.half() if name in weights else value).contiguous() for name, value in state.items()}


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """Add what was measured to a bundle's ``bundle.json``; figures of the same name are replaced.

    The rest of the file stays as it is written: fields that it was made without would change the bundle's hash.
    """
    refuse_installed(path)
    content = json.loads((path / "bundle.json").read_text())
    content["metrics"] = load_bundle(path).info.metrics | dict(metrics)
    partial = path / "bundle.partial"
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path / "bundle.json")


def write_critic(path: Path, critic: Critic) -> None:
    """Store a critic with a bundle."""
    refuse_installed(path)
    tensors, text = critic.state()
    partial = path / "critic.partial"
    save_file(tensors, partial, metadata=text)
    partial.replace(path / "critic.safetensors")
    readable(path)


def write_reference(path: Path, reference: Mapping[str, Tensor]) -> None:
    """Store what is known of the frames that a bundle was trained on, in place of what stands there."""
    refuse_installed(path)
    partial = path / "reference.partial"
    save_file({name: value.contiguous() for name, value in reference.items()}, partial)
    partial.replace(path / "reference.safetensors")
    readable(path)


def write_directions(path: Path, directions: Mapping[str, Tensor]) -> None:
    """Store the directions of a bundle beside its other files."""
    refuse_installed(path)
    partial = path / "directions.partial"
    save_file({name: value.to(torch.float32).contiguous() for name, value in directions.items()}, partial)
    partial.replace(path / "directions.safetensors")
    readable(path)


def write_finish(path: Path, finish: SpectralFinish) -> None:
    """Store the finish of a bundle, in half precision."""
    refuse_installed(path)
    partial = path / "finish.partial"
    save_file({"gains": finish.gains.half().contiguous()}, partial)
    partial.replace(path / "finish.safetensors")
    readable(path)


def readable(path: Path) -> None:
    """Let others read a bundle's files, as the umask allows: safetensors makes them for their owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    for file in path.iterdir():
        file.chmod(0o666 & ~mask)
