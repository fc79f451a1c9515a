import json
import pickle
import threading
import urllib.request
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from sunaug.calibrate.pointing import fetch_pointing, read_pointing, update_pointing
from sunaug.errors import SunaugError, UsageError
from sunaug.sources import DiskGeometry, Observation, RejectedFile

RSUN = 944.1
HEADER = ["T_START", "T_STOP", "A_171_X0", "A_171_Y0", "A_171_IMSCALE", "A_171_INSTROT", "A_4500_X0"]
ROWS = [
    ["2012-07-19T03:00:00Z", "2012-07-19T06:00:00Z", 2059.0, 2044.0, 0.599, 0.018, 2040],
    ["2012-07-19T06:00:00Z", "2012-07-19T09:00:00Z", 2060.48, 2045.07, 0.599489, 0.019327, 2040],
]


def _table(path, rows=ROWS, header=HEADER):
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]) + "\n")
    return path


def _observation(roll=0.3, shape=(4096, 4096), level=1.0, time="2012-07-19T07:30:13"):
    turn = np.deg2rad(roll)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * 1500.0
    return Observation(
        "aia171",
        np.datetime64(time, "ns"),
        np.broadcast_to(np.float32(1), shape),
        DiskGeometry((2000.0, 2010.0), matrix),
        "DN",
        sun_radius=RSUN,
        level=level,
    )


def _roll(geometry):
    return np.rad2deg(np.arctan2(geometry.to_pixels[0, 1], geometry.to_pixels[0, 0]))


@pytest.mark.parametrize("sat_rot", [9.83570426e-05, 12.5])
def test_geometry_is_that_of_aiapy(tmp_path, sat_rot):
    calibrate = pytest.importorskip("aiapy.calibrate")
    import astropy.units as u
    import sunpy.map
    from astropy.table import QTable
    from astropy.time import Time

    plain = read_pointing(_table(tmp_path / "p.csv", [[*row, sat_rot] for row in ROWS], [*HEADER, "A_171_SAT_ROT"]))
    header = {"telescop": "SDO/AIA", "instrume": "AIA_3", "wavelnth": 171, "waveunit": "angstrom", "lvl_num": 1.0}
    header |= {"t_obs": "2012-07-19T07:30:13.37", "date-obs": "2012-07-19T07:30:12.34", "sat_rot": sat_rot}
    header |= {"ctype1": "HPLN-TAN", "ctype2": "HPLT-TAN", "cunit1": "arcsec", "cunit2": "arcsec", "rsun_obs": RSUN}
    header |= {"crpix1": 2000.0, "crpix2": 2010.0, "cdelt1": 0.6, "cdelt2": 0.6, "crval1": 0.0, "crval2": 0.0}
    header |= {
        "pc1_1": 1.0,
        "pc1_2": 0.0,
        "pc2_1": 0.0,
        "pc2_2": 1.0,
        "haex_obs": 7.0e10,
        "haey_obs": -1.3e11,
        "haez_obs": 0.0,
    }
    units = {"X0": u.pix, "Y0": u.pix, "IMSCALE": u.arcsec / u.pix, "INSTROT": u.deg}
    columns = dict(zip(HEADER, zip(*ROWS, strict=True), strict=True))
    table = QTable({name: Time([text[:-1] for text in columns[name]]) for name in ("T_START", "T_STOP")})
    for name, unit in units.items():
        table[f"A_171_{name}"] = np.array(columns[f"A_171_{name}"]) * unit
    image = np.zeros((4096, 4096), np.float32)
    wcs = calibrate.update_pointing(sunpy.map.Map(image, header), pointing_table=table).wcs

    found = update_pointing(_observation(roll=sat_rot), plain).geometry
    np.testing.assert_allclose(found.centre, wcs.wcs.crpix - 1, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.to_pixels, np.linalg.inv(wcs.pixel_scale_matrix) * RSUN / 3600, rtol=0, atol=1e-6)


def test_without_sat_rot_a_rolled_spacecraft_is_told_from_the_header(tmp_path):
    table = read_pointing(_table(tmp_path / "p.csv"))
    assert _roll(update_pointing(_observation(roll=0.0194), table).geometry) == pytest.approx(0.019327)
    assert _roll(update_pointing(_observation(roll=135.0), table).geometry) == pytest.approx(135.0)


@pytest.mark.parametrize(
    "other",
    [{"level": 1.5}, {"level": np.nan}, {"shape": (1024, 1024)}],
    ids=["level 1.5", "level unknown", "binned"],
)
def test_other_images_are_left_alone(tmp_path, other):
    observation = _observation(**other)
    assert update_pointing(observation, read_pointing(_table(tmp_path / "p.csv"))) is observation


@pytest.mark.parametrize(("time", "x0"), [("05:59:59.999", 2059.0), ("06:00:00", 2060.48)])
def test_a_row_holds_until_before_the_next(tmp_path, time, x0):
    table = read_pointing(_table(tmp_path / "p.csv", ROWS[::-1]))
    assert update_pointing(_observation(time=f"2012-07-19T{time}"), table).geometry.centre[0] == x0


