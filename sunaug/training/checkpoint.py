"""Checkpoints: everything that a training needs to go on as if it had never stopped."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch

from sunaug.errors import SunaugError

_NAME = re.compile(r"^checkpoint-(\d+)\.pt$")


def checkpoint_paths(folder: Path) -> list[Path]:
    """Checkpoints in a run's folder, oldest first."""
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.match(path.name))]
    return [path for _, path in sorted(found)]


def save_checkpoint(folder: Path, images: int, state: dict[str, Any], kept: int) -> Path:
    """Write a checkpoint and drop all but the last `kept`.

    It is written beside its place, forced to the disk and renamed: a process killed at any moment leaves either the old
    set or the new one.
    """
    path = folder / f"checkpoint-{images:09d}.pt"
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    for old in checkpoint_paths(folder)[:-kept]:
        old.unlink()
    return path


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint in a run's folder, None where there is none.

    Only tensors and plain values are read (``weights_only``): a checkpoint runs no code.

    Raises
    ------
    SunaugError
        If it cannot be read.
    """
    paths = checkpoint_paths(folder)
    if not paths:
        return None
    try:
        state: dict[str, Any] = torch.load(paths[-1], map_location="cpu", weights_only=True)
    except (OSError, MemoryError) as error:
        if isinstance(error, MemoryError) or error.errno is not None:
            raise
        raise _damaged(paths[-1]) from error
    except Exception as error:
        # torch.load raises whatever the archive's reader and the unpickler happen to raise, and its text advises to
        # run what is in the file.
        raise _damaged(paths[-1]) from error
    return state


def _damaged(path: Path) -> SunaugError:
    return SunaugError(f"{path}: a damaged checkpoint, or none; remove it to resume from the one before.")
