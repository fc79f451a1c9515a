"""The answers of an experiment in one SQLite file: stored one by one, at once, and once only.

The file holds what the experiment is (table ``experiment``, one row), its judges, and every trial of each judge with
the answer, if there is one yet (table ``trials``). The list of trials is written when a judge begins, so that it stays
the same whatever happens in between. Several servers may use one file at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sunaug.errors import SunaugError
from sunaug.judging.trials import Trial, judge_key

__all__ = ["Answered", "Answers", "Experiment", "read_answers"]

SCHEMA = 1
_APPLICATION = 0x53554E4A
"""Marks the file as ours (SQLite's application_id): ``SUNJ``."""

_TABLES = """
CREATE TABLE experiment (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    synthetic TEXT NOT NULL, against TEXT NOT NULL, bundle_hash TEXT, fingerprint TEXT NOT NULL,
    split TEXT NOT NULL, seed INTEGER NOT NULL, mode TEXT NOT NULL, n INTEGER NOT NULL, seconds REAL,
    channels TEXT NOT NULL, matched INTEGER NOT NULL, samples TEXT NOT NULL, times TEXT NOT NULL,
    sunaug_version TEXT NOT NULL, begun TEXT NOT NULL
) STRICT;
CREATE TABLE judges (key TEXT PRIMARY KEY, name TEXT NOT NULL, begun TEXT NOT NULL) STRICT;
CREATE TABLE trials (
    judge TEXT NOT NULL REFERENCES judges (key), trial INTEGER NOT NULL,
    sample INTEGER, time TEXT, truth TEXT NOT NULL,
    shown TEXT, answer TEXT, correct INTEGER, milliseconds INTEGER, answered TEXT,
    PRIMARY KEY (judge, trial)
) STRICT;
"""


@dataclass(frozen=True)
class Experiment:
    """What the judges of one database are asked.

    Attributes
    ----------
    synthetic, against : str
        Paths of the two cubes.
    bundle_hash : str or None
        Of the bundle that made the samples.
    fingerprint : str
        See `sunaug.judging.Frames.fingerprint`.
    split, seed, mode, n, matched : str, int, str, int, bool
        See `sunaug.judging.choose`.
    seconds : float or None
        How long a picture is seen; None without a limit.
    channels : tuple of str
        That are shown.
    samples, times : tuple of int, tuple of str
        The chosen frames.
    """

    synthetic: str
    against: str
    bundle_hash: str | None
    fingerprint: str
    split: str
    seed: int
    mode: str
    n: int
    seconds: float | None
    channels: tuple[str, ...]
    matched: bool
    samples: tuple[int, ...]
    times: tuple[str, ...]

    def difference(self, other: Experiment) -> str | None:
        """What `other` asks differently, in words that follow "was made"; None where both are one experiment."""
        options = ("mode", "n", "seconds", "seed", "split")
        different = [name for name in options if getattr(self, name) != getattr(other, name)]
        if different:
            ours, theirs = (", ".join(_option(name, getattr(one, name)) for name in different) for one in (self, other))
            return f"with {ours}, not with {theirs}"
        if self.channels != other.channels:
            return f"with the channels {', '.join(self.channels)}, not {', '.join(other.channels)}"
        if self.fingerprint == other.fingerprint:
            return None
        if self.matched != other.matched:
            return f"with --{'matched' if self.matched else 'all'}, not with --{'matched' if other.matched else 'all'}"
        ours, theirs = (f"{one.synthetic} against {one.against}" for one in (self, other))
        return f"for {ours}, not for {theirs}" if ours != theirs else f"when {ours} held other frames"


def _option(name: str, value: object) -> str:
    if value is None:
        return f"no --{name}"
    return f"--{name} {value:g}" if isinstance(value, float) else f"--{name} {value}"


@dataclass(frozen=True)
class Answered:
    """A trial of a judge and what became of it.

    Attributes
    ----------
    judge : str
        Name as it was entered.
    trial : Trial
    shown : str or None
        When its picture was first seen (ISO 8601, UTC); None where it was not yet.
    answer : str or None
        As `Trial.truth`; None where there is none yet.
    correct : bool or None
    milliseconds : int or None
        From the pictures being seen to the answer, as the browser measured it; None where it did not.
    answered : str or None
        When (ISO 8601, UTC).
    """

    judge: str
    trial: Trial
    shown: str | None = None
    answer: str | None = None
    correct: bool | None = None
    milliseconds: int | None = None
    answered: str | None = None


class Answers:
    """The database of an experiment, made where there is none.

    Parameters
    ----------
    path : str or pathlib.Path
        SQLite file.
    experiment : Experiment
        What is to be asked.

    Raises
    ------
    SunaugError
        If the file is none of ours, belongs to another experiment, or cannot be written.
    """

    def __init__(self, path: str | Path, experiment: Experiment) -> None:
        self.path, self.experiment = Path(path), experiment
        # Whatever has content is looked at before it is touched: it may be somebody else's.
        if not self.path.exists() or not self.path.stat().st_size:
            with _readable(self.path), closing(sqlite3.connect(self.path, isolation_level=None)) as database:
                database.execute("BEGIN IMMEDIATE")
                if database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                    _create(database, experiment)
                database.execute("COMMIT")
                database.execute("PRAGMA journal_mode = WAL")
        stored, _ = read_answers(self.path)
        if (difference := stored.difference(experiment)) is not None:
            raise SunaugError(
                f"{self.path}: was made {difference}; give the same again, or another file with --database."
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction."""
        with _readable(self.path), closing(sqlite3.connect(self.path, timeout=10)) as database:
            # The answer is on the disk before the judge sees the next picture, even if the power goes.
            database.execute("PRAGMA synchronous = FULL")
            with database:
                yield database

    def name(self, judge: str) -> str | None:
        """The judge's name as it was first entered; None for somebody who has not begun."""
        with self._open() as database:
            row = database.execute("SELECT name FROM judges WHERE key = ?", (judge_key(judge),)).fetchone()
        return None if row is None else str(row[0])

    def begin(self, judge: str, trials: Sequence[Trial]) -> None:
        """Write down a judge with all trials; nothing happens to one who has begun before."""
        key = judge_key(judge)
        with self._open() as database:
            added = database.execute("INSERT OR IGNORE INTO judges VALUES (?, ?, ?)", (key, judge, _now()))
            if added.rowcount:
                database.executemany(
                    "INSERT INTO trials (judge, trial, sample, time, truth) VALUES (?, ?, ?, ?, ?)",
                    [(key, one.number, one.sample, one.time, one.truth) for one in trials],
                )

    def session(self, judge: str) -> list[Answered]:
        """All trials of a judge in their order; empty for somebody who has not begun."""
        with self._open() as database:
            return _trials(database, judge_key(judge))

    def show(self, judge: str, trial: int) -> None:
        """Note that the pictures of a trial are seen now; only the first time counts."""
        with self._open() as database:
            database.execute(
                "UPDATE trials SET shown = ? WHERE judge = ? AND trial = ? AND shown IS NULL",
                (_now(), judge_key(judge), trial),
            )

    def answer(self, judge: str, trial: int, answer: str, milliseconds: int | None = None) -> bool:
        """Store the answer to the trial whose turn it is.

        Returns
        -------
        bool
            False, with nothing stored, where that trial has an answer already or its turn has not come.
        """
        with self._open() as database:
            stored = database.execute(
                "UPDATE trials SET answer = :answer, correct = truth = :answer, milliseconds = :milliseconds, "
                "answered = :now WHERE judge = :judge AND trial = :trial AND trial = "
                "(SELECT min(trial) FROM trials WHERE judge = :judge AND answer IS NULL)",
                {
                    "answer": answer,
                    "milliseconds": milliseconds,
                    "now": _now(),
                    "judge": judge_key(judge),
                    "trial": trial,
                },
            )
        return bool(stored.rowcount)


def read_answers(path: str | Path) -> tuple[Experiment, list[Answered]]:
    """Read a database of answers.

    Parameters
    ----------
    path : str or pathlib.Path
        SQLite file; may be in use.

    Returns
    -------
    experiment : Experiment
    answers : list of Answered
        All trials of all judges, in the order in which these began, answered or not.

    Raises
    ------
    SunaugError
        If there is no such file, or it is none of ours.
    """
    path = Path(path)
    if not path.exists():
        raise SunaugError(f"{path}: no such database; collect answers with `sunaug judge SYNTHETIC --against CUBE`.")
    with _readable(path), closing(sqlite3.connect(path, timeout=10)) as database:
        if database.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise SunaugError(f"{path}: is not a database of `sunaug judge`; give another file with --database.")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA:
            raise SunaugError(
                f"{path}: has schema {version}, this sunaug reads {SCHEMA}; use the one that made it, or another file."
            )
        database.row_factory = sqlite3.Row
        row = dict(database.execute("SELECT * FROM experiment").fetchone())
        database.row_factory = None
        return _experiment(row), _trials(database)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into one sentence that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        if "not a database" in str(error):
            raise SunaugError(f"{path}: is not an SQLite database; give another file with --database.") from None
        raise SunaugError(
            f"{path}: the database cannot be used ({error}); check the folder, its rights and the room on the disk."
        ) from None


def _create(database: sqlite3.Connection, experiment: Experiment) -> None:
    import sunaug

    # executescript would commit, and another server that starts now would find half of the tables.
    for statement in _TABLES.split(";"):
        database.execute(statement)
    columns = {name: _stored(value) for name, value in asdict(experiment).items()}
    columns |= {"id": 1, "sunaug_version": sunaug.__version__, "begun": _now()}
    places = ", ".join(f":{name}" for name in columns)
    database.execute(f"INSERT INTO experiment ({', '.join(columns)}) VALUES ({places})", columns)
    database.execute(f"PRAGMA application_id = {_APPLICATION}")
    database.execute(f"PRAGMA user_version = {SCHEMA}")


def _stored(value: object) -> object:
    return json.dumps(value) if isinstance(value, (tuple, list)) else value


def _experiment(row: Mapping[str, Any]) -> Experiment:
    lists = {name: tuple(json.loads(row[name])) for name in ("channels", "samples", "times")}
    values = {**row, **lists, "matched": bool(row["matched"])}
    return Experiment(**{one.name: values[one.name] for one in fields(Experiment)})


def _trials(database: sqlite3.Connection, key: str | None = None) -> list[Answered]:
    rows = database.execute(
        "SELECT name, trial, sample, time, truth, shown, answer, correct, milliseconds, answered "
        "FROM trials JOIN judges ON judge = key WHERE :key IS NULL OR key = :key "
        "ORDER BY judges.begun, key, trial",
        {"key": key},
    )
    return [
        Answered(
            name, Trial(number, sample, time, truth), shown, answer, None if right is None else bool(right), ms, when
        )
        for name, number, sample, time, truth, shown, answer, right, ms, when in rows
    ]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
