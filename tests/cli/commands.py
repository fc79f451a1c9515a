"""Run the command line as its users do: in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def sunaug(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``sunaug`` with these arguments; what it printed is text."""
    command = [sys.executable, "-m", "sunaug", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
