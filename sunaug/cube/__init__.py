"""The cube: frames of the Sun with their labels in one Zarr store, read and written through xarray and Zarr.

The cube is the contract between the rooms: ingest writes it, training and fidelity read it, generation writes a
synthetic one with the same schema. `schema` says what is in it, `store` creates, fills and lengthens it, `opening`
opens it, `integrity` tells what is damaged, `encoding` rounds it, `statistics` sums it up, `splits` cuts it by months,
`lock` keeps a second writer out, `fencing` one that has lost its lock, `reconstructions` keeps reconstructed frames
apart from generated ones.
"""

from sunaug.cube.opening import open_cube
from sunaug.cube.reconstructions import refuse_reconstructions
from sunaug.cube.schema import SCHEMA_VERSION, FrameStatus
from sunaug.cube.splits import SPLIT_MONTHS, select_split
from sunaug.cube.store import create_cube, set_attributes, shard_ranges, write_frames

__all__ = [
    "SCHEMA_VERSION",
    "SPLIT_MONTHS",
    "FrameStatus",
    "create_cube",
    "open_cube",
    "refuse_reconstructions",
    "select_split",
    "set_attributes",
    "shard_ranges",
    "write_frames",
]
