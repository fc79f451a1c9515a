"""Batches and sets in the database: filed by requests, claimed by workers, one at a time.

A worker holds a set by a claim of its own that it renews. A claim that was not renewed in time is anybody's again, so
that a set whose worker died is made by the next one; it goes on with what is on the disk. Whoever has lost a claim
finds that out when it renews it, and stops.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, true, update
from sqlalchemy.exc import IntegrityError

from sunaug.service.access import Key, spend, too_many
from sunaug.service.database import BATCHES, SETS, Database
from sunaug.service.settings import Limits

__all__ = ["Claim", "Filed", "Queue"]

MAX_ATTEMPTS = 5
"""A set that has killed its worker so many times is given up."""

_FULL_SECONDS = 30
_JOINED = select(
    BATCHES.c.id,
    BATCHES.c.key,
    BATCHES.c.from_store,
    BATCHES.c.created,
    SETS.c.id.label("set"),
    *(
        SETS.c[name]
        for name in ("cube", "format", "request", "n", "state", "done", "gate", "error", "etag", "bytes", "finished")
    ),
).join(SETS, SETS.c.id == BATCHES.c.set)


@dataclass(frozen=True)
class Filed:
    """A set that is wanted.

    Attributes
    ----------
    cube : str
        Hash of all that decides its samples.
    format : str
    request : dict
        As `BatchRequest` has it, nothing left out.
    n : int
    bytes : int
        What it is going to take of the disk.
    """

    cube: str
    format: str
    request: dict[str, Any]
    n: int
    bytes: int

    @property
    def id(self) -> str:
        """The set's id."""
        return f"{self.cube}-{self.format}"


@dataclass(frozen=True)
class Claim:
    """A set in the hands of a worker."""

    token: str
    set: str
    cube: str
    format: str
    request: dict[str, Any]
    n: int


