"""An ingest that is killed at any moment goes on, and ends with the bits of one that was never killed."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.ingest import ingest
from sunaug.cube import FrameStatus, open_cube
from tests.make_data import write_fits

ROOT = Path(__file__).parents[2]


def _run(fatal: int, source: Path, cube: Path, *append: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.pipelines.killed_ingest", str(fatal), str(source), str(cube), *append]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    """As in the runs that are killed."""
    monkeypatch.setattr("sunaug.cube.store.SHARD_BYTES", 2 * 32 * 32 * 4)


def _finish(source: Path, cube: Path, *, append: bool = False) -> None:
    ingest([source], cube, size=32, scheduler="synchronous", append=append)


def _content(cube: Path) -> dict[str, bytes]:
    """Every file of a cube, and its table of rejections."""
    files = {str(one.relative_to(cube)): one.read_bytes() for one in sorted(cube.rglob("*")) if one.is_file()}
    return files | {"rejected": cube.with_name(f"{cube.stem}.rejected.csv").read_bytes()}


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> tuple[Path, Path]:
    """Two runs of days: six (with an eclipse, a twin, and one whose channels disagree), then three more beside them."""
    first, more = (tmp_path_factory.mktemp(name) for name in ("first", "more"))
    for day in range(1, 10):
        for channel, second in ((171, 0), (193, 5)):
            spot = 99 if (day, channel) == (4, 193) else 7
            name, time = f"{day}-{channel}.fits", f"2012-03-{day:02d}T00:00:{second:02d}.00"
            write_fits(first / name, time=time, wavelength=channel, seed=spot)
            if day <= 6:
                continue
            shutil.move(first / name, more / name)
    write_fits(first / "twin.fits", time="2012-03-02T00:00:05.00", wavelength=193)
    write_fits(first / "eclipse.fits", time="2012-03-03T12:00:00.00", quality=1 << 13)
    return first, more


@pytest.mark.slow
def test_killed_at_ten_moments_and_more(days, tmp_path):
    whole = _run(0, days[0], tmp_path / "whole" / "cube.zarr")
    assert whole.returncode == 0, whole.stderr
    expected, objects = _content(tmp_path / "whole" / "cube.zarr"), int(whole.stdout)
    assert objects > 60
    statuses = list(open_cube(tmp_path / "whole" / "cube.zarr")["frame_status"].values)
    assert FrameStatus.REJECTED in statuses

    moments = np.unique(np.linspace(1, objects, 10).round().astype(int)).tolist()
    assert len(moments) == 10
    for moment in moments:
        cube = tmp_path / str(moment) / "cube.zarr"
        assert _run(moment, days[0], cube).returncode == -signal.SIGKILL
        _finish(days[0], cube)
        assert _content(cube) == expected, f"killed at object {moment} of {objects}"


@pytest.mark.slow
def test_killed_again_and_again(days, tmp_path):
    _finish(days[0], tmp_path / "whole" / "cube.zarr")
    cube = tmp_path / "cube.zarr"
    # The first run has to get past creating the cube, which is begun anew; then each must get further than the last.
    assert _run(100, days[0], cube).returncode == -signal.SIGKILL
    kills = 1
    while (done := _run(30, days[0], cube)).returncode == -signal.SIGKILL:
        kills += 1
        assert kills < 9
    assert kills >= 3
    assert done.returncode == 0
    assert _content(cube) == _content(tmp_path / "whole" / "cube.zarr")


@pytest.mark.slow
def test_a_killed_append_leaves_readers_their_cube(days, tmp_path):
    first = tmp_path / "cube.zarr"
    _finish(days[0], first)
    before = open_cube(first).load()
    whole = tmp_path / "whole" / "cube.zarr"
    shutil.copytree(first, whole)
    shutil.copy(tmp_path / "cube.rejected.csv", tmp_path / "whole" / "cube.rejected.csv")
    done = _run(0, days[1], whole, "append")
    assert done.returncode == 0, done.stderr
    expected, objects = _content(whole), int(done.stdout)
    assert open_cube(whole).sizes["time"] == before.sizes["time"] + 3
    for moment in (2, objects // 3, objects // 2, objects - 1):
        cube = tmp_path / str(moment) / "cube.zarr"
        shutil.copytree(first, cube)
        shutil.copy(tmp_path / "cube.rejected.csv", cube.with_name("cube.rejected.csv"))
        assert _run(moment, days[1], cube, "append").returncode == -signal.SIGKILL
        now = open_cube(cube).load()
        assert now.drop_attrs().identical(before.drop_attrs())
        assert set(now.attrs) - set(before.attrs) <= {"ingest_in_progress"}
        _finish(days[1], cube, append=True)
        assert _content(cube) == expected, f"killed at object {moment} of {objects}"


def test_two_runs_on_one_cube_exclude_each_other(days, tmp_path):
    code = (
        "import sys, time; from upath import UPath; from sunaug.cube.lock import only_writer\n"
        "with only_writer(UPath(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "cube.zarr")], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        refused = subprocess.run(
            [sys.executable, "-m", "sunaug", "ingest", str(days[0]), "--out", str(tmp_path / "cube.zarr")],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        holder.kill()
        holder.wait()
    assert refused.returncode == 1
    assert "another run is writing this cube" in refused.stderr
    assert "Traceback" not in refused.stderr
    # The lock of a run that was killed is no lock.
    assert ingest([days[0]], tmp_path / "cube.zarr", size=32).frames["complete"] > 0
    assert not (tmp_path / "cube.zarr.lock").exists()
