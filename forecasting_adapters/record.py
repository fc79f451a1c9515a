"""What a training saw, epoch by epoch, so that a paper can state it.

Counted are the samples that reach the training loop, not those that were to reach it: whatever sampler, workers or
early stop lie between.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from upath import UPath

from sunaug.errors import UsageError
from sunaug.storage import replace_object

__all__ = ["COLUMNS", "TrainingRecord"]

COLUMNS = (
    "epoch",
    "samples",
    "real_negative",
    "real_positive",
    "synthetic_negative",
    "synthetic_positive",
    "ratio",
    "synthetic",
    "bundle_hash",
    "gate",
    "ungated_allowed",
    "leakage_allowed",
)
_KEPT = ("synthetic", "bundle_hash", "gate", "ungated_allowed", "leakage_allowed")


class TrainingRecord:
    """Counts the samples of each epoch, by kind and label, and writes them down.

    Each epoch becomes a line of the CSV file. The whole provenance (training ranges of the generator, mixture, what
    was allowed) is written beside it, as ``.json``. With several processes the counts of all are added, and the first
    one writes.

    Parameters
    ----------
    path : str or pathlib.Path
        CSV file; lines of an earlier part of the same training are kept, but for epochs that come again.
    provenance : mapping, optional
        `MixedSolarDataset.provenance`.
    tensorboard : str, pathlib.Path or SummaryWriter, optional
        Folder for TensorBoard, or an open writer, to which counts and ratio go as ``seen/...``.

    Raises
    ------
    UsageError
        If TensorBoard is asked for and not installed.

    Examples
    --------
    >>> record = TrainingRecord("run/seen.csv", mixed.provenance(), tensorboard="run")
    >>> for epoch in range(10):
    ...     sampler.set_epoch(epoch)
    ...     for batch in record.watch(loader, epoch):
    ...         step(batch)
    """

    def __init__(
        self, path: str | Path, provenance: Mapping[str, Any] | None = None, *, tensorboard: Any = None
    ) -> None:
        self.path = Path(path)
        self.provenance = dict(provenance or {})
        self._counts = torch.zeros(2, 2, dtype=torch.int64)
        self._writer = _summary_writer(tensorboard) if isinstance(tensorboard, str | Path) else tensorboard

    def watch(self, loader: Iterable[Mapping[str, Any]], epoch: int) -> Iterator[Mapping[str, Any]]:
        """Hand on the batches of a loader and write the epoch down when they end, be it by a ``break``.

        Parameters
        ----------
        loader : iterable of batches
            Each with ``label`` and ``synthetic``, as samples of this package come out of PyTorch's default collate.
        epoch : int
        """
        try:
            for batch in loader:
                self.count(batch)
                yield batch
        finally:
            self.write(epoch)

    def count(self, batch: Mapping[str, Any]) -> None:
        """Count the samples of a batch.

        Raises
        ------
        UsageError
            If it does not say what its samples are.
        """
        if not {"label", "synthetic"} <= set(batch):
            raise UsageError(
                "a batch without label and synthetic cannot be counted; serve samples of MixedSolarDataset."
            )
        label, synthetic = (torch.as_tensor(batch[name]).reshape(-1).cpu().long() for name in ("label", "synthetic"))
        self._counts += torch.bincount(2 * synthetic + (label != 0).long(), minlength=4).reshape(2, 2)

    def write(self, epoch: int) -> dict[str, Any]:
        """Write an epoch down and begin the next one.

        Returns
        -------
        dict
            By `COLUMNS`: number of samples of each kind and label, the ratio of synthetic to real ones, and what is
            known of the synthetic ones.
        """
        counts, self._counts = _of_all_processes(self._counts), torch.zeros_like(self._counts)
        (real_negative, real_positive), (synthetic_negative, synthetic_positive) = counts.tolist()
        real = real_negative + real_positive
        row = {
            "epoch": epoch,
            "samples": int(counts.sum()),
            "real_negative": real_negative,
            "real_positive": real_positive,
            "synthetic_negative": synthetic_negative,
            "synthetic_positive": synthetic_positive,
            "ratio": round((synthetic_negative + synthetic_positive) / real, 6) if real else "",
            **{name: self.provenance.get(name, "") for name in _KEPT},
        }
        if not _rank():
            self._keep(row)
        return row

    def _keep(self, row: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        before: list[Mapping[str, Any]] = []
        with suppress(FileNotFoundError), self.path.open(newline="") as file:
            before = [line for line in csv.DictReader(file) if int(line["epoch"]) < row["epoch"]]
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows([*before, row])
        content = json.dumps(self.provenance, indent=2) + "\n"
        replace_object(UPath(self.path.with_suffix(".json")), content.encode())
        if self._writer is not None:
            for name in COLUMNS[1:7]:
                if row[name] != "":
                    self._writer.add_scalar(f"seen/{name}", row[name], row["epoch"])
            self._writer.add_text("seen/provenance", f"```\n{content}```", row["epoch"])
            self._writer.flush()


def _summary_writer(folder: str | Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError(
            "a record for TensorBoard needs tensorboard: pip install 'sunaug[tensorboard]', or leave tensorboard= out."
        ) from None
    return SummaryWriter(str(folder))


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _rank() -> int:
    return distributed.get_rank() if _together() else 0


def _of_all_processes(counts: Tensor) -> Tensor:
    if not _together():
        return counts
    # NCCL adds up tensors of a GPU only.
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    summed = counts.to(device, copy=True)
    distributed.all_reduce(summed)
    return summed.cpu()
