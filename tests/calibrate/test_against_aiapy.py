"""Registration and the linear steps against those of aiapy and sunpy, done one by one."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sunpy.map

from sunaug.calibrate.chain import Calibration, calibrate
from sunaug.calibrate.registration import register
from sunaug.sources import DiskGeometry, fits_files
from tests.make_data import RSUN_ARCSEC, roll_matrix, turned, write_fits, write_magnetogram

pytest.importorskip("aiapy")

SIZE = 512
FLUX_LIMIT = 0.002
PLACE_LIMIT = 0.1  # output pixels, of centre and of limb
ROLL_LIMIT = 0.02  # degrees
CORRELATION_LIMIT = 0.999
FIELD_LIMIT = 0.005


@dataclass(frozen=True)
class Difference:
    """How a frame differs from a reference: flux on the disk (share), place, limb, roll, and pixelwise correlation."""

    flux: float
    centre: float
    limb: float
    roll: float
    correlation: float

    def within_limits(self) -> bool:
        return (
            abs(self.flux) < FLUX_LIMIT
            and self.centre < PLACE_LIMIT
            and abs(self.limb) < PLACE_LIMIT
            and abs(self.roll) < ROLL_LIMIT
            and self.correlation > CORRELATION_LIMIT
        )


def compare(frame: np.ndarray, reference: np.ndarray, radius: float) -> Difference:
    """Fit shift, roll, growth and gain that take the reference to the frame, to first order, by least squares."""
    y, x = np.indices(frame.shape) - (len(frame) - 1) / 2
    north, east = np.gradient(reference)
    inside = (np.hypot(x, y) < 1.1 * radius) & np.isfinite(frame) & np.isfinite(reference)
    disk = inside & (np.hypot(x, y) < radius)
    terms = np.stack([east, north, x * north - y * east, x * east + y * north, reference])[:, inside].T
    shift_x, shift_y, turn, growth, _ = np.linalg.lstsq(terms, (frame - reference)[inside], rcond=None)[0]
    return Difference(
        flux=float(frame[disk].sum() / reference[disk].sum() - 1),
        centre=float(np.hypot(shift_x, shift_y)),
        limb=float(-growth * radius),
        roll=float(np.rad2deg(turn)),
        correlation=float(np.corrcoef(frame[inside], reference[inside])[0, 1]),
    )


def aiapy_frame(path: Path, size: int, tables: Path | None = None) -> tuple[np.ndarray, float]:
    """aiapy's register, correct_degradation, exposure and block means; the frame and its disk's radius in pixels."""
    from aiapy.calibrate import correct_degradation
    from aiapy.calibrate import register as aiapy_register
    from aiapy.calibrate.util import get_correction_table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        smap = aiapy_register(sunpy.map.Map(path))
        if tables is not None:
            smap = correct_degradation(smap, correction_table=get_correction_table(tables))
    # Its middle lies where ours does, or the block means would mean other pixels.
    width = len(smap.data)
    assert (smap.meta["crpix1"], smap.meta["crpix2"]) == ((width + 1) / 2, (width + 1) / 2)
    block = width // size
    image = np.asarray(smap.data, dtype=np.float64).reshape(size, block, size, block).mean(axis=(1, 3))
    return image / smap.exposure_time.to_value("s"), smap.rsun_obs.value / smap.scale[0].value / block


def our_frame(path: Path, size: int, radius: float, tables: Path | None = None) -> np.ndarray:
    (reference,) = fits_files.refer(path)
    (seen,) = fits_files.read(reference)
    return calibrate(seen, Calibration(size, radius, degradation=tables), "physical")[0].astype(np.float64)


def response_table() -> Path:
    """SolarSoft's response table of December 2017, which aiapy's own tests carry."""
    import aiapy.tests.data

    return Path(aiapy.tests.data.__file__).parent / "aia_V8_20171210_050627_response_table.txt"


def level_1(path: Path, real: Path, roll: float, compression: str | None = "RICE_1") -> Path:
    """A level-1 image of 4096 x 4096 pixels made of a synoptic one: off centre, rolled, of another plate scale."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        smap = sunpy.map.Map(real)
    plate_scale, centre = 0.6007, (2041.3, 2053.8)
    radius = smap.rsun_obs.value / plate_scale
    place = ((511.5, 511.5), smap.rsun_obs.value / 2.4)
    return write_fits(
        path,
        image=turned(smap.data, place, 4096, (centre, radius), roll),
        centre=centre,
        radius=radius,
        roll=roll,
        dtype=np.int16,
        compression=compression,
        exposure=smap.exposure_time.to_value("s"),
        keywords={
            "LVL_NUM": 1.0,
            "BLANK": -32768,
            "PIXLUNIT": "DN",
            "RSUN_OBS": smap.rsun_obs.value,
            "DSUN_OBS": smap.meta["dsun_obs"],
            "CDELT1": plate_scale,
            "CDELT2": plate_scale,
        },
    )


