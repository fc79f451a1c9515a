from pathlib import Path

import h5netcdf
import numpy as np
import pytest
from astropy.io import fits

from sunaug.catalogues import read_catalogue
from sunaug.errors import SunaugError, UsageError
from sunaug.xrs import read_xrs

EPOCH = np.datetime64("2000-01-01T12:00:00", "s")


def _write_day(
    folder: Path,
    name: str,
    day: str,
    flux: list[float],
    flag: list[int] | None = None,
    *,
    flags_are: dict[str, object] | None = None,
    **attributes: str,
) -> Path:
    """A daily file in the layout of NOAA: ``gxrs`` as for GOES 13-15 at first, ``xrsf`` as for all satellites since."""
    path = folder / name
    letters = ("a", "b") if "gxrs" in name else ("xrsa", "xrsb")
    flags = "flags" if "gxrs" in name or "flx1s" in name else "flag"
    with h5netcdf.File(path, "w") as file:
        file.attrs["id"] = name
        file.attrs["summary"] = "XRS solar X-ray irradiances"
        for attribute, value in attributes.items():
            file.attrs[attribute] = value
        file.dimensions = {"time": len(flux)}
        time = file.create_variable("time", ("time",), data=_seconds(day, len(flux)))
        time.attrs["units"] = "seconds since 2000-01-01 12:00:00 UTC"
        for letter in letters:
            data = np.array(flux, dtype=np.float32)
            file.create_variable(f"{letter}_flux", ("time",), data=data).attrs["units"] = "W/m2"
            quality = np.array(flag or [0] * len(flux), dtype=np.uint16)
            variable = file.create_variable(f"{letter}_{flags}", ("time",), data=quality)
            for attribute, value in (flags_are or {}).items():
                variable.attrs[attribute] = value
    return path


def _seconds(day: str, count: int) -> np.ndarray:
    return (np.datetime64(day, "s") - EPOCH).astype(float) + 60.0 * np.arange(count)


@pytest.mark.parametrize(
    ("name", "satellite", "scaling"),
    [
        ("sci_gxrs-l2-irrad_g15_d20120307_v0-0-0.nc", "GOES-15", "true"),
        ("sci_xrsf-l2-avg1m_g15_d20120307_v1-0-0.nc", "GOES-15", "true"),
        ("sci_xrsf-l2-avg1m_g16_d20170906_v2-2-0.nc", "GOES-16", "true"),
        ("dn_xrsf-l2-avg1m_g18_d20240511_v2-2-1.nc", "GOES-18", "true"),
        ("sci_xrsf-l2-avg1m_g08_s19950103_e20030616_v1-0-0.nc", "GOES-8", "true"),
        ("ops_xrsf-l2-avg1m_g13_d20120307_v1-0-0.nc", "GOES-13", "operational"),
    ],
)
def test_satellite_and_scaling_are_read_off_the_file(tmp_path, name, satellite, scaling):
    series = read_xrs(_write_day(tmp_path, name, "2012-03-07", [1e-6, 5e-4, 3e-6]))
    np.testing.assert_allclose(series.flux, [1e-6, 5e-4, 3e-6], rtol=1e-6)
    assert [str(time)[:16] for time in series.time] == [f"2012-03-07T00:0{minute}" for minute in range(3)]
    assert series.provenance == {"source": name, "satellite": satellite, "scaling": scaling}


def test_flagged_filled_and_negative_readings_are_missing(tmp_path):
    name = "sci_xrsf-l2-avg1m_g16_d20170906_v2-2-0.nc"
    series = read_xrs(_write_day(tmp_path, name, "2017-09-06", [1e-6, 2e-6, -9999, -1e-9, 3e-6], [0, 1, 0, 0, 0]))
    np.testing.assert_allclose(series.flux, [1e-6, np.nan, np.nan, np.nan, 3e-6], rtol=1e-6)

    assert series.left_out == {"flagged": 1, "missing or not positive": 2}
    assert series.provenance["left_out"] == "1 flagged, 2 missing or not positive"


def test_good_data_are_what_the_files_own_masks_and_values_say(tmp_path):
    electrons = {
        "flag_masks": np.array([7, 1, 2, 4, 120, 120], np.uint16),
        "flag_values": np.array([0, 1, 2, 4, 8, 16], np.uint16),
        "flag_meanings": "good_data bad_data eclipsed temperature e_correction_valid e_correction_invalid",
    }
    name = "sci_xrsf-l2-avg1m_g15_d20190102_v1-0-0.nc"
    path = _write_day(tmp_path, name, "2019-01-02", [1e-8] * 5, [16, 8, 18, 0, 65535], flags_are=electrons)
    series = read_xrs(path)
    np.testing.assert_array_equal(np.isfinite(series.flux), [True, True, False, True, False])
    assert series.left_out == {"flagged": 2}
    values = {"flag_values": np.array([3, 0], np.uint16), "flag_meanings": "good_data eclipsed"}
    path = _write_day(tmp_path, name, "2019-01-02", [1e-8] * 3, [3, 0, 1], flags_are=values)
    np.testing.assert_array_equal(np.isfinite(read_xrs(path).flux), [True, False, False])


