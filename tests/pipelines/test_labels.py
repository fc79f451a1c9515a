"""What a cube says of its labels, at first, after an append, and after labels were filled in."""

import numpy as np

from pipelines.ingest import ingest
from pipelines.labels import label_notes, update_labels
from sunaug.cube import open_cube
from tests.make_data import write_fits

HEADER = "Flare Class,Start Time,Peak Time,End Time,Active Region Number\n"
FIRST = "C1.0,2019-11-01T00:00Z,2019-11-01T00:05Z,2019-11-01T00:10Z,0\n"
LAST = "C1.0,2020-02-01T00:00Z,2020-02-01T00:05Z,2020-02-01T00:10Z,0\n"


def _image(folder, day):
    folder.mkdir(exist_ok=True)
    return write_fits(folder / f"{day}.fits", time=f"{day}T00:00:00.00", seed=int(day[-2:]), size=32, radius=12.0)


def test_an_append_across_the_change_of_scale_is_said(tmp_path):
    flares = tmp_path / "flares.csv"
    flares.write_text(HEADER + FIRST + LAST)
    cube = tmp_path / "cube.zarr"
    first = ingest([_image(tmp_path / "a", "2019-11-05")], cube, size=32, flares=flares)
    assert open_cube(cube).attrs["label_scales"] == {"forecast_flux": "operational", "nowcast_flux": "operational"}
    assert not any("scale" in note for note in first.notes)
    second = ingest([_image(tmp_path / "b", "2020-01-05")], cube, append=True, flares=flares)
    attrs = open_cube(cube).attrs
    assert attrs["label_scales"]["forecast_flux"] == "operational in part and true in part"
    assert any("forecast_flux is in two X-ray scales" in note for note in second.notes)
    assert label_notes(attrs) == [note for note in second.notes if "scale" in note]
    third = ingest([_image(tmp_path / "c", "2020-01-08")], cube, append=True)
    assert open_cube(cube).attrs["label_sources"]["forecast_flux"]["source"] == "flares.csv", "what was known is kept"
    assert any("no flare catalogue given" in note for note in third.notes)


def test_labels_that_a_table_now_doubts_are_counted_and_left(tmp_path):
    flares = tmp_path / "flares.csv"
    flares.write_text(HEADER + FIRST + LAST)
    cube = tmp_path / "cube.zarr"
    ingest([_image(tmp_path / "a", day) for day in ("2019-11-05", "2019-11-08")], cube, size=32, flares=flares)
    flares.write_text(HEADER + FIRST + "?,2019-11-05T12:00Z,2019-11-05T12:05Z,2019-11-05T12:10Z,0\n" + LAST)
    update = update_labels(cube, flares)
    assert update.doubted == {"forecast_flux": 1, "nowcast_flux": 0}
    assert update.filled == update.differ == {"forecast_flux": 0, "nowcast_flux": 0}
    opened = open_cube(cube)
    np.testing.assert_array_equal(opened["forecast_flux"].values, [0, 0])
    assert opened.attrs["catalogue_repairs"] == {"unreadable class or flux, unknown": 1}
