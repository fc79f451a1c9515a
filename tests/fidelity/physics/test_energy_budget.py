import numpy as np
import pytest

from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity.physics import Column, EnergyBudget, typical


def table_of(log_emission, unit="dex", channels=("aia131", "aia94")):
    values = np.asarray(log_emission, np.float32)
    values = values if unit == "dex" else 10**values
    return {
        f"{kind} {name}": Column(values, "scalar", unit, family="intensity")
        for kind in ("total", "peak")
        for name in channels
    }


@pytest.fixture
def observed():
    """Flux of 400 frames, an eighth of them without any, and emission: level up to C1, then 0.4 dex per dex."""
    random = np.random.default_rng(0)
    log_flux = random.uniform(-7, -4, 400)
    flux = 10**log_flux
    flux[:50:2], flux[1:50:2] = 0, np.nan
    log_flux[:50] = -7
    return flux, 0.4 * np.maximum(log_flux + 6, 0) + random.normal(0, 0.01, 400)


@pytest.mark.parametrize("unit", ["dex", "counts / 255"])
def test_frames_on_the_relation_have_nothing_left(observed, unit):
    flux, emission = observed
    budget = EnergyBudget.fit(table_of(emission, unit), flux)
    left = budget.residual(table_of(emission, unit), flux)
    assert list(left) == [
        f"{kind} {name}" for kind in ("energy_budget", "energy_budget_peak") for name in ("aia131", "aia94")
    ]
    for column in left.values():
        assert (column.family, column.unit, column.kind) == ("energy", "dex", "scalar")
        assert np.abs(column.values).max() < 0.08
        assert typical(column) == pytest.approx(0, abs=0.005)


def test_too_faint_a_flare_is_in_the_red(observed):
    flux, emission = observed
    budget = EnergyBudget.fit(table_of(emission), flux)
    # Frames of the quiet Sun that claim an M3 flare: 0.4 dex per dex from C1 on are missing.
    claimed = budget.residual(table_of(np.zeros(5)), np.full(5, 3e-5))
    np.testing.assert_allclose(claimed["energy_budget aia94"].values, -0.4 * np.log10(30), atol=0.04)
    for quiet in (0, np.nan, 1e-9):
        left = budget.residual(table_of(np.zeros(2)), [quiet] * 2)["energy_budget aia94"].values
        np.testing.assert_allclose(left, 0, atol=0.01)


def test_relation_never_falls_and_ends_level(observed):
    flux, emission = observed
    relation = EnergyBudget.fit(table_of(-emission), flux).relations["total aia94"]
    assert (np.diff(relation.log_flux) > 0).all()
    assert (np.diff(relation.log_emission) >= 0).all()
    rising = EnergyBudget.fit(table_of(emission), flux).relations["total aia94"]
    assert rising(1e-2) == rising(1e-4) == rising.log_emission[-1]


def test_few_frames_make_one_knot():
    budget = EnergyBudget.fit(table_of([0.0, 0.5, 1.0], channels=["aia94"]), [1e-7, np.nan, 1e-5])
    assert budget.relations["peak aia94"].log_emission.tolist() == [0.5]
    blank = budget.residual(table_of([np.nan, 0.5], channels=["aia94"]), [1e-6, 1e-6])["energy_budget aia94"]
    np.testing.assert_allclose(blank.values, [np.nan, 0])


def test_what_has_no_budget():
    with pytest.raises(UsageError, match="needs a hot channel"):
        EnergyBudget.fit(table_of([0.0], channels=["aia171"]), [1e-6])
    with pytest.raises(UsageError, match="give one for each frame"):
        EnergyBudget.fit(table_of([0.0]), [1e-6, 1e-6])
    with pytest.raises(SunaugError, match="known X-ray flux"):
        EnergyBudget.fit(table_of([0.0, 1.0]), [np.nan, 0])
    with pytest.raises(UsageError, match="no such column"):
        EnergyBudget.fit(table_of([0.0]), [1e-6]).residual(table_of([0.0], channels=["aia94"]), [1e-6])
