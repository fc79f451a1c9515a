"""A cube that lost a file, or part of one, says so however it is read."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting_adapters import SolarDataset, SyntheticSolarDataset
from forecasting_adapters.exports import export
from sunaug.cube import FrameStatus, create_cube, open_cube, select_split, write_frames
from sunaug.cube.integrity import STORES_ALL, missing_objects
from sunaug.cube.store import commit, grow_cube
from sunaug.errors import SunaugError
from sunaug.fidelity.images import image_batches
from sunaug.scaling import default_scaling
from sunaug.training.frames import load_frames
from tests.cli.commands import sunaug
from tests.loader_cubes import CHANNELS, make_observed, make_synthetic

TIMES = np.datetime64("2012-03-05", "ns") + np.arange(6) * np.timedelta64(1, "D")
ADVICE = "; the cube is damaged, copy it again or make it again."
SHARD = "intensity/c/0/0/0/0"


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    return make_observed(tmp_path / "c.zarr", TIMES)


def _training(cube: Path) -> object:
    opened = open_cube(cube)
    scaling = default_scaling(list(CHANNELS), opened.attrs["intensity_scale"], None)
    return load_frames(opened, scaling, ("forecast_flux",), 0.5)


READERS = {
    "dataset": lambda cube: SolarDataset(cube)[0],
    "batch": lambda cube: SolarDataset(cube).__getitems__([3, 1]),
    "cached": lambda cube: SolarDataset(cube, cache=True),
    "of an open cube": lambda cube: SolarDataset(open_cube(cube))[0],
    "training": _training,
    "evaluation": lambda cube: list(image_batches(open_cube(cube), np.arange(6))),
    "split": lambda cube: select_split(open_cube(cube), "train")["intensity"].values,
    "one pixel": lambda cube: open_cube(cube)["intensity"][2, 0, 1, 1].values,
    "points": lambda cube: open_cube(cube)["intensity"].values[[0, 3]],
    "dask": lambda cube: open_cube(cube, chunks={})["intensity"].mean().compute(scheduler="synchronous"),
}


def _shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _spoil(file: Path) -> None:
    file.write_bytes(bytes(60) + file.read_bytes()[60:])


DAMAGE = {
    "missing": (Path.unlink, "missing"),
    "empty": (lambda file: file.write_bytes(b""), "is empty"),
    "short": (lambda file: file.write_bytes(b"short"), "is shorter than its index"),
    "cut": (_shorten, "its index does not match its checksum, as of a file cut short"),
    "spoilt": (_spoil, "frame 0 in it cannot be decompressed"),
}


NOT_FRAME_0 = ("batch", "one pixel")
CASES = [(damage, reader) for damage in DAMAGE for reader in READERS if damage != "spoilt" or reader not in NOT_FRAME_0]


@pytest.mark.parametrize(("damage", "reader"), CASES)
def test_every_way_of_reading_says_the_same_of_a_damaged_shard(cube, damage, reader):
    READERS[reader](cube)  # as long as it is whole
    spoil, what = DAMAGE[damage]
    spoil(cube / SHARD)
    with pytest.raises(SunaugError) as raised:
        READERS[reader](cube)
    assert str(raised.value) == f"{cube / SHARD}: {what}{ADVICE}"


def test_an_export_of_a_damaged_cube_says_it_too(tmp_path):
    cube = make_synthetic(tmp_path / "rare.zarr")
    (cube / SHARD).unlink()
    with pytest.raises(SunaugError, match=f"rare.zarr/{SHARD}: missing{ADVICE}"):
        export(cube, "folder", tmp_path / "out")
    with pytest.raises(SunaugError, match=f"rare.zarr/{SHARD}: missing{ADVICE}"):
        SyntheticSolarDataset(cube)[0]


def test_the_commands_say_it_in_one_line(cube, tmp_path):
    (cube / SHARD).unlink()
    for command in (("inspect", cube), ("train", "--cube", cube, "--out", tmp_path / "run", "--images", 8)):
        done = sunaug(*command)
        assert done.returncode == 1
        assert done.stderr.strip().splitlines()[-1] == f"sunaug: {cube}/{SHARD}: missing{ADVICE}"
        assert "Traceback" not in done.stderr


def test_a_frame_that_its_shard_lacks_is_damage_and_a_pending_one_is_not(tmp_path):
    cube = tmp_path / "c.zarr"
    create_cube(cube, channels=CHANNELS, size=8, disk_radius=3.5, intensity_scale="browse", times=TIMES)
    image = np.ones((2, 2, 8, 8), np.float32)
    write_frames(cube, 1, {"intensity": image, "frame_status": np.full(2, FrameStatus.COMPLETE, np.int8)})
    stored = open_cube(cube)["intensity"].values
    assert np.isnan(stored[[0, 3, 4, 5]]).all()
    assert missing_objects(cube) == []
    write_frames(cube, 3, {"frame_status": np.full(1, FrameStatus.COMPLETE, np.int8)})
    with pytest.raises(SunaugError, match="lacks frame 3, which is said to be there; the cube is damaged"):
        open_cube(cube)["intensity"].load()
    np.testing.assert_array_equal(open_cube(cube)["intensity"][1:3].values, image)


def test_rejected_and_pending_frames_may_be_without_a_shard(tmp_path):
    cube = tmp_path / "c.zarr"
    create_cube(cube, channels=CHANNELS, size=8, disk_radius=3.5, intensity_scale="browse", times=TIMES)
    assert np.isnan(open_cube(cube)["intensity"].values).all()
    write_frames(cube, 0, {"frame_status": np.full(6, FrameStatus.REJECTED, np.int8)})
    assert not (cube / SHARD).exists()
    assert np.isnan(open_cube(cube)["intensity"].values).all()
    assert missing_objects(cube) == []


def _arrays(cube: Path) -> list[str]:
    return sorted(one.parent.name for one in cube.glob("*/zarr.json"))


def test_no_array_may_lose_its_chunks(cube):
    """Also those whose fill value means something: 0 is good quality, no split, a pending frame."""
    names = _arrays(cube)
    assert {"quality", "split", "frame_status", "nowcast_flux", "time", "saturated_fraction"} <= set(names)
    for name in names:
        kept = cube.with_name("kept")
        shutil.move(cube / name / "c", kept)
        with pytest.raises(SunaugError, match=rf"c\.zarr/{name}/c/[0/]+: missing{ADVICE}"):
            open_cube(cube)[name].load()
        assert [str(one).split("c.zarr/")[1].split("/")[0] for one in missing_objects(cube)] == [name]
        shutil.move(kept, cube / name / "c")
        open_cube(cube)[name].load()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_lost_file_is_found_and_told_when_it_is_read(tmp_path_factory, data):
    """Whatever becomes of a cube's files, values are as they were written or an error."""
    folder = tmp_path_factory.mktemp("lost")
    cube = make_observed(folder / "c.zarr", TIMES)
    whole = open_cube(cube).load()
    files = sorted(one for one in cube.rglob("*") if one.is_file() and one.name != "zarr.json")
    lost = data.draw(st.sets(st.sampled_from(files), min_size=1, max_size=4))
    for file in lost:
        file.unlink()
    told = {str(one).split(": ")[0] for one in missing_objects(cube)} if (cube / "frame_status/c/0").exists() else None
    assert told is None or told == {str(one) for one in lost}
    try:
        opened = open_cube(cube)
    except SunaugError:
        return
    for name in whole.variables:
        with suppress(SunaugError):
            np.testing.assert_array_equal(opened[name].values, whole[name].values)


