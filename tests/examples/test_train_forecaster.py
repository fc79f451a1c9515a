import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from sunaug.cube import FrameStatus, create_cube, write_frames

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_forecaster.py"
CHANNELS = ("aia171", "aia131", "aia94")
SIZE = 16


@pytest.fixture(autouse=True)
def _one_thread():
    # Threads that wait for each other on a busy machine cost more than these small images gain by them.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("train_forecaster", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def suns(n: int, flares: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Noise with a bright pixel before a flare: something that a forecaster can learn in a few steps."""
    intensity = np.random.default_rng(seed).uniform(0, 60, (n, 3, SIZE, SIZE)).astype(np.float32)
    intensity[flares, :, 5:9, 5:9] = 255
    return {
        "intensity": intensity,
        "forecast_flux": np.where(flares, 5e-5, 1e-6),
        "nowcast_flux": np.full(n, 1e-7),
        "frame_status": np.full(n, FrameStatus.COMPLETE, np.int8),
    }


@pytest.fixture(scope="module")
def cubes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("example")
    geometry = {"channels": CHANNELS, "size": SIZE, "disk_radius": 7.0, "intensity_scale": "browse"}
    times = np.arange("2012-07-01", "2012-09-20", np.timedelta64(8, "h"), "datetime64[ns]")
    create_cube(folder / "real.zarr", times=times, **geometry)
    write_frames(folder / "real.zarr", 0, suns(len(times), np.arange(len(times)) % 6 == 0, 1))
    trained_on = [["2012-07-01", "2012-07-31"]]
    create_cube(folder / "rare.zarr", n_samples=50, attrs={"training_ranges": trained_on}, **geometry)
    write_frames(folder / "rare.zarr", 0, suns(50, np.full(50, True), 2))
    return folder / "real.zarr", folder / "rare.zarr"


def test_both_arms_are_trained_and_scored(example, cubes, capsys) -> None:
    real, rare = cubes
    assert example.main(["--cube", str(real), "--synthetic", str(rare), "--epochs", "20", "--allow-ungated"]) == 0
    printed = capsys.readouterr().out
    assert "training, real: 90 frames, 15 with a flare to come" in printed
    assert "training, SYNTHETIC: 45 frames, 45 with a flare to come" in printed
    assert "One seed proves nothing" in printed
    lines = [line for line in printed.splitlines() if line.startswith("real ")]
    assert [line.split("  ")[0] for line in lines] == ["real only", "real + synthetic"]
    assert all(float(line.split("TSS")[1].split()[0]) > 0.9 for line in lines)


def test_real_frames_alone(example, cubes, capsys) -> None:
    assert example.main(["--cube", str(cubes[0]), "--epochs", "1"]) == 0
    assert "real + synthetic" not in capsys.readouterr().out


def test_what_sunaug_refuses_is_one_sentence_and_an_exit_code(example, cubes, capsys) -> None:
    real, rare = cubes
    assert example.main(["--cube", str(real), "--synthetic", str(rare), "--ratio", "2", "--allow-ungated"]) == 2
    assert "sunaug generate --n 180" in capsys.readouterr().err
    assert example.main(["--cube", str(rare)]) == 2
    assert "is a synthetic cube" in capsys.readouterr().err
