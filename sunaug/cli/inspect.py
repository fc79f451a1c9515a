"""``sunaug inspect``: what is in a cube or a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import xarray as xr

_PANELS = 12


def inspect(
    path: Path = typer.Argument(..., help="A cube, a synthetic cube, a bundle, or the name of a bundled one."),
    picture: Path | None = typer.Option(None, "--picture", help="Also write a contact sheet (PNG) of the cube."),
) -> None:
    """Show what is in a cube or a bundle."""
    from sunaug.bundle import bundled_names
    from sunaug.errors import UsageError

    if (path / "bundle.json").exists() or (not path.exists() and str(path) in bundled_names()):
        if picture:
            raise UsageError(f"{path}: a bundle holds no frames to draw; make some with `sunaug generate`.")
        lines = _bundle_lines(str(path))
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


def _bundle_lines(name: str) -> list[tuple[str, str]]:
    from sunaug.bundle import load_bundle

    bundle = load_bundle(name)
    info, directions = bundle.info, bundle.directions
    parameters = sum(parameter.numel() for parameter in bundle.generator.parameters())
    lines = [
        ("bundle", f"{info.name} in {bundle.path}"),
        ("architecture", f"{info.architecture}, {parameters:,} parameters in the generator"),
        ("frames", f"{info.network.size} x {info.network.size}, {', '.join(info.channels)}, {info.intensity_scale}"),
        ("conditions", ", ".join(info.network.conditions) or "none"),
        ("trained on", f"{info.training_ranges[0][0]} to {info.training_ranges[-1][-1]}, {_described(info.training)}"),
        ("directions", f"{len(directions['components'])} components, flare" if directions else "not fitted yet"),
    ]
    lines += [(key.replace("_", " "), _described(value)) for key, value in info.metrics.items()]
    lines.append(("hash", bundle.hash))
    lines.append(("on disk", f"{_size_on_disk(bundle.path)}, licence {info.licence}, sunaug {info.sunaug_version}"))
    return lines


def _described(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items() if not isinstance(one, dict))
    return str(value)


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
        flux = float(frame["forecast_flux"])
        label = "" if np.isnan(flux) else f"  24 h: {format_goes_class(flux)}"
        panels.append((moment + label, frame["intensity"].values))
    contact_sheet(
        picture,
        panels,
        [str(name) for name in cube["channel"].values],
        intensity_scale=cube.attrs["intensity_scale"],
        columns=6 if cube.sizes["channel"] == 1 else 3,
        synthetic=synthetic,
    )
