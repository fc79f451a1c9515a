import numpy as np
import pytest
from astropy.io import fits

from sunaug.sources import RejectedFile
from sunaug.sources.headers import (
    aia_channel,
    disk_geometry,
    keyword,
    number_or,
    observation_time,
    read_quality,
    sun_radius,
)
from tests.make_data import DSUN_METRES, roll_matrix

ROLL = 30.0
SCALE = 19.2


def _header(**changes):
    header = {
        "TELESCOP": "SDO/AIA",
        "INSTRUME": "AIA_2",
        "WAVELNTH": 193,
        "T_OBS": "2012-03-07T00:00:01.00Z",
        "DATE-OBS": "2012-03-07T00:00:00.00",
        "CTYPE1": "HPLN-TAN",
        "CTYPE2": "HPLT-TAN",
        "CUNIT1": "arcsec",
        "CUNIT2": "arcsec",
        "CDELT1": SCALE,
        "CDELT2": SCALE,
        "CRPIX1": 61.0,
        "CRPIX2": 67.0,
        "CROTA2": ROLL,
        "RSUN_OBS": 960.0,
        "DSUN_OBS": DSUN_METRES,
    } | {name.replace("__", "-"): value for name, value in changes.items()}
    return {name: value for name, value in header.items() if value is not None}


def _matrix(kind, matrix):
    return {f"{kind}{i + 1}_{j + 1}": float(matrix[i, j]) for i in (0, 1) for j in (0, 1)}


TURN = np.linalg.inv(roll_matrix(ROLL))
FULL, PART = _matrix("CD", TURN * SCALE), _matrix("PC", TURN)
WITHOUT = {"CROTA2": None, "CDELT1": None, "CDELT2": None}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"CROTA2": None} | PART,
        PART,
        WITHOUT | FULL,
        FULL,
        FULL | PART,
        {"CROTA2": None, "CDELT1": 1.0, "CDELT2": 1.0} | FULL,
        {"CUNIT1": "deg", "CUNIT2": "deg", "CDELT1": SCALE / 3600, "CDELT2": SCALE / 3600},
        {"CUNIT1": "arcmin", "CUNIT2": "arcmin", "CDELT1": SCALE / 60, "CDELT2": SCALE / 60},
        {"RSUN_OBS": None},
        {"RSUN_OBS": 0.0},
        {"DSUN_OBS": None},
        {"RSUN_REF": 6.96e5},
        {"CTYPE1": "SOLAR-X", "CTYPE2": "SOLAR-Y"},
        {"CTYPE1": None, "CUNIT1": None, "CUNIT2": ""},
    ],
)
def test_every_way_to_tell_the_same_place(changes):
    geometry = disk_geometry(_header(**changes))
    assert geometry.centre == pytest.approx((60.0, 66.0))
    np.testing.assert_allclose(geometry.to_pixels, roll_matrix(ROLL) * 50.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (_matrix("PC", np.eye(2)), "PCi_j with CDELT and CROTA2 with CDELT disagree"),
        (_matrix("CD", np.eye(2) * SCALE), "CDi_j and CROTA2 with CDELT disagree"),
        ({"CROTA2": None, "CDELT1": 2 * SCALE, "CDELT2": 2 * SCALE} | FULL, "CDi_j and CDELT disagree on the plate"),
        ({"CROTA2": None} | FULL | _matrix("PC", np.eye(2)), "CDi_j and PCi_j with CDELT disagree"),
        ({"CDELT1": -SCALE}, "mirrors the image"),
        (WITHOUT | _matrix("CD", TURN * SCALE @ np.diag([1, -1])), "mirrors the image"),
        ({"CDELT2": 2 * SCALE}, "those of SDO are square"),
        ({"CUNIT2": "deg"}, "those of SDO are square"),
        ({"CUNIT2": "m"}, "CUNIT2 'm' is neither arcsec nor deg"),
        (WITHOUT | _matrix("CD", np.ones((2, 2))), "is singular"),
        (WITHOUT | _matrix("CD", np.zeros((2, 2))), "is singular"),
        ({"CDELT1": float("inf")}, "no usable CDELT1"),
        ({"CRPIX1": float("nan")}, "no usable CRPIX1"),
        ({"CRVAL1": "nan"}, "CRVAL1 'nan' is no number"),
        ({"CROTA2": "unknown"}, "CROTA2 'unknown' is no number"),
        ({"CROTA2": 1e300}, "no angle in degrees"),
        ({"CROTA2": None, "PC1_1": float("inf")}, "PC1_1 inf is no number"),
        ({"CTYPE1": "RA---TAN"}, "CTYPE1 is 'RA---TAN'"),
        ({"CTYPE1": "HPLT-TAN", "CTYPE2": "HPLN-TAN"}, "CTYPE1 is 'HPLT-TAN'"),
        ({"RSUN_OBS": 0.27}, r"RSUN_OBS is 0.27 arcsec, which disagrees with DSUN_OBS \(960.0 arcsec\); from SDO"),
        ({"RSUN_OBS": 0.27, "DSUN_OBS": None}, "RSUN_OBS is 0.27 arcsec; from SDO the Sun is 940 to 980"),
        ({"RSUN_OBS": 970.0}, "disagrees with DSUN_OBS"),
        ({"DSUN_OBS": DSUN_METRES / 1000}, "disagrees with DSUN_OBS"),
        ({"DSUN_OBS": 1.0}, "disagrees with DSUN_OBS"),
        ({"RSUN_OBS": None, "DSUN_OBS": DSUN_METRES * 1.05}, "DSUN_OBS gives a solar radius of 914"),
        ({"RSUN_OBS": "nan", "DSUN_OBS": "nan"}, "no usable RSUN_OBS or DSUN_OBS"),
    ],
)
def test_places_that_cannot_be_are_named(changes, reason):
    with pytest.raises(RejectedFile, match=reason):
        disk_geometry(_header(**changes))


