import numpy as np

from sunaug.light_curve import find_gaps, light_curve

TIMES = np.datetime64("2012-03-01", "ns") + np.arange(48) * np.timedelta64(2, "h")


def test_gaps_are_steps_much_longer_than_usual():
    kept = np.delete(TIMES, [10, 11, 12, 30])
    assert find_gaps(kept) == [(TIMES[9], TIMES[13])], "one frame missing is twice the usual step, and no gap"
    assert find_gaps(TIMES[:1]) == []


def test_flares_are_marked_where_they_are():
    mean = np.ones((48, 2)) * [80.0, 3.0]
    quiet = np.full(48, 1e-6)
    flaring = quiet.copy()
    flaring[24] = 5e-5
    flaring[25] = 2e-5
    channels = ["aia171", "aia94"]
    calm, marked = (
        np.asarray(light_curve(TIMES, mean, channels, flux, width=900)).astype(int) for flux in (quiet, flaring)
    )
    assert calm.shape == marked.shape
    assert calm.shape[1] == 900
    red = (marked[..., 0] - marked[..., 1] > 40) & (np.abs(marked - calm).sum(axis=-1) > 0)
    columns = np.flatnonzero(red[60:-60].sum(axis=0) > 50)
    assert len(columns) >= 1, "a line from top to bottom"
    assert abs(columns.mean() / 900 - 0.52) < 0.05, "in the middle of the time axis, once for two frames of a flare"


def test_unknown_values_leave_gaps_and_no_error():
    mean = np.full((48, 1), np.nan)
    assert light_curve(TIMES, mean, ["hmi_m"], np.full(48, np.nan), width=400).size[0] == 400
    assert light_curve(TIMES[:1], mean[:1], ["hmi_m"], np.full(1, np.nan), width=400).size[0] == 400
