import pytest

from sunaug.bundle import load_bundle
from sunaug.fidelity.roles import NOT_MADE, Roles, roles_of, roles_of_cube, teachers_of
from tests.models import make_bundle


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("roles") / "tiny")


def info(tiny, *, recipe=None, training=None):
    return tiny.info.model_copy(update={"recipe": recipe or {}, "training": training or {}})


def test_what_was_trained_on_chosen_by_or_fitted_to_is_a_teacher(tiny):
    assert teachers_of(info(tiny, recipe={"discriminator": "pixel"}), filtered=False) == {}
    assert list(teachers_of(info(tiny, recipe={"discriminator": "both"}), filtered=False)) == ["EffNet-Lite0"]
    chosen = info(tiny, training={"chosen_by": {"backbone": "FID-768"}})
    assert list(teachers_of(chosen, filtered=False)) == ["FID-768"]
    assert "solar-texture" in teachers_of(info(tiny), filtered=True)


def test_teachers_of_the_generator_that_it_started_from_count(tiny):
    begun = info(tiny, recipe={"start": "sdo2012-128", "discriminator": "pixel"})
    assert {"EffNet-Lite0", "FID-768"} <= teachers_of(begun, filtered=False).keys()
    assert teachers_of(info(tiny, recipe={"start": "not there"}), filtered=False) is None
    told = info(tiny, recipe={"start": "not there"}, training={"teachers": {"FID-768": "chosen by it"}})
    assert teachers_of(told, filtered=False) == {"FID-768": "chosen by it"}


def test_figures_have_the_role_of_what_they_are_measured_with():
    roles = roles_of(load_bundle("sdo2012-128"))
    assert roles.of("frechet EffNet-Lite0") == roles.of("recall FID-768") == "teacher"
    assert roles.of("frechet solar-texture") == roles.of("power_spectrum_rim aia94") == "teacher"
    assert roles.of("frechet EffNet-Lite2") == roles.of("frechet EffNet-Lite2 aia193") == "judge"
    assert roles.of("frechet solar-content") == roles.of("limb_radius aia94") == "judge"


def test_where_nothing_is_known_only_inception_judges(tiny):
    unknown = roles_of_cube({"SYNTHETIC": "made", "bundle_hash": "abc"}, None)
    assert unknown.teachers is None
    assert unknown.of("frechet FID-768") == "judge"
    assert unknown.of("frechet EffNet-Lite2") == unknown.of("limb_radius aia94") == "unknown"
    assert roles_of_cube({}, None) is NOT_MADE
    told = roles_of_cube({"SYNTHETIC": "made", "gate": {"teachers": {"FID-768": "chosen by it"}}}, None)
    assert told == Roles({"FID-768": "chosen by it"})
    assert roles_of_cube({"SYNTHETIC": "made"}, tiny) == Roles({})
