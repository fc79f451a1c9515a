import numpy as np
import torch

from sunaug.latent.ganspace import Moments, condition_terms, draw_latents, fit_components
from tests.models import make_bundle


def planted(n=20_000):
    """W with known axes: standard deviations 3, 2 and 1 along them, and a strong effect of the condition."""
    random = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(6, 6, generator=random, dtype=torch.float64))[0]
    condition = torch.randn(n, 2, generator=random, dtype=torch.float64)
    latents = torch.randn(n, 3, generator=random, dtype=torch.float64) * torch.tensor([3.0, 2.0, 1.0])
    w = latents @ axes[:3] + 10 * condition[:, :1] * axes[3] + condition[:, 1:] ** 2 * axes[4]
    # A collinear term, as where all frames are of one class.
    terms = torch.cat([torch.ones(n, 1), condition, condition**2, torch.ones(n, 1)], dim=1)
    return w, terms, axes, latents


def fitted(w, terms, n_components=3):
    moments = Moments(terms.shape[1], w.shape[1])
    for part, rows in zip(w.split(3_000), terms.split(3_000), strict=True):
        moments.add(part, rows)
    return moments.components(n_components)


def test_components_are_found_under_the_conditions():
    w, terms, axes, _ = planted()
    fit = fitted(w, terms)
    torch.testing.assert_close(fit.stddev, torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64), rtol=0.02, atol=0)
    overlap = (fit.components @ axes[:3].T).abs().diagonal()
    assert (overlap > 0.999).all()
    assert 0.8 < fit.condition_share < 0.95
    assert fit.explained.sum().item() > 0.999
    assert (fit.components.gather(1, fit.components.abs().argmax(dim=1, keepdim=True)) > 0).all()


def test_the_sums_give_the_covariance_of_all_latents_at_once():
    """Against a regression and a covariance on the whole table."""
    w, terms, _, _ = planted(5_000)
    fit = fitted(w, terms, 6)
    solution = torch.linalg.lstsq(terms, w, driver="gelsd").solution
    residual = w - terms @ solution
    variance = torch.linalg.eigvalsh(residual.T @ residual / (len(w) - 1)).flip(0)
    torch.testing.assert_close(fit.stddev[:3] ** 2, variance[:3], rtol=1e-8, atol=0)
    torch.testing.assert_close(terms @ fit.coefficients, terms @ solution, rtol=1e-6, atol=1e-6)


def test_components_of_activations_are_carried_over_by_regression():
    """Against the activations themselves: their PCA, and the regression of w on it (GANSpace, equation 4)."""
    w, terms, _, _ = planted(5_000)
    weight = torch.randn(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moments = Moments(terms.shape[1], 6)
    moments.add(w, terms)
    fit = moments.components(3, weight)

    residual = w - terms @ torch.linalg.lstsq(terms, w, driver="gelsd").solution
    activations = residual @ weight.T
    left, deviations, _ = torch.linalg.svd(activations, full_matrices=False)
    coordinates = left[:, :3] * (len(w) - 1) ** 0.5
    steps = torch.linalg.lstsq(coordinates, residual).solution
    signs = (steps * fit.components).sum(dim=1).sign()
    torch.testing.assert_close(fit.stddev[:, None] * fit.components, signs[:, None] * steps, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(fit.coordinates(w, terms), coordinates * signs, rtol=1e-6, atol=1e-6)
    shares = deviations.square() / deviations.square().sum()
    torch.testing.assert_close(fit.explained, shares[:3], rtol=1e-6, atol=0)


def test_what_conditions_explain_whole_has_no_components():
    w, terms, _, _ = planted()
    moments = Moments(terms.shape[1], 8)
    moments.add(torch.cat([w, terms[:, 1:3] @ torch.tensor([[1.0, 2.0], [0.5, -1.0]]).double()], dim=1), terms)
    fit = moments.components(8)
    assert len(fit.components) == 3
    torch.testing.assert_close(fit.components[:, 6:], torch.zeros(3, 2, dtype=torch.float64), rtol=0, atol=1e-6)


def test_coordinates_have_unit_variance_and_follow_the_latents():
    w, terms, _, latents = planted()
    coordinates = fitted(w, terms).coordinates(w, terms)
    torch.testing.assert_close(coordinates.std(dim=0), torch.ones(3, dtype=torch.float64), rtol=0.01, atol=0)
    for column in range(3):
        pair = torch.stack([coordinates[:, column], latents[:, column]])
        assert torch.corrcoef(pair)[0, 1].abs() > 0.999


def test_condition_terms_hold_squares_products_and_classes(tmp_path):
    bundle = make_bundle(tmp_path / "tiny")
    terms = condition_terms(bundle)
    nowcast, forecast = bundle.info.network.encode(bundle.reference["fluxes"].numpy()).astype(np.float64).T
    assert terms.shape == (64, 1 + 2 + 3 + 2 * 5)
    np.testing.assert_allclose(terms[:, 4], nowcast * forecast)
    assert (terms[:, 6:].sum(dim=1) == 2).all()


def test_latents_come_in_batches_that_do_not_depend_on_the_number(tmp_path):
    bundle = make_bundle(tmp_path / "tiny")
    few = list(draw_latents(bundle, 8, seed=3, batch=8))
    many = list(draw_latents(bundle, 20, seed=3, batch=8))
    assert [len(w) for w, _ in many] == [8, 8, 4]
    torch.testing.assert_close(few[0][0], many[0][0])
    rows = torch.tensor([5, 9])
    assert set(next(draw_latents(bundle, 50, 0, rows))[1].tolist()) == {5, 9}


def test_each_class_has_components_of_its_own(tmp_path):
    bundle = make_bundle(tmp_path / "tiny")
    together, apart = fit_components(bundle, seed=0, n=4_000)
    assert list(apart) == ["B", "C", "M", "X"]
    assert together.components.shape == (8, 8)
    assert all(one.condition_share < together.condition_share + 0.5 for one in apart.values())
    eye = apart["M"].components @ apart["M"].components.T
    torch.testing.assert_close(eye, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-8)