def test_outside_the_table_is_a_rejection(tmp_path):
    table = read_pointing(_table(tmp_path / "p.csv"))
    with pytest.raises(RejectedFile, match="it covers 2012-07-19T03:00 to 2012-07-19T09:00"):
        update_pointing(_observation(time="2012-07-19T09:00"), table)
    with pytest.raises(UsageError, match=r"p\.csv: the pointing table has no columns for AIA 193 Å"):
        update_pointing(replace(_observation(), channel="aia193"), table)


def test_missing_values_leave_the_header(tmp_path):
    row = ["2012-07-19T06:00:00Z", "2012-07-19T09:00:00Z", "MISSING", "", "MISSING", "MISSING", 1]
    found = update_pointing(_observation(), read_pointing(_table(tmp_path / "p.csv", [ROWS[0], row])))
    np.testing.assert_allclose(found.geometry.to_pixels, _observation().geometry.to_pixels, rtol=1e-12)
    assert found.geometry.centre == (2000.0, 2010.0)


def test_a_table_saved_with_units_reads_the_same(tmp_path):
    import astropy.units as u
    from astropy.table import QTable
    from astropy.time import Time

    table = QTable({"T_START": Time(["2012-07-19T06:00:00"]), "T_STOP": Time(["2012-07-19T09:00:00"])})
    table["A_171_X0"], table["A_171_Y0"] = [2060.48] * u.pix, [np.nan] * u.pix
    table["A_171_IMSCALE"], table["A_171_INSTROT"] = [0.599489] * u.arcsec / u.pix, [0.019327] * u.deg
    table.write(tmp_path / "p.ecsv")
    found = read_pointing(tmp_path / "p.ecsv")
    expected = read_pointing(_table(tmp_path / "p.csv", ROWS[1:]))
    for name in ("start", "stop", "x0", "imscale", "instrot"):
        np.testing.assert_array_equal(getattr(found, name)[..., :1], getattr(expected, name)[..., :1])
    assert np.isnan(found.y0).all()


def test_a_table_travels_small(tmp_path):
    table = pickle.loads(pickle.dumps(read_pointing(_table(tmp_path / "p.csv"))))
    assert table.wavelengths == (171, 4500)
    assert table.instrot[1, 0] == 0.019327


@pytest.mark.parametrize("text", ["time,x0\n1,2\n", "T_START,T_STOP\n2012-01-01,2012-01-02\n", "<html>"])
def test_what_is_no_table_is_named(tmp_path, text):
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(SunaugError, match=r"p\.csv: .*pointing table"):
        read_pointing(path)


class _Jsoc(BaseHTTPRequestHandler):
    """Answers what drms asks of jsoc_info: the records of a series, and the types of its keywords."""

    asked: list[str]

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        self.asked.append(query["ds"][0])
        if query["op"] == ["rs_list"]:
            columns = zip(HEADER, zip(*ROWS, strict=True), strict=True)
            answer = {"keywords": [{"name": name, "values": list(map(str, values))} for name, values in columns]}
        else:
            types = {name: "time" if name.startswith("T_") else "float" for name in HEADER}
            answer = {"keywords": [{"name": name, "type": kind} for name, kind in types.items()]}
            answer |= {"links": [], "segments": [], "primekeys": ["T_START"], "dbindex": []}
        body = json.dumps({"status": 0, "count": len(ROWS)} | answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def jsoc(monkeypatch):
    """A local server that stands as proxy between drms and jsoc.stanford.edu; the record sets that it was asked for."""
    pytest.importorskip("aiapy")
    asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Jsoc", (_Jsoc,), {"asked": asked}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _use_proxy(monkeypatch, server.server_port)
    yield asked
    server.shutdown()
    server.server_close()


def _use_proxy(monkeypatch, port):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    # urllib keeps the proxies that it found at its first request.
    monkeypatch.setattr(urllib.request, "_opener", None)


FIRST, LAST = np.datetime64("2012-07-19T04:00", "ns"), np.datetime64("2012-07-19T08:00", "ns")


def test_fetched_once_then_kept_with_its_date(tmp_path, jsoc):
    table = fetch_pointing(FIRST, LAST, tmp_path / "cache")
    assert jsoc[0] == "aia.master_pointing3h[2012-07-18T00:00:00.000Z-2012-07-20T00:00:00.000Z]"
    (path,) = (tmp_path / "cache").iterdir()
    assert path.name == f"aia-pointing_2012-07-18_2012-07-20_{table.date}.ecsv"
    assert table.source == "JSOC aia.master_pointing3h"
    assert update_pointing(_observation(), table).geometry.centre == (2060.48, 2045.07)

    older = path.with_name("aia-pointing_2012-07-18_2012-07-20_2020-02-02.ecsv")
    older.write_text(path.read_text().replace(table.date, "2020-02-02"))
    path.unlink()
    asked = len(jsoc)
    again = fetch_pointing(FIRST, LAST, tmp_path / "cache")
    assert (len(jsoc), again.date) == (asked, "2020-02-02")
    np.testing.assert_array_equal(again.x0, table.x0)


def test_without_network_there_is_a_way_out(tmp_path, monkeypatch):
    pytest.importorskip("aiapy")
    _use_proxy(monkeypatch, 9)
    with pytest.raises(SunaugError, match=r"could not be fetched from JSOC .*--pointing FILE") as caught:
        fetch_pointing(FIRST, LAST, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
