"""The dataset of synthetic frames: from a cube, from a bundle that makes them on the fly, from an export or the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from forecasting_adapters.dataset import CubeFrames, place_of
from forecasting_adapters.generated import GeneratedFrames, gate_of
from forecasting_adapters.leakage import TimeRange, check_evaluation
from forecasting_adapters.samples import FrameDataset, FrameSource, SampleForm, Transform
from sunaug.bundle import Bundle, bundled_names, load_bundle
from sunaug.cube import open_cube
from sunaug.errors import UsageError
from sunaug.fidelity.policy import load_policy
from sunaug.fidelity.verdict import UNGATED, refuse_ungated, verdict_of
from sunaug.generation import Request
from sunaug.hub import download, parse_hub_id
from sunaug.scaling import IntensityScaling
from sunaug.storage import local_or_url

__all__ = ["SyntheticSolarDataset", "generated_frames", "open_source"]

_NOT_ASKED = {"verdict": UNGATED, "sentence": "Ungated: made on the fly with allow_ungated, nothing was checked."}


class SyntheticSolarDataset(FrameDataset):
    """Synthetic frames, in the form of `SolarDataset`.

    The fluxes of a sample are those that it was conditioned on.

    Parameters
    ----------
    source : str, pathlib.Path, xarray.Dataset or Bundle
        - a synthetic cube, path or URL or open, as `sunaug generate` writes it;
        - a generator bundle, open or its folder or the name of one that comes with sunaug: samples are then made when
          they are asked for, in the loader's worker processes where there are any; sample i is the same one whoever
          makes it, and in whatever order;
        - an exported folder (it holds ``SYNTHETIC.json``);
        - a batch of a service (`sunaug serve`), ``http://HOST/v1/batches/ID``: it is waited for, fetched once and kept;
          the API key is that of ``SUNAUG_API_KEY``;
        - ``hf://org/name``, or ``org/name`` where there is no such path: any of these from the Hugging Face Hub.
    label, threshold, scaling, channels, transform, size, cache
        As for `SolarDataset`; to be mixed with real frames they must be the same.
    allow_ungated : bool
        Take samples that the fidelity gate has not passed: refused, unknown or not judged.
    n : int, optional
        Number of samples, of a bundle, which needs it.
    device : str or torch.device
        Where a bundle's samples are made. A GPU cannot be used in worker processes.
    policy : str or pathlib.Path
        Policy of the gate by which a bundle's samples are judged, before the first is served: 512 are made and
        measured, once for each bundle, kind of request and policy (`forecasting_adapters.generated.gate_of`). With
        `allow_ungated` none is, and nothing is known of them.
    evaluation : str, array_like of datetime64, SolarDataset, or an iterable of these, optional
        What a forecaster that trains on the samples will be evaluated on, as for `MixedSolarDataset`: for loops that
        mix real and synthetic samples themselves.
    allow_leakage : bool
        Take the samples in spite of the guard; `leakage` then says so.
    **request
        Of a bundle, further fields of `sunaug.generation.Request`: ``rare``, ``min_class``, ``seed``, ``steer``, ...

    Attributes
    ----------
    training_ranges : tuple of (start, end)
        Time ranges that the generator was trained on, ISO 8601, UTC, half-open; empty where the cube does not say.
    bundle_hash : str
        Hash of the generator bundle, empty where the cube does not say.
    gate : str
        The gate's verdict: ``passed``, or with `allow_ungated` another.
    leakage : str or None
        What the guard found and was told to allow.
    labels : ndarray of int64, shape (n,)
    forecast_flux, nowcast_flux : ndarray of float64, shape (n,)
        W m-2. A bundle has to make all samples for them, once; it knows the labels of rare samples beforehand.

    Raises
    ------
    UsageError
        If `source` is not there or an observed cube, an option has an unknown value, or the cache would not fit into
        memory.
    SunaugError
        If no sample is complete.
    GateRefused
        If the gate has not passed the samples, unless `allow_ungated`.
    LeakageError
        If the generator was trained on any time of `evaluation`, unless `allow_leakage`.
    """

    synthetic = True

    def __init__(
        self,
        source: str | Path | xr.Dataset | Bundle,
        label: str = "forecast",
        threshold: str | float = "M1.0",
        scaling: IntensityScaling | str | None = None,
        channels: Sequence[str] | None = None,
        transform: Transform | None = None,
        *,
        size: int | None = None,
        cache: bool = False,
        allow_ungated: bool = False,
        n: int | None = None,
        device: str | torch.device = "cpu",
        policy: str | Path = "default",
        evaluation: Any = (),
        allow_leakage: bool = False,
        **request: Any,
    ) -> None:
        found = open_source(source)
        ranges, name = _origin(found)
        # Before a bundle's samples are made and judged, which takes a minute.
        self.leakage = check_evaluation(ranges, evaluation, source=f"SYNTHETIC/{name}", allow_leakage=allow_leakage)
        frames: FrameSource
        if isinstance(found, Bundle):
            if n is None:
                raise UsageError(f"{found.path}: is a generator bundle; say with n= how many samples it is to make.")
            frames = generated_frames(
                found, Request(n=n, **request), label, device=device, policy=policy, allow_ungated=allow_ungated
            )
        else:
            if n is not None or request:
                named = ", ".join((*(("n",) if n is not None else ()), *request))
                raise UsageError(f"{place_of(found[1])}: is made already; {named} can be asked of a bundle only.")
            if "sample" not in found[1].dims:
                raise UsageError(f"{place_of(found[1])}: is an observed cube; open it with SolarDataset.")
            refuse_ungated(found[1].attrs, place_of(found[1]), allow=allow_ungated)
            frames = CubeFrames(*found, label=label)
        form = SampleForm(
            frames,
            label=label,
            threshold=threshold,
            scaling=scaling,
            channels=channels,
            size=size,
            transform=transform,
        )
        super().__init__(frames, form, cache=cache)
        self.training_ranges: tuple[TimeRange, ...] = tuple(
            (str(start), str(end)) for start, end in self.attrs.get("training_ranges", ())
        )
        self.bundle_hash = str(self.attrs.get("bundle_hash", ""))
        self.gate = verdict_of(self.attrs)
        if isinstance(frames, GeneratedFrames) and frames.all_positive(self.label, self.threshold):
            self.labels = frames.axis * 0 + 1

    def _sample_id(self, place: int) -> str:
        return f"SYNTHETIC/{self.name}/{int(self.source.axis[place]):06d}"


def _origin(found: Bundle | tuple[str | Path | xr.Dataset, xr.Dataset]) -> tuple[Sequence[Sequence[str]], str]:
    """What an opened source was trained on, and what messages call it."""
    if isinstance(found, Bundle):
        return found.info.training_ranges, found.info.name
    return found[1].attrs.get("training_ranges", ()), Path(place_of(found[1])).stem


def open_source(
    source: str | Path | xr.Dataset | Bundle,
) -> Bundle | tuple[str | Path | xr.Dataset, xr.Dataset]:
    """Find out what a source of synthetic frames is, and open it.

    Returns
    -------
    Bundle, or tuple of (source, xarray.Dataset)
        A bundle, or the place of a cube and the cube; that of an export is the dataset itself.

    Raises
    ------
    UsageError
        If it is not there.
    """
    if isinstance(source, Bundle):
        return source
    if isinstance(source, xr.Dataset):
        return source, source
    source = local_or_url(source)
    if source in bundled_names() and not Path(source).exists():
        return load_bundle(source)
    if "/v1/batches/" in str(source):
        source = _fetched(str(source))
    if hub_id := parse_hub_id(source):
        source = download(hub_id)
    if "://" not in str(source):
        folder = Path(source)
        if (folder / "bundle.json").exists():
            return load_bundle(folder)
        if (folder / "SYNTHETIC.json").exists():
            from forecasting_adapters.exports import open_export

            exported = open_export(folder)
            return exported, exported
        if not folder.exists():
            raise UsageError(
                f"{source}: no such synthetic cube; make one with `sunaug generate --rare --out {source}`, or name a "
                f"bundle ({', '.join(bundled_names())}) to have samples made on the fly."
            )
    return source, open_cube(source)


def _fetched(batch: str) -> Path:
    try:
        from sunaug.client import fetch_cube
    except ImportError:
        raise UsageError(f"{batch}: a service is asked through httpx: pip install 'sunaug[client]'.") from None
    return fetch_cube(batch)


def generated_frames(
    bundle: Bundle,
    request: Request,
    label: str,
    *,
    device: str | torch.device,
    policy: str | Path,
    allow_ungated: bool,
) -> GeneratedFrames:
    """Frames that a bundle makes on the fly, judged by the gate unless `allow_ungated`.

    Raises
    ------
    GateRefused
        If the gate has not passed them.
    """
    gate = _NOT_ASKED if allow_ungated else gate_of(bundle, request, load_policy(policy), device=device)
    refuse_ungated({"gate": gate}, f"{bundle.info.name}, on the fly", allow=allow_ungated)
    return GeneratedFrames(bundle, request, label=label, device=device, gate=gate)