class Queue:
    """What is filed, made and kept.

    Parameters
    ----------
    database : Database
    limits : Limits
    lease_seconds : float
        How long a claim holds without being renewed.
    """

    def __init__(self, database: Database, limits: Limits, lease_seconds: float) -> None:
        self._database, self._limits, self.lease_seconds = database, limits, lease_seconds

    def file(self, key: Key, wanted: Filed) -> str:
        """File a batch; a set that is there or on its way is not made again.

        Returns
        -------
        str
            The id of the batch.

        Raises
        ------
        HTTPException
            429 if the queue or the disk is full or the key's quota used up; nothing is filed then.
        """
        try:
            return self._file(key, wanted)
        except IntegrityError:  # another process has filed the same set in this moment
            return self._file(key, wanted)

    def _file(self, key: Key, wanted: Filed) -> str:
        batch = uuid.uuid4().hex
        with self._database.writing() as connection:
            there = select(SETS.c.state).where(SETS.c.id == wanted.id).with_for_update()
            state = connection.execute(there).scalar()
            if state in (None, "failed"):
                self._check_room(connection, wanted)
                if seconds := spend(connection, key, wanted.n):
                    raise too_many(
                        f"The quota of this key, {key.samples_per_day:,} samples a day, is used up.", seconds
                    )
                if state == "failed":
                    connection.execute(delete(SETS).where(SETS.c.id == wanted.id))
                connection.execute(insert(SETS), _new_row(wanted))
            connection.execute(
                insert(BATCHES),
                {
                    "id": batch,
                    "key": key.id,
                    "set": wanted.id,
                    "from_store": int(state not in (None, "failed")),
                    "created": time.time(),
                },
            )
        return batch

    def _check_room(self, connection: Connection, wanted: Filed) -> None:
        waiting = connection.execute(select(func.count()).where(SETS.c.state == "queued")).scalar_one()
        if waiting >= self._limits.queue:
            raise too_many(f"{waiting} sets are waiting already, and no more are taken.", _FULL_SECONDS)
        taken = _bytes(connection)
        if taken + wanted.bytes > self._limits.disk_bytes:
            left = max(self._limits.disk_bytes - taken, 0) / 2**20
            raise too_many(
                f"This set takes about {wanted.bytes / 2**20:,.0f} MiB, and {left:,.0f} MiB are left: delete batches "
                "that you have downloaded, or ask for fewer samples.",
                _FULL_SECONDS,
            )

    def batch(self, identifier: str, key: Key) -> Row[Any] | None:
        """A batch with its set; None where there is none that `key` may see."""
        wanted = (BATCHES.c.id == identifier) & _own(key)
        with self._database.reading() as connection:
            return connection.execute(_JOINED.where(wanted)).first()

    def batches(self, key: Key, limit: int, offset: int) -> tuple[list[Row[Any]], int]:
        """Batches that `key` may see, the latest first, and how many there are in all."""
        page = _JOINED.where(_own(key)).order_by(BATCHES.c.created.desc()).limit(limit).offset(offset)
        with self._database.reading() as connection:
            total = connection.execute(select(func.count()).select_from(BATCHES).where(_own(key))).scalar_one()
            return list(connection.execute(page).all()), total

    def delete(self, identifier: str, key: Key) -> str | None:
        """Delete a batch; its set goes with the last one that wants it, and whoever makes it stops.

        Returns
        -------
        str or None
            Hash of the cube that the set was made from.
        """
        with self._database.writing() as connection:
            wanted = (BATCHES.c.id == identifier) & _own(key)
            found = connection.execute(
                select(BATCHES.c.set, SETS.c.cube).join(SETS, SETS.c.id == BATCHES.c.set).where(wanted)
            ).first()
            if found is None:
                return None
            connection.execute(delete(BATCHES).where(BATCHES.c.id == identifier))
            _drop_unwanted(connection)
            return str(found.cube)

    def expire(self) -> None:
        """Delete batches that have been kept for long enough."""
        before = time.time() - self._limits.keep_seconds
        with self._database.writing() as connection:
            connection.execute(delete(BATCHES).where(BATCHES.c.created < before))
            _drop_unwanted(connection)

    def wanted_cubes(self) -> set[str]:
        """Hashes of the cubes that some set is made from, or is going to be."""
        with self._database.reading() as connection:
            return set(connection.execute(select(SETS.c.cube).where(SETS.c.state != "failed")).scalars())

    def counts(self) -> dict[str, int]:
        """Sets by state."""
        with self._database.reading() as connection:
            rows = connection.execute(select(SETS.c.state, func.count()).group_by(SETS.c.state))
            return {row[0]: row[1] for row in rows}

    def bytes(self) -> int:
        """Disk that all sets take or are going to take."""
        with self._database.reading() as connection:
            return _bytes(connection)

    def claim(self) -> Claim | None:
        """Take the set that has waited longest; None where none waits."""
        free = (SETS.c.state == "queued") | ((SETS.c.state == "running") & (SETS.c.lease < time.time()))
        oldest = select(SETS).where(free).order_by(SETS.c.created).limit(1)
        with self._database.reading() as connection:
            if connection.execute(oldest).first() is None:
                return None
        token = uuid.uuid4().hex
        with self._database.writing() as connection:
            row = connection.execute(oldest.with_for_update(skip_locked=True)).first()
            if row is None:
                return None
            if row.attempts >= MAX_ATTEMPTS:
                _finish(
                    connection, SETS.c.id == row.id, state="failed", error=f"Given up after {row.attempts} attempts."
                )
                return None
            taken = connection.execute(
                update(SETS)
                .where((SETS.c.id == row.id) & free)
                .values(state="running", claim=token, lease=self._until(), attempts=SETS.c.attempts + 1)
            )
            if not taken.rowcount:
                return None
        return Claim(token, row.id, row.cube, row.format, json.loads(row.request), row.n)

    def renew(self, claim: Claim, done: int) -> bool:
        """Say that a claim is alive and how many samples are made; whether it still holds."""
        with self._database.writing() as connection:
            kept = connection.execute(update(SETS).where(_held(claim)).values(lease=self._until(), done=done))
            return bool(kept.rowcount)

    def release(self, claim: Claim) -> None:
        """Give a set back unfinished, for the next worker to go on with."""
        with self._database.writing() as connection:
            connection.execute(
                update(SETS).where(_held(claim)).values(state="queued", claim=None, attempts=SETS.c.attempts - 1)
            )

    def finish(self, claim: Claim, **values: Any) -> bool:
        """Note how making a set has ended; whether the claim still held."""
        with self._database.writing() as connection:
            return _finish(connection, _held(claim), **values)

    def make_again(self, identifier: str) -> None:
        """Put a finished set whose file is gone back into the queue: the same samples are made again."""
        done = (SETS.c.id == identifier) & (SETS.c.state == "done")
        with self._database.writing() as connection:
            connection.execute(
                update(SETS).where(done).values(state="queued", etag=None, finished=None, attempts=0, done=0)
            )

    def _until(self) -> float:
        return time.time() + self.lease_seconds


def _bytes(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.sum(SETS.c.bytes), 0))).scalar_one())


def _own(key: Key) -> ColumnElement[bool]:
    """Batches that a key may see."""
    return true() if "admin" in key.scopes else BATCHES.c.key == key.id


def _held(claim: Claim) -> ColumnElement[bool]:
    return (SETS.c.id == claim.set) & (SETS.c.claim == claim.token) & (SETS.c.state == "running")


def _finish(connection: Connection, which: ColumnElement[bool], **values: Any) -> bool:
    ended = update(SETS).where(which).values(finished=time.time(), claim=None, lease=None, **values)
    return bool(connection.execute(ended).rowcount)


def _drop_unwanted(connection: Connection) -> None:
    connection.execute(delete(SETS).where(SETS.c.id.not_in(select(BATCHES.c.set))))


def _new_row(wanted: Filed) -> dict[str, Any]:
    return {
        "id": wanted.id,
        "cube": wanted.cube,
        "format": wanted.format,
        "request": json.dumps(wanted.request, sort_keys=True),
        "n": wanted.n,
        "state": "queued",
        "done": 0,
        "bytes": wanted.bytes,
        "attempts": 0,
        "created": time.time(),
    }