def test_of_a_cube_made_before_what_cannot_be_fill_values_is_missed(cube):
    attributes = json.loads((cube / "zarr.json").read_bytes())
    del attributes["attributes"][STORES_ALL]
    attributes["attributes"]["ingests"] = [{"fingerprint": "1"}]
    (cube / "zarr.json").write_text(json.dumps(attributes))
    shutil.rmtree(cube / "quality" / "c")
    assert (open_cube(cube)["quality"] == 0).all(), "all good, and so never stored"
    for name in ("intensity", "frame_status"):
        kept = cube.with_name("kept")
        shutil.move(cube / name / "c", kept)
        with pytest.raises(SunaugError, match=f"{name}/c/[0/]+: missing"):
            open_cube(cube)[name].load()
        shutil.move(kept, cube / name / "c")


def test_frames_appended_are_held_to_the_same(cube):
    later = TIMES[-1] + np.arange(1, 9) * np.timedelta64(1, "D")
    start, stop = grow_cube(cube, later)
    image = np.ones((8, 2, 8, 8), np.float32)
    complete = np.full(8, FrameStatus.COMPLETE, np.int8)
    write_frames(cube, start, {"intensity": image, "frame_status": complete}, committed=False)
    commit(cube, {})
    assert open_cube(cube)["forecast_flux"].isnull().values[start:stop].all()
    assert missing_objects(cube) == []
    last = sorted((cube / "forecast_flux" / "c").iterdir())[-1]
    last.unlink()
    with pytest.raises(SunaugError, match="missing"):
        open_cube(cube)["forecast_flux"].load()


def _strip(cube: Path) -> None:
    metadata = json.loads((cube / "zarr.json").read_bytes())
    del metadata["consolidated_metadata"]
    (cube / "zarr.json").write_text(json.dumps(metadata))


def test_without_consolidated_metadata_a_whole_cube_is_opened(cube):
    before = open_cube(cube).load()
    _strip(cube)
    assert open_cube(cube).load().identical(before)
    assert len(SolarDataset(cube)) == 6
    assert sunaug("inspect", cube).returncode == 0
    write_frames(cube, 0, {"frame_status": np.full(6, FrameStatus.REJECTED, np.int8)})
    commit(cube, {})
    assert "consolidated_metadata" in json.loads((cube / "zarr.json").read_bytes())


def test_without_consolidated_metadata_what_is_not_whole_is_refused(cube):
    shutil.copytree(cube, cube.with_name("grown.zarr"))
    shutil.copytree(cube, cube.with_name("begun.zarr"))
    for path in (cube, cube.with_name("grown.zarr"), cube.with_name("begun.zarr")):
        _strip(path)
    shutil.rmtree(cube / "nowcast_flux")
    with pytest.raises(SunaugError, match="metadata are gone, and so are the arrays nowcast_flux; the cube is damaged"):
        open_cube(cube)
    group = zarr.open_group(cube.with_name("grown.zarr"), mode="r+")
    group["intensity"].resize((9, 2, 8, 8))
    with pytest.raises(SunaugError, match="an ingest was stopped while it wrote this cube"):
        open_cube(cube.with_name("grown.zarr"))
    zarr.open_group(cube.with_name("begun.zarr"), mode="r+").attrs["ingest_in_progress"] = {"run": "1"}
    with pytest.raises(SunaugError, match="an ingest was stopped while it wrote this cube"):
        open_cube(cube.with_name("begun.zarr"))
