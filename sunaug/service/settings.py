"""What a service serves, where it keeps it, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sunaug.bundle import Bundle, bundled_names, load_bundle
from sunaug.errors import UsageError
from sunaug.fidelity.policy import Policy

__all__ = ["Limits", "Settings", "open_bundles"]


@dataclass(frozen=True)
class Limits:
    """How much a service takes on.

    Attributes
    ----------
    queue : int
        Sets that may wait.
    samples : int
        Samples in one batch.
    disk_bytes : int
        Of all sets together, those that are to be made included.
    keep_seconds : float
        Batches older than this are deleted.
    per_second, burst : float, int
        Requests of one key.
    body_bytes, body_seconds : int, float
        Size of a request's body, and the time in which it has to arrive.
    streams : int
        Streams of samples that are open at once.
    """

    queue: int = 100
    samples: int = 10_000
    disk_bytes: int = 20 * 2**30
    keep_seconds: float = 7 * 24 * 3600
    per_second: float = 20.0
    burst: int = 60
    body_bytes: int = 64 * 2**10
    body_seconds: float = 10.0
    streams: int = 64


@dataclass(frozen=True)
class Settings:
    """A service.

    Attributes
    ----------
    state : pathlib.Path
        Folder of its files.
    bundles : mapping of str to pathlib.Path
        What it serves, by the names that requests use.
    policy : Policy
        Of the gate.
    database : str
        SQLAlchemy URL.
    workers : int
        Processes that make sets.
    scheduler : str or None
        Address of a Dask scheduler whose workers make the samples.
    open_to_local : bool
        Whether the service listens on localhost only, see `sunaug.service.access`.
    judging : str or None
        Address of a running ``sunaug judge`` for the page to link to.
    lease_seconds : float
        A set is taken from a worker that was not heard of for so long.
    limits : Limits
    """

    state: Path
    bundles: Mapping[str, Path]
    policy: Policy
    database: str
    workers: int = 1
    scheduler: str | None = None
    open_to_local: bool = True
    judging: str | None = None
    lease_seconds: float = 20.0
    limits: Limits = field(default_factory=Limits)


def open_bundles(sources: list[str]) -> dict[str, Bundle]:
    """The bundles that are to be served, by the names that requests use: those of their folders.

    Parameters
    ----------
    sources : list of str
        Folders and names as `load_bundle` takes them; all that come with sunaug where there are none.

    Raises
    ------
    UsageError, SunaugError
        If one cannot be opened, or two have one name.
    """
    opened: dict[str, Bundle] = {}
    for source in sources or bundled_names():
        bundle = load_bundle(source)
        name = bundle.path.resolve().name
        if name in opened:
            raise UsageError(f"--bundle {source}: another bundle is called {name} already; rename its folder.")
        opened[name] = bundle
    return opened