def true_frame(real: Path, size: int, radius: float) -> np.ndarray:
    """What a level-1 image made of `real` must give, without the way there: the synoptic image, laid out finely."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        smap = sunpy.map.Map(real)
    middle = (size * 4 - 1) / 2
    place = ((511.5, 511.5), smap.rsun_obs.value / 2.4)
    fine = turned(smap.data, place, size * 4, ((middle, middle), radius * 4), 0.0)
    return fine.reshape(size, 4, size, 4).mean(axis=(1, 3), dtype=np.float64) / smap.exposure_time.to_value("s")


def magnetogram_flux(path: Path, roll: float, size: int = SIZE) -> tuple[float, float]:
    """Signed flux of a made-up HMI magnetogram in gauss times source pixels: on its frame, and as it was made."""
    centre, radius, width = (2043.0, 2050.5), RSUN_ARCSEC / 0.504, 4096
    field, made = np.zeros((width, width), dtype=np.float32), 0.0
    for east, north, strength, breadth in (
        (-600.0, 300.0, 1500.0, 30.0),
        (-480.0, 330.0, -1100.0, 35.0),
        (900.0, -700.0, 800.0, 12.0),
        (0.0, 0.0, -50.0, 4.0),
    ):
        column, row = np.array(centre) + roll_matrix(roll) @ (east, north)
        x, y = np.arange(width) - column, np.arange(width) - row
        field += strength * np.exp(-(y[:, None] ** 2) / (2 * breadth**2)) * np.exp(-(x**2) / (2 * breadth**2))
        made += strength * 2 * np.pi * breadth**2
    (reference,) = fits_files.refer(write_magnetogram(path, field, centre=centre, radius=radius, roll=roll))
    (seen,) = fits_files.read(reference)
    frame, facts = calibrate(seen, Calibration(size, size * 7 / 16), "physical")
    return float(np.nansum(frame, dtype=np.float64) * facts["pixel_area"]), made


def test_the_comparison_sees_what_it_measures():
    y, x = np.indices((256, 256))
    image = np.exp(-np.hypot(x - 120, y - 130) / 40) + np.sin(x / 9) ** 2 * np.cos(y / 13) ** 2
    geometry = DiskGeometry((127.8, 127.5), roll_matrix(0.1) * 101.0)
    found = compare(register(image, geometry, 256, 100.0)[0].astype(float), image, 100.0)
    assert found.centre == pytest.approx(0.3, abs=0.05)
    assert found.limb == pytest.approx(-1.0, abs=0.15)
    assert abs(found.roll) == pytest.approx(0.1, abs=0.02)
    assert not found.within_limits()


@pytest.mark.realdata
def test_synoptic_images_are_as_aiapy_and_sunpy_make_them(real_data):
    for path in sorted((real_data / "aia193_synoptic_fits").glob("*.fits"))[::7]:
        expected, radius = aiapy_frame(path, SIZE, response_table())
        found = compare(our_frame(path, SIZE, radius, response_table()), expected, radius)
        assert found.within_limits(), f"{path.name}: {found}"


@pytest.mark.realdata
@pytest.mark.parametrize("roll", [0.1, *(pytest.param(roll, marks=pytest.mark.slow) for roll in (0.0, 1, 30, 179.9))])
def test_level_1_images_are_as_aiapy_makes_them(real_data, tmp_path, roll):
    real = sorted((real_data / "aia193_synoptic_fits").glob("*.fits"))[0]
    path = level_1(tmp_path / "level1.fits", real, roll, compression=None)
    expected, radius = aiapy_frame(path, SIZE)
    ours = our_frame(path, SIZE, radius)
    found = compare(ours, expected, radius)
    assert found.within_limits(), f"against aiapy: {found}"
    found = compare(ours, true_frame(real, SIZE, radius), radius)
    assert found.within_limits(), f"against what it was made of: {found}"


@pytest.mark.parametrize("roll", [179.9, pytest.param(30.0, marks=pytest.mark.slow)])
def test_the_flux_of_a_magnetogram_is_kept(tmp_path, roll):
    found, made = magnetogram_flux(tmp_path / "m.fits", roll)
    assert found == pytest.approx(made, rel=FIELD_LIMIT)
