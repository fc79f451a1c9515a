"""What a cube must hold: data that are not there are damage, and never the values that Zarr fills in for them.

Zarr reads a chunk that was lost as its fill value: a black Sun, a frame without a flag, a frame that is pending. This
module decides for every way of reading whether what is absent may be. It may where no frame of a chunk was ever written
or all were rejected. ``frame_status`` says so, and is itself written in full when a cube is made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numcodecs.checksum32 import CRC32C
from numpy.typing import NDArray
from upath import UPath
from xarray.backends.zarr import ZarrArrayWrapper, ZarrStore
from xarray.core.indexing import LazilyIndexedArray

from sunaug.cube.schema import FrameStatus
from sunaug.errors import SunaugError
from sunaug.storage import location, zarr_location

__all__ = [
    "NO_CHUNK",
    "STORES_ALL",
    "CheckedStore",
    "Integrity",
    "chunk_key",
    "damaged",
    "first_dimension",
    "missing_objects",
    "parse_index",
    "unwritten",
]

STORES_ALL = "stores_every_chunk"
"""Attribute of cubes of which every chunk of a written frame is stored, also one that holds nothing but fill values.
Cubes made before have it not, and what is absent from their labels and flags may have been a fill value."""

NO_CHUNK = np.iinfo(np.uint64).max
"""Offset and length, in the index of a shard, of a chunk that was never written."""

_CHECKSUM_BYTES = 4
_USABLE = (FrameStatus.COMPLETE, FrameStatus.PARTIAL)
_ALWAYS = ("frame_status", "split", "time", "sample", "channel", "x", "y", "direction")
_DECODING = (ValueError, RuntimeError)
"""What codecs raise for bytes that they cannot read."""


def damaged(place: object, what: str) -> SunaugError:
    """The error for a file or object of a cube that is damaged: where it is, and what it is or lacks."""
    return SunaugError(f"{place}: {what}; the cube is damaged, copy it again or make it again.")


def parse_index(tail: bytes | memoryview, slots: int, place: object) -> NDArray[np.uint64]:
    """Offset and length of each chunk of a shard, from its last bytes.

    Parameters
    ----------
    tail : bytes or memoryview
        The end of the shard, at least its index.
    slots : int
        Chunks in the shard.
    place : object
        What messages call it.

    Returns
    -------
    ndarray of uint64, shape (slots, 2)

    Raises
    ------
    SunaugError
        If it is too short or its checksum is wrong.
    """
    if not len(tail):
        raise damaged(place, "is empty")
    if len(tail) < 16 * slots + _CHECKSUM_BYTES:
        raise damaged(place, "is shorter than its index")
    index = bytes(tail[-16 * slots - _CHECKSUM_BYTES :])
    try:
        CRC32C(location="end").decode(index)
    except RuntimeError as error:
        raise damaged(place, "its index does not match its checksum, as of a file cut short") from error
    return np.frombuffer(index[:-_CHECKSUM_BYTES], "<u8").reshape(slots, 2)


class Integrity:
    """Decides what may be absent from a cube.

    Parameters
    ----------
    place : upath.UPath
        The cube.
    group : zarr.Group
        The same, open.
    """

    def __init__(self, place: UPath, group: zarr.Group) -> None:
        self.place, self._group = place, group

    @cached_property
    def status(self) -> NDArray[np.int8]:
        """``frame_status`` of every frame."""
        return np.asarray(self.values("frame_status"))

    def values(self, name: str, rows: slice = slice(None)) -> NDArray[Any]:
        """Values of an array of the cube, of some rows or all.

        Raises
        ------
        SunaugError
            If they are damaged or not there.
        """
        array = self._group[name]
        assert isinstance(array, zarr.Array)
        key = (rows, *(slice(None),) * (array.ndim - 1))
        return np.asarray(self.read(array, key, array.__getitem__))

    def read(self, array: zarr.Array[Any], key: tuple[Any, ...], method: Callable[[Any], Any]) -> Any:
        """Values that `method` reads for a key, once it is clear that none of them is a stand-in.

        Raises
        ------
        SunaugError
            If a chunk that the key needs is damaged or not there.
        """
        rows = _rows(key[0], array.shape[0]) if array.ndim else np.zeros(0, np.int64)
        try:
            found = method(key)
        except _DECODING:
            self._name_broken(array, rows)
            raise
        if len(rows) and np.size(found):
            suspects = rows[_suspects(array, rows, np.asarray(found))]
            for number in np.unique(suspects // _per_object(array)).tolist():
                self._check(array, number, suspects[suspects // _per_object(array) == number])
        return found

    def _check(self, array: zarr.Array[Any], number: int, rows: NDArray[np.int64]) -> None:
        """Refuse rows of a chunk or shard that look like fill values if they are nothing else."""
        if not self.needs(array, number):
            return
        if array.shards is not None:
            self._check_chunks(array, number, rows[np.isin(self.status[rows], _USABLE)])
        elif not (place := self.object(array, number)).exists():
            raise damaged(place, "missing")

    def needs(self, array: zarr.Array[Any], number: int) -> bool:
        """Whether a chunk or shard of an array must be there."""
        stored_all = bool(self._group.attrs.get(STORES_ALL))
        name, part = array.basename, slice(number * _per_object(array), (number + 1) * _per_object(array))
        if array.shards is not None:
            # A mask of pixels may have held nothing but fill values.
            return (name == "intensity" or stored_all) and bool(np.isin(self.status[part], _USABLE).any())
        if name == "frame_status":
            return stored_all or bool(self._group.attrs.get("ingests")) or self._judged
        if name in _ALWAYS:
            return stored_all or name in ("time", "channel")
        return stored_all and bool((self.status[part] != FrameStatus.PENDING).any())

    @property
    def _judged(self) -> bool:
        """Whether the gate has judged the cube, which it does when all frames are there."""
        gate = self._group.attrs.get("gate")
        return isinstance(gate, dict) and gate.get("verdict") in ("passed", "refused")

    def _check_chunks(self, array: zarr.Array[Any], number: int, rows: NDArray[np.int64]) -> None:
        lost = rows[self._index(array, number)[rows % _per_object(array), 0] == NO_CHUNK] if len(rows) else rows
        if len(lost):
            raise damaged(self.object(array, number), f"lacks frame {lost[0]}, which is said to be there")

    def _index(self, array: zarr.Array[Any], number: int) -> NDArray[np.uint64]:
        place, slots = self.object(array, number), _per_object(array)
        try:
            size = int(place.fs.size(place.path))
            start = max(size - 16 * slots - _CHECKSUM_BYTES, 0)
            tail = place.fs.cat_file(place.path, start=start, end=size) if size else b""
        except FileNotFoundError as error:
            raise damaged(place, "missing") from error
        return parse_index(tail, slots, place)

    def object(self, array: zarr.Array[Any], number: int) -> UPath:
        """Where a chunk or shard is."""
        return self.place / array.basename / chunk_key(array, number)

    def _name_broken(self, array: zarr.Array[Any], rows: NDArray[np.int64]) -> None:
        """Find out which object of those with these rows cannot be decoded; nothing happens where all can."""
        for number in np.unique(rows // _per_object(array)).tolist():
            if array.shards is not None:
                self._index(array, number)
            for row in rows[rows // _per_object(array) == number].tolist():
                try:
                    array[row]
                except _DECODING as error:
                    what = f"frame {row} in it cannot be decompressed" if array.shards else "cannot be decoded"
                    raise damaged(self.object(array, number), what) from error


def missing_objects(path: str | Path | UPath) -> list[SunaugError]:
    """Look whether everything that a cube must hold is there, without reading it.

    Returns
    -------
    list of SunaugError
        The error of each file or object that is not there, as reading it would raise it.
    """
    place = location(path)
    group = zarr.open_group(**zarr_location(place), mode="r")
    integrity = Integrity(place, group)
    root = place.fs._strip_protocol(place.path).rstrip("/")
    there = {str(one).removeprefix(f"{root}/") for one in place.fs.find(place.path)}
    try:
        integrity.status  # noqa: B018
    except SunaugError as error:  # without it nothing says what else must be there
        return [error]
    lost = []
    for name, array in group.arrays():
        for number in range(-(-array.shape[0] // _per_object(array)) if array.size else 0):
            if integrity.needs(array, number) and f"{name}/{chunk_key(array, number)}" not in there:
                lost.append(damaged(integrity.object(array, number), "missing"))
    return lost


def chunk_key(array: zarr.Array[Any], number: int) -> str:
    """Key of the chunk or shard with this number on the first axis, within its array."""
    return str(array.metadata.encode_chunk_key((number, *(0,) * (array.ndim - 1))))


def first_dimension(array: zarr.Array[Any]) -> str:
    """Name of an array's first dimension; empty where it has none."""
    names = getattr(array.metadata, "dimension_names", None)
    return str(names[0] or "") if names else ""


