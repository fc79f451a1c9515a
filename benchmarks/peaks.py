"""Peak memory, as the kernel counts it for a process since it began to run its program.

Not `getrusage` nor `wait4`: their peak is handed down on Linux, from a parent to a child that was started by vfork.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["peak_of_command", "resident", "resident_peak"]

_LOOK_SECONDS = 0.2


def resident_peak(process: int | None = None) -> float:
    """Peak memory of a process in MiB, of this one if left out; 0 of one that has ended."""
    return _status("VmHWM", process)


def resident() -> float:
    """Memory of this process as it is now, MiB."""
    return _status("VmRSS", None)


def _status(name: str, process: int | None) -> float:
    status = Path(f"/proc/{process or 'self'}/status").read_text()
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith(name)), 0) / 1024


def peak_of_command(command: Sequence[object], environment: Mapping[str, str] | None = None) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of a command; what it had less than `_LOOK_SECONDS` before its end may be missed.

    Raises
    ------
    SystemExit
        If it fails.
    """
    started, peak = time.perf_counter(), 0.0
    words = list(map(str, command))
    process = subprocess.Popen(words, env=os.environ | (environment or {}), stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, resident_peak(process.pid))
        time.sleep(_LOOK_SECONDS)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: failed.")
    return time.perf_counter() - started, peak
