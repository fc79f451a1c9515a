import sqlite3
from dataclasses import replace

import pytest

from sunaug.errors import SunaugError
from sunaug.judging import Answers, read_answers, trials_of
from tests.judging.experiments import make_cubes, make_experiment, make_samples


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    return make_cubes(tmp_path_factory.mktemp("cubes"))


@pytest.fixture
def experiment(cubes, tmp_path):
    return make_experiment(cubes, tmp_path / "a.sqlite", n=4)


def test_one_answer_to_each_trial_in_turn(experiment):
    answers, _, choice = experiment
    answers.begin("Ada", trials_of(choice, "Ada", 0))
    assert answers.name("ADA") == "Ada"
    assert not answers.answer("Ada", 2, "real")
    assert answers.answer("Ada", 1, "real", 1234)
    assert not answers.answer("Ada", 1, "synthetic")
    assert answers.answer("ada", 2, "real")
    assert not answers.answer("Grace", 1, "real")
    stored, given = read_answers(answers.path)
    assert stored == answers.experiment
    assert [one.trial for one in given] == trials_of(choice, "Ada", 0)
    assert [one.answer for one in given] == ["real", "real", None, None]
    assert [one.correct for one in given[:2]] == [one.trial.truth == "real" for one in given[:2]]
    assert [one.milliseconds for one in given] == [1234, None, None, None]
    assert given[0].answered.endswith("Z")


def test_begun_twice_changes_nothing(experiment):
    answers, _, choice = experiment
    answers.begin("Ada", trials_of(choice, "Ada", 0))
    answers.answer("Ada", 1, "real")
    answers.begin("ada", trials_of(choice, "Grace", 0))
    assert [one.answer for one in answers.session("Ada")] == ["real", None, None, None]
    assert answers.session("Ada")[0].judge == "Ada"


def test_first_showing_counts(experiment):
    answers, _, choice = experiment
    answers.begin("Ada", trials_of(choice, "Ada", 0))
    answers.show("Ada", 1)
    first = answers.session("Ada")[0].shown
    answers.show("Ada", 1)
    assert answers.session("Ada")[0].shown == first is not None


def test_the_same_experiment_goes_on(cubes, tmp_path):
    for _ in range(2):
        make_experiment(cubes, tmp_path / "a.sqlite", n=4, seconds=2.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "pair"}, "with --mode single, not with --mode pair"),
        ({"seconds": 3.0}, "with no --seconds, not with --seconds 3"),
        ({"seed": 1, "n": 6}, "with --n 4, --seed 0, not with --n 6, --seed 1"),
        ({"channel": "94"}, "with the channels aia171, aia131, aia94, not aia94"),
        ({"matched": False}, "with --matched, not with --all"),
    ],
)
def test_another_experiment_is_refused(cubes, experiment, options, message):
    with pytest.raises(SunaugError, match=f"a.sqlite: was made {message}"):
        make_experiment(cubes, experiment[0].path, **({"n": 4} | options))


def test_other_frames_are_refused(cubes, experiment, tmp_path):
    answers = experiment[0]
    other = make_samples(tmp_path / "other.zarr", seed=1), cubes[1]
    with pytest.raises(SunaugError, match=r"was made for .*rare.zarr against .*real.zarr, not for .*other.zarr"):
        make_experiment(other, answers.path, n=4)
    with pytest.raises(SunaugError, match="held other frames"):
        Answers(answers.path, replace(answers.experiment, fingerprint="0"))
    Answers(answers.path, replace(answers.experiment, synthetic="/moved.zarr"))


def test_what_is_no_database_of_ours(experiment, tmp_path):
    text, foreign = tmp_path / "notes.txt", tmp_path / "foreign.sqlite"
    text.write_text("nothing to do with SQLite, and long enough to have room for a header\n" * 20)
    with sqlite3.connect(foreign) as database:
        database.execute("CREATE TABLE things (x)")
    before = foreign.read_bytes()
    wanted = experiment[0].experiment
    for path, reason in (
        (text, "is not an SQLite database"),
        (foreign, "is not a database of `sunaug judge`"),
        (tmp_path / "missing" / "a.sqlite", "cannot be used"),
        (tmp_path, "cannot be used"),
    ):
        with pytest.raises(SunaugError, match=reason):
            Answers(path, wanted)
    assert foreign.read_bytes() == before
    with pytest.raises(SunaugError, match="no such database"):
        read_answers(tmp_path / "b.sqlite")
