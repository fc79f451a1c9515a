"""Synthetic frames as Surya's flare dataset gives real ones, without files between.

`SuryaFlareDataset` yields what ``SolarFlareDataset`` of Surya and ``FlareDSDataset`` of SuryaBench do: a dict of arrays
and a dict of times, for their ``custom_collate_fn``, beside theirs in a ``torch.utils.data.ConcatDataset``.

References
----------
https://github.com/NASA-IMPACT/Surya, surya/datasets/helio.py and solar_flare_forcasting/dataset.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml
from numpy.typing import NDArray
from torch.utils.data import Dataset

from forecasting_adapters.exports.exporting import check_split, open_synthetic
from forecasting_adapters.exports.preparing import prepare
from forecasting_adapters.exports.registry import ecosystem
from forecasting_adapters.exports.suryabench import flare_labels
from forecasting_adapters.exports.times import DEFAULT_START, assign_times
from forecasting_adapters.leakage import TimeRange
from forecasting_adapters.reading import FrameReader, open_reader
from sunaug.cube import FrameStatus
from sunaug.errors import SunaugError, UsageError
from sunaug.sources.suryabench import VARIABLES

__all__ = ["SuryaFlareDataset"]

_PARAMETERS = ("mean", "std", "epsilon", "sl_scale_factor")
_LABELS = ("label_max", "label_cum")


class SuryaFlareDataset(Dataset[tuple[dict[str, Any], dict[str, Any]]]):
    """Samples of a synthetic cube in the form of Surya's ``SolarFlareDataset``.

    A synthetic frame has neither past nor future: all input and target times of a sample show the same frame, a Sun
    that stands still. Channels that the cube lacks are 0 after normalisation, as Surya's own masker leaves a hidden
    channel.

    Parameters
    ----------
    source : str, pathlib.Path or xarray.Dataset
        A synthetic cube.
    scalers : str, pathlib.Path or mapping
        Surya's ``scalers.yaml``, or what it holds: for each channel ``mean``, ``std``, ``epsilon`` and
        ``sl_scale_factor``, in a dict or as attributes (their ``build_scalers``).
    channels : sequence of str, optional
        As given to theirs, in the same order; by default all thirteen.
    size : int, optional
        Height and width, those of the real samples (4096 / pooling); by default the cube's.
    time_delta_input_minutes : sequence of int
    time_delta_target_minutes, rollout_steps : int
        As given to theirs.
    label_key : {"label", "target"}
        ``label`` for Surya, ``target`` for SuryaBench.
    label : {"label_max", "label_cum"}
        M1.0 or more in the next 24 h, or a cumulative index of 10 or more.
    start : str
        Time of the first frame.
    border : {"continue", "missing"}
        As for `forecasting_adapters.exports.export`.
    split : str
        The published split that the forecaster is evaluated by, as for `forecasting_adapters.exports.export`;
        ``none``: by other times.
    allow_ungated : bool
        Take a cube that the fidelity gate has refused or not judged.

    Attributes
    ----------
    times : ndarray of datetime64, shape (n,)
        Assigned, UTC.
    labels : ndarray of int64, shape (n,)
    training_ranges : tuple of (start, end)
        Times that the generator was trained on, ISO 8601, UTC, half-open.

    Raises
    ------
    UsageError
        If a channel is not SuryaBench's, has no scaler, or the cube has none of them.
    SunaugError
        If no sample is complete with a known forecast.
    GateRefused
        If the gate has not passed the cube, unless `allow_ungated`.
    LeakageError
        If the generator has seen times that `split` holds out.
    """

    def __init__(
        self,
        source: str | Path | xr.Dataset,
        scalers: str | Path | Mapping[str, Any],
        channels: Sequence[str] | None = None,
        *,
        size: int | None = None,
        time_delta_input_minutes: Sequence[int] = (-60, 0),
        time_delta_target_minutes: int = 60,
        rollout_steps: int = 0,
        label_key: str = "label",
        label: str = "label_max",
        start: str = DEFAULT_START,
        border: str = "continue",
        split: str = "suryabench",
        allow_ungated: bool = False,
    ) -> None:
        if label_key not in ("label", "target") or label not in _LABELS:
            raise UsageError(f"{label_key} of {label}: choose label or target, of {' or '.join(_LABELS)}.")
        self.channels = list(VARIABLES if channels is None else channels)
        if strange := [name for name in self.channels if name not in VARIABLES]:
            raise UsageError(f"{', '.join(strange)}: not a channel of SuryaBench; it has {', '.join(VARIABLES)}.")
        opened, name = open_synthetic(source, allow_ungated=allow_ungated)
        surya = ecosystem("suryabench")
        self._how = prepare(opened, surya, size, border, name)
        self._places = [self._how.channels.index(one) if one in self._how.channels else None for one in self.channels]
        if all(place is None for place in self._places):
            raise UsageError(f"{name}: has {', '.join(self._how.channels)}, none of {', '.join(self.channels)}.")
        self._scalers = _scaler_arrays(scalers, self.channels)
        flux = opened["forecast_flux"].values
        self._rows = np.flatnonzero((opened["frame_status"].values == FrameStatus.COMPLETE) & ~np.isnan(flux))
        if not len(self._rows):
            raise SunaugError(f"{name}: no sample is complete with a known forecast; generate the cube first.")
        self.labels: NDArray[np.int64] = flare_labels(flux[self._rows])[label].to_numpy(np.int64)
        ranges = opened.attrs.get("training_ranges", ())
        self.training_ranges: tuple[TimeRange, ...] = tuple((str(begin), str(end)) for begin, end in ranges)
        check_split(opened, split, f"SYNTHETIC/{Path(name).stem}")
        self.times = assign_times(
            len(self._rows), start, surya.cadence, surya.reach, training_ranges=self.training_ranges, source=name
        )
        inputs = np.sort(np.asarray(time_delta_input_minutes))
        targets = time_delta_target_minutes * np.arange(1, rollout_steps + 2)
        self._inputs, self._targets = inputs.astype("timedelta64[m]"), targets.astype("timedelta64[m]")
        self._label_key = label_key
        self._source = source
        self._reader: FrameReader | None = None
        self._opened_by = -1

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[dict[str, Any], dict[str, Any]]:
        frame = self._normalised(index)
        last, hour = self._inputs[-1], np.timedelta64(1, "h")
        moment = pd.Timestamp(self.times[index])
        data = {
            "ts": np.repeat(frame[:, None], len(self._inputs), axis=1),
            "time_delta_input": ((last - self._inputs) / hour).astype(np.float32),
            "forecast": np.repeat(frame[:, None], len(self._targets), axis=1),
            "lead_time_delta": ((last - self._targets) / hour).astype(np.float32),
            self._label_key: self.labels[index],
        }
        return data, {"timestamps_input": moment + self._inputs, "timestamps_targets": moment + self._targets}

    def __getstate__(self) -> dict[str, Any]:
        # An open store holds threads and maps, which do not travel to another process.
        return self.__dict__ | {"_reader": None, "_opened_by": -1}

    def _normalised(self, index: int) -> NDArray[np.float32]:
        """The frame of a sample (channel, y, x) as their ``transform_data`` makes it."""
        (stored,) = self._open().read(self._rows[[index]])
        images = np.nan_to_num(self._how.apply(stored), nan=0.0)
        frame = np.zeros((len(self.channels), *images.shape[1:]), np.float32)
        for channel, place in enumerate(self._places):
            if place is not None:
                mean, std, epsilon, factor = self._scalers[channel]
                scaled = images[place] * factor
                frame[channel] = (np.sign(scaled) * np.log1p(np.abs(scaled)) - mean) / (std + epsilon)
        return frame

    def _open(self) -> FrameReader:
        if self._reader is None or self._opened_by != os.getpid():
            opened, _ = open_synthetic(self._source, allow_ungated=True)
            self._reader, self._opened_by = open_reader(self._source, opened), os.getpid()
        return self._reader


def _scaler_arrays(scalers: str | Path | Mapping[str, Any], channels: Sequence[str]) -> NDArray[np.float32]:
    """Mean, standard deviation, epsilon and scale factor of each channel, shape (channel, 4)."""
    if isinstance(scalers, Mapping):
        known, where = scalers, "the scalers"
    else:
        where = str(scalers)
        try:
            known = yaml.safe_load(Path(scalers).read_text())
        except (OSError, yaml.YAMLError) as error:
            raise UsageError(f"{where}: cannot be read as scalers ({' '.join(str(error).split())}).") from None
    found = np.empty((len(channels), len(_PARAMETERS)), np.float32)
    for row, name in enumerate(channels):
        try:
            one = known[name]
            values = [one[key] if isinstance(one, Mapping) else getattr(one, key) for key in _PARAMETERS]
            found[row] = np.asarray(values, dtype=np.float32)
        except (KeyError, AttributeError, TypeError, ValueError):
            raise UsageError(f"{where}: no {', '.join(_PARAMETERS)} for {name}; give Surya's scalers.yaml.") from None
    return found
