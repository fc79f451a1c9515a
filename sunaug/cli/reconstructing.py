"""What ``sunaug project`` and ``sunaug complete`` share: the work, the table of errors, the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sunaug.bundle import Bundle
    from sunaug.reconstruction import Errors, RealFrames

PANELS = 6


@dataclass(frozen=True)
class Reconstructed:
    """A finished cube of reconstructions at `path`, with the bundle that made it and the real frames."""

    path: Path
    bundle: Bundle
    frames: RealFrames

    @property
    def errors(self) -> Errors:
        """Of the reconstructions."""
        from sunaug.cube import open_cube
        from sunaug.reconstruction import Errors

        cube = open_cube(self.path)
        return Errors(cube["rms_error"].values, cube["total_error"].values)


def parse_channels(text: str) -> list[str]:
    """Channels separated by commas."""
    return [name for name in text.split(",") if name.strip()]


def run(
    cube: str,
    bundle: Bundle,
    out: Path,
    channels: Sequence[str] | None,
    *,
    split: str,
    n: int,
    steps: int,
    layers: str,
    seed: int,
    device: str,
) -> Reconstructed:
    """Choose frames, reconstruct them, and say so; the options are those of both commands."""
    from sunaug.cli.progress import progress
    from sunaug.cube import open_cube
    from sunaug.latent.projection import Projection
    from sunaug.reconstruction import real_frames, reconstruct, total_steps

    settings = Projection(steps=steps, layers=layers, seed=seed)
    frames = real_frames(open_cube(cube), bundle, channels, split=split, n=n)
    with progress("projecting", total_steps(frames, settings), "steps") as report:
        path = reconstruct(out, bundle, frames, settings, device=device, report=report)
    typer.echo(
        f"{path}: {len(frames):,} SYNTHETIC reconstructions of frames of {frames.name} by {bundle.info.name}, gone by "
        f"{', '.join(frames.counted)}."
    )
    return Reconstructed(path, bundle, frames)


def say_errors(columns: dict[str, Errors], channels: Sequence[str]) -> None:
    """Print the mean errors of each channel, a column for each name in `columns`."""
    typer.echo("mean RMS error (scaled units, range 2) and mean absolute error of the total, against the real frames:")
    typer.echo(f"  {'':8}" + "".join(f"{name:>18}" for name in columns))
    for number, name in enumerate(channels):
        cells = [_cell(one.rms[:, number], one.total[:, number]) for one in columns.values()]
        typer.echo(f"  {name:8}" + "".join(f"{cell:>18}" for cell in cells))


def _cell(rms: NDArray[np.float32], total: NDArray[np.float32]) -> str:
    import numpy as np

    return "-" if np.isnan(rms).all() else f"{np.nanmean(rms):.3f}, {np.nanmean(np.abs(total)):.1%}"


def draw(picture: Path, made: Reconstructed) -> None:
    """Real frames beside their reconstructions, evenly chosen."""
    import numpy as np

    from sunaug.cube import open_cube
    from sunaug.pictures import compare_sheet

    cube, frames = open_cube(made.path), made.frames
    real, synthetic = [], []
    for number in np.unique(np.linspace(0, len(frames) - 1, PANELS).round().astype(int)).tolist():
        title = str(frames.times[number].astype("datetime64[m]"))
        real.append((title, frames.intensity(slice(number, number + 1))[0]))
        synthetic.append((f"SYNTHETIC {title}", cube["intensity"][number].values))
    compare_sheet(
        picture,
        real,
        synthetic,
        made.bundle.info.channels,
        intensity_scale=made.bundle.info.intensity_scale,
        columns=1,
        headings=("Observed", f"SYNTHETIC: by {made.bundle.info.name}, after {', '.join(frames.counted)}"),
    )
    typer.echo(f"{picture}: real frames beside their reconstructions.")
