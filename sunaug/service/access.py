"""Who may do what: API keys with scopes and daily quotas.

A key is shown once, when it is made. The database keeps a keyed hash of it (BLAKE2b with a secret of 32 bytes that lies
beside the database, not in it), which is enough for secrets of 256 random bits: there is nothing to guess from.

Where a service was started without any key it listens on localhost only, and whoever comes from there may do all. As
soon as there is a key, one is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Connection, Row, func, insert, select, update

from sunaug.errors import SunaugError, UsageError
from sunaug.service.database import KEYS, USAGE, Database
from sunaug.service.rates import Rate

__all__ = ["LOCAL", "SCOPES", "Access", "Key", "Keys", "pepper_file", "read_pepper", "require", "spend", "too_many"]

SCOPES = ("generate", "read", "admin")
"""generate: file and delete batches; read: see and download the own ones; admin: metrics, and with the other two
everybody's batches."""

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_TOKEN = re.compile(r"sunaug_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[\w .@+-]{1,80}")
_PORT = re.compile(r":\d*$")
_DAY = 24 * 3600
_BEARER = HTTPBearer(auto_error=False, description="An API key, as `sunaug keys create` prints it.")


@dataclass(frozen=True)
class Key:
    """An API key without its secret.

    Attributes
    ----------
    id : str
    name : str
        For people.
    scopes : frozenset of str
    samples_per_day : int or None
        How many samples it may have made in a day (UTC); None for any number.
    created, revoked : float or None
        Seconds since 1970.
    """

    id: str
    name: str
    scopes: frozenset[str]
    samples_per_day: int | None = None
    created: float = 0.0
    revoked: float | None = None


LOCAL = Key("local", "whoever is on this machine", frozenset(SCOPES))
"""Stands for everybody where no key is asked for."""


def pepper_file(state: Path) -> Path:
    """File of the secret with which keys are hashed, in the folder of a service."""
    return state / "pepper"


