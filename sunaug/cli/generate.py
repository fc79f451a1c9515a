"""``sunaug generate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sunaug.cli.command import refuse_with, refuse_without
from sunaug.cli.places import ANYWHERE, INPUT, OUTPUT

if TYPE_CHECKING:
    from sunaug.bundle import Bundle
    from sunaug.fidelity.gating import SampleChecker, SetVerdict
    from sunaug.fidelity.policy import Policy
    from sunaug.fidelity.request_verdict import RequestVerdict
    from sunaug.generation import Request


def generate(
    ctx: typer.Context,
    out: Path = typer.Option(..., **OUTPUT, help="Synthetic cube to write (Zarr), or the folder for --format fits."),
    n: int | None = typer.Option(None, help="Number of samples; 100, or the lines of --condition-file, if left out."),
    rare: bool = typer.Option(
        False, "--rare", help="Only flare-like frames: conditions from the real tail, steered, accepted by the critic."
    ),
    min_class: str = typer.Option("M1.0", help="Weakest GOES class of a rare sample."),
    label: str = typer.Option("forecast", help="Label that --min-class speaks of: forecast or nowcast."),
    tail: str = typer.Option("empirical", help="Fluxes of rare samples: empirical, or power-law fitted to the events."),
    condition_file: Path | None = typer.Option(
        None,
        **INPUT,
        help="CSV with the fluxes (W m-2 or GOES class) of each sample, a column for each label of the bundle.",
    ),
    bundle: str = typer.Option("sdo2012-128", help="Folder of a bundle, or the name of one that comes with sunaug."),
    seed: int = typer.Option(0, help="Seed: the same one gives the same samples."),
    steer: list[str] | None = typer.Option(
        None,
        help="Steps in standard deviations: flare:+1.5, component=3:+2.5, component=3@4-7:-1 (layers 4 to 7 alone). "
        "Repeatable. The flare direction is calibrated for --rare if left out.",
    ),
    truncation: float = typer.Option(1.0, help="Below 1 nearer to the mean of the condition: safer and less varied."),
    critic: bool = typer.Option(True, "--critic/--no-critic", help="Keep only rare samples that the critic accepts."),
    gate: bool = typer.Option(True, "--gate/--no-gate", help="Judge the cube; --no-gate marks it as ungated for ever."),
    policy: str = typer.Option(
        "default", **ANYWHERE, help="Policy of the gate: a YAML file, or the name of one of sunaug's."
    ),
    force: bool = typer.Option(False, "--force", help="Make a class of which the bundle has seen next to nothing."),
    format_: str = typer.Option(
        "zarr",
        "--format",
        envvar="SUNAUG_GENERATE_FORMAT",
        help="zarr: a synthetic cube; fits: a file per sample, channel.",
    ),
    batch_size: int = typer.Option(256, help="Samples made at a time; the result does not depend on it."),
    device: str = typer.Option("cpu", help="Torch device."),
    scheduler: str | None = typer.Option(
        None, help="Spread over Dask workers: address of a scheduler (tcp://host:8786), or processes."
    ),
    workers: int | None = typer.Option(None, min=1, help="Local processes of --scheduler processes."),
) -> None:
    """Make synthetic frames of the Sun and stream them into a cube."""
    from sunaug.bundle import load_bundle
    from sunaug.cli.progress import progress
    from sunaug.errors import UsageError
    from sunaug.fidelity.account import Account
    from sunaug.fidelity.gating import SetVerdict, mark_ungated
    from sunaug.fidelity.policy import load_policy
    from sunaug.fidelity.verdict import UNGATED, UNJUDGED
    from sunaug.generation import Request, as_dataset, generate_cube, generate_fits, parse_steer, read_conditions
    from sunaug.generation.request import OF_RARE
    from sunaug.generation.writing import check_room

    refuse_without(ctx, "--rare", rare, *OF_RARE)
    refuse_with(ctx, "--no-gate", not gate, "policy")
    refuse_without(ctx, "--scheduler processes", scheduler == "processes", "workers")
    refuse_with(ctx, "--scheduler", scheduler is not None, "batch_size", "device")
    asked = load_policy(policy)
    if format_ not in ("zarr", "fits"):
        raise UsageError(f"--format {format_}: choose zarr or fits.")
    if scheduler is not None and format_ != "zarr":
        raise UsageError("--scheduler writes cubes only: omit --format fits.")
    steering = dict(parse_steer(text) for text in steer) if steer else None
    opened = load_bundle(bundle)
    conditions = read_conditions(condition_file, opened.info.network.labels) if condition_file else None
    request = Request(
        n=n if n is not None else len(conditions or range(100)),
        rare=rare,
        min_class=min_class,
        label=label,
        seed=seed,
        steer=steering,
        truncation=truncation,
        tail=tail,
        conditions=conditions,
        critic=critic,
        force=force,
    )
    if not out.exists():
        check_room(out, opened.info, request.n, fits=format_ == "fits")
    if rare:
        _warn(opened, request)
    options: dict[str, Any] = {"batch_size": batch_size, "device": device}
    verdict, checker = None, None
    if format_ == "fits" and gate:
        # The headers of the files hold the verdict.
        verdict, checker = _asked(opened, request, asked, device), _checker(opened)
    with progress("generating", request.n, "samples") as report:
        if scheduler is not None:
            from pipelines.augment import generate_on

            path = generate_on(out, opened, request, scheduler=scheduler, workers=workers, report=report)
        elif format_ == "fits":
            said = UNGATED if not gate else UNJUDGED if verdict is None else verdict.verdict
            options |= {"batch_size": min(batch_size, 64), "gate": said}
            if checker is not None and asked.drop:
                options["check"] = lambda made: checker.check(as_dataset(made, opened.info.channels))
            path = generate_fits(out, opened, request, **options, report=report)
        else:
            path = generate_cube(out, opened, request, **options, report=report)
    what = f"rare frames ({label} {min_class} or more)" if rare else "frames"
    accepted = _accepted(path) if rare and format_ == "zarr" and opened.critic and critic else ""
    typer.echo(f"{path}: {request.n:,} SYNTHETIC {what} from {opened.info.name}, seed {seed}{accepted}.")
    if not gate:
        if format_ == "zarr":
            mark_ungated(path)
        typer.echo("Ungated: nothing was checked, and adapters do not take it without being told to.")
        return
    found = None
    if format_ == "zarr":
        found = _judged(path, opened, asked, device)
    elif verdict is not None and checker is not None:
        found = SetVerdict(verdict, asked, Account(checker.made, checker.rejections, asked.drop))
    _say_verdict(path, opened, found)


def _asked(bundle: Bundle, request: Request, policy: Policy, device: str) -> RequestVerdict | None:
    """What the gate says of this kind of request, before any sample of it is written."""
    from sunaug.cli.progress import progress
    from sunaug.fidelity.request_verdict import verdict_of_request

    with progress("judging this kind of request", policy.samples, "samples") as report:
        return verdict_of_request(bundle, request, policy, device=device, report=report)


def _judged(path: Path, bundle: Bundle, policy: Policy, device: str) -> SetVerdict | None:
    """Send a cube through the gate."""
    from sunaug.cli.progress import progress
    from sunaug.cube import open_cube
    from sunaug.fidelity.gating import gate_cube

    with progress("checking single samples", open_cube(path).sizes["sample"], "samples") as report:
        return gate_cube(path, bundle, policy, device=device, report=report)


def _checker(bundle: Bundle) -> SampleChecker | None:
    """What looks at the samples of a bundle one by one, where it has real frames to compare them with."""
    from sunaug.fidelity.gating import SampleChecker
    from sunaug.fidelity.request_verdict import open_reference

    stored = open_reference(bundle)
    return None if stored is None else SampleChecker(stored)


def _say_verdict(path: Path, bundle: Bundle, found: SetVerdict | None) -> None:
    from sunaug.errors import GateRefused
    from sunaug.fidelity.verdict import PASSED

    if found is None:
        typer.echo(
            f"Unjudged: {bundle.info.name} has no real frames to be compared with; fit it with `sunaug directions "
            f"{bundle.path} --fit --cube CUBE --out FOLDER`."
        )
        return
    typer.echo(f"Samples: {found.account.sentence}.")
    if found.verdict != PASSED:
        raise GateRefused(f"{path}: {found.sentence} The samples are kept, and adapters do not take them.")
    typer.echo(found.sentence)


def _warn(bundle: Bundle, request: Request) -> None:
    """Say what the bundle does not know, before anything is made."""
    from sunaug.generation import support

    seen = support(bundle, request)
    if seen.few:
        typer.echo(
            f"sunaug: {bundle.info.name} was trained on only {seen} of {request.min_class} or more: its samples of "
            "that class repeat what these few show.",
            err=True,
        )
    if request.critic and bundle.critic is None:
        typer.echo(
            f"sunaug: {bundle.info.name} has no critic, so that no sample is refused; fit one with "
            f"`sunaug directions {bundle.path} --fit --cube CUBE --out FOLDER`.",
            err=True,
        )


def _accepted(path: Path) -> str:
    from sunaug.cube import open_cube

    attempts = open_cube(path)["attempt"].values
    return f"; the critic accepted {len(attempts) / (attempts + 1).sum():.0%} of those drawn"
