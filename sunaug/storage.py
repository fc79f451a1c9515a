"""Files on a disk or behind a URL, under one type of path.

Whatever takes a path takes an fsspec URL as well (``s3://bucket/cube.zarr``, ``https://...``). Keys and endpoints come
from the environment, as fsspec and botocore read them (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``).
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from upath import UPath

from sunaug.errors import SunaugError, UsageError

__all__ = [
    "is_remote",
    "local_or_url",
    "location",
    "network_errors",
    "reachable",
    "read_object",
    "remove_partial",
    "remove_tree",
    "replace_object",
    "tree_size",
    "zarr_location",
]


def is_remote(path: str | Path | UPath) -> bool:
    """Whether a path is a URL and not a local file."""
    return "://" in str(path)


def local_or_url(path: str | Path) -> str:
    """A local path with ``~`` expanded and without ``file://``; any other URL as it is."""
    text = str(path)
    if text.startswith("file://"):
        text = unquote(urlsplit(text).path)
    return text if is_remote(text) else os.path.expanduser(text)


def location(path: str | Path | UPath) -> UPath:
    """A path or URL as a path object.

    Raises
    ------
    UsageError
        If the URL's protocol is unknown or its package is not installed.
    """
    if not isinstance(path, UPath):
        path = local_or_url(path)
    try:
        # Other processes write to the same place, so that a listing kept from before may be of objects long gone.
        return UPath(path, use_listings_cache=False) if isinstance(path, str) and is_remote(path) else UPath(path)
    except (ImportError, ValueError) as error:
        message = f"{path}: this URL cannot be used ({error}); for S3 and HTTP: pip install 'sunaug[remote]'."
        raise UsageError(message) from None


def zarr_location(path: str | Path | UPath) -> dict[str, Any]:
    """The keywords ``store`` and ``storage_options`` with which zarr and xarray open a path."""
    place = location(path)
    return {"store": str(place), "storage_options": dict(place.storage_options) or None if is_remote(path) else None}


def network_errors() -> tuple[type[Exception], ...]:
    """What file systems raise: OSError, and what the network packages have beside it where they are in use."""
    botocore, aiohttp = sys.modules.get("botocore.exceptions"), sys.modules.get("aiohttp")
    of_s3 = (botocore.BotoCoreError, botocore.ClientError) if botocore else ()
    return OSError, *of_s3, *((aiohttp.ClientError,) if aiohttp else ())


@contextmanager
def reachable(path: str | Path | UPath) -> Iterator[None]:
    """Turn what a network file system raises into one sentence that names the path."""
    try:
        yield
    except network_errors() as error:
        if not is_remote(path):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SunaugError(
            f"{path}: cannot be reached ({reason}); check the address, the keys and the network."
        ) from None


def remove_tree(path: UPath) -> None:
    """Remove a folder with everything in it; nothing happens where there is none."""
    if path.exists():
        path.fs.rm(path.path, recursive=True)


def read_object(path: UPath) -> bytes:
    """The content of a small file as it is now."""
    content: bytes = path.fs.cat_file(path.path)
    return content


def replace_object(path: UPath, content: bytes) -> None:
    """Write a file in one step: whoever reads it finds the old content or the new one, whole."""
    if is_remote(path):  # object stores show an object when it is whole
        path.write_bytes(content)
        return
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def remove_partial(folder: UPath) -> None:
    """Remove what writers that were killed left behind in a local folder: files that end in ``.partial``."""
    if not is_remote(folder):
        for part in Path(str(folder)).rglob("*.partial"):
            part.unlink(missing_ok=True)


def tree_size(folder: UPath) -> int:
    """Bytes of all files in a folder."""
    return int(sum(one["size"] or 0 for one in folder.fs.find(folder.path, detail=True).values()))
