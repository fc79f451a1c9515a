"""What holds for the pictures, the tars and FlareBench's files alike."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from forecasting_adapters import SyntheticSolarDataset
from forecasting_adapters.exports import export, open_export
from forecasting_adapters.exports.contract import Frame
from forecasting_adapters.exports.flarebench import EXPOSURE_TIMES
from forecasting_adapters.exports.note import NOTE
from forecasting_adapters.leakage import check_leakage
from sunaug.cube import open_cube
from sunaug.errors import SunaugError, UsageError
from tests.rare_cubes import FLUXES, make_rare_cube

LAYOUTS = ("pandey", "inaf", "sdobenchmark", "folder", "webdataset", "sdoml-lite", "flarebench")
QUICK = ("inaf", "folder", "webdataset", "sdobenchmark")


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rare_cube(tmp_path_factory.mktemp("cubes") / "rare.zarr", size=16)


@pytest.fixture(scope="module", params=LAYOUTS)
def exported(request: pytest.FixtureRequest, cube: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "flarebench":
        cube = make_rare_cube(folder / "rare.zarr", channels=tuple(EXPOSURE_TIMES), size=16)
    return export(cube, request.param, folder / "out")


def contents(folder: Path) -> dict[str, bytes]:
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_an_export_is_a_synthetic_cube_again(exported: Path) -> None:
    opened = open_export(exported, verify=True)
    frames = SyntheticSolarDataset(opened)
    np.testing.assert_array_equal(frames.forecast_flux, FLUXES)
    assert frames.labels.tolist() == [0, 0, 0, 1, 1, 1]
    image = frames[4]["image"].numpy()
    assert image.shape == (len(frames.channels), opened.sizes["y"], opened.sizes["x"])
    again = pickle.loads(pickle.dumps(frames))
    np.testing.assert_array_equal(again[4]["image"].numpy(), image)
    # Brighter by a hundredth of each channel's range from frame to frame, but where levels end before it.
    means = np.stack([frames[place]["image"].numpy().mean((1, 2)) for place in range(6)])
    assert np.all(np.diff(means, axis=0) > 0)
    with pytest.raises(SunaugError, match="trained on times"):
        check_leakage(frames.training_ranges, [np.datetime64("2012-03-01")])


def test_north_is_where_it_was(exported: Path) -> None:
    frame = open_export(exported)["intensity"][0, -1].values
    size = len(frame)
    rows, columns = np.unravel_index(np.argsort(frame, axis=None)[-size * size // 200 :], frame.shape)
    assert rows.mean() > size / 2 > columns.mean()


def test_an_export_that_was_stopped_goes_on(cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from forecasting_adapters.exports import exporting

    frames = exporting.prepared_frames

    def stopping(*arguments: object) -> Iterator[Frame]:
        for place, frame in enumerate(frames(*arguments)):
            if place == 4:
                raise KeyboardInterrupt
            yield frame

    for name in QUICK:
        options = {"shard": 3} if name == "webdataset" else {}
        whole = contents(export(cube, name, tmp_path / name / "whole", **options))
        with monkeypatch.context() as patched:
            patched.setattr(exporting, "prepared_frames", stopping)
            with pytest.raises(KeyboardInterrupt):
                export(cube, name, tmp_path / name / "out", **options)
        assert not (tmp_path / name / "out").exists()
        kept = {
            one: one.stat().st_ino
            for one in (tmp_path / name / "out.partial").rglob("*")
            if one.is_file() and one.name != NOTE and one.suffix != ".partial"
        }
        assert kept
        out = export(cube, name, tmp_path / name / "out", **options)
        assert contents(out) == whole
        for one, number in kept.items():
            assert (out / one.relative_to(tmp_path / name / "out.partial")).stat().st_ino == number


@pytest.mark.parametrize("name", [one for one in LAYOUTS if one != "sdoml-lite"])
def test_a_sample_without_a_label_is_refused(cube: Path, tmp_path: Path, name: str) -> None:
    opened = open_cube(cube)
    opened["forecast_flux"] = opened["forecast_flux"].copy(data=[*FLUXES[:5], np.nan])
    with pytest.raises(UsageError, match=r"of 1 of 6 samples is not known \(the first is 5\)"):
        export(opened, name, tmp_path / "out")


def test_progress_is_told_frame_by_frame(cube: Path, tmp_path: Path) -> None:
    for name in QUICK:
        told: list[int] = []
        export(cube, name, tmp_path / name, report=told.append)
        assert told == [1, 2, 3, 4, 5, 6]
