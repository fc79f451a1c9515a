"""One file to download from a finished cube: the cube itself as a Zarr zip, or an export in a tar."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forecasting_adapters.exports import export
from sunaug.cube import open_cube

__all__ = ["MEDIA_TYPES", "SUFFIXES", "pack"]

SUFFIXES = {"zarr": ".zarr.zip", "webdataset": ".tar", "fits": ".fits.tar"}
MEDIA_TYPES = {"zarr": "application/zip", "webdataset": "application/x-tar", "fits": "application/x-tar"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(cube: Path, form: str, out: Path, report: Callable[[int], None]) -> str:
    """Write the file, complete or not at all; the same cube gives the same bytes.

    Parameters
    ----------
    cube : pathlib.Path
        A synthetic cube that the gate has passed, or that was made without it.
    form : {"zarr", "webdataset", "fits"}
        A Zarr zip opens as it is with ``xarray.open_zarr(zarr.storage.ZipStore(path))``; a WebDataset tar is the only
        shard of `forecasting_adapters.exports`, and a tar of FITS files holds that export.
    out : pathlib.Path
    report : callable
        Called with the number of samples written so far; may stop the work by an exception.

    Returns
    -------
    str
        SHA-256 of the file.
    """
    partial = out.with_name(f"{out.name}.partial")
    if form == "zarr":
        _zip(cube, partial)
    else:
        exported = out.with_name(f"{form}-export")
        shutil.rmtree(exported, ignore_errors=True)
        options: dict[str, Any] = {"shard": open_cube(cube).sizes["sample"]} if form == "webdataset" else {}
        # What the gate says of it was looked at before: only sets that may leave come here.
        export(cube, form, exported, allow_ungated=True, report=report, **options)
        if form == "webdataset":
            next(exported.glob("*.tar")).replace(partial)
        else:
            _tar(exported, partial)
        shutil.rmtree(exported)
    partial.replace(out)
    with out.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _zip(folder: Path, out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # a cube is compressed already
        for path in _files(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            with path.open("rb") as file, archive.open(entry, "w") as member:
                shutil.copyfileobj(file, member)


def _tar(folder: Path, out: Path) -> None:
    with tarfile.open(out, "w") as archive:
        for path in _files(folder):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(entry, file)
