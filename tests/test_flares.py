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


def test_a_class_above_every_flare_is_refused():
    with pytest.raises(UsageError, match="is no class of a flare"):
        parse_goes_class("X5400")
    assert format_goes_class(np.inf).startswith("X"), "and no warning of an overflow"


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


OWN = "start,peak,end,class\n"


def _told(folder: Path, content: str, *times: str):
    """Forecast and nowcast of a list at times, as classes; and the catalogue."""
    path = folder / "own.csv"
    path.write_text(content)
    catalogue = read_catalogue(path)
    when = np.array(times, "datetime64[ns]")
    forecast, nowcast = forecast_flux(when, catalogue), nowcast_flux(when, catalogue)
    return [(format_goes_class(a), format_goes_class(b)) for a, b in zip(forecast, nowcast, strict=True)], catalogue


def test_a_row_that_cannot_be_read_is_not_a_quiet_day(tmp_path):
    told, catalogue = _told(
        tmp_path,
        OWN + "2012-03-01T00:00,2012-03-01T00:05,2012-03-01T00:10,C1.0\n"
        "09/03/2012 18:00,09/03/2012 18:10,09/03/2012 18:20,X5.0\n"
        "2012-03-09 12:05,2012-03-09 12:14,2012-03-09 12:20,M2.0\n"
        "2012-Mar-12 18:00,2012-Mar-12 18:10,2012-Mar-12 18:20,X8.0\n"
        "2012-03-20T00:00,2012-03-20T00:05,2012-03-20T00:10,C1.0\n",
        *("2012-03-09T10:00", "2012-03-09T18:30", "2012-03-12T10:00", "2012-03-12T18:30", "2012-03-15T00:00"),
    )
    assert [one for one, _ in told] == ["unknown", "quiet", "X8.0", "quiet", "quiet"]
    assert [one for _, one in told] == ["quiet", "unknown", "quiet", "X8.0", "quiet"]
    assert catalogue.repairs == {"unreadable start time, unknown": 1}


def test_a_flare_of_unknown_peak_is_unknown_in_every_hour_that_it_touches(tmp_path):
    path = _catalogue(
        tmp_path,
        "C1.8,2012-07-30T12:33Z,2012-07-30T12:34Z,2012-07-30T12:38Z,11532",
        "C6.3,2012-07-30T23:50Z,2012-07-30T//://Z,2012-07-30T00:04Z,11538",
        "M1.0,2012-07-31T00:10Z,2012-07-31T00:40Z,2012-07-31T00:44Z,11538",
        "C5.7,2012-08-03T10:46Z,2012-08-03T10:59Z,2012-08-03T11:07Z,11538",
    )
    times = ["2012-07-30T23:49", "2012-07-30T23:50", "2012-07-31T00:30", "2012-07-31T00:45", "2012-07-31T02:00"]
    told = nowcast_flux(np.array(times, "datetime64[ns]"), read_catalogue(path))
    np.testing.assert_allclose(told, [0, np.nan, np.nan, 1e-5, 0], err_msg="the M1.0 is stronger than the C6.3")
    forecast = forecast_flux(np.array(["2012-07-30T12:34"], "datetime64[ns]"), read_catalogue(path))
    assert forecast == pytest.approx(1e-5), "its start is known, and so is the forecast"


def test_a_peak_a_minute_before_its_start_is_not_a_day_later(tmp_path):
    told, catalogue = _told(
        tmp_path,
        OWN + "2012-03-01T00:00,2012-03-01T00:05,2012-03-01T00:10,C1.0\n"
        "2012-03-08T12:05,2012-03-08T12:04,2012-03-08T12:20,M5.0\n"
        "2012-03-09T23:50,2012-03-09T00:10,2012-03-09T00:20,M4.0\n"
        "2012-03-20T00:00,2012-03-20T00:05,2012-03-20T00:10,C1.0\n",
        *("2012-03-08T12:00", "2012-03-08T12:30", "2012-03-09T12:30", "2012-03-10T00:30"),
    )
    assert told == [("M5.0", "quiet"), ("quiet", "unknown"), ("M4.0", "quiet"), ("quiet", "M4.0")]
    assert catalogue.repairs["peak before start, unknown"] == 1
    assert catalogue.repairs["peak before start, moved by a day"] == 1


