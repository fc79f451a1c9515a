"""From a request to the set that answers it: checked against its bundle, and named by its content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

import sunaug
from sunaug.bundle import Bundle
from sunaug.errors import SunaugError, UsageError
from sunaug.generation import Sampler
from sunaug.generation.writing import attributes
from sunaug.service.queue import Filed
from sunaug.service.schemas import BatchRequest
from sunaug.service.settings import Settings

__all__ = ["public_sentence", "wanted_set"]

_DECIDING = ("bundle_hash", "request", "torch_version")
_FILES = 2
"""A set is kept as a cube and as the file to download."""

_OVERHEAD = 2**20


def wanted_set(asked: BatchRequest, bundles: Mapping[str, Bundle], settings: Settings) -> Filed:
    """What is to be made for a request.

    Parameters
    ----------
    asked : BatchRequest
    bundles : mapping of str to Bundle
        Those that are served.
    settings : Settings

    Raises
    ------
    UsageError
        If it asks for a bundle that is not served, for too many samples, or for what the bundle cannot make.
    """
    name = asked.bundle if asked.bundle is not None else next(iter(bundles))
    if name not in bundles:
        raise UsageError(f"bundle: none of that name is served; choose one of {', '.join(bundles)}.")
    if asked.n > settings.limits.samples:
        raise UsageError(f"n: a batch may have up to {settings.limits.samples:,} samples; file several.")
    bundle = bundles[name]
    try:
        sampler = Sampler(bundle, asked.request())
    except SunaugError as error:
        raise UsageError(public_sentence(error, {str(bundle.path): name})) from None
    origin = attributes(sampler)
    identity = {
        **{one: origin[one] for one in _DECIDING},
        "sunaug_version": sunaug.__version__,
        "policy": None if asked.ungated else settings.policy.hash,
    }
    info = bundle.info
    pixels = asked.n * info.network.image_channels * info.network.size**2 * 4
    return Filed(
        cube=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
        format=asked.format,
        request=asked.model_dump() | {"bundle": name, "bundle_hash": bundle.hash},
        n=asked.n,
        bytes=_FILES * pixels + _OVERHEAD,
    )


def public_sentence(error: SunaugError, names: Mapping[str, str]) -> str:
    """An error's sentence for those who ask over HTTP: without paths of this machine, fields in place of options.

    Parameters
    ----------
    error : SunaugError
    names : mapping of str to str
        What to say in place of each path.
    """
    sentence = str(error)
    for path, name in names.items():
        sentence = sentence.replace(path, name)
    sentence = sentence.replace("--no-critic", "critic: false")
    return re.sub(r"--([a-z][a-z-]*)", lambda option: option[1].replace("-", "_"), sentence)