@pytest.mark.parametrize(
    ("name", "attributes", "scaling"),
    [
        ("goes_13_leap_second.nc", {"id": " ", "title": "GOES 1-15 L2 XRS high-resolution Irradiances"}, "true"),
        ("g13.nc", {"id": " ", "summary": "XRS of reprocessed science-quality measurements"}, "true"),
        ("ops_xrsf_g13.nc", {"id": "sci_xrsf-l2-avg1m_g13_d20120307_v1-0-0.nc"}, "true"),
        ("mine.nc", {"id": " ", "platform": "g16", "summary": "The EXIS X-Ray Sensor (XRS) measures"}, "true"),
        ("goes_13_of_mine.nc", {"id": " "}, "unknown"),
        ("g15_xrs_1m_20120307.nc", {"id": " "}, "unknown"),
        ("ops_xrsf-l2-avg1m_g07_d19920307.nc", {"id": " "}, "unknown"),
    ],
)
def test_scaling_is_what_the_file_says_of_itself_or_unknown(tmp_path, name, attributes, scaling):
    path = _write_day(tmp_path, name, "2012-03-07", [7e-6], **attributes)
    assert read_xrs(path).scaling == scaling
    if scaling == "true":
        assert read_xrs(path, true_flux=True).flux == pytest.approx([7e-6])
    else:
        with pytest.raises(UsageError, match="state it"):
            read_xrs(path, true_flux=True)


@pytest.mark.parametrize(("written", "scaling"), [("26/06/2012", "operational"), ("2023-05-01", "unknown")])
def test_fits_of_the_sdac_are_read(tmp_path, written, scaling):
    """In the layout of ``go1520120601.fits``: edges, fluxes and status in tables of one row."""
    seconds, flux = np.array([0.0, 2.0, 4.0]), np.array([[8e-7, 8e-9], [-99999, 8e-9], [9e-7, 9e-9]])
    columns = [
        fits.Column("TIME", "3D", array=seconds[None]),
        fits.Column("FLUX", "6E", dim="(2,3)", array=flux[None].astype(np.float32)),
    ]
    head = fits.PrimaryHDU()
    for key, value in {"TELESCOP": "GOES 15", "ORIGIN": "SDAC/GSFC", "DATE": written, "DATE-OBS": "01/06/2012"}.items():
        head.header[key] = value
    empty = fits.BinTableHDU.from_columns([fits.Column("EDGES", "2E", array=np.ones((1, 2)))])
    tables = fits.HDUList([head, empty, fits.BinTableHDU.from_columns(columns), empty.copy()])
    tables.writeto(tmp_path / "go1520120601.fits.gz")
    series = read_xrs(tmp_path / "go1520120601.fits.gz")
    np.testing.assert_allclose(series.flux, [8e-7, np.nan, 9e-7], rtol=1e-6)
    assert str(series.time[2])[:19] == "2012-06-01T00:00:04"
    assert (series.satellite, series.scaling) == ("GOES-15", scaling)
    assert series.left_out == {"missing or not positive": 1}


@pytest.mark.parametrize("flux", ["540", "inf"])
def test_a_flux_in_another_unit_is_refused(tmp_path, flux):
    (tmp_path / "xrs.csv").write_text(f"time,xrsb\n2012-01-01T00:00Z,{flux}\n")
    with pytest.raises(SunaugError, match=r"is no flux in W m-2; an X5\.4 flare is 5\.4e-4"):
        read_xrs(tmp_path / "xrs.csv")


def test_a_stray_reading_of_an_archive_is_left_out_and_rows_without_a_time_are_counted(tmp_path):
    path = _write_day(tmp_path, "sci_xrsf-l2-avg1m_g16_d20170906_v2-2-0.nc", "2017-09-06", [1e-6, 5.0, 2e-6])
    assert read_xrs(path).left_out == {"impossibly strong": 1}
    (tmp_path / "xrs.csv").write_text("time,xrsb\n2012-01-01T00:00Z,1e-6\nyesterday,1e-4\n")
    assert read_xrs(tmp_path / "xrs.csv").left_out == {"without a readable time": 1}


def test_other_files_are_named_for_what_they_are(tmp_path):
    (tmp_path / "xrs.csv").write_bytes(b"SIMPLE  =                    T" + b" " * 2850)
    with pytest.raises(SunaugError, match="it is a FITS file"):
        read_xrs(tmp_path / "xrs.csv")
    (tmp_path / "xrs.fits").write_text("time,xrsb")
    with pytest.raises(SunaugError, match=r"not readable as GOES X-ray flux \(FITS of the SDAC\)"):
        read_xrs(tmp_path / "xrs.fits")


