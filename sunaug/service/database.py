"""The tables of a service, in SQLite or whatever SQLAlchemy knows.

Every change is one transaction; those of SQLite take the write lock at their beginning, so that what was read in one
still holds when it writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from sunaug.errors import SunaugError, UsageError

__all__ = ["BATCHES", "KEYS", "SETS", "USAGE", "Database", "database_url"]

_LOCK_SECONDS = 60
_METADATA = MetaData()

KEYS = Table(
    "service_keys",
    _METADATA,
    Column("id", String(12), primary_key=True),
    Column("name", String(80), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("scopes", String(80), nullable=False),
    Column("samples_per_day", BigInteger),
    Column("created", Float, nullable=False),
    Column("revoked", Float),
)
"""API keys; of the secret only a keyed hash. Moments, here and below, are seconds since 1970."""

USAGE = Table(
    "service_usage",
    _METADATA,
    Column("key", String(12), primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("samples", BigInteger, nullable=False),
)
"""Samples that each key has asked for on each day (UTC, days since 1970)."""

SETS = Table(
    "service_sets",
    _METADATA,
    Column("id", String(80), primary_key=True),
    Column("cube", String(64), nullable=False, index=True),
    Column("format", String(16), nullable=False),
    Column("request", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("done", BigInteger, nullable=False, default=0),
    Column("gate", Text),
    Column("error", Text),
    Column("etag", String(64)),
    Column("bytes", BigInteger, nullable=False),
    Column("claim", String(32)),
    Column("lease", Float),
    Column("attempts", Integer, nullable=False, default=0),
    Column("created", Float, nullable=False),
    Column("finished", Float),
    Index("service_sets_waiting", "state", "created"),
)
"""What is to be made or has been; the id is the hash of all that decides the content, and the format."""

BATCHES = Table(
    "service_batches",
    _METADATA,
    Column("id", String(32), primary_key=True),
    Column("key", String(12), nullable=False, index=True),
    Column("set", String(80), nullable=False, index=True),
    Column("from_store", Integer, nullable=False),
    Column("created", Float, nullable=False),
)
"""Who has asked for which set."""


def database_url(state: Path, database: str = "") -> str:
    """A database's URL, by default that of a SQLite file in the folder of a service."""
    return database or f"sqlite:///{(state / 'service.sqlite').resolve()}"


class Database:
    """The tables behind a URL; they are made where they are missing.

    Parameters
    ----------
    url : str
        As SQLAlchemy reads it: ``sqlite:////srv/sunaug/service.sqlite``, ``postgresql+psycopg://...``.

    Raises
    ------
    UsageError
        If it is no such URL, or the driver that it names is not installed.
    SunaugError
        If the database cannot be opened.
    """

    def __init__(self, url: str) -> None:
        try:
            self.engine = create_engine(
                url, pool_pre_ping=True, pool_size=8, max_overflow=40, pool_timeout=_LOCK_SECONDS
            )
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise UsageError(f"--database: not a URL that can be used here ({_reason(error)}).") from None
        if self.engine.dialect.name == "sqlite":
            _prepare_sqlite(self.engine)
        self._writing = self.engine.execution_options(sunaug_writes=True)
        try:
            with self.writing() as connection:
                _METADATA.create_all(connection)
        except SQLAlchemyError as error:
            where = self.engine.url.render_as_string(hide_password=True)
            raise SunaugError(f"{where}: the database cannot be opened ({_reason(error)}).") from None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the tables."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: all of it is kept, or nothing where an exception leaves it."""
        with self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split("\n")[0].split())


def _prepare_sqlite(engine: Engine) -> None:
    """Readers beside one writer (WAL), what is accepted on the disk, transactions that begin where they are said to."""

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver would begin transactions by itself, and too late
        for pragma in (f"busy_timeout={_LOCK_SECONDS * 1000}", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("sunaug_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
