"""What comes with sunaug and is never written to."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from sunaug.errors import SunaugError

__all__ = ["refuse_installed"]


def refuse_installed(path: Path) -> None:
    """Refuse to write into sunaug itself: what comes with it is the same for everybody who has this version.

    Raises
    ------
    SunaugError
        If `path` lies in the installed package.
    """
    package = Path(str(resources.files("sunaug"))).resolve()
    if package in path.resolve().parents:
        raise SunaugError(f"{path}: comes with sunaug and is never changed; copy it, and change the copy.")
