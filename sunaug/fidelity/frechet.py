"""Fréchet distance between two sets of frames in the feature space of pytorch-fid's Inception network.

The distance is that of Heusel et al. 2017 (arXiv 1706.08500, eq. 6), |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^1/2), with
the network, the resizing and the averaging of pytorch-fid. Its value depends on the layer: with 768 dimensions
(``Mixed_6e``) it is called FID-768 and must never stand beside a published FID, which has 2,048.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sunaug.errors import SunaugError, UsageError
from sunaug.networks.layers import kernels_last
from sunaug.scaling import default_scaling

__all__ = [
    "Backbone",
    "FeatureStatistics",
    "display_images",
    "features",
    "find_weights",
    "frechet_distance",
    "load_backbone",
]

WEIGHTS_VARIABLE = "SUNAUG_FID_WEIGHTS"
FULL_WEIGHTS = "pt_inception-2015-12-05-6726825d.pth"
SMALL_WEIGHTS = "fid_inception_2015_12_05_dims768_fp16.safetensors"
BATCH = 16

_LAST_LAYER = {2048: "Mixed_7c", 768: "Mixed_6e"}
_UNUSED_BELOW_2048 = ("Mixed_7a", "Mixed_7b", "Mixed_7c", "fc")


@dataclass(frozen=True)
class Backbone:
    """A feature network.

    Attributes
    ----------
    network : torch.nn.Module
        RGB images (n, 3, y, x) in [0, 1] to a list of one feature map (n, dims, y', x').
    dims : int
        Length of a feature vector.
    layer : str
        Name of the layer that the features are taken from.
    weights : str
        Name of the file that the weights came from.
    """

    network: nn.Module
    dims: int
    layer: str
    weights: str

    @property
    def label(self) -> str:
        """How figures made with it are called: ``FID-768``."""
        return f"FID-{self.dims}"

    @property
    def description(self) -> str:
        """What the figures were made with, in one line."""
        return f"{self.label} (pytorch-fid Inception up to {self.layer}, {self.weights})"


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and covariance of a set of features.

    Attributes
    ----------
    mean : ndarray of float64, shape (dims,)
    root : ndarray of float64, shape (min(n, dims), dims)
        A root of the covariance: ``root.T @ root`` is the covariance with n - 1 in the denominator.
    count : int
        Number of images, n.
    """

    mean: NDArray[np.float64]
    root: NDArray[np.float64]
    count: int

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> FeatureStatistics:
        """Statistics of features (n, dims), n at least 2."""
        if len(values) < 2:
            raise UsageError(f"a covariance needs two images at least, not {len(values)}.")
        exact = values.astype(np.float64)
        mean = exact.mean(axis=0)
        root = (exact - mean) / np.sqrt(len(values) - 1)
        if len(root) > root.shape[1]:
            root = np.linalg.qr(root, mode="r")
        return cls(mean, root, len(values))


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """Fréchet distance of two Gaussians (Heusel et al. 2017, eq. 6).

    With C1 = A'A and C2 = B'B, the eigenvalues of the product C1 C2 are the squares of the singular values of A B', so
    the trace of its root is the sum of these. That needs no `sqrtm`, stays real, and holds for rank-deficient
    covariances, where `pytorch_fid.fid_score.calculate_frechet_distance` has to add to the diagonal.
    """
    offset = first.mean - second.mean
    overlap = np.linalg.svd(first.root @ second.root.T, compute_uv=False).sum()
    return float(offset @ offset + np.square(first.root).sum() + np.square(second.root).sum() - 2 * overlap)


def _data_folders() -> list[Path]:
    if os.environ.get("SUNAUG_DATA"):
        return [Path(os.environ["SUNAUG_DATA"])]
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
            if not Path(asked).is_file():
                raise UsageError(f"{asked}: no such file ({origin}); give the path of the Inception weights.")
            return Path(asked)
    places = [folder / "weights" / name for folder in _data_folders() for name in (FULL_WEIGHTS, SMALL_WEIGHTS)]
    places.append(Path(torch.hub.get_dir()) / "checkpoints" / FULL_WEIGHTS)
    for place in places:
        if place.is_file():
            return place
    raise SunaugError(
        f"no Inception weights found for the Fréchet distance: give pytorch-fid's {FULL_WEIGHTS} (or the 768-d "
        f"safetensors file) with --weights FILE or in the environment variable {WEIGHTS_VARIABLE}."
    )


_operators: list[torch.library.Library] = []


