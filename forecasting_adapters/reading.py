"""Frames out of a store, many at a time and fast.

A training reads small frames in random order, so that what a store's library does around each read costs more than the
read. `ShardReader` therefore takes the chunks of a sunaug cube straight out of its shards: the index of a shard is read
once, chunks that lie side by side are read in one piece, and each is decompressed to its place in the batch. Whatever
it does not know (another codec, an `xarray.Dataset` in memory) is read through xarray by `ArrayReader`.
"""

from __future__ import annotations

import math
import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import imagecodecs
import numpy as np
import xarray as xr
import zarr
import zarr.codecs
from numpy.typing import NDArray
from torch.utils.data import get_worker_info
from upath import UPath

from sunaug.cube import FrameStatus
from sunaug.cube.integrity import NO_CHUNK, damaged, parse_index
from sunaug.storage import is_remote, location, reachable, zarr_location

__all__ = ["ArrayReader", "FrameReader", "ShardReader", "Take", "open_reader"]

_CHECKSUM_BYTES = 4
MOST_THREADS = 4
"""Frames that are decompressed at once, outside of a data loader's worker processes."""
_WORTH_THREADS = 4 * 2**20


Take = Callable[[int, NDArray[np.float32]], None]
"""Is given the place of a frame in what was asked for, and the frame (channel, y, x), which is good for this call only.
Several threads may call it at once."""


class FrameReader(ABC):
    """Reads frames by their row in the store."""

    @abstractmethod
    def each(self, rows: NDArray[np.int64], take: Take) -> None:
        """Hand the frames of `rows` (n,) to `take`, in any order."""

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The frames (n, channel, y, x) of `rows` (n,), in their order."""
        frames = np.empty((len(rows), *self.shape), np.float32)
        self.each(rows, frames.__setitem__)
        return frames

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of a frame: channel, y, x."""


class ArrayReader(FrameReader):
    """Frames of an array that xarray has open.

    Parameters
    ----------
    intensity : xarray.DataArray
        Dimensions time (or sample), channel, y, x.
    """

    def __init__(self, intensity: xr.DataArray) -> None:
        self._intensity = intensity

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a frame: channel, y, x."""
        return self._intensity.shape[1:]

    def each(self, rows: NDArray[np.int64], take: Take) -> None:
        """Hand the frames of `rows` (n,) to `take`; the store sees each row once, ascending."""
        ascending, slots = np.unique(rows, return_inverse=True)
        frames = np.asarray(self._intensity[ascending].values, np.float32)
        for place, slot in enumerate(slots.tolist()):
            take(place, frames[slot])


@dataclass(frozen=True)
class _Chunk:
    """A compressed frame: its place in what was asked for, its row, its shard, and None where it was never written."""

    place: int
    row: int
    shard: int
    data: memoryview | None


class ShardReader(FrameReader):
    """Frames of a sunaug cube, chunk by chunk out of its shards.

    Parameters
    ----------
    cube : str, pathlib.Path or upath.UPath
        Path or URL of the cube.
    array : zarr.Array
        Its ``intensity``, with one frame in a chunk (`can_read`).
    status : ndarray of int8, shape (n,)
        ``frame_status``: which frames must be there.
    """

    def __init__(self, cube: str | Path | UPath, array: zarr.Array[Any], status: NDArray[np.int8]) -> None:
        assert array.shards is not None
        self._folder = location(cube) / "intensity"
        self._metadata = array.metadata
        self._per_shard = array.shards[0]
        self._shape = tuple(array.shape[1:])
        self._remote = is_remote(cube)
        self._written = np.isin(status, (FrameStatus.COMPLETE, FrameStatus.PARTIAL))
        # None for a shard that was never written.
        self._shards: dict[int, _Shard | None] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a frame: channel, y, x."""
        return self._shape

    @staticmethod
    def can_read(array: zarr.Array[Any]) -> bool:
        """Whether an array is laid out as `sunaug.cube.create_cube` does it: float32, one frame in a chunk, Blosc."""
        codecs = tuple(getattr(array.metadata, "codecs", ()))
        if len(codecs) != 1 or not isinstance(codecs[0], zarr.codecs.ShardingCodec):
            return False
        shards, inner = codecs[0], codecs[0].codecs
        return (
            array.dtype == np.dtype("<f4")
            and tuple(array.chunks) == (1, *array.shape[1:])
            and array.shards is not None
            and tuple(array.shards)[1:] == array.shape[1:]
            and shards.index_location == zarr.codecs.ShardingCodecIndexLocation.end
            and [type(one) for one in shards.index_codecs] == [zarr.codecs.BytesCodec, zarr.codecs.Crc32cCodec]
            and [type(one) for one in inner] == [zarr.codecs.BytesCodec, zarr.codecs.BloscCodec]
        )

    def each(self, rows: NDArray[np.int64], take: Take) -> None:
        """Hand the frames of `rows` (n,) to `take`, shard by shard; NaN where nothing was written.

        Raises
        ------
        SunaugError
            If a shard is damaged or not there, or a URL cannot be reached.
        """
        numbers = rows // self._per_shard
        chunks: list[_Chunk] = []
        for number in np.unique(numbers).tolist():
            places = np.flatnonzero(numbers == number)
            with reachable(self._folder):
                found = self._chunks(number, rows[places])
            chunks += [
                _Chunk(place, row, number, data)
                for place, row, data in zip(places.tolist(), rows[places].tolist(), found, strict=True)
            ]
        # A data loader's workers share the cores already, and threads cost more than a few small frames.
        threads = 1 if get_worker_info() else min(MOST_THREADS, os.cpu_count() or 1, len(chunks))
        if threads == 1 or 4 * len(rows) * math.prod(self._shape) < _WORTH_THREADS:
            self._decompress(chunks, take)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda part: self._decompress(chunks[part::threads], take), range(threads)))

    def _decompress(self, chunks: list[_Chunk], take: Take) -> None:
        # One frame in memory for all of them: fresh pages cost as much as decompressing.
        frame = np.empty(self._shape, np.float32)
        for chunk in chunks:
            if chunk.data is None:
                frame[:] = np.nan
            else:
                self._decompress_one(chunk, frame)
            take(chunk.place, frame)

    def _decompress_one(self, chunk: _Chunk, frame: NDArray[np.float32]) -> None:
        try:
            whole = imagecodecs.blosc_decode(
                chunk.data,  # type: ignore[arg-type]
                numthreads=1,
                out=frame.data.cast("B"),
            )
            if len(whole) != frame.nbytes:
                raise ValueError(f"{len(whole)} of {frame.nbytes} bytes")
        except (RuntimeError, ValueError) as error:
            raise damaged(self._place(chunk.shard), f"frame {chunk.row} in it cannot be decompressed") from error

    def _place(self, shard: int) -> UPath:
        return self._folder / self._metadata.encode_chunk_key((shard, 0, 0, 0))

    def _chunks(self, number: int, rows: NDArray[np.int64]) -> list[memoryview | None]:
        """Compressed frames in `rows` of a shard; None for those not written."""
        if number not in self._shards:
            self._shards[number] = _open_shard(self._place(number), self._per_shard, self._remote)
        shard = self._shards[number]
        found: list[memoryview | None] = [None] * len(rows)
        if shard is not None:
            found = shard.chunks(rows % self._per_shard)
        if any(data is None for data in found):
            for row, data in zip(rows.tolist(), found, strict=True):
                if data is None and self._written[row]:
                    lost = "missing" if shard is None else f"lacks frame {row}, which is said to be there"
                    raise damaged(self._place(number), lost)
        return found


