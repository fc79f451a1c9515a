"""Modules that tests run in several processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys


def run_module(processes: int, module: str, *arguments: object) -> None:
    """Run a module by ``python -m torch.distributed.run``, with one thread in each process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(port)]
    command = [sys.executable, *launcher, "-m", module, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=environment)
    assert done.returncode == 0, done.stderr