def _pytorch_fid() -> ModuleType:
    """Import `pytorch_fid.inception`, mending torchvision where its compiled operators do not load.

    Wheels of torchvision that were built for another torch fail to import with "operator torchvision::nms does not
    exist". Inception needs none of these operators, so naming them is enough.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        # The definitions last as long as the library object.
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _operators.append(library)
    import pytorch_fid.inception

    return pytorch_fid.inception


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return {name: value.float() for name, value in load_file(path).items()}
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch and safetensors raise half a dozen kinds of error for a damaged file.
        raise SunaugError(
            f"{path}: not readable as Inception weights ({str(error).splitlines()[0]}); "
            f"give pytorch-fid's {FULL_WEIGHTS} or the 768-d safetensors file."
        ) from None
    return dict(state) if isinstance(state, Mapping) else {}


def _unfolded_network(state: Mapping[str, torch.Tensor], dims: int, path: Path) -> nn.Module:
    """Build pytorch-fid's own `InceptionV3` around `state`, without its download."""
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


def load_backbone(weights: str | Path | None = None, *, device: str | torch.device | None = None) -> Backbone:
    """Load pytorch-fid's Inception network.

    Parameters
    ----------
    weights : str or pathlib.Path, optional
        pytorch-fid's full file (2,048 dimensions) or the safetensors file of the layers up to ``Mixed_6e`` (768). By
        default the one that `find_weights` finds.
    device : str or torch.device, optional
        CUDA where there is one, unless told otherwise.

    Raises
    ------
    UsageError, SunaugError
        If there is no such file, none is found, or it holds other weights.
    """
    path = find_weights(weights)
    state = _read_weights(path)
    dims = 2048 if any(name.startswith(_LAST_LAYER[2048]) for name in state) else 768
    network = _fold_batch_norm(_unfolded_network(state, dims, path))
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    kernels_last(network)
    return Backbone(network.to(where), dims, _LAST_LAYER[dims], path.name)


def display_images(
    intensity: NDArray[np.floating], channels: Sequence[str], intensity_scale: str
) -> dict[str, NDArray[np.uint8]]:
    """Turn frames into the 8-bit RGB images that pytorch-fid would read from PNG files.

    Intensities are scaled by `sunaug.scaling.default_scaling`, clipped to its range and rounded to 8 bits. Three
    channels make one RGB image; any other number makes one image per channel, repeated to three.

    Parameters
    ----------
    intensity : ndarray, shape (n, channel, y, x)
        In the cube's units; NaN becomes the lowest value.
    channels : sequence of str
        Lexicon names.
    intensity_scale : str
        The cube's attribute.

    Returns
    -------
    dict of str to ndarray of uint8, shape (n, 3, y, x)
        By channel name; a single one, named by its three channels joined with ``+``, where there are three.
    """
    share = (default_scaling(channels, intensity_scale).scale(np.asarray(intensity, np.float32)) + 1) / 2
    counts = np.rint(np.clip(np.nan_to_num(share, nan=0.0), 0, 1) * 255).astype(np.uint8)
    if len(channels) == 3:
        return {image_names(channels)[0]: counts}
    return {name: np.repeat(counts[:, [index]], 3, axis=1) for index, name in enumerate(channels)}


def image_names(channels: Sequence[str]) -> list[str]:
    """Names of the images that `display_images` makes of frames with these channels."""
    return ["+".join(channels)] if len(channels) == 3 else list(channels)


def features(
    images: Iterable[NDArray[np.uint8]], backbone: Backbone, *, report: Callable[[int], None] | None = None
) -> NDArray[np.float32]:
    """Feature vectors of images, as pytorch-fid's `get_activations` gives them.

    Parameters
    ----------
    images : iterable of ndarray of uint8, shape (n, 3, y, x)
        Batches of any length; the network resizes them to 299×299 itself.
    backbone : Backbone
    report : callable, optional
        Called with the number of images done so far.

    Returns
    -------
    ndarray of float32, shape (N, dims)
        The feature map's mean over the image, in the order of the images.
    """
    where = next(backbone.network.parameters()).device
    found = [np.empty((0, backbone.dims), np.float32)]
    done = 0
    with torch.inference_mode():
        for batch in images:
            for start in range(0, len(batch), BATCH):
                part = torch.from_numpy(np.ascontiguousarray(batch[start : start + BATCH])).to(where)
                maps = backbone.network(part.float().div_(255).contiguous(memory_format=torch.channels_last))[0]
                found.append(maps.mean(dim=(2, 3)).cpu().numpy())
                done += len(part)
                if report:
                    report(done)
    return np.concatenate(found)
