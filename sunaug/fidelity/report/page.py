"""The report: one HTML file with everything in it, which is read from a disk, printed and sent by mail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from numpy.typing import NDArray

import sunaug
from sunaug.bundle import Bundle
from sunaug.errors import SunaugError
from sunaug.fidelity.evaluate import Evaluation
from sunaug.fidelity.gate import Check
from sunaug.fidelity.reference import Looked, Reference, strata
from sunaug.fidelity.report.pictures import Shown, show_all
from sunaug.fidelity.report.plots import FARTHEST, Months, Row, curves, on_axis, range_row
from sunaug.fidelity.report.words import DEFINITIONS, HEADINGS, SOURCES, label, number, signed
from sunaug.fidelity.sample_checks import check_samples
from sunaug.lexicon import channel

__all__ = ["render_report", "write_report"]

_SIDE_BY_SIDE = 8
"""Frames in a row of real beside synthetic ones."""

_LISTED = 6
"""Samples in each of the other figures."""

_COPY = "copy of a training frame"
_RANGES = 4
"""Training ranges that are written out."""

_UNJUDGED = "Not judged: the gate needs real frames with a known forecast in the train and the validation months."
_FAMILIES = (
    (
        "distribution",
        "Distributions of features",
        "Samples and validation frames in the features of each network.",
    ),
    ("physics", "Physical measures", "What a solar physicist would measure on the frames."),
    ("memorisation", "Memorisation", "Whether training frames are handed out."),
    ("claims", "Claims", "Whether samples show what their condition says."),
)


def write_report(
    path: str | Path, evaluation: Evaluation, *, bundle: Bundle | None = None, when: datetime | None = None
) -> Path:
    """Write the report of an evaluation.

    Parameters
    ----------
    path : str or pathlib.Path
        HTML file; an existing one is replaced.
    evaluation : Evaluation
    bundle : Bundle, optional
        The one that made the samples, for its model card.
    when : datetime.datetime, optional
        Of the evaluation; now if left out.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    SunaugError
        If the file cannot be written.
    """
    path = Path(path)
    text = render_report(evaluation, bundle=bundle, when=when)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SunaugError(f"{path}: the report cannot be written ({error.strerror or error}).") from None
    return path


def render_report(evaluation: Evaluation, *, bundle: Bundle | None = None, when: datetime | None = None) -> str:
    """The report as HTML, see `write_report`."""
    environment = Environment(
        loader=PackageLoader("sunaug.fidelity.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "signed": signed, "svg": Markup}
    moment = when or datetime.now(UTC)
    kept = _kept(evaluation)
    months = _months(evaluation, kept)
    return environment.get_template("report.html").render(
        numbering=_Numbering(),
        name=Path(str(evaluation.figures["synthetic"])).name,
        figures=evaluation.figures,
        assessment=evaluation.assessment,
        sentence=evaluation.assessment.sentence if evaluation.assessment else _UNJUDGED,
        verdict=evaluation.assessment.verdict if evaluation.assessment else "unjudged",
        facts=_facts(evaluation, moment),
        channels=[channel(str(name)).label for name in evaluation.cubes["synthetic"]["channel"].values],
        side_by_side=_side_by_side(evaluation, kept),
        real=evaluation.measured.times is not None,
        families=_families(evaluation),
        ticks=[(tick, on_axis(tick)) for tick in range(int(FARTHEST) + 1)],
        curves=curves(evaluation.measured.take(kept), months) if months else [],
        selections=list(_selections(evaluation.figures["distribution"])),
        extremes=_extremes(evaluation, kept),
        rejected=_rejected(evaluation),
        why_rejected=_why_rejected(evaluation),
        neighbours=_neighbours(evaluation),
        card=_card(bundle),
        bundle=bundle,
        definitions=DEFINITIONS,
        sources=SOURCES,
        version=sunaug.__version__,
        date=f"{moment:%Y-%m-%d %H:%M} UTC",
        months=months.names if months else [],
    )


@dataclass
class _Numbering:
    """Counts figures and tables in the order in which they stand on the page."""

    counts: dict[str, int] = field(default_factory=lambda: {"Figure": 0, "Table": 0})

    def next(self, what: str) -> str:
        self.counts[what] += 1
        return f"{what} {self.counts[what]}"


def _kept(evaluation: Evaluation) -> NDArray[np.int64]:
    """Samples that the set is judged by."""
    found = evaluation.assessment
    count = len(evaluation.measured)
    if found is None or not found.policy.drop or found.rejected.all():
        return np.arange(count)
    return np.flatnonzero(~found.rejected)


def _facts(evaluation: Evaluation, when: datetime) -> list[tuple[str, str]]:
    """What was compared with what, by name."""
    figures, samples = evaluation.figures, evaluation.cubes["synthetic"].attrs
    conditions = figures["conditions"]
    facts = [("Samples", f"{figures['synthetic']}: {_counted(len(evaluation.measured), conditions['synthetic'])}")]
    if figures["bundle_hash"]:
        facts.append(("Made by", f"{samples.get('bundle_name', 'a bundle')}, SHA-256 {figures['bundle_hash'][:12]}…"))
    if samples.get("request"):
        facts.append(("Asked for", ", ".join(_asked(samples["request"]))))
    if figures["training_ranges"]:
        facts.append(("Generator trained on", _ranges(figures["training_ranges"])))
    elif figures["bundle_hash"]:
        facts.append(("Generator trained on", "not said by the cube"))
    facts.append(("Real frames", str(figures["against"])))
    for side, text in (("train", "of the train months"), ("validation", "of the validation months, unseen")):
        cube = evaluation.cubes[side]
        times = cube["time"].values
        span = f"{np.datetime_as_string(times.min(), 'D')} to {np.datetime_as_string(times.max(), 'D')}"
        facts.append((f"… {text}", f"{span}: {_counted(len(times), conditions[side])}"))
    found = evaluation.assessment
    if found is not None:
        facts.append(("Policy", f"{found.policy.name}, SHA-256 {found.policy.hash[:12]}…"))
        facts.append(
            ("Sets", f"{found.sets} of {found.n:,} samples, {found.windows} of as many real frames in a row (windows)")
        )
        facts.append(("Teachers", _teachers(found.roles.teachers)))
    facts += [
        ("Networks", "; ".join(f"{name} ({origin})" for name, origin in figures["backbones"].items())),
        ("Seed", str(figures["seed"])),
        ("Made with", f"sunaug {sunaug.__version__}, {when:%Y-%m-%d %H:%M} UTC"),
    ]
    return facts


def _teachers(teachers: Mapping[str, str] | None) -> str:
    """What had a part in making the samples, by what part it was."""
    if not teachers:
        return "none" if teachers is not None else "not known, so that only Inception judges"
    parts: dict[str, list[str]] = {}
    for name, why in teachers.items():
        parts.setdefault(why, []).append(name.rstrip("*"))
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in parts.items())


def _counted(count: int, classes: Mapping[str, int]) -> str:
    mix = ", ".join(f"{name} {number:,}" for name, number in classes.items())
    return f"{count:,} frames" + (f" (forecast {mix})" if mix else "")


def _asked(request: Mapping[str, Any]) -> Iterator[str]:
    for name, value in request.items():
        if isinstance(value, Mapping):
            yield f"{name} " + " ".join(
                f"{key}:{one:+.2f}" if isinstance(one, float) else f"{key}:{one}" for key, one in value.items()
            )
        elif isinstance(value, bool):
            yield name if value else f"no {name}"
        elif isinstance(value, int | float | str):
            yield f"{name} {value}"


def _ranges(ranges: Sequence[Sequence[str]]) -> str:
    written = [f"{start[:16].replace('T', ' ')} to {end[:16].replace('T', ' ')}" for start, end in ranges[:_RANGES]]
    more = f"; and {len(ranges) - _RANGES} more ranges until {ranges[-1][1][:10]}" if len(ranges) > _RANGES else ""
    return "; ".join(written) + more


def _side_by_side(evaluation: Evaluation, kept: NDArray[np.int64]) -> list[tuple[Shown, Shown]]:
    """Random samples, and for each a random validation frame of its kind, as far as there are any."""
    random = np.random.default_rng(evaluation.figures["seed"])
    samples, validation = evaluation.cubes["synthetic"], evaluation.cubes["validation"]
    ours, theirs = (strata(np.asarray(cube["forecast_flux"].values, np.float64)) for cube in (samples, validation))
    chosen = random.permutation(kept)[:_SIDE_BY_SIDE]
    chosen = chosen[np.argsort(ours[chosen], kind="stable")]
    free = list(random.permutation(len(theirs)))
    partners = []
    for kind in ours[chosen]:
        if not free:
            break
        alike = next((row for row in free if kind < 0 or theirs[row] == kind), free[0])
        free.remove(alike)
        partners.append(alike)
    chosen = chosen[: len(partners)]
    return list(zip(show_all(validation, partners), show_all(samples, chosen), strict=True))


@dataclass(frozen=True)
class _Group:
    """Checks under one heading."""

    heading: str
    rows: list[Row]


@dataclass(frozen=True)
class _Family:
    """Checks of one figure, and its table."""

    title: str
    caption: str
    groups: list[_Group]
    checks: list[tuple[str, Check]]
    unknown: list[str]
    summary: str


def _families(evaluation: Evaluation) -> list[_Family]:
    found = evaluation.assessment
    if found is None or not found.checks:
        return []
    families = []
    for family, title, caption in _FAMILIES:
        checks = [one for one in found.checks if one.family == family]
        if not checks:
            continue
        grouped: dict[str, list[Check]] = {}
        for one in checks:
            grouped.setdefault(_heading(one, evaluation), []).append(one)
        groups = [
            _Group(
                heading, [range_row(one, without=_without(one, heading)) for one in members if one.state != "unknown"]
            )
            for heading, members in grouped.items()
        ]
        families.append(
            _Family(
                title,
                caption,
                [group for group in groups if group.rows],
                [(label(one.name), one) for one in checks],
                [label(one.name) for one in checks if one.state == "unknown"],
                _summary(checks),
            )
        )
    return families


def _summary(checks: Sequence[Check]) -> str:
    """How many gating checks pass, fail and are unknown."""
    counts = {
        state: sum(one.gating and one.state == state for one in checks) for state in ("failed", "passed", "unknown")
    }
    words = {"failed": "fail", "passed": "pass", "unknown": "unknown"}
    told = [f"{count} {words[state]}" for state, count in counts.items() if count]
    return f"gating checks: {', '.join(told)}" if told else "nothing here is gating"


def _heading(check: Check, evaluation: Evaluation) -> str:
    if check.family == "distribution":
        return check.name.partition(" ")[2]
    if check.family == "physics":
        assert evaluation.reference is not None
        kind = evaluation.reference.validation.measured.physics[check.name].family
        return HEADINGS.get(kind, kind.capitalize())
    return ""


def _without(check: Check, heading: str) -> str:
    return heading if check.family == "distribution" else ""


def _months(evaluation: Evaluation, kept: NDArray[np.int64]) -> Months | None:
    if evaluation.reference is None:
        return None
    return Months.of(evaluation.measured.take(kept), evaluation.reference)


def _selections(distribution: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Network, what the samples were compared with, and the figures."""
    for network, figures in distribution.items():
        for name in ("all", "matched"):
            if figures[name]:
                yield network, name, figures[name]
        for name, one in figures["classes"].items():
            yield network, f"class {name}", one


