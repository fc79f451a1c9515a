"""Real frames through a bundle's encoder and generator: what the model makes of what it is shown."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sunaug.bundle import Bundle
from sunaug.errors import UsageError

__all__ = ["EncodedFrames", "encode_frames"]

_BATCH = 16


class EncodedFrames(NamedTuple):
    """Intermediate latents w (n, latent_width), and the images (n, channel, y, x) that are made of them, scaled."""

    w: Tensor
    images: Tensor


def encode_frames(bundle: Bundle, frames: Tensor) -> EncodedFrames:
    """Encode frames and make them again, without noise: G(E(x)) (Pidhorskyi et al. 2020).

    Parameters
    ----------
    bundle : Bundle
        Of an architecture with an encoder.
    frames : Tensor, shape (n, channel, y, x)
        Scaled intensities, as `bundle.info.scaling` gives them, of the bundle's size and channels.

    Returns
    -------
    EncodedFrames

    Raises
    ------
    UsageError
        If the bundle has no encoder, or the frames have another shape.
    """
    info, encoder = bundle.info, bundle.image_encoder
    if encoder is None:
        raise UsageError(f"{bundle.path}: a {info.architecture} bundle without an encoder; train a stylealae for one.")
    shape = (info.network.image_channels, info.network.size, info.network.size)
    if frames.dim() != 4 or frames.shape[1:] != shape:
        raise UsageError(
            f"{bundle.path}: encodes frames of (n, {', '.join(map(str, shape))}) channels and pixels, these are "
            f"{tuple(frames.shape)}; ingest them as the frames that it was trained on."
        )
    device = next(encoder.parameters()).device
    latents, images = [], []
    with torch.inference_mode():
        for part in frames.split(_BATCH):
            w = encoder(part.to(device, torch.float32))
            latents.append(w.cpu())
            images.append(bundle.generator.synthesize(w).cpu())
    return EncodedFrames(torch.cat(latents), torch.cat(images))
