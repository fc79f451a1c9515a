import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sunaug.calibrate.degradation import correct_degradation, degradation_factor, read_degradation
from sunaug.errors import SunaugError, UsageError
from sunaug.sources import RejectedFile

COLUMNS = "DATE VER_NUM WAVE_STR WAVELNTH T_START T_STOP EFFA_P1 EFFA_P2 EFFA_P3 EFF_AREA EFF_WVLN"
ROWS = [
    "2020-01-01T00:00:00Z 10 193_THIN 193 2010-03-24T00:00:00Z 2014-01-01T00:00:00Z 0.0 0.0 0.0 0.8 193.3",
    "2020-01-01T00:00:00Z 10 193_THIN 193 2014-01-01T00:00:00Z 2018-01-01T00:00:00Z -1e-4 0.0 0.0 0.6 193.3",
    "2020-01-01T00:00:00Z 10 94_THIN 94 2010-03-24T00:00:00Z 2014-01-01T00:00:00Z 0.0 0.0 0.0 0.3 93.9",
]


@pytest.fixture
def response(tmp_path):
    pytest.importorskip("aiapy")
    path = tmp_path / "aia_V10_response_table.txt"
    path.write_text("\n".join([COLUMNS, *ROWS]) + "\n")
    return path


def test_a_response_table_gives_the_factor_of_aiapy(response):
    import astropy.units as u
    from aiapy.calibrate import degradation
    from aiapy.calibrate.util import get_correction_table
    from astropy.time import Time

    expected = degradation(193 * u.angstrom, Time("2014-01-11T12:00"), correction_table=get_correction_table(response))
    found = degradation_factor(response, "aia193", np.datetime64("2014-01-11T21:15:00", "ns"))
    assert found == pytest.approx(float(expected[0]), rel=1e-12)
    assert found == pytest.approx(0.6 / 0.8 * (1 - 1e-4 * 10.5)), "days since the epoch's start, at noon"


def test_a_response_table_without_the_channel_is_named(response):
    for channel in ("aia4500", "hmi_m"):
        with pytest.raises(UsageError, match=rf"aia_V10_response_table\.txt: no factors for {channel}"):
            degradation_factor(response, channel, np.datetime64("2014-01-11"))


def test_outside_a_response_table_is_a_rejection(response):
    with pytest.raises(RejectedFile, match="response table of aia94 does not reach it"):
        degradation_factor(response, "aia94", np.datetime64("2016-01-01"))


def test_a_file_of_another_kind_is_named(tmp_path):
    pytest.importorskip("aiapy")
    path = tmp_path / "table.txt"
    path.write_text("a b\n1 2\n")
    with pytest.raises(SunaugError, match=r"table\.txt: not a response table"):
        degradation_factor(path, "aia193", np.datetime64("2014-01-11"))


def _told(environment):
    """What a fresh process prints that wants a factor of the downloaded table."""
    script = (
        "import numpy as np\nfrom sunaug.calibrate.degradation import degradation_factor\n"
        "from sunaug.errors import SunaugError\n"
        "try:\n    degradation_factor('aiapy', 'aia193', np.datetime64('2014-01-11'))\n"
        "except SunaugError as error:\n    print(type(error).__name__, error)\n"
    )
    environment = os.environ | environment
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    return told.stdout.strip() or told.stderr


def test_without_network_there_is_a_way_out(tmp_path):
    pytest.importorskip("aiapy")
    # A proxy where nobody listens, and none of the tables that earlier processes have kept.
    nobody = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    homes = {name: str(tmp_path) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "SUNPY_CONFIGDIR")}
    told = _told(nobody | homes | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    assert re.search(r"^SunaugError aiapy could not download .* with --degradation\.$", told), told


def test_without_aiapy_the_extra_is_named(tmp_path):
    (tmp_path / "aiapy").mkdir()
    (tmp_path / "aiapy" / "__init__.py").write_text("raise ImportError('no aiapy')\n")
    told = _told({"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])})
    assert re.search(r"^UsageError .*pip install 'sunaug\[aia\]', or give a folder of daily tables", told), told


def test_daily_tables_are_linear_between_days(tmp_path):
    (tmp_path / "degrad_193.csv").write_text('"2010-05-01T12:00:00.000",1.0\n"2010-05-02T12:00:00.000",0.9\n')
    assert degradation_factor(str(tmp_path), "aia193", np.datetime64("2010-05-02T00:00")) == pytest.approx(0.95)
    with pytest.raises(RejectedFile, match="covers 2010-05-01 to 2010-05-02"):
        degradation_factor(tmp_path, "aia193", np.datetime64("2011-01-01"))
    with pytest.raises(UsageError, match=r"degrad_1600\.csv: no degradation table for aia1600"):
        degradation_factor(tmp_path, "aia1600", np.datetime64("2010-05-02"))


def test_correction_divides():
    np.testing.assert_array_equal(correct_degradation(np.full((2, 2), 3, np.float32), 0.75), 4)


@pytest.mark.realdata
def test_real_tables_hold_the_loss_of_193(real_data):
    folder = Path(real_data) / "aia_degradation_v9"
    factor = degradation_factor(folder, "aia193", np.datetime64("2017-01-13T23:00"))
    assert factor == pytest.approx(0.7475, abs=2e-4)
    times, factors = read_degradation(folder, "aia193")
    nearest = factors[np.abs(times - np.datetime64("2017-01-13T23:00", "ns").astype(np.int64)).argmin()]
    assert factor == pytest.approx(nearest, rel=2e-4)
