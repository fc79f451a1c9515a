import re

import numpy as np
import pytest
import torch
import yaml
from lightning_fabric import Fabric
from torch.autograd.graph import saved_tensors_hooks

from sunaug.errors import SunaugError, UsageError
from sunaug.networks.projected import ProjectedDiscriminator
from sunaug.training.estimate import StepCounter, estimate, layer_table, measure_rate
from sunaug.training.frames import TrainingFrames
from sunaug.training.recipe import Recipe, load_recipe
from sunaug.training.shape import network_config
from sunaug.training.trainer import Trainer
from tests.cli.commands import sunaug
from tests.models import RECIPE, make_cube

SHAPE = {"base_width": 512, "max_width": 32, "z_dim": 16, "w_dim": 16, "mapping_layers": 2, "batch": 8}


PLAIN = {"r1_gamma": 0, "r1_gamma_end": 0}


def recipe(**changes):
    return Recipe(**{**SHAPE, **changes})


def estimated(size=32, **changes):
    return estimate(network_config(recipe(**changes), size, 3), recipe(**changes), n_frames=10)


def trainer(size, **changes):
    chosen = recipe(**changes)
    frames = TrainingFrames(
        torch.zeros(1, 3, size, size), np.full((1, len(chosen.labels)), 1e-6), torch.ones(1, dtype=torch.float64), []
    )
    return Trainer(frames, network_config(chosen, size, 3), chosen, Fabric(accelerator="cpu"))


class SavedForBackward:
    """Peak of what autograd keeps, counted from what it says that it saves: another way than the counter's."""

    def __init__(self, held):
        self.held = {one.untyped_storage().data_ptr() for one in held}
        self.users, self.alive, self.peak = {}, 0, 0

    def pack(self, tensor):
        return _Saved(self, tensor)

    def step(self, trained):
        with saved_tensors_hooks(self.pack, lambda saved: saved.tensor):
            trained.step()
        return self.peak


class _Saved:
    def __init__(self, count, tensor):
        self.count, self.tensor = count, tensor
        storage = tensor.untyped_storage()
        self.key = storage.data_ptr()
        self.size = 0 if self.key in count.held else storage.nbytes()
        count.users[self.key] = count.users.get(self.key, 0) + 1
        if count.users[self.key] == 1:
            count.alive += self.size
            count.peak = max(count.peak, count.alive)

    def __del__(self):
        self.count.users[self.key] -= 1
        if not self.count.users[self.key]:
            self.count.alive -= self.size


def test_operations_scale_with_pixels_and_widths():
    small, double = (
        estimated(size=32, **PLAIN),
        estimated(size=32, batch=16, **PLAIN),
    )
    assert double.flops == pytest.approx(small.flops, rel=0.01)
    # A resolution more, of half the width, adds about what the one below it takes: four times the pixels.
    larger = estimated(size=64, **PLAIN)
    assert 1.15 < larger.flops / small.flops < 1.6
    wide = estimated(size=32, base_width=1024, max_width=64, **PLAIN)
    assert 3 < wide.flops / small.flops < 4.05


def test_lazy_penalties_are_averaged_over_their_cycle():
    none = estimated(**PLAIN).flops
    each, fourth = estimated(penalty_interval=1).flops, estimated(penalty_interval=4).flops
    assert fourth - none == pytest.approx((each - none) / 4, rel=1e-6)
    assert estimated(path_length_weight=2.0, path_length_interval=2).flops > fourth


@pytest.mark.slow
def test_recomputing_takes_time_and_parts_take_it_too_but_both_save_memory():
    plain = estimated(size=64, batch=32)
    recomputed = estimated(size=64, batch=32, checkpoint_from=16)
    assert recomputed.activations < 0.75 * plain.activations
    assert recomputed.flops > 1.1 * plain.flops
    parts = estimated(size=64, batch=32, accumulate=4)
    assert parts.activations < 0.4 * plain.activations
    # The fakes of each part are made a second time.
    assert parts.flops > 1.05 * plain.flops
    assert parts.total - parts.activations == plain.total - plain.activations


def test_a_convolution_copies_what_is_not_channels_last():
    """As the count of a process's pages shows it: the kernel in blocks, and images that lie otherwise, for its time."""
    last = torch.zeros(2, 8, 32, 32).contiguous(memory_format=torch.channels_last)
    first, kernel = torch.zeros(2, 8, 32, 32), torch.zeros(4, 8, 3, 3).contiguous(memory_format=torch.channels_last)
    peaks = []
    for image in (last, first):
        with StepCounter() as counter:
            torch.nn.functional.conv2d(image, kernel, padding=1)
        peaks.append(counter.peak)
    made, kernel_bytes = 4 * 2 * 4 * 32 * 32, 4 * 4 * 8 * 9
    assert peaks == [made + kernel_bytes, made + kernel_bytes + 4 * 2 * 8 * 32 * 32]


def test_processes_share_a_batch():
    chosen = recipe(batch=16)
    config = network_config(chosen, 32, 3)
    one, two = estimate(config, chosen), estimate(config, chosen, devices=2)
    assert two.activations < 0.6 * one.activations
    assert two.flops == pytest.approx(one.flops, rel=0.01)
    with pytest.raises(UsageError, match="16 images cannot be split over 3 processes"):
        estimate(config, chosen, devices=3)


