import json

import numpy as np
import pandas as pd
import pytest

from sunaug.catalogues import fetch_flares, read_catalogue, write_catalogue
from sunaug.errors import SunaugError, UsageError
from sunaug.flares import forecast_flux, nowcast_flux


def test_swpc_flares_come_over_several_pages_and_months(hek):
    catalogue = fetch_flares("2017-09-04", "2017-11-01", "swpc", url=hek.url)
    # The C8.3 started before the range and was only going on when it began.
    assert list(catalogue.flares["peak_flux"].round(7)) == [1.2e-5, 2.2e-4, 9.3e-4, 1.1e-5]
    assert list(catalogue.flares["region"]) == [12673, 12673, 0, 0]
    assert str(catalogue.flares["peak"][2]) == "2017-09-06 12:02:00"
    assert {query["page"] for query in hek.queries} == {"1", "2"}
    assert catalogue.repairs == {}
    assert catalogue.provenance["reported_by"] == "SWPC"
    assert "operational" in catalogue.provenance["scaling"]


def test_all_of_hek_keeps_every_reporter_and_leaves_out_what_has_no_class(hek):
    catalogue = fetch_flares("2017-09-04", "2017-09-08", "hek", url=hek.url)
    assert list(catalogue.flares["source"]) == ["SWPC", "SSW Latest Events", "SWPC", "SWPC"]
    assert catalogue.repairs == {"events without a GOES class, left out": 1}
    assert catalogue.doubts.empty


def test_a_fetched_list_is_written_and_read_back(hek, tmp_path):
    fetched = fetch_flares("2017-09-04", "2017-09-08", url=hek.url)
    write_catalogue(tmp_path / "flares.csv", fetched)
    read = read_catalogue(tmp_path / "flares.csv")
    pd.testing.assert_frame_equal(read.flares, fetched.flares)
    assert read.coverage == fetched.coverage == (np.datetime64("2017-09-04"), np.datetime64("2017-09-08"))
    # Without the range in the file, nothing would be known of the quiet day after the last flare.
    times = ["2017-09-06T11:00", "2017-09-06T13:00", "2017-09-07T12:00"]
    np.testing.assert_allclose(forecast_flux(np.array(times, "M8[ns]"), read), [9.3e-4, 0, np.nan])
    np.testing.assert_allclose(nowcast_flux(np.array(times, "M8[ns]"), read), [0, 9.3e-4, 0])


def test_a_range_without_flares_is_quiet_and_not_an_error(hek, tmp_path):
    write_catalogue(tmp_path / "quiet.csv", fetch_flares("2018-01-01", "2018-01-03", url=hek.url))
    read = read_catalogue(tmp_path / "quiet.csv")
    np.testing.assert_array_equal(forecast_flux(np.array(["2018-01-01T12:00"], "M8[ns]"), read), [0])
    np.testing.assert_array_equal(nowcast_flux(np.array(["2018-01-01T12:00"], "M8[ns]"), read), [0])


def test_what_has_not_happened_yet_is_unknown(hek):
    now = np.datetime64("now", "ns")
    begin, end = fetch_flares(now - np.timedelta64(3, "D"), now + np.timedelta64(9, "D"), url=hek.url).coverage
    assert begin < end < now - np.timedelta64(23, "h"), "nor is the last day's list complete"


def test_classes_may_stand_in_place_of_fluxes(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        "start,peak,end,class\n2017-09-06T11:53Z,2017-09-06T12:02Z,,X9.3\n2017-09-07T01:00,,,M1\n2017-09-08T01:00,,,?\n"
    )
    read = read_catalogue(path)
    np.testing.assert_allclose(read.flares["peak_flux"], [9.3e-4, 1e-5])
    assert read.repairs["unreadable class or flux, unknown"] == 1
    assert read.provenance["source"] == "own.csv"
    assert read.provenance["scaling"].startswith("unknown")


