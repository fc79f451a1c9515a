import numpy as np
import pytest

from sunaug.catalogues import FlareCatalogue, read_catalogue
from sunaug.label_scales import joined_scale, label_scales, scale_notes
from sunaug.xrs import XrsSeries


def _times(*moments: str) -> np.ndarray:
    return np.array(moments, "datetime64[ns]")


@pytest.fixture
def catalogue(tmp_path) -> FlareCatalogue:
    path = tmp_path / "flares.csv"
    path.write_text(
        "Flare Class,Start Time,Peak Time,End Time,Active Region Number\n"
        "C1.0,2012-01-01T00:00Z,2012-01-01T00:05Z,2012-01-01T00:10Z,0\n"
    )
    return read_catalogue(path)


def _series(scaling: str) -> XrsSeries:
    return XrsSeries(_times("2012-01-01"), np.array([1e-6]), "xrs.nc", scaling=scaling)


def test_classes_change_their_scale_in_december_2019(catalogue):
    before, after = _times("2012-03-01", "2019-11-29"), _times("2020-01-02", "2024-01-01")
    assert label_scales(before, catalogue) == {"forecast_flux": "operational", "nowcast_flux": "operational"}
    assert set(label_scales(after, catalogue).values()) == {"true"}
    for times in (np.concatenate([before, after]), _times("2019-12-15"), _times("2019-11-30T12:00")):
        scale = label_scales(times, catalogue)["forecast_flux"]
        assert "until December 2019" in scale
        assert "two X-ray scales" in scale_notes({"forecast_flux": scale})[0]


def test_two_labels_in_two_scales_are_said(catalogue):
    times = _times("2012-03-01")
    alike = label_scales(times, catalogue, _series("operational"))
    assert scale_notes(alike) == []
    mixed = label_scales(times, catalogue, _series("true"))
    (note,) = scale_notes(mixed)
    assert "forecast_flux is operational and nowcast_flux is true" in note
    assert "0.7" in note


def test_an_unknown_scale_is_said_with_the_way_out(catalogue):
    (note,) = scale_notes(label_scales(_times("2012-03-01"), catalogue, _series("unknown")))
    assert note.startswith("the X-ray scale of nowcast_flux is unknown")
    assert "# scaling operational" in note
    assert label_scales(_times("2012-03-01"), None) == {}


def test_appended_frames_may_bring_another_scale():
    assert joined_scale("true", "true") == "true"
    assert joined_scale("true", "unknown") == "unknown"
    assert "in part" in joined_scale("operational", "true")
    assert "two X-ray scales" in scale_notes({"forecast_flux": joined_scale("operational", "true")})[0]
