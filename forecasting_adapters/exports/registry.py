"""The projects that can be exported to; the module of one is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

from forecasting_adapters.exports.contract import Ecosystem
from sunaug.errors import UsageError

__all__ = ["NAMES", "ecosystem"]

_MODULES = {
    "suryabench": "suryabench",
    "sdoml": "sdoml",
    "pandey": "pandey",
    "inaf": "inaf",
    "sdobenchmark": "sdobenchmark",
    "sdoml-lite": "sdoml_lite",
    "flarebench": "flarebench",
    "webdataset": "webdataset",
    "folder": "folder",
    "fits": "fits",
}

NAMES = tuple(_MODULES)
"""As in ``sunaug export --to NAME``."""


def ecosystem(name: str) -> Ecosystem:
    """The ecosystem of a name.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if name not in _MODULES:
        raise UsageError(f"--to {name}: no such layout; choose one of {', '.join(NAMES)} (`sunaug export --list`).")
    module = import_module(f"forecasting_adapters.exports.{_MODULES[name]}")
    offered: tuple[Ecosystem, ...] = getattr(module, "ECOSYSTEMS", None) or (module.ECOSYSTEM,)
    return next(one for one in offered if one.name == name)
