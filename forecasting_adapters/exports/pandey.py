"""Fold CSVs and 512-pixel JPEGs of the full-disk forecasters of Pandey et al., for their `ConcatDataset`.

Checked with ``MyJP2Dataset``, ``NFDataset`` and ``FLDataset`` of chetrajpandey/fulldisk-spatial-analytics and of
gsu-csds/fulldiskAttention (``modeling/dataloader.py``; Pandey et al. 2023, ECML PKDD): the first column of a CSV is a
path below a root folder, ``goes_class`` is 1 from M1.0 on.

Fold n validates on the n-th quarter of every year from December 2010 to December 2018. A fold whose validation holds
days that the generator was trained on is not written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from forecasting_adapters.exports.contract import Ecosystem, Frame, Plan
from forecasting_adapters.exports.files import put_once
from forecasting_adapters.exports.labels import at_least, check_forecasts
from forecasting_adapters.exports.pictures import default_levels, jpeg_bytes, read_pictures, write_pictures
from forecasting_adapters.leakage import LeakageError, held_out_days
from forecasting_adapters.published_splits import PUBLISHED_SPLITS
from sunaug.errors import UsageError
from sunaug.lexicon import CHANNELS

__all__ = ["ECOSYSTEM", "clean_folds"]

SIZE = 512
DISK_RADIUS = 206.0
"""Pixels: 1648 of 4096, as results_and_visualization/visualize_magdisk.py has it."""

FOLDS = (1, 2, 3, 4)


def clean_folds(training_ranges: Iterable[Sequence[str]]) -> list[int]:
    """Folds whose validation holds no day that the generator was trained on; none where that is not known."""
    ranges = list(training_ranges)
    return [fold for fold in FOLDS if ranges and not held_out_days(ranges, PUBLISHED_SPLITS[f"pandey-{fold}"])]


def _chosen_folds(plan: Plan) -> list[int]:
    wanted, ranges = plan.options["folds"], plan.note.get("training_ranges", ())
    if wanted == "all":
        return list(FOLDS)
    if wanted != "clean":
        raise UsageError(f"option folds={wanted}: choose clean or all.")
    if clean := clean_folds(ranges):
        return clean
    raise LeakageError(
        f"{plan.name}: its generator was trained on days that every fold validates on, or does not say on which; take "
        "another bundle, or write all folds with the option folds=all and judge by other days.",
        [(str(start), str(end)) for start, end in ranges],
    )


def _below_root(time: np.datetime64) -> str:
    # Their labeling.py takes the month for its folds from characters 22 and 23: here they are no month, so that
    # synthetic rows stay in the training of each fold.
    return pd.Timestamp(time).strftime("%Y/%m/%d/SYNTHETIC.m%Y.%m.%d_%H.%M.%S.jpg")


def _picture_path(number: int, time: np.datetime64, channel: str) -> str:
    return f"{channel}/{_below_root(time)}"


def _write(plan: Plan, frames: Iterator[Frame], out: Path, done: Callable[[int], None]) -> None:
    check_forecasts(plan)
    folds = _chosen_folds(plan)
    levels = default_levels(plan.channels, plan.intensity_scale)
    write_pictures(frames, out, plan.channels, levels, _picture_path, jpeg_bytes, done)
    rows = pd.DataFrame(
        {
            "label": [_below_root(time) for time in plan.times],
            "goes_class": at_least(plan.forecast_flux, "M1.0").astype(int),
        }
    )
    content = rows.to_csv(index=False, lineterminator="\n").encode()
    for fold in folds:
        put_once(out / f"Fold{fold}_train.csv", partial(bytes, content))


def _read(out: Path, note: Mapping[str, Any]) -> xr.Dataset:
    return read_pictures(out, note, _picture_path)


ECOSYSTEM = Ecosystem(
    name="pandey",
    title="Pandey et al., full-disk forecasters (MyJP2Dataset, NFDataset, FLDataset)",
    wants=(
        "Grey JPEGs of 512 pixels, north up, in a root folder for each channel, and FoldN_train.csv with label (path) "
        "and goes_class (1 from M1.0). Theirs are HMI magnetograms, ours EUV: use them in a forecaster that is trained "
        "on EUV pictures, not beside their magnetograms. Rows go into training only, and only into folds whose "
        "validation quarter the generator has not seen (folds=all writes all four)."
    ),
    channels={name: name for name in CHANNELS},
    write=_write,
    read=_read,
    size=SIZE,
    disk_radius=DISK_RADIUS,
    options={"folds": "clean"},
)
