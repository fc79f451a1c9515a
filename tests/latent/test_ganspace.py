import torch

from sunaug.latent.ganspace import condition_terms, fit_components, principal_coordinates


def planted(n=20_000):
    """W with known axes: standard deviations 3, 2 and 1 along them, and a strong effect of the condition."""
    random = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(6, 6, generator=random, dtype=torch.float64))[0]
    condition = torch.randn(n, 2, generator=random)
    latents = torch.randn(n, 3, generator=random, dtype=torch.float64) * torch.tensor([3.0, 2.0, 1.0])
    w = latents @ axes[:3] + 10 * condition[:, :1].double() * axes[3] + condition[:, 1:].double() ** 2 * axes[4]
    return w, condition, axes, latents


def test_components_are_found_under_the_conditions():
    w, condition, axes, _ = planted()
    fit = fit_components(w, condition, 3)
    torch.testing.assert_close(fit.stddev, torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64), rtol=0.02, atol=0)
    overlap = (fit.components @ axes[:3].T).abs().diagonal()
    assert (overlap > 0.999).all()
    assert 0.8 < fit.condition_share < 0.95


def test_coordinates_have_unit_variance_and_follow_the_latents():
    w, condition, _, latents = planted()
    coordinates = principal_coordinates(w, condition, fit_components(w, condition, 3))
    torch.testing.assert_close(coordinates.std(dim=0), torch.ones(3, dtype=torch.float64), rtol=0.01, atol=0)
    for column in range(3):
        pair = torch.stack([coordinates[:, column], latents[:, column]])
        assert torch.corrcoef(pair)[0, 1].abs() > 0.999


def test_condition_terms_hold_all_squares():
    terms = condition_terms(torch.tensor([[2.0, 3.0]]))
    assert terms.tolist() == [[1, 2, 3, 4, 6, 9]]
