import numpy as np
import pytest

from sunaug.calibrate.exposure import per_second
from sunaug.calibrate.quality import check_quality, quality_bits
from sunaug.calibrate.saturation import saturated_fraction
from sunaug.sources import RejectedFile


def test_quality_is_strict_and_names_the_bits():
    check_quality(0)
    with pytest.raises(RejectedFile, match=r"bit 13: eclipse, bit 30: quicklook"):
        check_quality(1 << 13 | 1 << 30)


def test_lenient_quality_takes_what_is_spoilt_in_part():
    check_quality(1 << 30 | 1 << 8, lenient=True)
    with pytest.raises(RejectedFile, match="eclipse"):
        check_quality(1 << 13, lenient=True)


def test_signed_quality_words_have_bit_31():
    assert quality_bits(-(2**31)) == [31]


def test_bits_of_hmi_mean_other_things():
    check_quality(1 << 10, lenient=True, instrument="HMI")
    with pytest.raises(RejectedFile, match="bit 9: eclipse"):
        check_quality(1 << 9, lenient=True, instrument="HMI")
    check_quality(1 << 9, lenient=True)


@pytest.mark.parametrize("exposure", [0.0, -1.0, float("nan")])
def test_exposure_must_be_above_zero(exposure):
    with pytest.raises(RejectedFile, match="EXPTIME"):
        per_second(np.ones((2, 2), np.float32), exposure)


def test_exposure_divides():
    np.testing.assert_array_equal(per_second(np.full((2, 2), 3, np.float32), 1.5), 2)


def test_saturated_fraction_leaves_missing_pixels_out():
    image = np.array([[np.nan, 1], [15000, 16000]], np.float32)
    assert saturated_fraction(image, 15000) == pytest.approx(2 / 3)
    assert np.isnan(saturated_fraction(np.full((2, 2), np.nan, np.float32), 1))
    assert saturated_fraction(np.array([[-32768, 1], [15000, 16000]], np.int16), 15000, -32768) == pytest.approx(2 / 3)