def read_pepper(path: Path) -> bytes:
    """The secret with which keys are hashed; made, readable for its owner alone, where it is missing.

    Raises
    ------
    SunaugError
        If it is not there and cannot be made, or is too short.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(32))
        pepper = path.read_bytes()
    except OSError as error:
        raise SunaugError(f"{path}: the secret of the keys cannot be read ({error.strerror or error}).") from None
    if len(pepper) < 32:
        raise SunaugError(f"{path}: is damaged, {len(pepper)} bytes long; restore it from a backup.")
    return pepper


class Keys:
    """The keys of a service.

    Parameters
    ----------
    database : Database
    pepper : bytes
        See `read_pepper`.
    """

    def __init__(self, database: Database, pepper: bytes) -> None:
        self._database, self._pepper = database, pepper

    def create(self, name: str, scopes: Sequence[str], samples_per_day: int | None = None) -> tuple[Key, str]:
        """Make a key.

        Returns
        -------
        Key
        str
            The whole key, which nobody can find out again.

        Raises
        ------
        UsageError
            If a scope is unknown, the name no plain text, or the quota below 1.
        """
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise UsageError(f"--scope {', '.join(unknown) or '(none)'}: choose among {', '.join(SCOPES)}.")
        if not _NAME.fullmatch(name):
            raise UsageError("a key's name has 1 to 80 letters, digits, spaces or any of . @ + - _.")
        if samples_per_day is not None and samples_per_day < 1:
            raise UsageError(f"--per-day {samples_per_day}: give 1 or more, or leave it out for no limit.")
        secret = secrets.token_urlsafe(32)
        key = Key(secrets.token_hex(6), name, frozenset(scopes), samples_per_day, time.time())
        row = {
            "id": key.id,
            "name": name,
            "digest": self._digest(key.id, secret),
            "scopes": " ".join(sorted(key.scopes)),
            "samples_per_day": samples_per_day,
            "created": key.created,
        }
        with self._database.writing() as connection:
            connection.execute(insert(KEYS), row)
        return key, f"sunaug_{key.id}_{secret}"

    def list(self) -> list[Key]:
        """All keys, revoked ones too, in the order in which they were made."""
        with self._database.reading() as connection:
            rows = connection.execute(select(KEYS).order_by(KEYS.c.created)).all()
        return [_key(row) for row in rows]

    def revoke(self, identifier: str) -> None:
        """Let a key open nothing any more, from the next request on.

        Raises
        ------
        UsageError
            If there is no such key, or it was revoked before.
        """
        wanted = (KEYS.c.id == identifier) & KEYS.c.revoked.is_(None)
        with self._database.writing() as connection:
            if not connection.execute(update(KEYS).where(wanted).values(revoked=time.time())).rowcount:
                raise UsageError(f"{identifier}: no such key in use; `sunaug keys list` shows them.")

    def any(self) -> bool:
        """Whether any key was ever made: revoking the last one opens no door."""
        with self._database.reading() as connection:
            return bool(connection.execute(select(func.count()).select_from(KEYS)).scalar_one())

    def find(self, token: str) -> Key | None:
        """The key that a token belongs to; None where it is forged or revoked."""
        parts = _TOKEN.fullmatch(token)
        identifier, secret = parts.groups() if parts else ("", "")
        with self._database.reading() as connection:
            row = connection.execute(select(KEYS).where(KEYS.c.id == identifier)).first()
        # Hashed in any case, so that an answer takes as long whether or not there is such an id.
        same = hmac.compare_digest(self._digest(identifier, secret), row.digest if row else "")
        return _key(row) if row and same and row.revoked is None else None

    def _digest(self, identifier: str, secret: str) -> str:
        content = f"{identifier}:{secret}".encode()
        return hashlib.blake2b(content, key=self._pepper[:64], digest_size=32).hexdigest()


def _key(row: Row[Any]) -> Key:
    fields = row._asdict()
    del fields["digest"]
    return Key(**fields | {"scopes": frozenset(fields["scopes"].split())})


def spend(connection: Connection, key: Key, samples: int) -> int:
    """Count samples towards the quota of a key, within the transaction that files them.

    Returns
    -------
    int
        0 if they are counted; else the seconds until the quota begins anew, and nothing is counted.
    """
    if key is LOCAL:
        return 0
    now = time.time()
    day = int(now // _DAY)
    # Databases with several writers: whoever else counts for this key waits here.
    connection.execute(select(KEYS.c.id).where(KEYS.c.id == key.id).with_for_update())
    mine = (USAGE.c.key == key.id) & (USAGE.c.day == day)
    used = connection.execute(select(USAGE.c.samples).where(mine)).scalar()
    if key.samples_per_day is not None and (used or 0) + samples > key.samples_per_day:
        return int((day + 1) * _DAY - now) + 1
    if used is None:
        connection.execute(insert(USAGE), {"key": key.id, "day": day, "samples": samples})
    else:
        connection.execute(update(USAGE).where(mine).values(samples=USAGE.c.samples + samples))
    return 0


class Access:
    """Decides on each request.

    Parameters
    ----------
    keys : Keys
    open_to_local : bool
        Whether the service listens on localhost only, and may do without keys as long as there are none.
    rate : Rate
        Of the requests of each key.
    """

    def __init__(self, keys: Keys, *, open_to_local: bool, rate: Rate) -> None:
        self.keys, self.open_to_local, self.rate = keys, open_to_local, rate
        self._failures = Rate(per_second=0.5, burst=20)

    def authorise(self, token: str | None, scope: str, *, peer: str, host: str) -> Key:
        """Whose request it is.

        Parameters
        ----------
        token : str or None
            What the request gave as its key.
        scope : str
            What it needs.
        peer : str
            Address that it came from: too many wrong keys from one are not looked at any more.
        host : str
            The host that it was addressed to.

        Raises
        ------
        HTTPException
            401, 403 or 429.
        """
        key = self._identify(token, peer, host)
        if seconds := self.rate.wait(key.id):
            raise too_many(f"This key may ask {self.rate.per_second:g} times a second.", seconds)
        if scope not in key.scopes:
            raise HTTPException(403, f"This key has no scope {scope}; make another one with it.")
        return key

    def _identify(self, token: str | None, peer: str, host: str) -> Key:
        if token is None and self.open_to_local and not self.keys.any():
            # A page of somebody else's that calls itself by another name must not reach into this machine.
            if host not in _LOCAL_HOSTS:
                raise HTTPException(403, "Without keys this service answers to localhost only.")
            return LOCAL
        if seconds := self._failures.wait(peer, take=False):
            raise too_many("Too many wrong keys.", seconds)
        key = self.keys.find(token) if token else None
        if key is None:
            self._failures.wait(peer)
            raise HTTPException(
                401, "Give a valid API key: Authorization: Bearer sunaug_...", {"WWW-Authenticate": "Bearer"}
            )
        return key


def too_many(sentence: str, seconds: int) -> HTTPException:
    """The answer 429, with the seconds after which to try again."""
    return HTTPException(429, f"{sentence} Try again in {seconds} s.", {"Retry-After": str(seconds)})


def require(scope: str) -> Callable[..., Key]:
    """A FastAPI dependency that lets a request through if its key has a scope, and gives the key.

    Parameters
    ----------
    scope : {"generate", "read", "admin"}
        The application keeps an `Access` in ``app.state.access``.

    Examples
    --------
    >>> @router.get("/v1/bundles")
    ... def bundles(key: Annotated[Key, Depends(require("read"))]): ...
    """

    def check(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]) -> Key:
        access: Access = request.app.state.access
        key = access.authorise(
            given.credentials if given else None,
            scope,
            peer=request.client.host if request.client else "",
            host=_PORT.sub("", request.headers.get("host", "")),
        )
        request.state.key = key.id
        return key

    return check
