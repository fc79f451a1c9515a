"""sunaug: rare solar events, made to order, that a forecaster can trust.

The public surface is small; each name is imported when it is first used, so that ``import sunaug`` is instant.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0.dev0"

_HOMES = {
    "open_cube": "sunaug.cube",
    "select_split": "sunaug.cube",
    "load_bundle": "sunaug.bundle",
    "generate": "sunaug.generation",
    "stream": "sunaug.generation",
}

__all__ = ["__version__", "generate", "load_bundle", "open_cube", "select_split", "stream"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sunaug' has no attribute {name!r}")
