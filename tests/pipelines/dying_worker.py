"""A Dask worker's preload: the process kills itself halfway through the Nth object that it writes into a cube.

N is the environment's FATAL_OBJECT.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import zarr.storage._local as local


def dask_setup(worker: object) -> None:
    fatal, put, written = int(os.environ["FATAL_OBJECT"]), local._put, 0

    def counted(path, value, exclusive=False):
        nonlocal written
        written += 1
        if written == fatal:
            half = Path(path).with_name(f"{Path(path).name}.half.partial")
            half.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        return put(path, value, exclusive)

    local._put = counted
