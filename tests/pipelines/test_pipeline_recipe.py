"""Recipes that make no sense are refused in one sentence, before anything begins."""

import numpy as np
import pytest
import yaml

from pipelines.recipe import example_text, load_pipeline
from pipelines.sections import duration
from sunaug.errors import UsageError
from tests.cli.commands import refused
from tests.pipelines.nights import write_pipeline


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"surprise": 1}, "surprise: unknown name"),
        ({"name": "a/b"}, "name: 'a/b' does not match"),
        ({"cube": None}, "cube: ingest needs one"),
        ({"gate": None}, "publish: needs a section gate"),
        ({"generate": None}, "gate: needs a section generate"),
        ({"train": None}, "generate: needs a bundle, or a section train that makes one"),
        ({"ingest": {"folder": "i", "settle": "soon"}}, "ingest: settle: 'soon' is no duration"),
        ({"ingest": {"folder": "i", "options": {"colour": 1}}}, "ingest: options: unknown option 'colour'"),
        ({"ingest": {"folder": "i", "options": {"size": 0}}}, "ingest: options: "),
        ({"generate": {"request": {"n": 0}}}, "generate: request: n 0: ask for at least one sample"),
        (
            {"generate": {"request": {"n": 1, "klass": "X"}}},
            "generate: request: klass: unknown name, it is none of n, rare",
        ),
        ({"generate": {"request": {"n": "many"}}}, "generate: request: n: 'many' is not a whole number."),
        ({"generate": {"request": {"seed": 1}}}, "generate: request: n: is missing"),
        ({"generate": {"request": {"n": 1, "steer": "flare:1"}}}, "generate: request: steer: flare: 'flare:1' is not"),
        ({"generate": {"request": {"n": 1, "rare": False, "min_class": "X1"}}}, "min_class goes with rare: true"),
        ({"generate": {"request": {"n": 1, "rare": False, "critic": False}}}, "critic: has no effect without rare"),
        ({"generate": 3}, "generate: 3 is not a group of names and values"),
        ({"workers": "many"}, "workers: 'many' is not a whole number"),
        ({"cube": "s3://bucket/c.zarr"}, "cube: s3://bucket/c.zarr is a URL, and a pipeline keeps its files on a disk"),
        ({"ingest": {"folder": "i", "options": {"size": "big"}}}, "ingest: options: size: 'big' is not a whole number"),
        ({"ingest": {"folder": "i", "options": {"tolerance": "5"}}}, "tolerance: '5' is text and not a number"),
        ({"ingest": {"folder": "i", "options": {"undo_stretch": "yes"}}}, "'yes' is neither true nor false"),
        ({"ingest": {"folder": "i", "options": {"channels": 171}}}, "ingest: options: channels: 171 is not a list"),
        ({"ingest": {"folder": "s3://bucket/in"}}, "ingest: folder: s3://bucket/in is a URL"),
        ({"publish": {"folder": "https://host/out"}}, "publish: folder: https://host/out is a URL"),
        ({"scheduler": "threads"}, "scheduler: 'threads' is what ingest does by itself"),
        ({"scheduler": "somewhere"}, "scheduler: unknown scheduler 'somewhere'"),
        ({"notify": [{"url": "file:///etc/passwd"}]}, "notify: 0: url: an address that begins with http"),
        ({"notify": [{}]}, "notify: 0: give either url or url_env"),
        ({"train": {"new_frames": 1, "recipe": "nowhere"}}, "nowhere: no such recipe"),
        ({"gate": {"policy": "strictest"}}, "strictest: no such policy"),
        ({"fetch": {"flares": "swpc"}, "labels": None}, "fetch: a flare list needs a section labels"),
    ],
)
def test_what_no_recipe_can_say(tmp_path, capsys, changed, said):
    code, sentence = refused(capsys, "run", write_pipeline(tmp_path, **changed))
    assert code == 2
    assert said in sentence
    assert len(sentence.splitlines()) == 1
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(("text", "said"), [("- a\n", "not a recipe"), ("{", "not a recipe in YAML")])
def test_what_is_no_recipe_at_all(tmp_path, text, said):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UsageError, match=said):
        load_pipeline(tmp_path / "r.yaml")
    with pytest.raises(UsageError, match=r"nothing\.yaml: no such recipe; `sunaug run --example` prints one"):
        load_pipeline(tmp_path / "nothing.yaml")


def test_paths_are_those_beside_the_recipe(tmp_path, monkeypatch):
    path = write_pipeline(tmp_path)
    monkeypatch.chdir("/")
    recipe = load_pipeline(path)
    assert recipe.work == tmp_path / "work"
    assert recipe.ingest.folder == tmp_path / "incoming"
    assert recipe.train.training(None).images == 32
    assert recipe.train.training("b").start == "b"
    assert recipe.gate.asked().name == "passes"
    assert recipe.generate.asked().rare


def test_the_home_folder_and_file_urls_are_known(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    folders = {"work": "~/work", "cube": "~/sun.zarr", "publish": {"folder": f"file://{home}/a%20b"}}
    path = write_pipeline(tmp_path, **folders, ingest={"folder": "~/in"}, labels={"flares": "~/f.csv"})
    recipe = load_pipeline(path)
    assert (recipe.work, recipe.cube, recipe.ingest.folder) == (home / "work", home / "sun.zarr", home / "in")
    assert (recipe.publish.folder, recipe.labels.flares) == (home / "a b", home / "f.csv")
    (tmp_path / "tiny.yaml").rename(home / "tiny.yaml")
    (tmp_path / "passes.yaml").rename(home / "passes.yaml")
    named = {"train": {"new_frames": 1, "recipe": "~/tiny.yaml"}, "gate": {"policy": "~/passes.yaml"}}
    recipe = load_pipeline(write_pipeline(tmp_path, **named))
    assert recipe.train.recipe == str(home / "tiny.yaml")
    assert recipe.gate.policy == str(home / "passes.yaml")


def test_the_example_is_a_recipe(tmp_path):
    (tmp_path / "nightly.yaml").write_text(example_text())
    recipe = load_pipeline(tmp_path / "nightly.yaml")
    assert recipe.steps == ("fetch", "ingest", "labels", "train", "generate", "gate", "publish")
    assert yaml.safe_load(example_text())["name"] == recipe.name


def test_durations():
    found = [duration(text) for text in (90, "60s", "15min", "2h", "0")]
    np.testing.assert_array_equal(found, [90, 60, 900, 7200, 0])
    with pytest.raises(ValueError, match="-1s' is no duration"):
        duration("-1s")
