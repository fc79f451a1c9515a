import os
from pathlib import Path

import hypothesis
import pytest

from tests.hek import serve

# Tiny networks and frames run faster on one thread than on several; the commands that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


# The same 200 examples each time; SUNAUG_HYPOTHESIS_EXAMPLES=10000 draws so many new ones.
_EXAMPLES = os.environ.get("SUNAUG_HYPOTHESIS_EXAMPLES")
hypothesis.settings.register_profile(
    "sunaug",
    max_examples=int(_EXAMPLES or 200),
    derandomize=_EXAMPLES is None,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("sunaug")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """What tests measure is kept for the session, and away from the user's cache."""
    os.environ["SUNAUG_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real SDO data: $SUNAUG_DATA, else ../shared/data beside the checkout."""
    named = os.environ.get("SUNAUG_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real SDO data: SUNAUG_DATA is {'not set' if named is None else named}, and no ../shared/data")
    return folder


@pytest.fixture
def hek():
    """A local server that speaks as the HEK does."""
    with serve() as server:
        yield server
