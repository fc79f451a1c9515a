import pytest
import torch

from sunaug.errors import SunaugError
from sunaug.training.checkpoint import checkpoint_paths, load_checkpoint, save_checkpoint


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back(tmp_path):
    state = {"weights": {"a": torch.randn(3)}, "images": 8, "best": {"frechet": 1.5}, "path": 0.1}
    save_checkpoint(tmp_path, 8, state, 2)
    found = load_checkpoint(tmp_path)
    assert torch.equal(found["weights"]["a"], state["weights"]["a"])
    assert {**found, "weights": None} == {**state, "weights": None}


def test_no_checkpoint_is_none(tmp_path):
    assert load_checkpoint(tmp_path) is None
    assert load_checkpoint(tmp_path / "nowhere") is None


@pytest.mark.parametrize("kept", [1, 3])
def test_the_last_ones_are_kept_by_number(tmp_path, kept):
    # By number, not by text: the digits of a long run outgrow the padding.
    everything = [999_999_992, 1_000_000_000, 1_000_000_008, 1_000_000_016]
    for images in everything:
        save_checkpoint(tmp_path, images, {"images": images}, kept)
    assert names(tmp_path) == sorted(f"checkpoint-{images:09d}.pt" for images in everything[-kept:])
    assert load_checkpoint(tmp_path) == {"images": 1_000_000_016}
    assert checkpoint_paths(tmp_path)[-1].name == "checkpoint-1000000016.pt"


def test_a_checkpoint_that_was_not_finished_leaves_the_old_ones(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 8, {"images": 8}, 1)

    def half(state, file):
        file.write(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, 16, {"images": 16}, 1)
    monkeypatch.undo()
    assert [path.name for path in checkpoint_paths(tmp_path)] == ["checkpoint-000000008.pt"]
    assert load_checkpoint(tmp_path) == {"images": 8}
    save_checkpoint(tmp_path, 16, {"images": 16}, 1)
    assert names(tmp_path) == ["checkpoint-000000016.pt"]


def test_it_is_on_the_disk_before_it_has_its_name_and_old_ones_go_last(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 8, {"images": 8}, 1)
    seen = []
    monkeypatch.setattr("os.fsync", lambda descriptor: seen.append(names(tmp_path)))
    save_checkpoint(tmp_path, 16, {"images": 16}, 1)
    assert seen[0] == ["checkpoint-000000008.pt", "checkpoint-000000016.partial"]


def test_a_damaged_checkpoint_is_one_sentence(tmp_path):
    save_checkpoint(tmp_path, 8, {"images": 8}, 2)
    path = save_checkpoint(tmp_path, 16, {"a": torch.randn(1000)}, 2)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(SunaugError, match=r"checkpoint-000000016\.pt: a damaged checkpoint, or none; remove it") as e:
        load_checkpoint(tmp_path)
    assert "\n" not in str(e.value)
    path.unlink()
    assert load_checkpoint(tmp_path) == {"images": 8}


class Harmful:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_checkpoint_runs_no_code(tmp_path):
    save_checkpoint(tmp_path, 8, {"images": Harmful(tmp_path / "written")}, 1)
    with pytest.raises(SunaugError, match="damaged checkpoint"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "written").exists()
