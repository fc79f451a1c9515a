"""Run the command line as its users do: in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from unittest import mock

import pytest

from sunaug.cli import main


def sunaug(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``sunaug`` with these arguments; what it printed is text."""
    command = [sys.executable, "-m", "sunaug", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and standard error of a command that is refused, in this process: starting one takes seconds."""
    capsys.readouterr()
    with mock.patch.object(sys, "argv", ["sunaug", *map(str, arguments)]), pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0), capsys.readouterr().err


def run_main(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    """What a command that succeeds prints to standard output and standard error, in this process."""
    capsys.readouterr()
    with mock.patch.object(sys, "argv", ["sunaug", *map(str, arguments)]), pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    said = capsys.readouterr()
    return said.out, said.err