class _Shard(Protocol):
    def chunks(self, slots: NDArray[np.int64]) -> list[memoryview | None]:
        """Compressed frames in `slots` (n,); None for those not written."""


def _open_shard(place: UPath, slots: int, remote: bool) -> _Shard | None:
    try:
        return _RemoteShard(place, slots) if remote else _MappedShard(Path(str(place)), slots)
    except FileNotFoundError:
        return None


class _MappedShard:
    """A local shard, mapped into memory: the system's page cache is what is read from."""

    def __init__(self, place: Path, slots: int) -> None:
        with place.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise damaged(place, "is empty")
            self._bytes = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self._index = parse_index(self._bytes, slots, place).tolist()

    def chunks(self, slots: NDArray[np.int64]) -> list[memoryview | None]:
        """Compressed frames in `slots` (n,); None for those not written."""
        entries = [self._index[slot] for slot in slots.tolist()]
        return [None if start == NO_CHUNK else self._bytes[start : start + length] for start, length in entries]


class _RemoteShard:
    """A shard behind a URL: its index is fetched once, chunks that lie side by side in one piece."""

    def __init__(self, place: UPath, slots: int) -> None:
        self._place = place
        tail = place.fs.cat_file(place.path, start=-16 * slots - _CHECKSUM_BYTES)
        self._index = parse_index(tail, slots, place)

    def chunks(self, slots: NDArray[np.int64]) -> list[memoryview | None]:
        """Compressed frames in `slots` (n,); None for those not written."""
        wanted = [slot for slot in np.unique(slots).tolist() if self._index[slot, 0] != NO_CHUNK]
        runs = list(self._runs(wanted))
        starts = [int(self._index[run[0], 0]) for run in runs]
        stops = [int(self._index[run[-1]].sum()) for run in runs]
        pieces = self._place.fs.cat_ranges([self._place.path] * len(runs), starts, stops)
        found: dict[int, memoryview] = {}
        for run, start, piece in zip(runs, starts, pieces, strict=True):
            for slot in run:
                offset, length = self._index[slot].tolist()
                found[slot] = memoryview(piece)[offset - start : offset - start + length]
        return [found.get(slot) for slot in slots.tolist()]

    def _runs(self, slots: list[int]) -> Iterator[list[int]]:
        """Slots whose chunks follow each other without a gap, together."""
        run: list[int] = []
        for slot in sorted(slots, key=lambda one: int(self._index[one, 0])):
            if run and self._index[run[-1]].sum() != self._index[slot, 0]:
                yield run
                run = []
            run.append(slot)
        if run:
            yield run


def open_reader(cube: str | Path | UPath | xr.Dataset, opened: xr.Dataset) -> FrameReader:
    """The fastest reader for a cube.

    Parameters
    ----------
    cube : str, pathlib.Path, upath.UPath or xarray.Dataset
        Where it is; of a dataset the values as they are in it are read.
    opened : xarray.Dataset
        The same, open.
    """
    if not isinstance(cube, xr.Dataset):
        array = zarr.open_group(**zarr_location(cube), mode="r")["intensity"]
        if isinstance(array, zarr.Array) and ShardReader.can_read(array):
            return ShardReader(cube, array, opened["frame_status"].values)
    return ArrayReader(opened["intensity"])
