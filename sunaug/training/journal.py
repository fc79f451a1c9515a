"""What a run leaves to look at: log.csv, evaluations.csv, events.txt, TensorBoard files and sample sheets."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from sunaug.errors import SunaugError
from sunaug.networks import BaseGenerator
from sunaug.networks.patches import TILE, in_tiles, synthesize_whole
from sunaug.pictures import contact_sheet
from sunaug.scaling import IntensityScaling

SAMPLE_FLUXES = (1e-7, 1e-6, 1e-5, 1e-4)
SAMPLES_PER_FLUX = 3


class Table:
    """A CSV file that grows by rows; on resuming, rows after the checkpoint are dropped before new ones are added.

    Parameters
    ----------
    path : pathlib.Path
    fields : sequence of str
        Its columns; the first must be ``images``.
    images : int
        Rows beyond this number of images are dropped.
    """

    def __init__(self, path: Path, fields: Sequence[str], images: int) -> None:
        self.path, self.fields = path, list(fields)
        self.rewind(images)

    def rewind(self, images: int) -> None:
        """Drop the rows after `images`."""
        kept: list[dict[str, str]] = []
        if images and self.path.exists():
            with self.path.open(newline="") as file:
                kept = [row for row in csv.DictReader(file) if int(row["images"]) <= images]
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.fields, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(kept)
        partial.replace(self.path)

    def write(self, row: Mapping[str, float]) -> None:
        """Add a row; a column that is not given stays empty."""
        shown = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.fields, restval="").writerow(shown)


class Journal:
    """The files of a run.

    Parameters
    ----------
    out : pathlib.Path
    log_fields, evaluation_fields : sequence of str
        Columns of log.csv and evaluations.csv.
    images : int
        Images of the checkpoint that the run goes on from.
    tensorboard : bool
        Write the figures for TensorBoard as well.

    Raises
    ------
    SunaugError
        If `tensorboard` is asked for and not installed.
    """

    def __init__(
        self, out: Path, log_fields: Sequence[str], evaluation_fields: Sequence[str], images: int, *, tensorboard: bool
    ) -> None:
        self.out = out
        self._tables = {
            "training": Table(out / "log.csv", log_fields, images),
            "evaluation": Table(out / "evaluations.csv", evaluation_fields, images),
        }
        self._board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise SunaugError("TensorBoard is not installed; run pip install 'sunaug[tensorboard]'.") from None
            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=images)

    def figures(self, kind: str, row: Mapping[str, float]) -> None:
        """Write a row of ``training`` or ``evaluation`` figures."""
        self._tables[kind].write(row)
        if self._board is not None:
            for name, value in row.items():
                self._board.add_scalar(f"{kind}/{name}", value, int(row["images"]))
            self._board.flush()

    def rewind(self, images: int) -> None:
        """Drop what was written after `images`, on the way back to a checkpoint."""
        for table in self._tables.values():
            table.rewind(images)

    def event(self, text: str) -> None:
        """Write down something that happened to the run."""
        with (self.out / "events.txt").open("a") as file:
            file.write(text + "\n")

    def samples(
        self,
        images: int,
        generator: BaseGenerator,
        channels: list[str],
        scaling: IntensityScaling,
        intensity_scale: str,
    ) -> Path:
        """A sheet of samples: the same latents at every call, one row for each class of flux.

        Images that are made by tiles are averaged down to the size of one.
        """
        config, device = generator.config, next(generator.parameters()).device
        fixed = torch.Generator().manual_seed(0)
        z = torch.randn(SAMPLES_PER_FLUX, config.z_dim, generator=fixed).to(device)
        noise = torch.randn(SAMPLES_PER_FLUX, generator.noise_size, generator=fixed).to(device)
        panels = []
        for flux in SAMPLE_FLUXES if config.condition_width else SAMPLE_FLUXES[:1]:
            condition = torch.from_numpy(config.encode(np.full((SAMPLES_PER_FLUX, len(config.labels)), flux)))
            with torch.inference_mode():
                scaled = synthesize_whole(generator, generator.mapping(z, condition.to(device)), noise)
                if in_tiles(generator):
                    scaled = F.adaptive_avg_pool2d(scaled, TILE)
            for image in scaling.unscale(scaled.float().cpu().numpy()):
                panels.append((f"{flux:.0e} W m-2" if config.condition_width else "", image))
        return contact_sheet(
            self.out / f"samples-{images:09d}.png",
            panels,
            channels,
            intensity_scale=intensity_scale,
            columns=SAMPLES_PER_FLUX,
            synthetic=True,
        )

    def close(self) -> None:
        """Close the TensorBoard files."""
        if self._board is not None:
            self._board.close()
