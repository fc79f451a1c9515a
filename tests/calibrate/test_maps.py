import astropy.units as u
import numpy as np
import pytest
import sunpy.map
from astropy.coordinates import SkyCoord

from sunaug.calibrate import (
    Calibration,
    calibrate,
    check_quality,
    correct_degradation,
    normalize_exposure,
    register,
    saturated_fraction,
)
from sunaug.sources import RejectedFile
from tests.make_data import disk_image, write_fits, write_magnetogram

CENTRE = (61.0, 66.0)


@pytest.fixture
def smap(tmp_path) -> sunpy.map.GenericMap:
    # A bright point halfway to the west limb of an image that is rolled by 90 degrees: solar west is down.
    image = disk_image(128, CENTRE, 50.0)
    y, x = np.indices(image.shape)
    image += 3000 * np.exp(-((x - CENTRE[0]) ** 2 + (y - CENTRE[1] + 25) ** 2) / 8)
    return sunpy.map.Map(write_fits(tmp_path / "a.fits", centre=CENTRE, roll=90.0, image=image))


def test_a_registered_map_knows_where_it_lies(smap):
    frame = register(smap, 64, 28.0)
    assert frame.data.shape == (64, 64)
    row, column = np.unravel_index(np.nanargmax(frame.data), (64, 64))
    assert (column, row) == (pytest.approx(31.5 + 14, abs=0.6), pytest.approx(31.5, abs=0.6))
    place = frame.wcs.pixel_to_world(column, row)
    assert place.Tx.to_value("arcsec") == pytest.approx(480, abs=20)
    assert place.Ty.to_value("arcsec") == pytest.approx(0, abs=20)
    middle = frame.world_to_pixel(SkyCoord(0 * u.arcsec, 0 * u.arcsec, frame=frame.coordinate_frame))
    assert (middle.x.value, middle.y.value) == pytest.approx((31.5, 31.5))
    assert frame.rsun_obs == smap.rsun_obs
    assert frame.scale[0].value == pytest.approx(960 / 28)
    np.testing.assert_allclose(frame.rotation_matrix, np.eye(2))
    assert register(smap, 64).scale == frame.scale


def test_steps_one_by_one_are_the_chain(smap, tmp_path):
    (tmp_path / "degrad_193.csv").write_text('"2010-05-01T12:00:00.000",1.0\n"2024-05-02T12:00:00.000",0.5\n')
    before, pixels = dict(smap.meta), smap.data.copy()
    one_by_one = correct_degradation(normalize_exposure(register(check_quality(smap), 64)), tmp_path)
    at_once = calibrate(smap, Calibration(64, 28.0, degradation=tmp_path))
    np.testing.assert_allclose(one_by_one.data, at_once.data, rtol=1e-6)
    assert at_once.unit == one_by_one.unit == u.DN / u.s
    assert dict(one_by_one.meta) == dict(at_once.meta)
    assert dict(smap.meta) == before
    np.testing.assert_array_equal(smap.data, pixels)


def test_what_is_done_is_not_done_again(smap, tmp_path):
    (tmp_path / "degrad_193.csv").write_text('"2010-05-01T12:00:00.000",1.0\n"2024-05-02T12:00:00.000",0.5\n')
    done = correct_degradation(normalize_exposure(smap), tmp_path)
    assert done.meta["deg_cor"] < 1
    assert normalize_exposure(done) is done
    assert correct_degradation(done, tmp_path) is done
    np.testing.assert_allclose(done.data * 2 * done.meta["deg_cor"], smap.data, rtol=1e-6)


def test_faults_of_a_map_are_named(smap):
    eclipse = sunpy.map.Map(smap.data, smap.meta | {"quality": 1 << 13})
    with pytest.raises(RejectedFile, match="eclipse"):
        check_quality(eclipse)
    with pytest.raises(RejectedFile, match="not full disk"):
        register(smap.submap([0, 0] * u.pix, top_right=[60, 60] * u.pix), 64)


def test_saturation_is_counted_on_counts(smap):
    image = smap.data.copy()
    image[:10] = 16000
    assert saturated_fraction(sunpy.map.Map(image, smap.meta)) == pytest.approx(10 / 128)


def test_a_magnetogram_keeps_its_unit_and_signs(tmp_path):
    y, x = np.indices((128, 128))
    field = 500 * np.exp(-((x - 40) ** 2 + (y - 60) ** 2) / 20) - 300 * np.exp(-((x - 90) ** 2 + (y - 60) ** 2) / 20)
    smap = sunpy.map.Map(write_magnetogram(tmp_path / "m.fits", field, centre=CENTRE, radius=50.0, roll=180.0))
    frame = calibrate(smap, Calibration(64, 28.0))
    assert frame.unit == u.G
    # Upside down in the file, so what is left there is right here.
    assert np.unravel_index(np.nanargmax(frame.data), (64, 64))[1] > 32
    assert np.unravel_index(np.nanargmin(frame.data), (64, 64))[1] < 32
    assert np.isnan(frame.data[0, 0])
