"""Run an ingest that kills its own process at the Nth object that it writes, halfway through writing it.

Called as ``python -m tests.pipelines.killed_ingest N SOURCE CUBE [APPEND]``; prints the number of objects if it gets to
the end.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import zarr.storage._local as local

import sunaug.cube.store
from pipelines.ingest import ingest

sunaug.cube.store.SHARD_BYTES = 2 * 32 * 32 * 4


def main(fatal: int, source: str, cube: str, append: bool) -> None:
    put, written = local._put, 0
    write_bytes = Path.write_bytes

    def one_more(path: Path) -> None:
        nonlocal written
        written += 1
        if written == fatal:
            half = path.with_name(path.name + ".half.partial")
            half.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(half, b"half")
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(path, value, exclusive=False):
        one_more(path)
        return put(path, value, exclusive)

    def counted_bytes(path, content):
        one_more(path)
        return write_bytes(path, content)

    local._put = counted
    Path.write_bytes = counted_bytes
    ingest([source], cube, size=32, scheduler="synchronous", append=append)
    print(written)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], len(sys.argv) > 4)