@dataclass(frozen=True)
class _Extremes:
    """Samples at either end of the distances to real frames."""

    farthest: list[Shown]
    nearest: list[Shown]
    network: str
    unseen: float


def _extremes(evaluation: Evaluation, kept: NDArray[np.int64]) -> _Extremes | None:
    looked, reference = evaluation.samples, evaluation.reference
    if looked is None or reference is None:
        return None
    distance = looked.features.distance
    order = kept[np.argsort(distance[kept], kind="stable")]
    nearest: list[int] = []
    for row in order:
        if len(nearest) == _LISTED:
            break
        if _COPY not in _reasons(looked, reference, row):
            nearest.append(int(row))
    all_rows = np.argsort(-distance, kind="stable")[:_LISTED]
    samples = evaluation.cubes["synthetic"]
    return _Extremes(
        farthest=_at_distance(samples, all_rows, distance),
        nearest=_at_distance(samples, nearest, distance),
        network=reference.near,
        unseen=_median(reference.validation.features.distance),
    )


def _at_distance(
    cube: xr.Dataset, rows: Sequence[int] | NDArray[np.int64], distance: NDArray[np.floating]
) -> list[Shown]:
    details = [f"distance {number(float(distance[row]))}" for row in rows]
    return show_all(cube, rows, details)


