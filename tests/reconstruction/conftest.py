import pytest

from tests.models import make_bundle


@pytest.fixture(scope="package")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")
