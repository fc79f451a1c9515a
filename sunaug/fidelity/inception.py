"""pytorch-fid's Inception network, whose features the FID is defined by.

The network, the resizing and the averaging are those of pytorch-fid; the weights are found on this machine and never
downloaded. A figure's value depends on the layer: with 768 dimensions (``Mixed_6e``) it is called FID-768 and must
never stand beside a published FID, which has 2,048.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sunaug.errors import SunaugError, UsageError
from sunaug.networks.layers import kernels_last
from sunaug.storage import local_or_url
from sunaug.torchvision_import import import_torchvision

__all__ = ["InceptionFeatures", "find_weights", "load_inception"]

WEIGHTS_VARIABLE = "SUNAUG_FID_WEIGHTS"
FULL_WEIGHTS = "pt_inception-2015-12-05-6726825d.pth"
SMALL_WEIGHTS = "fid_inception_2015_12_05_dims768_fp16.safetensors"

_LAST_LAYER = {2048: "Mixed_7c", 768: "Mixed_6e"}
_UNUSED_BELOW_2048 = ("Mixed_7a", "Mixed_7b", "Mixed_7c", "fc")

# The largest maps of four images (22 MiB) stay in the allocator and mostly in the cache; those of more are memory that
# the system hands out and clears anew for every layer.
_TOGETHER_ON_CPU = 4


class InceptionFeatures(nn.Module):
    """pytorch-fid's Inception up to one layer, its maps averaged over the image.

    Attributes
    ----------
    dims : int
        Length of a feature vector.
    layer : str
        Name of the layer that the features are taken from.
    weights : str
        Name of the file that the weights came from.
    """

    def __init__(self, network: nn.Module, dims: int, weights: str) -> None:
        super().__init__()
        self.network = network
        self.dims, self.layer, self.weights = dims, _LAST_LAYER[dims], weights

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, dims) of RGB images (n, 3, y, x) in [0, 1], which are resized to 299×299 pixels."""
        groups = images.split(_TOGETHER_ON_CPU) if images.device.type == "cpu" else (images,)
        return torch.cat([self.network(group)[0].mean(dim=(2, 3)) for group in groups])


def _data_folders() -> list[Path]:
    if os.environ.get("SUNAUG_DATA"):
        return [Path(os.environ["SUNAUG_DATA"]).expanduser()]
    beside_checkout = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    return [beside_checkout, Path("..") / "shared" / "data"]


def find_weights(given: str | Path | None = None) -> Path:
    """The file with the Inception weights.

    Looked for in this order: `given`, the environment variable ``SUNAUG_FID_WEIGHTS``, the folder ``weights`` of
    ``SUNAUG_DATA`` (or of ``../shared/data`` beside the checkout), and the place where pytorch-fid keeps its download.
    Nothing is ever downloaded.

    Raises
    ------
    UsageError
        If the file that was asked for does not exist.
    SunaugError
        If none was asked for and none is found.
    """
    for asked, origin in ((given, "weights"), (os.environ.get(WEIGHTS_VARIABLE), WEIGHTS_VARIABLE)):
        if asked:
            if not (place := Path(local_or_url(asked))).is_file():
                raise UsageError(f"{asked}: no such file ({origin}); give the path of the Inception weights.")
            return place
    places = [folder / "weights" / name for folder in _data_folders() for name in (FULL_WEIGHTS, SMALL_WEIGHTS)]
    places.append(Path(torch.hub.get_dir()) / "checkpoints" / FULL_WEIGHTS)
    for place in places:
        if place.is_file():
            return place
    raise SunaugError(
        f"no Inception weights found for the Fréchet distance: give pytorch-fid's {FULL_WEIGHTS} (or the 768-d "
        f"safetensors file) with --weights FILE or in the environment variable {WEIGHTS_VARIABLE}."
    )


def _pytorch_fid() -> ModuleType:
    """Import `pytorch_fid.inception`, whose import of torchvision may need mending."""
    import_torchvision()
    import pytorch_fid.inception

    return pytorch_fid.inception


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return {name: value.float() for name, value in load_file(path).items()}
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError) as error:
        if isinstance(error, MemoryError) or error.errno is not None:
            raise
        raise _no_weights(path) from error
    except Exception as error:
        # torch and safetensors raise half a dozen kinds of error for a damaged file, and torch's text advises to run
        # what is in it.
        raise _no_weights(path) from error
    return dict(state) if isinstance(state, Mapping) else {}


def _no_weights(path: Path) -> SunaugError:
    return SunaugError(
        f"{path}: no Inception weights; give pytorch-fid's {FULL_WEIGHTS} or the 768-d safetensors file, and download "
        "it again if this one should be it."
    )


def _complete_state(state: Mapping[str, torch.Tensor], dims: int, path: Path) -> dict[str, torch.Tensor]:
    """`state` with zeros for the layers behind the one that features are taken from: what the download would be."""
    inception: Any = _pytorch_fid()
    with torch.device("meta"):
        template = inception._inception_v3(num_classes=1008, aux_logits=False, weights=None).state_dict()
    complete: dict[str, torch.Tensor] = {}
    for name, like in template.items():
        if name in state and state[name].shape == like.shape:
            complete[name] = state[name]
        elif name.endswith("num_batches_tracked") or (dims < 2048 and name.startswith(_UNUSED_BELOW_2048)):
            complete[name] = torch.zeros(like.shape, dtype=like.dtype)
        else:
            raise SunaugError(
                f"{path}: not the weights of pytorch-fid's Inception (no fitting {name}); "
                f"give {FULL_WEIGHTS} or the 768-d safetensors file."
            )
    return complete


def _unfolded_network(state: Mapping[str, torch.Tensor], dims: int, path: Path) -> nn.Module:
    """Build pytorch-fid's own `InceptionV3` around `state`, without its download."""
    inception: Any = _pytorch_fid()
    complete = _complete_state(state, dims, path)
    download = inception.load_state_dict_from_url
    inception.load_state_dict_from_url = lambda *_, **__: complete
    try:
        network: nn.Module = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[dims]])
    finally:
        inception.load_state_dict_from_url = download
    return network.eval()


def _fold_batch_norm(network: nn.Module) -> nn.Module:
    """Take each batch norm into the convolution before it: the same function in one pass over memory."""
    for module in network.modules():
        if isinstance(getattr(module, "conv", None), nn.Conv2d) and isinstance(
            getattr(module, "bn", None), nn.BatchNorm2d
        ):
            folded: Any = module
            folded.conv, folded.bn = fuse_conv_bn_eval(folded.conv, folded.bn), nn.Identity()
    return network


def load_inception(weights: str | Path | None = None) -> InceptionFeatures:
    """Load pytorch-fid's Inception network, on the CPU.

    Parameters
    ----------
    weights : str or pathlib.Path, optional
        pytorch-fid's full file (2,048 dimensions) or the safetensors file of the layers up to ``Mixed_6e`` (768). By
        default the one that `find_weights` finds.

    Raises
    ------
    UsageError, SunaugError
        If there is no such file, none is found, or it holds other weights.
    """
    path = find_weights(weights)
    state = _read_weights(path)
    dims = 2048 if any(name.startswith(_LAST_LAYER[2048]) for name in state) else 768
    network = _fold_batch_norm(_unfolded_network(state, dims, path))
    kernels_last(network)
    return InceptionFeatures(network, dims, path.name)