def _median(values: NDArray[np.floating]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _reasons(looked: Looked, reference: Reference, row: int) -> list[str]:
    """Why one sample is rejected."""
    return list(check_samples(looked.take(np.array([row])), reference)[1])


def _rejected(evaluation: Evaluation) -> list[Shown]:
    """The first samples that are rejected, with the reasons."""
    found, looked, reference = evaluation.assessment, evaluation.samples, evaluation.reference
    if found is None or looked is None or reference is None:
        return []
    rows = np.flatnonzero(found.rejected)[:_LISTED]
    details = ["; ".join(map(_reason, _reasons(looked, reference, int(row)))) for row in rows]
    return show_all(evaluation.cubes["synthetic"], rows, details)


def _why_rejected(evaluation: Evaluation) -> list[tuple[str, int]]:
    found = evaluation.assessment
    return [(_reason(reason), count) for reason, count in found.why_rejected.items()] if found else []


def _reason(reason: str) -> str:
    return reason if reason == _COPY or reason.startswith("far ") else label(reason)


@dataclass(frozen=True)
class _Neighbours:
    """Samples beside the training frames that they are nearest to."""

    pairs: list[tuple[Shown, Shown, str, str]]
    unseen: float
    closest: float


def _neighbours(evaluation: Evaluation) -> _Neighbours | None:
    looked, reference = evaluation.samples, evaluation.reference
    if looked is None or reference is None:
        return None
    distance = looked.pixels.distance
    unseen = reference.validation.pixels.distance
    unseen = unseen[np.isfinite(unseen)]
    if not len(unseen):
        return None
    rows = np.argsort(distance, kind="stable")[:_LISTED]
    train, times = evaluation.cubes["train"], reference.train.measured.times
    assert times is not None
    # The reference holds the frames whose forecast is known, in order of time; the cube holds all.
    places = {moment: place for place, moment in enumerate(train["time"].values.astype("datetime64[ns]"))}
    partners = [places[times[row]] for row in looked.pixels.row[rows]]
    pairs = []
    shown = zip(show_all(evaluation.cubes["synthetic"], rows), show_all(train, partners), strict=True)
    for row, (sample, frame) in zip(rows, shown, strict=True):
        nearer = int((unseen < distance[row]).sum())
        pairs.append((sample, frame, number(float(distance[row])), f"{nearer:,} of {len(unseen):,} are nearer"))
    return _Neighbours(pairs, _median(unseen), float(unseen.min()))


def _card(bundle: Bundle | None) -> Markup | None:
    """The model card; what would be fetched or followed is written as text."""
    if bundle is None:
        return None
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "link", "autolink"])
    tokens = reader.parse((bundle.path / "README.md").read_text(encoding="utf-8"))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + 3, 6)}"
    return Markup(reader.renderer.render(tokens, reader.options, {}))
