import numpy as np
import pytest
import sunpy.net.vso.vso as client
from astropy.io import fits

from pipelines.fetch import fetch
from sunaug.errors import SunaugError
from tests.make_data import write_fits
from tests.vso import Vso


@pytest.fixture
def vso(tmp_path, monkeypatch):
    root = tmp_path / "archive"
    root.mkdir()
    vso = Vso(root)
    monkeypatch.setattr(client, "DEFAULT_URL_PORT", [{"url": f"{vso.url}/vso.wsdl", "port": "nsoVSOi"}])
    image = np.random.default_rng(0).integers(0, 1000, (64, 64))
    for hour in range(3):
        for second in ("09", "21"):
            for wavelength in (171, 193):
                time = f"2017-01-01T0{hour}:00:{second}"
                name = f"aia.lev1.{wavelength}A_{time.replace(':', '_')}.fits"
                write_fits(root / name, time=time, wavelength=wavelength, size=64, image=image)
                vso.files[name] = ("AIA", wavelength, time.translate(str.maketrans("", "", "-T:")))
    yield vso
    vso.close()


def test_full_files_come_through_the_vso(vso, tmp_path):
    span = ("2017-01-01", "2017-01-01T03:00")
    request = {"channels": ["aia193", "aia171"], "cadence": "1h", "kind": "full", "backoff": 0.01}
    result = fetch(tmp_path / "out", *span, **request)
    assert (result.downloaded, result.failed, result.missing) == (6, (), ())
    assert {name.partition("T")[2] for name in vso.asked} == {f"0{hour}_00_09.fits" for hour in range(3)}
    rows = result.manifest.read_text().splitlines()
    assert len(rows) == 7
    assert f"{vso.url}/aia.lev1" in rows[1]
    assert rows[1].endswith(":image")
    for channel in ("aia171", "aia193"):
        assert len(list((tmp_path / "out" / channel).glob("*.fits"))) == 3
    vso.asked.clear()
    vso.queries.clear()
    again = fetch(tmp_path / "out", *span, **request)
    assert (again.downloaded, again.kept, vso.asked, vso.queries) == (0, 6, [], [])


def test_magnetograms_come_too(vso, tmp_path):
    name = "hmi.m_45s.20170101_000000_TAI.fits"
    path = write_fits(vso.root / name, time="2017-01-01T00:00:20.00", size=64)
    with fits.open(path, mode="update") as units:
        units[1].header.update({"TELESCOP": "SDO/HMI", "INSTRUME": "HMI_FRONT2", "CONTENT": "MAGNETOGRAM"})
        del units[1].header["WAVELNTH"]
    vso.files[name] = ("HMI", 6173, "20170101000022")
    result = fetch(tmp_path / "out", "2017-01-01", "2017-01-01T01:00", channels=["HMI magnetogram"], kind="full")
    assert (result.downloaded, result.failed) == (1, ())
    assert ">los_magnetic_field<" in vso.queries[0].lower()
    # A synoptic file of the same moment is another file, and does not stand in for the full one.
    text = result.manifest.read_text()
    result.manifest.write_text(text.replace(",full,", ",synoptic,"))
    vso.asked.clear()
    fetch(tmp_path / "out", "2017-01-01", "2017-01-01T01:00", channels=["hmi_m"], kind="full")
    assert len(vso.queries) == 2


def test_a_file_that_the_vso_lists_and_has_not_is_named(vso, tmp_path):
    vso.files["aia.lev1.193A_gone.fits"] = ("AIA", 193, "20170101043000")
    result = fetch(
        tmp_path / "out", "2017-01-01T04:30", "2017-01-01T05:00", channels=["aia193"], kind="full", attempts=1
    )
    (failure,) = result.failed
    assert (failure.channel, failure.url) == ("aia193", f"{vso.url}/aia.lev1.193A_gone.fits")
    assert "404" in failure.reason


def test_a_vso_that_cannot_be_reached_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "DEFAULT_URL_PORT", [{"url": "http://127.0.0.1:9/vso.wsdl", "port": "nsoVSOi"}])
    with pytest.raises(SunaugError, match=r"Virtual Solar Observatory: no answer"):
        fetch(tmp_path / "out", "2017-01-01", "2017-01-02", channels=["hmi_m"], kind="full", backoff=0.01, attempts=2)
