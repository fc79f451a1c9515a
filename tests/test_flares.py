from pathlib import Path

import numpy as np
import pytest

from sunaug.errors import SunaugError, UsageError
from sunaug.flares import (
    class_letters,
    forecast_flux,
    format_goes_class,
    nowcast_flux,
    parse_goes_class,
    read_catalogue,
    read_xrs,
)

HEADER = "Flare Class,Start Time,Peak Time,End Time,Active Region Number\n"


def _catalogue(folder: Path, *rows: str) -> Path:
    path = folder / "flares.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("text", "flux"), [("M1.0", 1e-5), ("x13", 1.3e-3), ("C", 1e-6), ("M5+", 5e-5), (" B 2.5 ", 2.5e-7)]
)
def test_classes_are_fluxes(text, flux):
    assert parse_goes_class(text) == pytest.approx(flux)


@pytest.mark.parametrize("text", ["", "Z1", "M-1", "1.0", "M0", "nan"])
def test_what_is_no_class_is_refused(text):
    with pytest.raises(UsageError, match="is not a GOES class"):
        parse_goes_class(text)


@pytest.mark.parametrize(
    ("flux", "text"),
    [(1e-5, "M1.0"), (9.99e-6, "C9.9"), (10 * 1e-6, "M1.0"), (1.3e-3, "X13.0"), (0, "quiet"), (np.nan, "unknown")],
)
def test_writing_never_lifts_a_flare_over_a_border(flux, text):
    assert format_goes_class(flux) == text


def test_x13_is_stronger_than_x9_and_letters_follow():
    assert parse_goes_class("X13") > parse_goes_class("X9.3")
    assert list(class_letters([1.3e-3, 1e-5, 9.9e-6, 0, np.nan])) == ["X", "M", "C", "", ""]


def test_faults_of_the_published_list_are_mended_and_counted(tmp_path):
    read = read_catalogue(
        _catalogue(
            tmp_path,
            "C1.1,2012-04-05T23:50Z,2012-04-05T//://Z,2012-04-05T00:05Z,11450",
            "M1.0,2012-04-01T23:55Z,2012-04-01T00:03Z,2012-04-01T00:10Z,0",
            "B2.0,2012-04-03T01:00Z,2012-04-03T01:05Z,2012-04-03T01:10Z,1",
            "B2.0,2012-04-03T01:00Z,2012-04-03T01:05Z,2012-04-03T01:10Z,1",
            "?,2012-04-03T01:00Z,2012-04-03T01:05Z,2012-04-03T01:10Z,1",
        )
    )
    assert len(read.flares) == 3
    assert read.flares["start"].is_monotonic_increasing
    first = read.flares.iloc[0]
    assert str(first["peak"]) == "2012-04-02 00:03:00"
    assert str(first["end"]) == "2012-04-02 00:10:00"
    assert read.repairs == {
        "unreadable peak time": 1,
        "unreadable class or flux, unknown": 1,
        "peak before start, moved by a day": 1,
        "end before start, moved by a day": 2,
        "duplicate rows, dropped": 1,
    }


def test_a_flare_of_the_same_minute_is_still_to_come(tmp_path):
    catalogue = read_catalogue(
        _catalogue(
            tmp_path,
            "C1.0,2012-01-01T00:00Z,2012-01-01T00:30Z,2012-01-01T01:00Z,1",
            "X1.0,2012-01-05T12:00Z,2012-01-05T12:30Z,2012-01-05T13:00Z,1",
            "C1.0,2012-01-09T00:00Z,2012-01-09T00:10Z,2012-01-09T00:20Z,1",
        )
    )
    times = ["2012-01-05T12:00", "2012-01-04T12:00", "2012-01-05T12:01", "2011-12-31", "2012-01-08T12:00"]
    np.testing.assert_allclose(
        forecast_flux(np.array(times, "datetime64[ns]"), catalogue), [1e-4, 0, 0, np.nan, np.nan], rtol=1e-9
    )
    times = ["2012-01-05T12:29", "2012-01-05T12:30", "2012-01-05T13:29", "2012-01-05T13:30"]
    np.testing.assert_allclose(
        nowcast_flux(np.array(times, "datetime64[ns]"), catalogue), [0, 1e-4, 1e-4, 0], rtol=1e-9
    )


def test_labels_do_not_depend_on_the_order_of_times(tmp_path):
    random = np.random.default_rng(0)
    starts = np.datetime64("2012-01-01") + np.sort(random.integers(0, 60 * 24 * 60, 200)).astype("timedelta64[m]")
    fluxes = random.uniform(1, 9.9, 200).round(1)
    rows = [f"C{flux},{start}Z,{start}Z,{start}Z,1" for flux, start in zip(fluxes, starts, strict=True)]
    catalogue = read_catalogue(_catalogue(tmp_path, *rows))
    times = (starts[0] + random.integers(0, 55 * 24 * 60, 300).astype("timedelta64[m]")).astype("datetime64[ns]")
    slow = []
    for time in times:
        window = (starts >= time) & (starts < time + np.timedelta64(24, "h"))
        slow.append(fluxes[window].max() * 1e-6 if window.any() else 0.0)
    np.testing.assert_allclose(forecast_flux(times, catalogue), slow, rtol=1e-9)
    assert forecast_flux([], catalogue).shape == (0,)


def test_xrs_gives_the_peak_and_knows_its_gaps(tmp_path):
    path = tmp_path / "xrs.csv"
    readings = [1e-7, 2e-6, -99999, 3e-7, -99999]
    rows = [f"2012-01-01T{hour:02d}:00:00Z,{flux}" for hour, flux in enumerate(readings)]
    path.write_text("time,xrsb\n" + "\n".join(rows) + "\n")
    series = read_xrs(path)
    times = np.array(["2012-01-01T01:30", "2012-01-01T02:30", "2012-01-01T03:00"], "datetime64[ns]")
    np.testing.assert_allclose(nowcast_flux(times, series), [2e-6, np.nan, 3e-7])


@pytest.mark.parametrize("content", ["a,b\n1,2\n", HEADER])
def test_other_tables_are_refused(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(SunaugError, match=r"t\.csv"):
        read_catalogue(path)


def test_a_missing_catalogue_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_catalogue(tmp_path / "none.csv")


@pytest.mark.realdata
def test_the_published_catalogue_with_its_known_faults(real_data):
    catalogue = read_catalogue(real_data / "flares" / "goes_flares_1996_2022.csv")
    assert catalogue.repairs["unreadable peak time"] == 25
    assert catalogue.repairs["peak before start, moved by a day"] == 258
    assert catalogue.repairs["peak before start, unknown"] == 4, "19:42, 00:45, 19:49 is not a peak over midnight"
    assert catalogue.repairs["peak after end, unknown"] == 7
    assert "gaps in an active list, unknown" not in catalogue.repairs, "154 days of 2008 without a flare were quiet"
    assert catalogue.repairs["duplicate rows, dropped"] == 24
    assert (catalogue.flares["peak"].dropna() >= catalogue.flares.loc[catalogue.flares["peak"].notna(), "start"]).all()
    assert format_goes_class(catalogue.flares["peak_flux"].max()) == "X20.0"
