"""Writes to a cube that only the holder of its lock can make.

A process may sleep for longer than its lock lasts and wake in the middle of a write. So each write goes through here:
it looks at what it is going to replace, then asks the lock, and then writes on the condition that nothing was replaced
since. Whoever took the lock over in the meantime has either not touched that object, which then becomes what its owner
meant while the lock was still held, or has, and the store refuses. What the new holder writes stands in any case: it
finds its own conditions broken, asks the lock, and writes again.

File systems without conditions are asked for the lock before each write, and no more. A lock on a disk cannot be lost
by sleeping.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import zarr.storage
from fsspec.asyn import sync
from upath import UPath
from zarr.core.buffer import Buffer

from sunaug.conditional import put_object_if, remove_object_if, version_of_object
from sunaug.cube.lock import Lease
from sunaug.errors import SunaugError
from sunaug.storage import is_remote, remove_tree, replace_object, zarr_location

__all__ = ["remove", "remove_all", "replace", "writable_location"]

_TRIES = 4


def writable_location(place: UPath, lease: Lease | None) -> dict[str, Any]:
    """The keywords ``store`` and ``storage_options`` with which zarr and xarray write a cube under a lease."""
    plain = zarr_location(place)
    if lease is None:
        return plain
    if not is_remote(place):
        return {"store": _FencedLocalStore(Path(str(place)), lease=lease), "storage_options": None}
    opened = zarr.storage.FsspecStore.from_url(plain["store"], storage_options=plain["storage_options"])
    store = _FencedRemoteStore(opened.fs, path=opened.path, lease=lease)
    return {"store": store, "storage_options": None}


def replace(place: UPath, content: bytes, lease: Lease | None) -> None:
    """Write a file or object in one step, as `sunaug.storage.replace_object`, under a lease.

    Raises
    ------
    LostLock
        If the lock is not held any more. Nothing is written then.
    """
    if lease is not None and lease.conditional:
        sync(place.fs.loop, _put, place.fs, place.path, content, lease)
        return
    if lease is not None:
        lease.check()
    replace_object(place, content)


def remove(place: UPath, lease: Lease | None) -> None:
    """Remove a file or object, if there is one, under a lease."""
    if lease is not None and lease.conditional:
        sync(place.fs.loop, _remove, place.fs, place.path, lease)
        return
    if lease is not None:
        lease.check()
    place.unlink(missing_ok=True)


def remove_all(folder: UPath, lease: Lease | None) -> None:
    """Remove a folder with everything in it, if there is one, under a lease."""
    if lease is not None and lease.conditional:
        for one in folder.fs.find(folder.path):
            sync(folder.fs.loop, _remove, folder.fs, one, lease)
        return
    if lease is not None:
        lease.check()
    remove_tree(folder)


async def _ask(fs: Any, lease: Lease) -> None:
    """`Lease.check` in an event loop."""
    try:
        content = await fs._cat_file(lease.lock.path)
    except FileNotFoundError as error:
        raise lease.lost({}) from error
    lease.check_content(content)


async def _put(fs: Any, path: str, content: bytes, lease: Lease) -> None:
    for _ in range(_TRIES):
        version = await version_of_object(fs, path)
        # Asked after looking: the lock was held when the object had this version.
        await _ask(fs, lease)
        if await put_object_if(fs, path, content, version):
            return
        await _ask(fs, lease)
        try:
            if await fs._cat_file(path) == content:  # by an attempt of which the answer was lost
                return
        except FileNotFoundError:
            continue
    raise _contended(path, lease)


async def _remove(fs: Any, path: str, lease: Lease) -> None:
    for _ in range(_TRIES):
        version = await version_of_object(fs, path)
        await _ask(fs, lease)
        if version is None or await remove_object_if(fs, path, version):
            return
    raise _contended(path, lease)


def _contended(path: str, lease: Lease) -> SunaugError:
    return SunaugError(
        f"{lease.cube}: something else keeps writing {path} without the cube's lock; stop it, and run the command "
        "again: what is complete is kept."
    )


class _FencedRemoteStore(zarr.storage.FsspecStore):
    """A cube behind a URL, written under a lease."""

    def __init__(self, fs: Any, *, path: str, lease: Lease, read_only: bool = False, **options: Any) -> None:
        super().__init__(fs, read_only=read_only, path=path, **options)
        self._lease = lease

    def with_read_only(self, read_only: bool = False) -> _FencedRemoteStore:
        """The same, for reading or writing."""
        return type(self)(
            self.fs,
            path=self.path,
            lease=self._lease,
            read_only=read_only,
            allowed_exceptions=self.allowed_exceptions,
        )

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        """Write an object."""
        if not self._lease.conditional:
            await _ask(self.fs, self._lease)
            await super().set(key, value, byte_range)
            return
        self._check_writable()
        await _put(self.fs, f"{self.path}/{key}", value.to_bytes(), self._lease)

    async def delete(self, key: str) -> None:
        """Remove an object."""
        if not self._lease.conditional:
            await _ask(self.fs, self._lease)
            await super().delete(key)
            return
        self._check_writable()
        await _remove(self.fs, f"{self.path}/{key}", self._lease)

    async def delete_dir(self, prefix: str) -> None:
        """Remove objects by the beginning of their names."""
        async for key in self._found(prefix):
            await self.delete(key)

    async def clear(self) -> None:
        """Remove all objects."""
        await self.delete_dir("")

    async def _found(self, prefix: str) -> AsyncIterator[str]:
        for key in [one async for one in self.list_prefix(prefix)]:
            yield key


class _FencedLocalStore(zarr.storage.LocalStore):
    """A cube on a disk, written under a lease."""

    def __init__(self, root: Path, *, lease: Lease, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self._lease = lease

    def with_read_only(self, read_only: bool = False) -> _FencedLocalStore:
        """The same, for reading or writing."""
        return type(self)(self.root, lease=self._lease, read_only=read_only)

    def _check_writable(self) -> None:
        """Asked by zarr-python at the beginning of whatever changes the store."""
        super()._check_writable()
        self._lease.check()
