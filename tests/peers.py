"""The code of other projects, run as it is: clones under $SUNAUG_PEERS, one folder for each repository."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sunaug.torchvision_import import import_torchvision


def peer(repository: str, file: str = "") -> Path:
    """A file of a project's clone; the test is skipped, with the reason, where it is not there."""
    folder = os.environ.get("SUNAUG_PEERS")
    if not folder:
        pytest.skip(f"no code of {repository}: SUNAUG_PEERS is not set")
    path = Path(folder) / repository / file
    if not path.exists():
        pytest.skip(f"no code of {repository}: {path} is not there")
    return path


def load_module(path: Path) -> ModuleType:
    """A single file as a module that nothing else can import."""
    spec = importlib.util.spec_from_file_location(f"peer_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def torchvision() -> Any:
    """The package, also where its compiled operators do not go with torch; skipped where it is not installed."""
    try:
        import_torchvision()
    except ImportError as error:
        pytest.skip(f"no torchvision: {error}")
    return sys.modules["torchvision"]