def test_half_precision_takes_less():
    assert estimated(size=64, precision="bf16-mixed").activations < 0.85 * estimated(size=64).activations


def test_parameters_and_weights_are_those_of_the_networks():
    real = trainer(32, discriminator="both")
    found = estimated(discriminator="both")
    networks = {"generator": real.generator}
    networks |= {f"{name} discriminator": critic.network for name, critic in real.critics.items()}
    trained = 0
    for name, network in networks.items():
        assert found.layers[name] == layer_table(network)
        count = sum(one.numel() for one in network.parameters())
        trained += count
        if isinstance(network, ProjectedDiscriminator):
            assert sum(row.parameters for row in found.layers[name] if row.width) == count
            assert found.layers[name][0].parameters > 3_000_000
        else:
            assert sum(row.parameters for row in found.layers[name]) == count
    assert found.gradients == 4 * trained
    assert found.moments == 8 * trained
    assert found.weights > 4 * (trained + found.layers["projected discriminator"][0].parameters)
    assert found.averages >= 3 * 4 * sum(one.numel() for one in real.generator.parameters())
    assert found.frames == 10 * 3 * 32 * 32 * 4


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"r2": True, "penalty_interval": 1},
        {"checkpoint_from": 32},
        {"discriminator": "both", "path_length_weight": 2.0},
        {"architecture": "biggan", "attention_resolution": 16, "orthogonal_weight": 1e-4},
    ],
)
def test_activations_are_those_of_a_real_step(changes):
    found = estimated(size=64, batch=16, **changes)
    real = trainer(64, batch=16, **changes)
    networks = [real.generator, *(critic.network for critic in real.critics.values())]
    real.step()
    real.steps = 0
    for network in networks:
        network.zero_grad(set_to_none=True)
    with StepCounter() as counter:
        real.step()
    assert found.activations + found.gradients == pytest.approx(counter.peak, rel=0.02)

    real.steps = 0
    parameters = [one for network in networks for one in network.parameters()]
    saved = SavedForBackward(parameters).step(real)
    # What lives for a moment only (a block computed again, a convolution's copies) is estimated, and is not saved.
    assert found.activations == pytest.approx(saved, rel=0.3)


def test_a_4096_pixel_training_is_estimated_without_its_memory():
    config = network_config(recipe(checkpoint_from=512), 4096, 1)
    found = estimate(config, recipe(checkpoint_from=512, **PLAIN))
    assert found.activations > 1e9
    assert [row.name for row in found.layers["generator"]][-1] == "4096x4096"


@pytest.mark.slow
def test_the_preset_for_4096_pixels_fits_an_80_gb_card():
    chosen = load_recipe("gpu-4096")
    assert estimate(network_config(chosen, 4096, 1), chosen).total < 70e9


def test_the_rate_comes_from_the_training_or_a_smaller_one(monkeypatch):
    config, fabric = network_config(recipe(), 32, 3), Fabric(accelerator="cpu")
    flops = estimated(size=32).flops
    monkeypatch.setattr("sunaug.training.estimate.MEASURE_SECONDS", 600.0)
    rate = measure_rate(config, recipe(), fabric, flops)
    assert (rate.batch, rate.size) == (8, 32)
    assert 1e7 < rate.flops_per_second < 1e13
    monkeypatch.setattr("sunaug.training.estimate.MEASURE_SECONDS", 0.0)
    rate = measure_rate(config, recipe(), fabric, flops)
    assert (rate.batch, rate.size) == (4, 8)


def test_frames_are_counted_as_they_are_loaded(tmp_path):
    from sunaug.cube import open_cube
    from sunaug.scaling import default_scaling
    from sunaug.training.frames import known_frames, load_frames

    cube = open_cube(make_cube(tmp_path / "c.zarr"))
    cube["nowcast_flux"][3] = np.nan
    labels = ("nowcast_flux", "forecast_flux")
    scaling = default_scaling([str(name) for name in cube["channel"].values], "browse")
    assert known_frames(cube, labels).sizes["time"] == len(load_frames(cube, scaling, labels, 0.5).images) == 23
    cube["nowcast_flux"][:] = np.nan
    with pytest.raises(SunaugError, match="no train frame has a known nowcast_flux"):
        known_frames(cube, labels)


@pytest.mark.slow
def test_a_dry_run_prints_and_writes_nothing(tmp_path):
    cube = make_cube(tmp_path / "c.zarr")
    chosen = tmp_path / "recipe.yaml"
    chosen.write_text(yaml.safe_dump({**RECIPE, "images": 1000}))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    common = ("train", "--cube", cube, "--recipe", chosen, "--accelerator", "cpu")
    common += ("--out", tmp_path / "run", "--dry-run")
    done = sunaug(*common)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    for part in ("Estimates for 3 channels of 16x16 pixels", "pixel discriminator", "24 frames", "of 8 images"):
        assert part in done.stdout
    assert re.search(r"GFLOP per image\n  \S+ images per second: .*measured just now on CPU", done.stdout)
    assert "hours for 1,000 images" in done.stdout
    refused = sunaug(*common, "--devices", "3")
    assert refused.returncode == 2
    assert "8 images cannot be split over 3 processes" in refused.stderr