def unwritten(place: UPath, group: zarr.Group, given: Collection[str], rows: slice) -> dict[str, NDArray[Any]]:
    """Values as they are of the small variables of frames that are not given and of which these rows were never stored.

    Parameters
    ----------
    place : upath.UPath
    group : zarr.Group
        The cube, open.
    given : collection of str
        Names of variables that are about to be written.
    rows : slice
        Start and stop.
    """
    found: dict[str, NDArray[Any]] = {}
    for name, array in group.arrays():
        of_frames = first_dimension(array) in ("time", "sample") and name not in ("time", "sample")
        if not of_frames or array.shards is not None or name in given:
            continue
        numbers = range(rows.start // array.chunks[0], -(-rows.stop // array.chunks[0]))
        if not all((place / name / chunk_key(array, number)).exists() for number in numbers):
            found[name] = np.asarray(array[rows])
    return found


def _per_object(array: zarr.Array[Any]) -> int:
    """Rows in a file or object of an array."""
    return int((array.shards or array.chunks)[0])


def _rows(key: Any, length: int) -> NDArray[np.int64]:
    """Rows that the first part of a key asks for, in its order."""
    if isinstance(key, slice):
        return np.arange(*key.indices(length))
    rows = np.atleast_1d(np.asarray(key, np.int64)).ravel()
    return np.where(rows < 0, rows + length, rows)


def _suspects(array: zarr.Array[Any], rows: NDArray[np.int64], values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows hold nothing but the fill value."""
    fill = array.fill_value

    def is_fill(part: NDArray[Any]) -> bool:
        # The first value spares looking at the others of nearly every image.
        return bool(_equal(part.flat[0], fill)) and bool(np.all(_equal(part, fill)))

    if values.ndim and values.shape[0] == len(rows) and array.shards is not None:
        return np.array([is_fill(row) for row in values], bool)
    if values.ndim and values.shape[0] == len(rows):
        numbers = rows // _per_object(array)
        found = {number: is_fill(values[numbers == number]) for number in np.unique(numbers).tolist()}
        return np.array([found[number] for number in numbers.tolist()], bool)
    return np.full(len(rows), array.shards is None or is_fill(values))


def _equal(values: Any, fill: Any) -> Any:
    if isinstance(fill, float | np.floating) and np.isnan(fill):
        return np.isnan(values)
    return values == fill


class _CheckedArray(ZarrArrayWrapper):
    """An array of a cube as xarray reads it, through `Integrity`."""

    __slots__ = ("_integrity",)

    def __init__(self, array: zarr.Array[Any], integrity: Integrity) -> None:
        super().__init__(array)
        self._integrity = integrity

    def _getitem(self, key: tuple[Any, ...]) -> Any:
        return self._integrity.read(self._array, key, super()._getitem)

    def _oindex(self, key: tuple[Any, ...]) -> Any:
        return self._integrity.read(self._array, key, super()._oindex)

    def _vindex(self, key: tuple[Any, ...]) -> Any:
        return self._integrity.read(self._array, key, super()._vindex)


class CheckedStore(ZarrStore):
    """A cube for `xarray.open_dataset`, every array of which is read through `Integrity`.

    Parameters
    ----------
    place : upath.UPath
    group : zarr.Group
        The cube, open for reading.
    """

    __slots__ = ("_integrity",)

    def __init__(self, place: UPath, group: zarr.Group) -> None:
        super().__init__(group, mode="r", use_zarr_fill_value_as_mask=False)
        self._integrity = Integrity(place, group)

    def open_store_variable(self, name: str) -> xr.Variable:
        """An array of the cube as a variable, not read yet."""
        plain = super().open_store_variable(name)
        array = self.members[name]
        assert isinstance(array, zarr.Array)
        data = LazilyIndexedArray(_CheckedArray(array, self._integrity))
        return xr.Variable(plain.dims, data, plain.attrs, plain.encoding)
