import numpy as np
import pandas as pd
import pytest
import sunpy.map

from forecasting_adapters.exports import export, open_export
from sunaug.bundle import load_bundle
from sunaug.errors import SunaugError
from sunaug.generation import regenerate
from sunaug.sources import RejectedFile, fits_files
from sunaug.synthetic_fits import read_provenance
from tests.exported import generated, synthetic_cube


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return export(generated(), "fits", tmp_path_factory.mktemp("fits") / "out", n=3, allow_ungated=True)


def test_sunpy_reads_them_and_sources_do_not_take_them_for_observations(out):
    files = sorted(out.glob("*.fits"))
    assert len(files) == 9
    opened = sunpy.map.Map(files[0])
    assert opened.meta["SYNTHET"]
    assert opened.wavelength.value == 131
    with pytest.raises(RejectedFile, match="a synthetic image"):
        fits_files.refer(files[0])


def test_headers_and_manifest_hold_the_fluxes(out):
    manifest = pd.read_csv(out / "manifest.csv").set_index("file")
    for file in out.glob("*.fits"):
        said = read_provenance(file)
        row = manifest.loc[file.name]
        assert (said["number"], said["channel"]) == (row["sample"], row["channel"])
        assert said["forecast_flux"] == row["forecast_flux"] == float(generated()["forecast_flux"][row["sample"]])
        assert (said["rare"], said["min_class"], said["gate"]) == (True, "M1.0", "unjudged")


def test_every_sample_can_be_made_again_from_an_opened_export(out):
    opened = open_export(out, verify=True)
    np.testing.assert_array_equal(opened["intensity"], generated()["intensity"][:3])
    again = regenerate(opened, 2, load_bundle("sdo2012-64"))
    np.testing.assert_allclose(again, generated()["intensity"][2], atol=0.05)


def test_a_cube_that_does_not_say_how_it_was_made_is_refused(tmp_path):
    path = synthetic_cube(tmp_path / "c.zarr", n=2, request=None)
    with pytest.raises(SunaugError, match="c: does not say which bundle made it and how"):
        export(path, "fits", tmp_path / "out")
