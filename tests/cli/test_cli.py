import subprocess
import sys

from sunaug import __version__
from sunaug.cli import COMMANDS
from tests.cli.commands import sunaug


def test_help_names_every_command():
    done = sunaug("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)


def test_version():
    assert sunaug("--version").stdout.strip() == f"sunaug {__version__}"


def test_help_imports_no_heavy_library():
    code = (
        "import sys, sunaug.cli; print([m for m in ('torch', 'xarray', 'sunpy', 'dask', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_command_and_option():
    assert sunaug("predict").returncode == 2
    assert sunaug("generate", "--many").returncode == 2
