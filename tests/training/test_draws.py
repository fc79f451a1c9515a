import numpy as np
import pytest
import torch

from sunaug.cube import open_cube
from sunaug.errors import SunaugError
from sunaug.flares import class_letters
from sunaug.scaling import default_scaling
from sunaug.training.draws import draw_step
from sunaug.training.frames import load_frames
from tests.models import CHANNELS, make_cube

LABELS = ("nowcast_flux", "forecast_flux")


def draw(seed=0, attempt=0, step=0, batch=8, weights=None):
    weights = torch.full((20,), 0.05, dtype=torch.float64) if weights is None else weights
    return draw_step(
        seed,
        attempt,
        step,
        batch=batch,
        weights=weights,
        z_dim=5,
        condition_width=2,
        n_styles=6,
        n_augment=4,
        n_channels=3,
    )


def load(cube, class_balance=0.0, labels=LABELS):
    return load_frames(cube, default_scaling(CHANNELS, "browse"), labels, class_balance)


def numbers_of(draws):
    return {name: value for name, value in vars(draws).items() if name != "key"}


def same(first, second):
    return {
        name
        for name, value in numbers_of(first).items()
        if (value == vars(second)[name] if isinstance(value, list) else torch.equal(value, vars(second)[name]))
    }


def test_numbers_are_a_function_of_seed_attempt_and_step():
    torch.manual_seed(0)
    first = draw(1, 2, 3)
    torch.manual_seed(9)
    assert same(first, draw(1, 2, 3)) == set(numbers_of(first))
    for other in (draw(0, 2, 3), draw(1, 1, 3), draw(1, 2, 4), draw(2, 1, 3)):
        assert not same(first, other)


def test_real_and_fake_have_uniform_numbers_of_their_own():
    numbers = draw()
    assert numbers.augment_real.shape == numbers.augment_fake.shape == (8, 4)
    assert not (numbers.augment_real == numbers.augment_fake).any()


def test_a_part_has_the_numbers_of_its_samples_in_the_whole_batch():
    whole = draw()
    part = whole.part(slice(2, 5))
    assert part.key == whole.key
    for name, value in numbers_of(part).items():
        expected = vars(whole)[name][2:5]
        assert value == expected if isinstance(value, list) else torch.equal(value, expected)
    noise = whole.normal(30, torch.device("cpu"))
    assert torch.equal(part.normal(30, torch.device("cpu")), noise[2:5])
    assert torch.equal(whole.part(slice(None, None, 2)).normal(30, torch.device("cpu")), noise[::2])


def test_noise_is_standard_normal_and_another_stream_gives_other_noise():
    numbers = draw(batch=16)
    first, second = (numbers.normal(4096, torch.device("cpu"), stream) for stream in (0, 1))
    assert first.mean().abs() < 0.02
    assert first.std() == pytest.approx(1, abs=0.02)
    assert torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].abs() < 0.02
    assert torch.corrcoef(first)[0, 1:].abs().max() < 0.08


def test_a_crossover_leaves_at_least_one_layer_to_each_latent():
    assert draw(batch=400).crossover.unique().tolist() == [1, 2, 3, 4, 5]


def test_frames_are_drawn_as_often_as_their_weights_say():
    weights = torch.tensor([0.6, 0.3, 0.1, 0.0], dtype=torch.float64)
    frames = torch.cat([draw(step=step, batch=500, weights=weights).frames for step in range(40)])
    shares = torch.bincount(frames, minlength=4) / len(frames)
    # 20,000 draws: four standard errors are 0.014 at most.
    np.testing.assert_allclose(shares, weights, atol=0.014)
    assert shares[3] == 0


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return open_cube(make_cube(tmp_path_factory.mktemp("cube") / "c.zarr"))


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_classes_are_balanced_by_the_exponent(cube, exponent):
    """A class of n frames is drawn in proportion to n^(1 - exponent): as it is, by the root, or all alike."""
    frames = load(cube, exponent)
    letters, member, counts = np.unique(class_letters(frames.fluxes[:, 1]), return_inverse=True, return_counts=True)
    assert len(letters) >= 3
    assert len(set(counts)) > 1
    shares = np.bincount(member, frames.weights.numpy())
    expected = counts ** (1 - exponent)
    np.testing.assert_allclose(shares, expected / expected.sum())
    drawn = torch.cat([draw(step=step, batch=500, weights=frames.weights).frames for step in range(20)])
    np.testing.assert_allclose(np.bincount(member[drawn]) / len(drawn), expected / expected.sum(), atol=0.02)


def test_frames_whose_label_is_unknown_are_left_out(cube):
    forecast = cube["forecast_flux"].values.copy()
    forecast[[0, 5]] = np.nan
    holed = cube.assign(forecast_flux=("time", forecast))
    assert len(load(cube).images) == 24
    frames = load(holed)
    assert len(frames.images) == len(frames.fluxes) == 22
    assert np.isfinite(frames.fluxes).all()
    assert len(load(holed, labels=("nowcast_flux",)).images) == 24
    with pytest.raises(SunaugError, match="no train frame has a known nowcast_flux and forecast_flux"):
        load(cube.assign(forecast_flux=("time", np.full(len(forecast), np.nan))))


def test_without_conditions_every_frame_is_used(cube):
    frames = load(cube.assign(forecast_flux=("time", np.full(cube.sizes["time"], np.nan))), 0.5, labels=())
    assert frames.fluxes.shape == (24, 0)
    assert len(frames.weights) == 24
