from pathlib import Path

import numpy as np
import pytest

from tests.loader_cubes import make_observed, make_synthetic


@pytest.fixture(scope="session")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames a day apart in each of March, August and October 2012."""
    starts = np.array(["2012-03-05", "2012-08-05", "2012-10-05"], "datetime64[ns]")
    times = (starts[:, None] + np.arange(6) * np.timedelta64(1, "D")).reshape(-1)
    return make_observed(tmp_path_factory.mktemp("cubes") / "sdo2012.zarr", times)


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_synthetic(tmp_path_factory.mktemp("cubes") / "rare.zarr")
