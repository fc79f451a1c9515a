"""``sunaug inspect``: what is in a cube or a bundle."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sunaug.cli.places import ANYWHERE, OUTPUT

if TYPE_CHECKING:
    import xarray as xr
    from PIL.Image import Image
    from upath import UPath

_PANELS = 12
_LISTED = 5


def inspect(
    name: str = typer.Argument(
        ...,
        **ANYWHERE,
        metavar="PATH",
        help="A cube, a synthetic cube, a bundle, or the name of a bundled one; a path or URL.",
    ),
    picture: Path | None = typer.Option(
        None,
        "--picture",
        **OUTPUT,
        help="Also write a picture (PNG): contact sheet, and light curve of an observed cube.",
    ),
) -> None:
    """Show what is in a cube or a bundle."""
    from sunaug.bundle import bundled_names
    from sunaug.errors import UsageError
    from sunaug.storage import location, reachable

    path = location(name)
    with reachable(path):
        is_bundle = (path / "bundle.json").exists() or (not path.exists() and str(path) in bundled_names())
    if is_bundle:
        if picture:
            raise UsageError(f"{path}: a bundle holds no frames to draw; make some with `sunaug generate`.")
        lines, lost = _bundle_lines(str(path)), []
    else:
        from sunaug.cube import open_cube
        from sunaug.cube.integrity import missing_objects

        cube = open_cube(path)
        lines = _cube_lines(path, cube)
        lost = missing_objects(path)
        if picture and not lost:
            _draw(path, cube, picture)
            lines.append(("picture", str(picture)))
        if lost:
            lines.append(("damaged", f"files missing: {len(lost):,}"))
    width = max(len(title) for title, _ in lines)
    for title, text in lines:
        typer.echo(f"{title:<{width}}  {text}")
    if lost:
        raise lost[0]


def _cube_lines(path: UPath, cube: xr.Dataset) -> list[tuple[str, str]]:
    import numpy as np

    from sunaug.cube import FrameStatus
    from sunaug.cube.reconstructions import RECONSTRUCTION
    from sunaug.fidelity.verdict import verdict_of
    from sunaug.flares import class_letters
    from sunaug.storage import tree_size

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
    if frame_dim == "time" and cube.sizes["time"]:
        lines += _record_lines(path, cube)
    if RECONSTRUCTION in attrs:
        made = attrs[RECONSTRUCTION]
        what = f"of {made['source']} ({made['split']}) by {attrs['bundle_name']}, {', '.join(made['counted_channels'])}"
        lines.append(("reconstructs", f"frames {what}"))
    elif frame_dim == "sample":
        gate = attrs.get("gate")
        said = gate.get("sentence") if isinstance(gate, dict) else None
        lines.append(("gate", str(said or verdict_of(attrs).capitalize())))
        if isinstance(gate, dict) and "counts" in gate:
            lines.append(("samples", gate["account"]))
            told = ", ".join(f"{number} {state}" for state, number in gate["counts"].items())
            lines.append(("gating checks", f"{told}, of {gate['pool']['judged']:,} samples of this kind"))
    for step in attrs.get("processing", []):
        detail = ", ".join(f"{key} {value}".replace("_", " ") for key, value in step.items() if key != "step")
        lines.append(("processing", f"{step['step']}: {detail}"))
    size = f"{tree_size(path) / 2**20:,.1f} MiB"
    lines.append(("on disk", f"{size}, schema {attrs['schema_version']}, {attrs['sunaug_version']}"))
    return lines


def _record_lines(path: UPath, cube: xr.Dataset) -> list[tuple[str, str]]:
    """What an observed cube has beyond a synthetic one: splits, statistics, gaps, and what was left out and why."""
    from collections import Counter

    import numpy as np

    from pipelines.labels import label_notes
    from pipelines.rejections import read_rejections, rejections_path
    from sunaug.cube import FrameStatus
    from sunaug.cube.schema import SPLIT_NAMES
    from sunaug.light_curve import find_gaps

    usable = np.isin(cube["frame_status"].values, [FrameStatus.COMPLETE, FrameStatus.PARTIAL])
    split = cube["split"].values[usable]
    months = cube.attrs["splits"]
    counts = [(name, int((split == number).sum()), months.get(name)) for number, name in enumerate(SPLIT_NAMES)]
    shown = [f"{name} {count:,}" + (f" (months {_runs(of)})" if of else "") for name, count, of in counts]
    lines = [("splits", ", ".join(shown))]
    statistics = cube.attrs.get("statistics")
    if statistics:
        lines.append(("statistics", f"of {statistics['of']}, {statistics['frames']:,} frames"))
        for name, one in statistics["channels"].items():
            share = {key: one["quantiles"][key] for key in ("0.01", "0.5", "0.99", "0.9999")}
            if one["pixels"]:
                quantiles = ", ".join(f"{float(key):.2%} {value:.4g}" for key, value in share.items())
                lines.append((f"  {name}", f"mean {one['mean']:.4g}, maximum {one['maximum']:.4g}; {quantiles}"))
    scales = cube.attrs.get("label_scales", {})
    if scales:
        lines.append(("label scale", ", ".join(f"{name} {scale}" for name, scale in scales.items())))
    lines += [("label note", note) for note in label_notes(cube.attrs)]
    times = cube["time"].values[usable]
    gaps = find_gaps(times)
    if gaps:
        step = np.median(np.diff(times)) / np.timedelta64(1, "h")
        lines.append(("gaps", f"{len(gaps):,} longer than three times the usual {step:g} h; the longest:"))
        for before, after in sorted(gaps, key=lambda gap: gap[0] - gap[1])[:_LISTED]:
            hours = (after - before) / np.timedelta64(1, "h")
            lines.append(("", f"{before.astype('datetime64[m]')} to {after.astype('datetime64[m]')}, {hours:,.1f} h"))
    rejected = read_rejections(rejections_path(path))
    if rejected:
        # Channels and figures differ from frame to frame; the kind of fault is what stands between them.
        kinds = Counter(_kind(one.reason) for one in rejected)
        lines.append(("left out", f"{len(rejected):,} inputs, see {rejections_path(path).name}"))
        for kind, count in kinds.most_common(_LISTED):
            example = next(one for one in rejected if _kind(one.reason) == kind)
            lines.append(("", f"{count:,} x {kind}, as {_last_part(example.file)}: {example.reason}"))
    return lines


def _kind(reason: str) -> str:
    without_channel = re.sub(r"^(AIA|HMI) \S+( Å)?: ", "", reason)
    return re.split(r"[:(,;\d]", without_channel, maxsplit=1)[0].strip()


def _runs(months: list[int]) -> str:
    """Months as people write them: ``1-7``, ``8, 9``."""
    whole = len(months) > 2 and months == list(range(months[0], months[-1] + 1))
    return f"{months[0]}-{months[-1]}" if whole else ", ".join(map(str, months))


def _last_part(path: str) -> str:
    """The last part of a path or URL."""
    return path.rsplit("/", 1)[-1]


def _bundle_lines(name: str) -> list[tuple[str, str]]:
    from sunaug.bundle import load_bundle
    from sunaug.cube.time_ranges import ranges_in_words
    from sunaug.storage import location, tree_size

    bundle = load_bundle(name)
    info, directions = bundle.info, bundle.directions
    parameters = sum(parameter.numel() for parameter in bundle.generator.parameters())
    lines = [
        ("bundle", f"{info.name} in {bundle.path}"),
        ("architecture", f"{info.architecture}, {parameters:,} parameters in the generator"),
        ("frames", f"{info.network.size} x {info.network.size}, {', '.join(info.channels)}, {info.intensity_scale}"),
        ("conditions", ", ".join(info.network.labels) or "none"),
        ("trained on", ranges_in_words(info.training_ranges, _LISTED)),
        ("training", _described(info.training)),
        ("directions", f"{len(directions['components'])} components, flare" if directions else "not fitted yet"),
    ]
    lines += [(key.replace("_", " "), _described(value)) for key, value in info.metrics.items()]
    lines.append(("hash", bundle.hash))
    size = f"{tree_size(location(bundle.path)) / 2**20:,.1f} MiB"
    lines.append(("on disk", f"{size}, licence {info.licence}, sunaug {info.sunaug_version}"))
    return lines


def _described(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items() if not isinstance(one, dict))
    return str(value)


def _draw(path: UPath, cube: xr.Dataset, picture: Path) -> None:
    """Twelve usable frames from the whole of the cube, evenly spaced; over those of an observed one its light curve."""
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
        banner=None if synthetic else partial(_light_curve, cube.isel(time=usable)),
    )


def _light_curve(usable: xr.Dataset, width: int) -> Image:
    from sunaug.light_curve import light_curve

    names = [str(name) for name in usable["channel"].values]
    return light_curve(
        usable["time"].values,
        usable["mean_intensity"].values,
        names,
        usable["nowcast_flux"].values,
        width=width,
    )
