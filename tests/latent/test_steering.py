import pytest
import torch

from sunaug.latent.activity import disk_mask, hot_emission, mean_intensity
from sunaug.latent.ganspace import Components
from sunaug.latent.steering import _in_fine_layers, _turn, fit_directions, pictures
from sunaug.networks import BaseGenerator, Generator
from tests.models import CHANNELS, SIZE, make_bundle, make_critic


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def test_hot_emission_looks_at_the_hot_channels_on_the_disk():
    scaled = torch.full((3, 3, 64, 64), -1.0)
    scaled[1, 0, 30:34, 30:34] = 1  # 171 Å only
    scaled[2, 1:, 30:34, 30:34] = 1  # 131 and 94 Å
    scaled[0, :, :3, :3] = 1  # a corner, far outside the disk
    hot = hot_emission(scaled, CHANNELS, 28)
    assert hot[0] == -1
    assert hot[1] == -1
    assert hot[2] > -0.1


def test_disk_mask_has_the_disks_area():
    assert disk_mask(256, 100).sum().item() == pytest.approx(3.14159 * 100**2, rel=0.005)


def test_flare_direction_heats_without_brightening_the_whole_disk(bundle):
    directions = fit_directions(bundle)
    random = torch.Generator().manual_seed(7)
    z = torch.randn(128, 8, generator=random)
    condition = torch.zeros(128, 2)
    w = bundle.generator.mapping(z, condition)[:, None]
    means = [
        [measure(pictures(bundle, w + step * directions["flare"].float(), 0), CHANNELS, 7.0).mean() for step in (-1, 1)]
        for measure in (hot_emission, mean_intensity)
    ]
    hotter, brighter = (after - before for before, after in means)
    assert hotter > 0
    assert abs(brighter) < hotter
    assert directions["components"].shape[1] == bundle.info.network.w_dim
    assert directions["explained"].sum() == pytest.approx(1, abs=1e-6)


def test_directions_are_stored_with_the_bundle(bundle):
    assert bundle.directions["flare"].shape == (bundle.generator.n_styles, 8)
    assert bundle.info.network.size == SIZE


@pytest.mark.parametrize(("size", "still"), [(16, 0), (32, 1), (64, 3), (256, 7)])
def test_the_flare_direction_leaves_layers_alone_that_are_coarser_than_a_quarter_of_the_image(bundle, size, still):
    generator = Generator(bundle.info.network.model_copy(update={"size": size}))
    moved = _in_fine_layers(generator, torch.ones(8))
    assert moved.shape == (generator.n_styles, 8)
    assert moved[:, 0].tolist() == [0.0] * still + [1.0] * (len(moved) - still)


class Spotted(BaseGenerator):
    """A spot on a disk, brighter with w[1], and with the square of w[0]: an honest axis, and one that only seems so."""

    def __init__(self, generator):
        super().__init__(generator.config)
        self.mapping = generator.mapping
        self.style_resolutions, self.noise_shapes = [4, 8, 8, 16, 16, 16], [(2, 2)]

    def synthesize(self, w, noise=None):
        offset = torch.arange(SIZE) - (SIZE - 1) / 2
        disk = (torch.hypot(offset[:, None], offset) <= 7).float() * 0.55 - 0.95
        spot = torch.zeros(SIZE, SIZE)
        spot[6:9, 6:9] = 1
        w = w[:, -1]
        bright = 0.4 + 0.1 * w[:, 1] + 0.1 * w[:, 0] + 0.12 * w[:, 0] ** 2
        return (disk + bright[:, None, None] * spot)[:, None].expand(-1, 3, -1, -1)


def test_the_direction_is_turned_to_where_every_step_reads_stronger(tmp_path):
    bundle = make_bundle(tmp_path / "tiny")
    bundle.critic = make_critic()
    bundle.generator = Spotted(bundle.generator)
    axes = torch.eye(8, dtype=torch.float64)[:2]
    fit = Components(axes, torch.ones(2, dtype=torch.float64), torch.ones(2) / 2, 0.0, torch.zeros(1, 8), axes)
    spreads = {"hot_emission": 0.2, "nowcast_flux": 0.5, "forecast_flux": 0.5}
    start = torch.tensor([0.9, 0.436], dtype=torch.float64)
    turned = _turn(bundle, fit, start, torch.zeros(2, dtype=torch.float64), spreads, seed=0)
    assert turned.norm().item() == pytest.approx(1)
    assert turned[1] > 0.9
