"""An atlas of directions for people: strips of pictures and a table of what each direction changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sunaug.bundle import Bundle
from sunaug.errors import SunaugError
from sunaug.latent.effects import Effects, shifted, step_vectors
from sunaug.latent.ganspace import draw_latents
from sunaug.latent.steering import FLARE, pictures
from sunaug.pictures import contact_sheet

__all__ = ["write_atlas"]

STEPS = (-3.0, -1.5, 0.0, 1.5, 3.0)
_SEED = 11


def _strip(bundle: Bundle, folder: Path, direction: str, effects: Effects) -> Path:
    """One latent along a direction: a row for each range of layers, in the channel that changes most."""
    info, n_styles = bundle.info, bundle.generator.n_styles
    changed = [
        name.split(" ")[1] for name, _ in effects.strongest(direction, count=len(effects.measures)) if " " in name
    ]
    shown = next((name for name in changed if name in info.channels), info.channels[0])
    column = info.channels.index(shown)
    w = next(draw_latents(bundle, 1, _SEED))[0]
    vector = step_vectors(bundle, len(effects.directions))[direction]
    panels = []
    for name, layers in effects.ranges.items():
        for step in STEPS:
            scaled = pictures(bundle, shifted(w, step * vector, layers, n_styles), _SEED)
            image = info.within_range(info.scaling.unscale(scaled).numpy())[0]
            panels.append((f"{name} layers {step:+g}", image[column : column + 1]))
    path = folder / f"{direction.replace('=', '-')}.png"
    heading = f"SYNTHETIC, {info.name}: {direction}, -3 to +3 standard deviations"
    return contact_sheet(
        path, panels, [shown], intensity_scale=info.intensity_scale, columns=len(STEPS), heading=heading
    )


def _words(changes: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {change:+.2f}" for name, change in changes if change) or "nothing"


def table(bundle: Bundle, effects: Effects) -> str:
    """A Markdown table: explained variance, and what each direction changes most in each range of layers."""
    explained = bundle.directions["explained"].tolist()
    head = ["direction", "variance", *effects.ranges]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for direction in effects.directions:
        share = "" if direction == FLARE else f"{explained[int(direction.split('=')[1])]:.1%}"
        cells = [_words(effects.strongest(direction, layers, 3 if layers == "all" else 2)) for layers in effects.ranges]
        lines.append("| " + " | ".join([direction, share, *cells]) + " |")
    return "\n".join(lines)


def _flare_lines(bundle: Bundle) -> list[str]:
    directions = bundle.directions
    correlations = [
        f"{name.partition('.')[2] or 'hot_emission'} {float(value[0]):.2f}"
        for name, value in directions.items()
        if name.startswith("flare_correlation")
    ]
    lines = [
        f"Correlation along it at a given condition: {', '.join(correlations)}. `--rare` takes "
        f"{float(directions['flare_calibration'][0]):.2f} standard deviations; samples stay as near to real frames as "
        f"unsteered ones up to {float(directions['flare_limit'][0]):g}.",
        "",
        "| steps | hot emission (scaled) | flux read (W m-2) | accepted by the critic |",
        "| --- | --- | --- | --- |",
    ]
    names = ("steps", "flare_hot_curve", "flare_reading_curve", "flare_kept_curve")
    for step, hot, read, kept in zip(*(directions[name].tolist() for name in names), strict=True):
        lines.append(f"| {step:g} | {hot:.3f} | {10**read:.2e} | {kept:.0%} |")
    return lines


def write_atlas(bundle: Bundle, effects: Effects, folder: Path) -> Path:
    """Write ``README.md``, ``effects.json`` and a strip of pictures for each direction.

    Returns
    -------
    pathlib.Path
        The README.

    Raises
    ------
    SunaugError
        If the folder cannot be written.
    """
    page = [
        f"# Directions of {bundle.info.name}",
        "",
        f"Conditions explain {float(bundle.directions['condition_share'][0]):.0%} of the variance. The components "
        "are of the rest, from a million latents. Each cell names what changes most along the direction, by a step of "
        "one standard deviation, in units of the spread between samples; measured at -2 and +2 on the same latents.",
        "",
        table(bundle, effects),
        "",
        "## The flare direction",
        "",
        *_flare_lines(bundle),
        "",
        "## Pictures",
        "",
        "One latent along each direction, in the channel that changes most; from top to bottom all layers, the coarse, "
        "the middle and the fine ones.",
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for direction in effects.directions:
            strip = _strip(bundle, folder, direction, effects)
            page += [
                "",
                f"**{direction}**: {_words(effects.strongest(direction))}",
                "",
                f"![{direction}]({strip.name})",
            ]
        (folder / "README.md").write_text("\n".join(page) + "\n")
        (folder / "effects.json").write_text(json.dumps(_plain(effects), indent=1))
    except OSError as error:
        raise SunaugError(f"{folder}: cannot be written ({error.strerror or error}).") from None
    return folder / "README.md"


def _plain(effects: Effects) -> dict[str, Any]:
    """Effects as JSON takes them: unknown changes are null."""

    def listed(values: Any) -> Any:
        return [listed(one) for one in values] if isinstance(values, list) else None if values != values else values

    return {
        "directions": effects.directions,
        "ranges": {name: list(layers) for name, layers in effects.ranges.items()},
        "measures": effects.measures,
        "units": effects.units,
        "change_per_stddev": listed(effects.change.tolist()),
        "agreement": listed(effects.agreement.tolist()),
        "spread": listed(effects.spread.tolist()),
    }
