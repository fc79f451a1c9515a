"""``sunaug inspect``: what is in a cube or a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import xarray as xr

_PANELS = 12


def inspect(
    path: Path = typer.Argument(..., help="A cube, a synthetic cube, or a bundle."),
    picture: Path | None = typer.Option(None, "--picture", help="Also write a contact sheet (PNG) of the cube."),
) -> None:
    """Show what is in a cube or a bundle."""
    from sunaug.errors import UsageError

    if (path / "bundle.json").exists():
        if picture:
            raise UsageError(f"{path}: a bundle holds no frames to draw; make some with `sunaug generate`.")
        lines = _bundle_lines(path)
    else:
        from sunaug.cube import open_cube

        cube = open_cube(path)
        lines = _cube_lines(path, cube)
        if picture:
            _draw(path, cube, picture)
            lines.append(("picture", str(picture)))
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        typer.echo(f"{name:<{width}}  {text}")


def _size_on_disk(path: Path) -> str:
    return f"{sum(file.stat().st_size for file in path.rglob('*') if file.is_file()) / 2**20:,.1f} MiB"


def _cube_lines(path: Path, cube: xr.Dataset) -> list[tuple[str, str]]:
    import numpy as np

    from sunaug.cube import FrameStatus
    from sunaug.flares import class_letters

    frame_dim = "time" if "time" in cube.dims else "sample"
    status = cube["frame_status"].values
    attrs = cube.attrs
    lines = [
        ("cube", f"{path}{' (SYNTHETIC)' if frame_dim == 'sample' else ''}"),
        ("dimensions", ", ".join(f"{name} {cube.sizes[name]:,}" for name in (frame_dim, "channel", "y", "x"))),
        ("channels", ", ".join(map(str, cube["channel"].values))),
        ("intensity", f"{attrs['intensity_scale']}, {cube['intensity'].attrs['units']}"),
        ("disk radius", f"{attrs['solar_radius_pixels']:g} pixels"),
        ("frames", ", ".join(f"{(status == one).sum():,} {one.name.lower()}" for one in FrameStatus if one in status)),
    ]
    if frame_dim == "time" and cube.sizes["time"]:
        first, last = (str(moment.astype("datetime64[s]")) for moment in cube["time"].values[[0, -1]])
        lines.insert(2, ("time", f"{first} to {last}"))
    for name in ("forecast_flux", "nowcast_flux"):
        flux = cube[name].values[np.isin(status, [FrameStatus.COMPLETE, FrameStatus.PARTIAL])]
        letters = class_letters(flux)
        counts = {letter: int((letters == letter).sum()) for letter in "XMCBA"}
        counts |= {"quiet": int((letters == "").sum() - np.isnan(flux).sum()), "unknown": int(np.isnan(flux).sum())}
        text = ", ".join(f"{letter} {count:,}" for letter, count in counts.items() if count)
        lines.append((name, text or "no usable frame"))
    for step in attrs.get("processing", []):
        lines.append(("processing", ", ".join(map(str, step.values()))))
    lines.append(("on disk", f"{_size_on_disk(path)}, schema {attrs['schema_version']}, {attrs['sunaug_version']}"))
    return lines


def _bundle_lines(path: Path) -> list[tuple[str, str]]:
    import json

    from sunaug.errors import SunaugError

    try:
        content = json.loads((path / "bundle.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise SunaugError(f"{path / 'bundle.json'}: not JSON ({error}); get the bundle again.") from None
    wanted = (
        "name",
        "architecture",
        "channels",
        "intensity_scale",
        "disk_radius",
        "training_ranges",
        "metrics",
        "licence",
        "sunaug_version",
    )
    lines = [("bundle", str(path))]
    for name in wanted:
        value = content.get(name)
        if value in (None, {}, []):
            continue
        if name == "training_ranges":
            value = f"{len(value)} ranges, {value[0][0]} to {value[-1][-1]}"
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {one}" for key, one in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        lines.append((name.replace("_", " "), str(value)))
    lines.append(("on disk", _size_on_disk(path)))
    return lines


def _draw(path: Path, cube: xr.Dataset, picture: Path) -> None:
    """Twelve usable frames from the whole of the cube, evenly spaced."""
    import numpy as np

    from sunaug.cube import FrameStatus
    from sunaug.errors import SunaugError
    from sunaug.flares import format_goes_class
    from sunaug.pictures import contact_sheet

    usable = np.flatnonzero(np.isin(cube["frame_status"].values, [FrameStatus.COMPLETE, FrameStatus.PARTIAL]))
    if not len(usable):
        raise SunaugError(f"{path}: no usable frame to draw.")
    synthetic = "sample" in cube.dims
    panels = []
    for number in usable[np.unique(np.linspace(0, len(usable) - 1, _PANELS).round().astype(int))]:
        frame = cube.isel({"sample" if synthetic else "time": number})
        moment = f"sample {number}" if synthetic else str(frame["time"].values.astype("datetime64[m]"))
        label = format_goes_class(float(frame["forecast_flux"]))
        panels.append((f"{moment}  {label}", frame["intensity"].values))
    contact_sheet(
        picture,
        panels,
        [str(name) for name in cube["channel"].values],
        intensity_scale=cube.attrs["intensity_scale"],
        synthetic=synthetic,
    )
