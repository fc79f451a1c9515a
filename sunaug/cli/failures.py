"""What the system refuses, as one sentence: a path, what is wrong with it, and a way out.

Only what has its cause outside of sunaug is turned into a sentence. Any other exception is a bug of ours, and keeps its
traceback.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sunaug.errors import SunaugError

__all__ = ["INTERRUPTED", "Stopped", "is_of_the_system", "stopped_by"]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it: 128 + SIGINT."""

OUTPUTS = ("out", "report", "json", "picture", "database", "state", "folder")
"""Parameters of the commands that name what is written."""

_SMALLER = ("n", "size", "batch_size", "workers", "jobs", "devices")
"""Parameters with which a command takes less memory."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ENOTEMPTY)
_WRITTEN = (*_FULL, errno.EROFS, errno.EFBIG)


class Stopped(SunaugError):
    """A command that something outside of sunaug has stopped."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def is_of_the_system(error: BaseException) -> bool:
    """Whether an exception has its cause outside of sunaug: the system, its memory, the size of a number, Ctrl-C."""
    return isinstance(error, OSError | MemoryError | OverflowError | KeyboardInterrupt) or _is_out_of_memory(error)


def stopped_by(error: BaseException, given: Mapping[str, Any] | None = None) -> Stopped:
    """The sentence for an exception that `is_of_the_system`, with its exit code.

    Parameters
    ----------
    error : BaseException
    given : mapping of str to Any, optional
        The command's parameters by name.
    """
    given = given or {}
    place = next((str(given[name]) for name in OUTPUTS if given.get(name)), None)
    if isinstance(error, KeyboardInterrupt):
        where = f"{place}: interrupted" if place else "interrupted"
        return Stopped(f"{where}; what is complete is kept. Run the command again to continue.", INTERRUPTED)
    if isinstance(error, OSError):
        return Stopped(_of_the_system(error, given, place))
    if isinstance(error, OverflowError):
        return Stopped(f"a number is too large ({_reason(error)}); give a smaller one.")
    options = [f"--{name.replace('_', '-')}" for name in _SMALLER if name in given]
    less = f"give a smaller {' or '.join(options)}" if options else "give it less to do at a time"
    where = f"{place}: " if place else ""
    return Stopped(f"{where}not enough memory ({_reason(error)}); {less}, or use a machine with more memory.")


def _of_the_system(error: OSError, given: Mapping[str, Any], place: str | None) -> str:
    """A sentence for what the operating system refuses; the path is the error's own where it has one."""
    reason = error.strerror or _reason(error)
    named = [_text(one) for one in (error.filename, error.filename2) if one is not None]
    path = " and ".join(named) or (place if error.errno in _WRITTEN else None)
    writes = error.errno in _WRITTEN or any(_belongs(one, _outputs(given)) for one in named)
    if path is None:
        where = f"{place}: " if place else ""
        return f"{where}{reason}; check the disk, the permissions and the network, and run the command again."
    what = f"{path}: cannot be {'written' if writes else 'read'} ({reason})"
    if error.errno in _FULL:
        return f"{what}; make room there and run the command again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{what}; choose another path, or change the permissions there."
    if error.errno in _NOT_THERE:
        return f"{what}; check the path, or choose another one."
    return f"{what}; check the disk and the permissions there, and run the command again."


def _outputs(given: Mapping[str, Any]) -> Iterable[str]:
    return (str(given[name]) for name in OUTPUTS if given.get(name))


def _belongs(path: str, outputs: Iterable[str]) -> bool:
    """Whether a path is one of the outputs, in it, or a folder on the way to it."""
    one = Path(path).absolute()
    for output in outputs:
        other = Path(output).absolute()
        if one == other or other in one.parents or one in other.parents or one.parent == other.parent:
            return True
    return False


def _text(path: object) -> str:
    return path.decode(errors="replace") if isinstance(path, bytes) else str(path)


def _reason(error: BaseException) -> str:
    """The first line of an error's own text, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how torch says that memory is short: a RuntimeError of its own or a plain one."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, torch.cuda.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate" in str(error)