@pytest.mark.parametrize("goes_class", ["?", "", "M", "M54", "X99999", "M0", "M5+"])
def test_a_class_that_cannot_be_read_is_unknown_unless_something_stronger_is_known(tmp_path, goes_class):
    told, catalogue = _told(
        tmp_path,
        OWN + "2012-03-01T00:00,2012-03-01T00:05,2012-03-01T00:10,C1.0\n"
        f"2012-03-08T12:05,2012-03-08T12:10,2012-03-08T12:20,{goes_class}\n"
        "2012-03-08T14:05,2012-03-08T14:10,2012-03-08T14:20,M2.0\n"
        "2012-03-20T00:00,2012-03-20T00:05,2012-03-20T00:10,C1.0\n",
        *("2012-03-08T12:00", "2012-03-08T12:30", "2012-03-08T14:00"),
    )
    assert told == [("unknown", "quiet"), ("M2.0", "unknown"), ("M2.0", "quiet")]
    assert catalogue.repairs == {"unreadable class or flux, unknown": 1}


def test_what_is_weaker_than_a_known_flare_decides_nothing(tmp_path):
    told, _ = _told(
        tmp_path,
        OWN + "2012-03-01T00:00,2012-03-01T00:05,2012-03-01T00:10,C1.0\n"
        "2012-03-08T??,,,C5.0\n"
        "2012-03-08T14:05,2012-03-08T14:10,2012-03-08T14:20,M2.0\n"
        "2012-03-08T16:05,2012-03-08T16:10,2012-03-08T16:20,M\n"
        "2012-03-08T18:05,2012-03-08T18:10,2012-03-08T18:20,X2.0\n"
        "2012-03-20T00:00,2012-03-20T00:05,2012-03-20T00:10,C1.0\n",
        *("2012-03-08T14:00", "2012-03-07T15:00", "2012-03-07T18:00"),
    )
    assert [one for one, _ in told] == ["X2.0", "M2.0", "unknown"], "an M of unknown number is less than X2.0, not M2.0"


@pytest.mark.parametrize("flux", ["540", "inf", "1e300", "0.11"])
def test_a_flux_in_another_unit_is_refused(tmp_path, flux):
    path = tmp_path / "own.csv"
    path.write_text(f"start,peak,end,peak_flux\n2012-03-07T00:02,2012-03-07T00:24,2012-03-07T00:40,{flux}\n")
    with pytest.raises(SunaugError, match=r"own\.csv: peak_flux .* is no flux in W m-2; an X5.4 flare is 5.4e-4"):
        read_catalogue(path)


def test_a_flux_that_contradicts_its_class_is_unknown(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        "start,peak,end,peak_flux,class\n2012-03-07T00:02,2012-03-07T00:24,2012-03-07T00:40,5.4e-4,X5.4\n"
        "2012-03-08T00:02,2012-03-08T00:24,2012-03-08T00:40,5.4e-5,X5.4\n"
        "2012-03-09T00:02,2012-03-09T00:24,2012-03-09T00:40,,X5.4\n"
    )
    read = read_catalogue(path)
    np.testing.assert_allclose(read.flares["peak_flux"], [5.4e-4, 5.4e-4])
    assert read.repairs == {"class and peak_flux disagree, unknown": 1}


@pytest.mark.parametrize("region", ["inf", "-1", "x", "", "1e300"])
def test_a_region_that_is_no_number_is_unknown(tmp_path, region):
    path = tmp_path / "own.csv"
    path.write_text(f"start,peak,end,class,region\n2012-03-07T00:02,2012-03-07T00:24,2012-03-07T00:40,X5.4,{region}\n")
    assert list(read_catalogue(path).flares["region"]) == [0]


