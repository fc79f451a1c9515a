import subprocess
import sys
from pathlib import Path

from PIL import Image

from sunaug.cube import open_cube

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


def test_the_demo_leaves_a_cube_and_pictures_whatever_the_gate_says(tmp_path, monkeypatch):
    monkeypatch.setenv("SUNAUG_DATA", str(tmp_path / "none"))
    command = [sys.executable, str(DEMO), "--out", str(tmp_path / "out"), "--n", "40"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert open_cube(tmp_path / "out" / "rare.zarr").attrs["gate"]["verdict"] in ("passed", "refused")
    for name in ("rare.png", "steering.png"):
        assert Image.open(tmp_path / "out" / name).width > 500
    assert "no real FITS files here" in done.stdout
