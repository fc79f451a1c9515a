import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import convolve

from sunaug.calibrate.psf import PsfStore, deconvolve
from sunaug.errors import SunaugError
from sunaug.sources import DiskGeometry, Observation, RejectedFile

pytest.importorskip("aiapy")

SIZE = 64
GEOMETRY = DiskGeometry((31.5, 31.5), np.eye(2) * 25.0)


def _kernel():
    y, x = np.indices((9, 9)) - 4
    kernel = np.exp(-(x**2 + y**2) / 4.0)
    return kernel / kernel.sum()


@pytest.fixture
def folder(tmp_path):
    psf = np.zeros((SIZE, SIZE))
    psf[28:37, 28:37] = 5 * _kernel()
    fits.PrimaryHDU(psf).writeto(tmp_path / "psf_193.fits")
    return tmp_path


def _sharp():
    image = np.full((SIZE, SIZE), 10.0)
    image[20, 30] = image[40, 15] = 3000.0
    return image


def _observation(image, **other):
    return Observation("aia193", np.datetime64("2012-07-19", "ns"), image, GEOMETRY, "DN", level=1.0, **other)


def test_light_goes_back_and_none_is_lost(folder):
    blurred = convolve(_sharp(), _kernel(), mode="wrap").astype(np.float32)
    found = deconvolve(_observation(blurred), PsfStore(folder, iterations=50)).image
    assert found.dtype == np.float32
    assert found.sum(dtype=float) == pytest.approx(blurred.sum(dtype=float), rel=1e-5)
    assert found[20, 30] > 2 * blurred[20, 30]
    assert np.abs(found - _sharp()).mean() < 0.9 * np.abs(blurred - _sharp()).mean()


def test_missing_pixels_stay_missing_and_draw_no_light(folder):
    flat = np.full((SIZE, SIZE), 7.0, np.float32)
    flat[10:12, 10:40] = np.nan
    found = deconvolve(_observation(flat), PsfStore(folder)).image
    np.testing.assert_array_equal(np.isnan(found), np.isnan(flat))
    np.testing.assert_allclose(found[~np.isnan(flat)], 7.0, rtol=1e-5)


def test_blank_of_integers_is_missing(folder):
    counts = np.full((SIZE, SIZE), 7, np.int16)
    counts[5, 5] = -32768
    found = deconvolve(_observation(counts, blank=-32768), PsfStore(folder))
    assert found.blank is None
    assert np.isnan(found.image[5, 5])
    assert np.isnan(found.image).sum() == 1


@pytest.mark.parametrize("other", [{"level": 1.5}, {"level": np.nan}, {"channel": "aia1600"}, {"channel": "hmi_m"}])
def test_other_images_are_left_alone(tmp_path, other):
    observation = replace(_observation(np.ones((SIZE, SIZE), np.float32)), **other)
    assert deconvolve(observation, PsfStore(tmp_path)) is observation


def test_sizes_must_agree(folder):
    with pytest.raises(RejectedFile, match=r"the image has 32 x 16 pixels and the point spread function .* 64 x 64"):
        deconvolve(_observation(np.ones((16, 32), np.float32)), PsfStore(folder))


def test_a_blank_image_is_a_rejection(folder):
    with pytest.raises(RejectedFile, match="no valid pixel"):
        deconvolve(_observation(np.full((SIZE, SIZE), np.nan, np.float32)), PsfStore(folder))
    with pytest.raises(RejectedFile, match="did not stay finite"):
        deconvolve(_observation(np.zeros((SIZE, SIZE), np.float32)), PsfStore(folder))


@pytest.mark.parametrize("spoil", ["text", "negative"])
def test_a_file_that_is_no_psf_is_named(tmp_path, spoil):
    path = tmp_path / "psf_193.fits"
    if spoil == "text":
        path.write_text("not a psf")
    else:
        fits.PrimaryHDU(np.full((SIZE, SIZE), -1.0)).writeto(path)
    with pytest.raises(SunaugError, match=r"psf_193\.fits: not a .*delete it"):
        deconvolve(_observation(np.ones((SIZE, SIZE), np.float32)), PsfStore(tmp_path))


def test_without_aiapy_the_extra_is_named(tmp_path):
    # A module that is not there for this process alone.
    (tmp_path / "aiapy").mkdir()
    (tmp_path / "aiapy" / "__init__.py").write_text("raise ImportError('no aiapy')\n")
    script = (
        "from pathlib import Path\nfrom sunaug.calibrate.psf import PsfStore\n"
        "from sunaug.errors import UsageError\n"
        "try:\n    PsfStore(None).psf(193)\nexcept UsageError as error:\n    print(error)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert "pip install 'sunaug[aia]'" in told.stdout, told.stderr


@pytest.mark.slow
def test_a_psf_is_computed_once_and_kept(tmp_path):
    store = PsfStore(tmp_path / "psf")
    psf = store.psf(94)
    assert psf.shape == (4096, 4096)
    assert psf.sum(dtype=float) == pytest.approx(1.0)
    kept = fits.getdata(tmp_path / "psf" / "psf_94.fits")
    np.testing.assert_array_equal(kept, psf)
