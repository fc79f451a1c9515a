import csv
import sys

import pytest
import torch
from PIL import Image

from sunaug.errors import SunaugError
from sunaug.networks import Generator, StyleGAN2Config
from sunaug.scaling import default_scaling
from sunaug.training.journal import Journal, Table
from tests.models import CHANNELS


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def journal(out, images=0, tensorboard=False):
    return Journal(out, ["images", "loss_g", "r1"], ["images", "frechet"], images, tensorboard=tensorboard)


def test_columns_stay_in_their_order_and_what_is_not_given_is_empty(tmp_path):
    table = Table(tmp_path / "log.csv", ["images", "loss_g", "r1"], 0)
    table.write({"images": 8, "r1": 0.25, "loss_g": 1 / 3})
    table.write({"images": 16, "loss_g": 2.0})
    assert (tmp_path / "log.csv").read_text().split() == ["images,loss_g,r1", "8,0.333333,0.25", "16,2,"]


def test_on_resuming_rows_after_the_checkpoint_are_dropped(tmp_path):
    table = Table(tmp_path / "log.csv", ["images", "loss_g"], 0)
    for images in (8, 16, 24):
        table.write({"images": images, "loss_g": 1.0})
    resumed = Table(tmp_path / "log.csv", ["images", "loss_g"], 16)
    assert [row["images"] for row in rows(tmp_path / "log.csv")] == ["8", "16"]
    resumed.write({"images": 24, "loss_g": 2.0})
    resumed.rewind(8)
    assert [row["images"] for row in rows(tmp_path / "log.csv")] == ["8"]


def test_a_run_from_the_start_begins_an_empty_table(tmp_path):
    Table(tmp_path / "log.csv", ["images"], 0).write({"images": 8})
    Table(tmp_path / "log.csv", ["images"], 0)
    assert rows(tmp_path / "log.csv") == []


def test_both_tables_are_rewound_together(tmp_path):
    one = journal(tmp_path)
    for images in (8, 16):
        one.figures("training", {"images": images, "loss_g": 1.0})
        one.figures("evaluation", {"images": images, "frechet": 1.0})
    one.rewind(8)
    for name in ("log.csv", "evaluations.csv"):
        assert [row["images"] for row in rows(tmp_path / name)] == ["8"]


def test_events_are_added_and_stay_when_a_run_is_resumed(tmp_path):
    journal(tmp_path).event("collapsed")
    journal(tmp_path, images=8).event("and again")
    assert (tmp_path / "events.txt").read_text() == "collapsed\nand again\n"


@pytest.mark.parametrize("conditions", [("forecast_flux",), ()])
def test_a_sheet_shows_the_same_latents_at_every_call(tmp_path, conditions):
    torch.manual_seed(0)
    config = StyleGAN2Config(
        size=16, image_channels=3, conditions=conditions, base_width=64, max_width=16, z_dim=8, w_dim=8
    )
    generator, scaling = Generator(config), default_scaling(CHANNELS, "browse")
    one = journal(tmp_path)
    first = one.samples(8, generator, CHANNELS, scaling, "browse")
    second = one.samples(16, generator, CHANNELS, scaling, "browse")
    assert [first.name, second.name] == ["samples-000000008.png", "samples-000000016.png"]
    with Image.open(first) as sheet, Image.open(second) as again:
        assert sheet.tobytes() == again.tobytes()
        assert len(set(sheet.getdata())) > 10
        height = sheet.height
    assert not conditions or height > 4 * 16


def test_tensorboard_files_hold_the_figures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    one = journal(tmp_path, tensorboard=True)
    one.figures("training", {"images": 8, "loss_g": 0.5})
    one.figures("training", {"images": 16, "loss_g": 0.25})
    one.figures("evaluation", {"images": 16, "frechet": 3.0})
    one.close()
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in board.Scalars("training/loss_g")] == [(8, 0.5), (16, 0.25)]
    assert [(event.step, event.value) for event in board.Scalars("evaluation/frechet")] == [(16, 3.0)]


def test_tensorboard_that_is_not_installed_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SunaugError, match=r"not installed; run pip install 'sunaug\[tensorboard\]'"):
        journal(tmp_path, tensorboard=True)