def test_the_json_of_swpc_and_hek_is_read(tmp_path):
    path = tmp_path / "xray-flares-7-day.json"
    flare = {"time_tag": "2026-09-02T18:57:00Z", "begin_time": "2026-09-02T18:57:00Z", "satellite": 18}
    flare |= {"max_time": "2026-09-02T19:20:00Z", "max_class": "M3.0", "max_xrlong": 3e-05}
    later = flare | {"begin_time": "2026-09-05T02:10:00Z", "max_time": "2026-09-05T02:31:00Z", "end_time": "Unk"}
    path.write_text(json.dumps([flare | {"end_time": "2026-09-02T19:48:00Z"}, later]))
    read = read_catalogue(path)
    np.testing.assert_allclose(read.flares["peak_flux"], [3e-5, 3e-5])
    assert [str(one) for one in read.flares["peak"]] == ["2026-09-02 19:20:00", "2026-09-05 02:31:00"]
    assert read.scaling == "listed"
    event = {"event_starttime": "2017-09-06T11:53:00", "event_peaktime": "2017-09-06T12:02:00", "ar_noaanum": 12673}
    event |= {"event_endtime": "2017-09-06T12:10:00", "fl_goescls": "X9.3", "frm_name": "SWPC"}
    (tmp_path / "hek.json").write_text(json.dumps({"result": [event]}))
    (tmp_path / "hek.csv").write_text(f"{','.join(event)}\n{','.join(map(str, event.values()))}\n")
    for name in ("hek.json", "hek.csv"):
        (row,) = read_catalogue(tmp_path / name).flares.itertuples()
        assert (row.peak_flux, row.region, row.source) == (pytest.approx(9.3e-4), 12673, "SWPC")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"[]", "an empty list"),
        ("a.json", b"{", "not readable as JSON"),
        ("a.json", b'{"a": 1}', "not a list of flares"),
        ("a.json", b'[{"time": 1}]', "not a flare catalogue"),
        ("events.txt", b":Product: 20120307events.txt\n:Created: 2012 Mar 08\n", "SWPC's daily list of events"),
        ("a.csv", b"<!DOCTYPE html>", "a web page"),
        ("a.csv", b"SIMPLE  =                    T", "a FITS file"),
        ("a.csv", b"a,b\n\xff\xfe\x00", "it is not text"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SunaugError, match=message) as raised:
        read_catalogue(tmp_path / name)
    assert "codec" not in str(raised.value)


def test_what_is_unknown_stays_unknown_when_it_is_written_and_read_back(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        "start,peak,end,class\n2017-09-01T01:00,2017-09-01T01:05,2017-09-01T01:10,C1.0\n"
        "2017-09-06T11:53,2017-09-06T12:02,,?\n2017-09-07T25:00,2017-09-07T//,,X1.0\n"
        "2017-09-20T01:00,2017-09-20T01:05,2017-09-20T01:10,C1.0\n"
    )
    read = read_catalogue(path)
    write_catalogue(tmp_path / "again.csv", read)
    again = read_catalogue(tmp_path / "again.csv")
    times = np.arange("2017-09-02", "2017-09-18", np.timedelta64(1, "h"), "datetime64[ns]")
    assert 24 < np.isnan(forecast_flux(times, read)).sum() < 24 * 4
    for label in (forecast_flux, nowcast_flux):
        np.testing.assert_array_equal(label(times, again), label(times, read))
    assert again.scaling == read.scaling == "unknown"
    assert again.repairs["unreadable class or flux, unknown (when it was written)"] == 1
    write_catalogue(tmp_path / "again.csv", again)
    assert read_catalogue(tmp_path / "again.csv").repairs == again.repairs


def test_a_list_says_its_scaling_in_a_first_line(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("# scaling true\nstart,peak,end,class\n2017-09-07T01:00,,,M1.0\n")
    assert read_catalogue(path).scaling == "true"
    path.write_text("# scaling 0.7\nstart,peak,end,class\n2017-09-07T01:00,,,M1.0\n")
    with pytest.raises(SunaugError, match=r"unknown scaling '0\.7'"):
        read_catalogue(path)


def test_an_unreadable_range_in_the_first_line_is_named(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("# covers 2017 to tomorrow\nstart,peak,end,class\n2017-09-07,,,M1\n")
    with pytest.raises(SunaugError, match="names no readable range"):
        read_catalogue(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("2017-09-04", "2017-09-04"), "not after the start"),
        (("2017-09-04", "tomorrow"), "is not a time"),
        (("2017-09-04", "2017-09-05", "goes"), "unknown flare list"),
    ],
)
def test_senseless_requests_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        fetch_flares(*settings)


def test_no_network_is_one_sentence(hek):
    hek.broken = True
    with pytest.raises(SunaugError, match=r"127\.0\.0\.1.*no answer from the HEK"):
        fetch_flares("2017-09-04", "2017-09-05", url=hek.url)
    with pytest.raises(SunaugError, match="Connection refused"):
        fetch_flares("2017-09-04", "2017-09-05", url="http://127.0.0.1:9/hek/her?")
