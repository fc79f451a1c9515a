"""Run the command line in a process that stops itself (SIGSTOP) just before it writes an object of a cube.

Called as ``python -m tests.pipelines.paused_writer STALE PART TIME COMMAND...``: the lock counts as left behind after
STALE seconds, and before the TIMEth write to a path that holds PART the process stops, after it asked the lock for the
last time. PART ``never`` stops nothing.
"""

from __future__ import annotations

import os
import signal
import sys

import sunaug.cube.fencing as fencing
import sunaug.cube.lock as lock
import sunaug.cube.store as store
from sunaug.cli import main

store.SHARD_BYTES = 2 * 2 * 32 * 32 * 4


def stop_before(part: str, time: int) -> None:
    """Let the process stop once: at the worst moment, between asking the lock and writing."""
    put, check, seen = fencing.put_object_if, lock.Lease.check, 0

    def reached(path: str) -> bool:
        nonlocal seen
        seen += part in path
        return part in path and seen == time

    async def put_late(fs, path, content, version):
        if reached(path):
            os.kill(os.getpid(), signal.SIGSTOP)
        return await put(fs, path, content, version)

    def check_late(lease):
        if reached(str(lease.lock)):
            os.kill(os.getpid(), signal.SIGSTOP)
        check(lease)

    fencing.put_object_if = put_late
    lock.Lease.check = check_late


if __name__ == "__main__":
    lock.STALE_SECONDS, lock.RENEW_SECONDS = float(sys.argv[1]), 0.2
    stop_before(sys.argv[2], int(sys.argv[3]))
    sys.argv = ["sunaug", *sys.argv[4:]]
    main()