def test_the_radius_may_be_stated_with_another_radius_in_metres():
    assert sun_radius(_header(RSUN_OBS=959.63, RSUN_REF=6.957e8)) == 959.63


@pytest.mark.parametrize(
    ("value", "quality"),
    [
        (None, 0),
        (0, 0),
        (0.0, 0),
        (8192, 8192),
        (np.int32(8192), 8192),
        ("8192", 8192),
        ("0x00002000", 8192),
        ("0X2000", 8192),
        (" 0 ", 0),
        (-(2**31), -(2**31)),
        ("0x80000000", -(2**31)),
    ],
)
def test_quality_as_number_and_as_text(value, quality):
    assert read_quality(value) == quality


@pytest.mark.parametrize(
    "value", ["good", "", "nan", "0x", float("nan"), float("inf"), 0.5, True, 2**40, "0x123456789"]
)
def test_quality_that_is_no_number_is_a_reason(value):
    with pytest.raises(RejectedFile, match=r"QUALITY .* is no number of 32 bits"):
        read_quality(value)


@pytest.mark.parametrize(
    ("wavelength", "unit", "name"),
    [
        (193, None, "aia193"),
        (193.0, "Angstrom", "aia193"),
        (193, "Å", "aia193"),
        (193, "\u212b", "aia193"),
        (19.3, "nm", "aia193"),
        (9.4, "nm", "aia94"),
        (1.93e-8, "m", "aia193"),
        ("193", "angstrom", "aia193"),
    ],
)
def test_wavelengths_in_their_units(wavelength, unit, name):
    header = _header(WAVELNTH=wavelength, WAVEUNIT=unit, INSTRUME="AIA")
    assert aia_channel(header) == name


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"WAVEUNIT": "nm"}, "unknown channel"),
        ({"WAVELNTH": 19.3}, "WAVELNTH is 19.3 Å, which is no channel of AIA"),
        ({"WAVELNTH": 193.4}, "WAVELNTH is 193.4 Å, which is no channel of AIA"),
        ({"WAVEUNIT": "s"}, "WAVEUNIT 's' is no unit of a wavelength"),
        ({"WAVEUNIT": "green"}, "WAVEUNIT 'green' is no unit of a wavelength"),
        ({"INSTRUME": "AIA_3"}, "WAVELNTH is 193 Å, which INSTRUME AIA_3 does not take"),
        ({"WAVE_STR": "171_THIN"}, "WAVELNTH is 193 Å, and WAVE_STR 171_THIN"),
        ({"WAVELNTH": float("inf")}, "no usable WAVELNTH"),
        ({"WAVELNTH": True}, "no usable WAVELNTH"),
    ],
)
def test_wavelengths_that_cannot_be_are_named(changes, reason):
    with pytest.raises(RejectedFile, match=reason):
        aia_channel(_header(**changes))


@pytest.mark.parametrize(
    ("changes", "time"),
    [
        ({}, "2012-03-07T00:00:01"),
        ({"T_OBS": "MISSING"}, "2012-03-07T00:00:00"),
        ({"T_OBS": "-4712-01-01T12:00:00.000Z"}, "2012-03-07T00:00:00"),
        ({"T_OBS": None, "TIMESYS": "TAI"}, "2012-03-06T23:59:26"),
        ({"DATE__OBS": "2011-02-15T00:00:00"}, "2012-03-07T00:00:01"),
        ({"T_OBS": "2012.03.07_00:00:35_TAI", "TIMESYS": "UTC"}, "2012-03-07T00:00:01"),
        ({"T_OBS": "2012-03-07T00:00:35", "TIMESYS": "tai"}, "2012-03-07T00:00:01"),
    ],
)
def test_times_of_observation(changes, time):
    assert observation_time(_header(**changes)) == np.datetime64(time)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"T_OBS": "-4712-01-01T12:00:00.000Z", "DATE__OBS": None},
            "T_OBS -4712-01-01 is JSOC's mark",
        ),
        ({"T_OBS": "1999-01-01T00:00:00Z"}, "T_OBS 1999-01-01T00:00:00Z is before SDO's launch"),
        ({"T_OBS": "MISSING", "DATE__OBS": "2099-01-01T00:00:00"}, "DATE-OBS 2099-01-01T00:00:00 is in the future"),
        ({"TIMESYS": "TAI"}, "is in UTC by its Z, and TIMESYS is TAI"),
        ({"TIMESYS": "TT"}, "TIMESYS is 'TT'; sunaug reads times in UTC and TAI"),
        ({"T_OBS": 5, "DATE__OBS": "2012-03-07"}, "no readable T_OBS or DATE-OBS"),
    ],
)
def test_times_that_cannot_be_are_named(changes, reason):
    with pytest.raises(RejectedFile, match=reason):
        observation_time(_header(**changes))


def test_a_card_that_is_no_fits_is_not_a_missing_one():
    header = fits.Header.fromstring("CRVAL1  = nan / as JSOC writes it".ljust(80) + "CRVAL2  =".ljust(80))
    with pytest.raises(RejectedFile, match="CRVAL1 'no value of FITS' is no number"):
        number_or(header, "CRVAL1", 0.0)
    assert keyword(header, "CRVAL2") is None
    assert keyword(header, "CRPIX1") is None
