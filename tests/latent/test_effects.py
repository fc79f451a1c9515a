import json

import numpy as np
import pytest
import torch
from PIL import Image

from sunaug.bundle import load_bundle, write_directions
from sunaug.latent.atlas import write_atlas
from sunaug.latent.effects import layer_ranges, measure_effects, shifted
from tests.models import make_bundle


class Lamp(torch.nn.Module):
    """A generator whose images are as bright as the first entry of w says, and nothing else."""

    n_styles, noise_size = 6, 4

    def synthesize(self, w, noise=None):
        w = w[:, None].expand(-1, 6, -1) if w.dim() == 2 else w
        offset = torch.arange(16) - 7.5
        disk = (torch.hypot(offset[:, None], offset) <= 7).float() * 0.5 - 0.75
        return disk + 0.1 * w[:, 1, 0][:, None, None, None] * torch.ones(1, 3, 16, 16)


@pytest.fixture
def lamp(tmp_path):
    bundle = make_bundle(tmp_path / "tiny")
    components = torch.eye(8)[:2]
    bundle.directions |= {"components": components, "stddev": torch.tensor([1.0, 0.5]), "flare": components[0] * 2}
    mapping = bundle.generator.mapping
    bundle.generator = Lamp()
    bundle.generator.mapping = mapping
    return bundle


def test_layers_are_split_in_three():
    assert layer_ranges(11) == {"all": (0, 10), "coarse": (0, 3), "middle": (4, 7), "fine": (8, 10)}


def test_only_the_layers_asked_for_are_shifted():
    styles = shifted(torch.zeros(2, 3), torch.ones(3), (1, 2), 4)
    assert styles[:, :, 0].tolist() == [[0, 1, 1, 0]] * 2


def test_what_a_component_changes_is_measured(lamp):
    effects = measure_effects(lamp, components=2, latents=8)
    assert effects.directions == ["component=0", "component=1", "flare"]
    total = effects.measures.index("total aia171")
    # 0.1 scaled units are 0.05 of the range of display counts.
    first = effects.change[0, :, total]
    np.testing.assert_allclose(first, [0.05, 0.05, 0, 0], atol=2e-3)
    np.testing.assert_allclose(effects.change[1, :, total], 0, atol=1e-9)
    assert effects.change[2, 0, total] == pytest.approx(0.1, abs=0.02)
    assert effects.agreement[0, 0, total] == 1
    assert effects.units[total] == "counts / 255"
    name, relative = effects.strongest("component=0")[0]
    assert abs(relative) > 0.1
    assert name in effects.measures


def test_the_atlas_is_a_page_with_pictures_and_numbers(tmp_path):
    bundle = make_bundle(tmp_path / "tiny")
    effects = measure_effects(bundle, components=2, latents=4)
    page = write_atlas(bundle, effects, tmp_path / "atlas").read_text()
    assert "| component=1 |" in page
    assert "SYNTHETIC" not in page or "![" in page
    for name in ("component-0", "component-1", "flare"):
        assert f"]({name}.png)" in page
        assert Image.open(tmp_path / "atlas" / f"{name}.png").width > 100
    stored = json.loads((tmp_path / "atlas" / "effects.json").read_text())
    assert stored["directions"] == ["component=0", "component=1", "flare"]
    np.testing.assert_allclose(np.array(stored["change_per_stddev"], float), effects.change, equal_nan=True)


@pytest.mark.slow
def test_a_critic_has_its_say_in_the_flare_direction(tmp_path):
    from sunaug.bundle import write_critic
    from sunaug.generation import fit_steering
    from tests.models import make_critic

    path = make_bundle(tmp_path / "tiny").path
    write_critic(path, make_critic())
    directions = fit_steering(load_bundle(path), pictures=16)
    assert {"flare_correlation.nowcast_flux", "flare_correlation.forecast_flux"} <= directions.keys()
    assert torch.isfinite(directions["flare_kept_curve"]).all()
    write_directions(path, directions)
    assert "components.M" in load_bundle(path).directions
