import csv
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.models import make_cube

EXAMPLES = Path(__file__).parents[2] / "examples"
BUNDLE = "sdo2012-64"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real frames at the size of the smaller bundled model."""
    return make_cube(tmp_path_factory.mktemp("real") / "real.zarr", months=(3, 8), frames=24, size=64)


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, *arguments: object) -> int:
    return example(name).main(list(map(str, arguments)))


def seen(out: Path) -> list[dict[str, str]]:
    with (out / "seen.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_plain_pytorch_on_the_bundled_model(cube: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of = ("--cube", cube, "--bundle", BUNDLE, "--synthetic", 40, "--allow-ungated", "--out", tmp_path)
    assert run("plain_pytorch", *of, "--batch-size", 8, "--epochs", 2, "--ratio", 0, 0.5, "--steps", 3) == 0
    first, second = seen(tmp_path)
    assert (first["samples"], first["synthetic_positive"]) == ("24", "0")
    assert second["samples"] == "24"
    assert int(second["synthetic_positive"]) > 0
    assert first["ungated_allowed"] == "True"
    assert capsys.readouterr().out.count("loss") == 2


def test_lightning_on_the_bundled_model(cube: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if importlib.util.find_spec("lightning") is None:
        pytest.skip("needs the extra lightning")
    of = ("--cube", cube, "--synthetic", BUNDLE, "--allow-ungated", "--out", tmp_path)
    assert run("lightning_training", *of, "--batch-size", 8, "--ratio", 0.5, "--steps", 3) == 0
    (epoch,) = seen(tmp_path)
    assert epoch["samples"] == "24"
    assert int(epoch["synthetic_positive"]) > 0
    assert "validation loss" in capsys.readouterr().out


def test_what_is_refused_is_one_sentence_and_an_exit_code(
    cube: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plain_pytorch", "--cube", cube, "--bundle", "nowhere", "--out", tmp_path) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("plain_pytorch: nowhere: no such synthetic cube")
    assert complaint.count("\n") == 1
