"""Writes that an object store refuses where the object is not as it was: ``If-Match`` and ``If-None-Match`` of S3.

A version is the object's ETag, None where there is no object. The functions on a file system and a path are coroutines,
for stores that live in an event loop; those on a `UPath` wait.
"""

from __future__ import annotations

from typing import Any

from fsspec.asyn import sync
from upath import UPath

from sunaug.storage import is_remote

__all__ = ["is_s3", "put_if", "put_object_if", "remove_if", "remove_object_if", "version_of", "version_of_object"]

_REFUSED = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "404")
_NOT_KNOWN = ("NotImplemented", "501")


def is_s3(place: UPath) -> bool:
    """Whether a path is in an object store that speaks S3."""
    return is_remote(place) and hasattr(place.fs, "call_s3")


def _code(error: BaseException) -> str:
    """S3's code of an error, as botocore or s3fs raises it."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


async def version_of_object(fs: Any, path: str) -> str | None:
    """Version of an object as it is now; None where there is none."""
    bucket, key, _ = fs.split_path(path)
    try:
        head = await fs._call_s3("head_object", Bucket=bucket, Key=key)
    except FileNotFoundError:
        return None
    return str(head["ETag"])


async def put_object_if(fs: Any, path: str, content: bytes, version: str | None) -> str:
    """Write an object if it has this version; the new version, empty where the store refused it."""
    bucket, key, _ = fs.split_path(path)
    condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
    try:
        done = await fs._call_s3("put_object", Bucket=bucket, Key=key, Body=content, **condition)
    except OSError as error:
        if _code(error) not in _REFUSED:
            raise
        return ""
    finally:
        fs.invalidate_cache(path)
    return str(done["ETag"])


async def remove_object_if(fs: Any, path: str, version: str) -> bool:
    """Remove an object if it has this version; False where the store refused it."""
    bucket, key, _ = fs.split_path(path)
    try:
        await fs._call_s3("delete_object", Bucket=bucket, Key=key, IfMatch=version)
    except OSError as error:
        if _code(error) in _NOT_KNOWN:  # of conditions, removing is the one that stores learned last
            await fs._call_s3("delete_object", Bucket=bucket, Key=key)
        elif _code(error) in _REFUSED:
            return False
        else:
            raise
    finally:
        fs.invalidate_cache(path)
    return True


def version_of(place: UPath) -> str | None:
    """Version of an object as it is now; None where there is none."""
    found: str | None = sync(place.fs.loop, version_of_object, place.fs, place.path)
    return found


def put_if(place: UPath, content: bytes, version: str | None) -> str:
    """Write an object if it has this version; the new version, empty where the store refused it."""
    return str(sync(place.fs.loop, put_object_if, place.fs, place.path, content, version))


def remove_if(place: UPath, version: str) -> bool:
    """Remove an object if it has this version; False where the store refused it."""
    return bool(sync(place.fs.loop, remove_object_if, place.fs, place.path, version))
