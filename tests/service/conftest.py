import pytest

pytest.importorskip("fastapi", reason="needs the extra service")
pytest.importorskip("sqlalchemy", reason="needs the extra service")

from tests.models import make_bundle


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of a tiny bundle, which has no real frames to be judged by."""
    return make_bundle(tmp_path_factory.mktemp("served") / "tiny").path
