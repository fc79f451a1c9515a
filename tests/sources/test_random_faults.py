"""Headers with random faults give the frame that a faultless header gives, or a rejection with a reason."""

import os
import re
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sunaug.calibrate.chain import Calibration, calibrate
from sunaug.sources import RejectedFile, fits_files, helioviewer
from tests.make_data import disk_image, write_fits
from tests.sources.test_helioviewer import HEADER, write_jp2

EXAMPLES = int(os.environ.get("SUNAUG_HYPOTHESIS_EXAMPLES", "200"))
PROPERTY = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

SIZE, RADIUS = 32, 12.5
PLAN = Calibration(16, 7.0)

# Raw values of cards; None leaves the card out.
NOTHING = (None, "", "''", "'MISSING '")
NO_NUMBER = ("nan", "-nan", "'nan'", "inf", "'inf'", "'x'", "T", "?")
HUGE = ("1E300", "-1E300", "-2147483648")
NUMBERS = (*NOTHING, *NO_NUMBER, *HUGE)
TEXTS = (*NOTHING, "nan", "T", "5", "'?'")
TIMES = ("'-4712-01-01T12:00:00.000Z'", "'1958.01.01_00:00:00_TAI'", "'2099-01-01T00:00:00'", "'2012-03-07'")
TIMES += ("'2012-02-30T00:00:00'", "'9999-99-99T99:99:99'", "'NaT'", "'now'", "20120307")

FAULTS = {
    "T_OBS": (*TEXTS, *TIMES, "'2012.03.07_00:00:34_TAI'", "'2012-03-07T00:00:00'"),
    "DATE-OBS": (*TEXTS, *TIMES),
    "TIMESYS": ("'TT'", "'GPS'", "'UTC'", "'local'", "5", *NOTHING[:3]),
    "TELESCOP": (*TEXTS, "'SOHO'", "'SDO/HMI'"),
    "INSTRUME": (*TEXTS, "'AIA_3'", "'AIA_9'", "'HMI_FRONT2'", "'EIT'"),
    "WAVELNTH": (*NUMBERS, "0", "-193", "19.3", "195", "'193'", "193.4"),
    "WAVEUNIT": (*TEXTS, "'nm'", "'m'", "'green'", "'s'", "'Angstrom'"),
    "WAVE_STR": (*TEXTS, "'171_THIN'", "'193_THIN'"),
    "QUALITY": (*NUMBERS, "0", "'0x00000000'", "'0x00002000'", "8192", "0.5", "99999999999"),
    "CTYPE1": (*TEXTS, "'HPLT-TAN'", "'RA---TAN'"),
    "CTYPE2": (*TEXTS, "'HPLN-TAN'", "'DEC--TAN'"),
    "CUNIT1": (*TEXTS, "'deg'", "'rad'", "'m'"),
    "CUNIT2": (*TEXTS, "'deg'", "'arcmin'", "'pix'"),
    "CDELT1": (*NUMBERS, "0", "-76.8", "153.6", "38.4", "0.0213", "1E-300"),
    "CDELT2": (*NUMBERS, "0", "153.6", "38.4", "0.0213", "1E-300"),
    "CRPIX1": (*NUMBERS, "0", "-16.5", "33", "8.25"),
    "CRPIX2": (*NUMBERS, "0", "-16.5", "33", "8.25"),
    "CRVAL1": (*NUMBERS, "0", "960", "1E6"),
    "CRVAL2": (*NUMBERS, "0", "-960", "1E6"),
    "CROTA2": (*NUMBERS, "0"),
    "CD1_1": (*NUMBERS, "0", "1", "76.8", "-76.8"),
    "PC1_1": (*NUMBERS, "0", "1", "-1"),
    "PC1_2": (*NUMBERS, "0", "0.5"),
    "RSUN_OBS": (*NUMBERS, "0", "-960", "0.2667", "16", "880", "0.00465"),
    "DSUN_OBS": (*NUMBERS, "0", "1", "149597.87", "1.2E11", "-1.5E11"),
    "RSUN_REF": (*NUMBERS, "696000", "0"),
    "EXPTIME": (*NUMBERS, "0", "-2", "2000", "1E-6"),
    "BUNIT": ("''", None, "'DN'", "'K'", "'Gauss'", "'m/s'", "'1000 DN'", "'kDN'"),
    "BSCALE": (*NUMBERS, "0", "-1", "1", "1E-300"),
    "BZERO": ("nan", "'x'", "1E300", "-1E300", "0", None),
    "BLANK": (*NUMBERS, "0", "-1", "1000000"),
    "SYNTHET": ("T", "F", None),
    "NAXIS": ("0", "1", "-1", "nan", "'x'", "999", None),
    "NAXIS1": ("0", "-1", "16", "31", "64", "1000000000", "nan", None),
    "NAXIS2": ("0", "-1", "16", "31", "64", "1000000000", "nan", None),
    "BITPIX": ("8", "32", "-32", "-64", "-16", "0", "nan", None),
}