def test_operational_flux_is_made_true_on_request(tmp_path):
    path = _write_day(tmp_path, "ops_xrsf-l2-avg1m_g13_d20120307_v1-0-0.nc", "2012-03-07", [7e-6])
    assert read_xrs(path).flux == pytest.approx([7e-6])
    true = read_xrs(path, true_flux=True)
    assert true.flux == pytest.approx([1e-5])
    assert true.scaling == "true"
    assert true.provenance["scaling"] == "true, operational flux divided by 0.7"
    science = _write_day(tmp_path, "sci_xrsf-l2-avg1m_g13_d20120307_v1-0-0.nc", "2012-03-07", [1e-5])
    assert read_xrs(science, true_flux=True).flux == pytest.approx([1e-5])


def test_a_csv_does_not_say_its_scaling(tmp_path):
    path = tmp_path / "xrs.csv"
    path.write_text("time,xrsb\n2012-01-01T00:00Z,7e-7\n")
    assert read_xrs(path).provenance == {"source": "xrs.csv", "scaling": "unknown"}
    with pytest.raises(UsageError, match="state it"):
        read_xrs(path, true_flux=True)
    assert read_xrs(path, true_flux=True, scaling="operational").flux == pytest.approx([1e-6])
    with pytest.raises(UsageError, match="unknown scaling"):
        read_xrs(path, scaling="0.7")
    path.write_text("# scaling operational\ntime,xrsb\n2012-01-01T00:00Z,7e-7\n")
    assert read_xrs(path, true_flux=True).flux == pytest.approx([1e-6])
    path.write_text("# scaling half\ntime,xrsb\n2012-01-01T00:00Z,7e-7\n")
    with pytest.raises(UsageError, match="unknown scaling 'half' in its first line"):
        read_xrs(path)


def test_daily_files_of_a_folder_follow_each_other(tmp_path):
    for day in (3, 1, 2):
        _write_day(tmp_path, f"sci_xrsf-l2-avg1m_g16_d2017090{day}_v2-2-0.nc", f"2017-09-0{day}", [day * 1e-6] * 2)
    series = read_xrs(tmp_path)
    np.testing.assert_allclose(series.flux, np.repeat([1e-6, 2e-6, 3e-6], 2), rtol=1e-6)
    assert (np.diff(series.time) > np.timedelta64(0)).all()
    assert series.source.endswith("d20170903_v2-2-0.nc (3 files)")


def test_where_files_overlap_the_first_counts(tmp_path):
    old = _write_day(tmp_path, "sci_xrsf-l2-avg1m_g15_d20170906_v1-0-0.nc", "2017-09-06", [1e-6] * 3)
    new = _write_day(tmp_path, "sci_xrsf-l2-avg1m_g16_d20170906_v2-2-0.nc", "2017-09-06", [2e-6] * 5)
    series = read_xrs([old, new])
    np.testing.assert_allclose(series.flux, [1e-6] * 3 + [2e-6] * 2, rtol=1e-6)
    assert series.satellite == "GOES-15, GOES-16"
    np.testing.assert_allclose(read_xrs([new, old]).flux, [2e-6] * 5, rtol=1e-6)


def test_scalings_are_not_mixed(tmp_path):
    old = _write_day(tmp_path, "ops_xrsf-l2-avg1m_g13_d20170905_v1-0-0.nc", "2017-09-05", [7e-6])
    new = _write_day(tmp_path, "sci_xrsf-l2-avg1m_g16_d20170906_v2-2-0.nc", "2017-09-06", [2e-5])
    with pytest.raises(UsageError, match="must not be mixed"):
        read_xrs([old, new])
    assert read_xrs([old, new], true_flux=True).flux == pytest.approx([1e-5, 2e-5])


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"<html>", r"x\.nc: not readable"), (b"\x89HDF\r\n\x1a\n cut off", r"x\.nc: not readable")],
)
def test_damaged_files_are_one_sentence(tmp_path, content, message):
    (tmp_path / "x.nc").write_bytes(content)
    with pytest.raises(SunaugError, match=message):
        read_xrs(tmp_path / "x.nc")


def test_what_is_not_there_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_xrs(tmp_path / "x.nc")
    with pytest.raises(UsageError, match="no NetCDF file"):
        read_xrs(tmp_path)
    with pytest.raises(UsageError, match="give at least one"):
        read_xrs([])


@pytest.mark.realdata
def test_the_series_of_2012_is_operational(real_data):
    """Five-minute means reach the listed peaks of long flares and do not pass them by 1 / 0.7."""
    series = read_xrs(real_data / "sdo2012" / "goes_xrs_5min.csv.gz")
    flares = read_catalogue(real_data / "flares" / "goes_flares_1996_2022.csv").flares.dropna(subset=["peak"])
    months = (flares["start"] >= "2012-01-01") & (flares["start"] < "2012-11-01")
    ratios = []
    for flare in flares[months & (flares["peak_flux"] >= 5e-6)].itertuples():
        near = np.abs(series.time - np.datetime64(flare.peak)) <= np.timedelta64(8, "m")
        if np.isfinite(series.flux[near]).any():
            ratios.append(np.nanmax(series.flux[near]) / flare.peak_flux)
    assert len(ratios) > 200
    assert np.percentile(ratios, 95) == pytest.approx(1, abs=0.1)