def test_a_row_without_any_time_lies_between_its_neighbours_or_the_list_is_refused(tmp_path):
    rows = [f"2012-03-{day:02d}T05:00,2012-03-{day:02d}T05:05,2012-03-{day:02d}T05:10,C1.0\n" for day in range(1, 29)]
    rows[14] = "?,?,?,X1.0\n"
    told, _ = _told(tmp_path, OWN + "".join(rows), "2012-03-08T00:00", "2012-03-15T00:00", "2012-03-22T00:00")
    assert [one for one, _ in told] == ["C1.0", "unknown", "C1.0"]
    shuffled = np.random.default_rng(0).permutation(rows)
    (tmp_path / "shuffled.csv").write_text(OWN + "".join(shuffled))
    with pytest.raises(SunaugError, match=r"shuffled\.csv: nothing tells when the flare of row \d+ .* mend or remove"):
        read_catalogue(tmp_path / "shuffled.csv")


def test_dates_of_one_numeric_form_are_read_where_other_rows_prove_the_order(tmp_path):
    def content(last: str) -> str:
        days = ["1/2/2012 0:00", "3/2/2012 23:30", last]
        return OWN + "".join(f"{one},{one},{one},C1.0\n" for one in days)

    _, proven = _told(tmp_path, content("13/2/2012 10:00"))
    assert [str(one) for one in proven.flares["start"]] == [
        "2012-02-01 00:00:00",
        "2012-02-03 23:30:00",
        "2012-02-13 10:00:00",
    ]
    assert proven.repairs == {"dates read as day/month/year, as other rows show": 3}
    _, mixed = _told(tmp_path, content("13/2/2012 10:00 PM"))
    assert len(mixed.flares) == 1, "a list that is not written in one way has no one order"
    with pytest.raises(SunaugError, match="no flare with a readable class and start in 3 rows"):
        _told(tmp_path, content("5/6/2012 10:00"))


def test_what_peaked_at_the_very_beginning_of_a_list_may_have_started_before_it(tmp_path):
    told, _ = _told(
        tmp_path,
        OWN + "2012-03-01T00:00,2012-03-01T00:05,2012-03-01T00:10,C1.0\n"
        "2012-03-20T00:00,2012-03-20T00:05,2012-03-20T00:10,C1.0\n",
        *("2012-03-01T02:00", "2012-03-01T09:00"),
    )
    assert told == [("quiet", "unknown"), ("quiet", "quiet")]


def test_a_flare_without_an_end_may_be_going_on(tmp_path):
    rows = OWN + "2012-03-01T00:00,2012-03-01T00:05,2012-03-01T00:10,C1.0\n2012-03-03T00:00,2012-03-03T00:30,{},C1.0\n"
    for end, expected in (("2012-03-03T00:40", "C1.0"), ("Unk", "unknown")):
        told, _ = _told(tmp_path, rows.format(end), "2012-03-02T00:20")
        assert told[0][0] == expected


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


@pytest.mark.parametrize(("minutes", "known"), [(4, True), (9, False), (30, False)])
def test_an_hour_of_which_a_flare_would_fit_into_what_is_missing_is_unknown(tmp_path, minutes, known):
    path = tmp_path / "xrs.csv"
    kept = [one for one in range(181) if not 70 <= one < 70 + minutes]
    path.write_text("time,xrsb\n" + "".join(f"2012-01-01T{one // 60:02d}:{one % 60:02d}:00Z,1e-6\n" for one in kept))
    times = np.array(["2012-01-01T01:05", "2012-01-01T02:00", "2012-01-01T02:50"], "datetime64[ns]")
    np.testing.assert_allclose(nowcast_flux(times, read_xrs(path)), [1e-6, 1e-6 if known else np.nan, 1e-6])


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