def _faults(names):
    one = st.sampled_from(sorted(names)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(FAULTS[name])))
    return st.lists(one, min_size=1, max_size=3, unique_by=lambda fault: fault[0])


@cache
def _plain() -> tuple[tuple[str, ...], bytes]:
    """The cards of a faultless file, and its pixels."""
    with tempfile.TemporaryDirectory() as folder:
        image = disk_image(SIZE, (15.5, 15.5), RADIUS)
        path = Path(folder) / "a.fits"
        write_fits(path, size=SIZE, radius=RADIUS, image=image, compression=None, dtype=np.int16)
        content = path.read_bytes()
    end = content.index(b"END" + b" " * 77)
    cards = tuple(content[place : place + 80].decode() for place in range(0, end, 80))
    return cards, content[-(-(end + 80) // 2880) * 2880 :]


def _write(path, faults):
    cards, pixels = _plain()
    changed = dict(faults)
    kept = [card for card in cards if card[:8].strip() not in changed]
    told = [f"{name:8}= {value:>20}" for name, value in faults if value is not None]
    structure = ("NAXIS", "NAXIS1", "NAXIS2", "BITPIX")
    first = [card for card in told if card[:8].strip() in structure]
    rest = [card for card in told if card[:8].strip() not in structure]
    # What tells the layout stands at its place, as the standard wants it; the rest at the end.
    order = ["SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2"]
    head = sorted(
        [*first, *(card for card in kept if card[:8].strip() in order)], key=lambda card: order.index(card[:8].strip())
    )
    cards = [*head, *(card for card in kept if card[:8].strip() not in order), *rest, "END"]
    text = "".join(card.ljust(80) for card in cards)
    path.write_bytes(text.ljust(-(-len(text) // 2880) * 2880).encode() + pixels)
    return path


def _outcome(read):
    """What a reader gives, or its rejection; anything else that it raises is a fault of ours."""
    try:
        return read()
    except RejectedFile as error:
        return error


def _frame(path):
    (reference,) = fits_files.refer(path)
    (seen,) = fits_files.read(reference)
    frame, facts = calibrate(seen, PLAN, "physical")
    return reference.time, reference.channels, frame, facts


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return _frame(_write(tmp_path_factory.mktemp("faultless") / "a.fits", ()))


@PROPERTY
@given(_faults(FAULTS))
def test_a_faulty_fits_header(tmp_path, reference, faults):
    path = _write(tmp_path / "a.fits", faults)
    found = _outcome(lambda: _frame(path))
    if isinstance(found, RejectedFile):
        assert re.fullmatch(r".{15,}\.", found.reason)
        return
    time, channels, frame, facts = found
    expected_time, expected_channels, expected, expected_facts = reference
    assert (time, channels) == (expected_time, expected_channels)
    np.testing.assert_allclose(frame, expected, rtol=1e-5)
    for name in ("exposure_time", "quality", "disk_radius"):
        assert facts[name] == expected_facts[name]


KNOWN_TO_JP2 = set(FAULTS) & set(HEADER) | {"DSUN_OBS", "CD1_1", "PC1_1", "PC1_2", "TIMESYS", "RSUN_REF"}
MADE = HEADER | {"T_OBS": "2012-03-07T00:00:00.00", "DATE-OBS": "2012-03-07T00:00:00.00", "CDELT1": "76.8"}
MADE |= {"CDELT2": "76.8", "CRPIX1": "16.5", "CRPIX2": "16.5", "NAXIS1": "32", "NAXIS2": "32", "DSUN_OBS": "149543e6"}


def _read_jp2(path, header):
    image = disk_image(SIZE, (15.5, 15.5), RADIUS).clip(0, 255)
    (reference,) = helioviewer.refer(write_jp2(path, header, image))
    return reference, helioviewer.read(reference)[0]


@PROPERTY
@given(_faults(KNOWN_TO_JP2))
def test_a_faulty_header_of_helioviewer(tmp_path, faults):
    values = {name: value and value.strip("'") for name, value in faults}
    header = {name: value for name, value in (MADE | values).items() if value is not None}
    expected_reference, expected = _faultless_jp2(str(tmp_path))
    found = _outcome(lambda: _read_jp2(tmp_path / "a.jp2", header))
    if isinstance(found, RejectedFile):
        assert re.fullmatch(r".{15,}\.", found.reason)
        return
    reference, seen = found
    assert (reference.time, reference.channels) == (expected_reference.time, expected_reference.channels)
    assert seen.geometry.centre == pytest.approx(expected.geometry.centre)
    np.testing.assert_allclose(seen.geometry.to_pixels, expected.geometry.to_pixels, rtol=1e-4, atol=1e-9)
    np.testing.assert_array_equal(seen.image, expected.image)


@cache
def _faultless_jp2(folder):
    return _read_jp2(Path(folder) / "faultless.jp2", MADE)
