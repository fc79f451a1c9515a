"""The addresses of the API below ``/v1``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from threading import BoundedSemaphore
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from sqlalchemy import Row
from starlette.types import Receive, Scope, Send

import sunaug
from sunaug.errors import UsageError
from sunaug.fidelity.stored import FILE
from sunaug.service.access import Key, require, too_many
from sunaug.service.filing import wanted_set
from sunaug.service.packing import MEDIA_TYPES
from sunaug.service.schemas import Batch, Batches, BatchRequest, BundleSummary, Health, Problem
from sunaug.service.state import State, state_of
from sunaug.service.streaming import stream_set

__all__ = ["router"]

Service = Annotated[State, Depends(state_of)]
Reader = Annotated[Key, Depends(require("read"))]
Writer = Annotated[Key, Depends(require("generate"))]
Identifier = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="As the answer to filing the batch gave it.")]

_STREAM_SECONDS = 5


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    said = {
        401: "No key, or none that is valid.",
        403: "The key lacks the scope.",
        404: "No such batch of this key.",
        409: "Not to be had: not finished, failed, or refused by the gate.",
        413: "The body is too long.",
        416: "No such range.",
        422: "The request makes no sense.",
        429: "Too often or too much at once; see Retry-After.",
    }
    return {status: {"model": Problem, "description": said[status]} for status in (401, 403, 422, 429, *statuses)}


router = APIRouter(prefix="/v1", tags=["batches"])


@router.post("/batches", status_code=202, responses=_problems(413))
def file_batch(asked: BatchRequest, service: Service, key: Writer, response: Response) -> Batch:
    """File a batch. The same request is answered from the store, where it is made or on its way already."""
    try:
        wanted = wanted_set(asked, service.bundles, service.settings)
    except UsageError as error:
        raise HTTPException(422, str(error)) from None
    batch = _batch(_found(service, service.queue.file(key, wanted), key))
    response.headers["Location"] = f"/v1/batches/{batch.id}"
    return batch


@router.get("/batches", responses=_problems())
def list_batches(
    service: Service,
    key: Reader,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Batches:
    """The batches of this key, the latest first."""
    rows, total = service.queue.batches(key, limit, offset)
    return Batches(batches=[_batch(row) for row in rows], total=total)


@router.get("/batches/{identifier}", responses=_problems(404))
def show_batch(identifier: Identifier, service: Service, key: Reader) -> Batch:
    """How far a batch has come, and what the gate says of it."""
    return _batch(_found(service, identifier, key))


@router.delete("/batches/{identifier}", status_code=204, responses=_problems(404))
def delete_batch(identifier: Identifier, service: Service, key: Writer) -> None:
    """Cancel a batch, or delete it; its files go with the last batch that wants them."""
    cube = service.queue.delete(identifier, key)
    if cube is None:
        raise _not_found()
    service.results.discard(cube, service.queue.wanted_cubes)


@router.get(
    "/batches/{identifier}/download",
    response_class=FileResponse,
    responses={
        **_problems(404, 409),
        200: {"description": "The whole file.", "content": {one: {} for one in sorted(set(MEDIA_TYPES.values()))}},
        206: {"description": "The range that was asked for (`Range`, `If-Range`)."},
        304: {"description": "The file is the one of `If-None-Match`."},
        400: {"description": "A `Range` that cannot be read."},
        416: {"description": "A `Range` beyond the file."},
    },
)
def download_batch(identifier: Identifier, service: Service, key: Reader, request: Request) -> Response:
    """The file of a batch: Zarr zip, WebDataset tar or tar of FITS files. Its ETag is its SHA-256."""
    row = _found(service, identifier, key)
    if row.etag is None:
        raise HTTPException(409, _why_not(row))
    path = service.results.package(row.cube, row.format)
    if not path.is_file():  # a backup without its files, or somebody has cleaned up
        service.queue.make_again(row.set)
        raise HTTPException(409, "The file of this batch is gone; it is made again, wait for it.")
    etag = f'"{row.etag}"'
    if etag in [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers={"ETag": etag})
    return FileResponse(
        path, media_type=MEDIA_TYPES[row.format], filename=path.name, headers={"ETag": etag, "Cache-Control": "private"}
    )


@router.get(
    "/batches/{identifier}/stream",
    response_class=StreamingResponse,
    responses={**_problems(404), 200: {"description": "Lines of JSON.", "content": {"application/x-ndjson": {}}}},
)
def stream_batch(identifier: Identifier, service: Service, key: Reader) -> Response:
    """Samples as they come, one line of JSON for each.

    Lines are `{"progress": 32, "n": 100}`, `{"sample": 3, "dtype": "<f4", "shape": [3, 128, 128], "intensity": BASE64,
    "forecast_flux": ..., ...}` and in the end `{"end": "done", "gate": {...}}`. Samples come when the gate has passed
    the set; those of a batch with `ungated` as soon as they are made.
    """
    cube = service.results.cube(_found(service, identifier, key).cube)
    if not service.streams.acquire(blocking=False):
        raise too_many("Too many streams are open.", _STREAM_SECONDS)
    lines = stream_set(lambda: service.queue.batch(identifier, key), cube)
    return _Counted(lines, service.streams)


@router.get("/bundles", tags=["service"], responses=_problems())
def list_bundles(service: Service, key: Reader) -> list[BundleSummary]:
    """The bundles that samples can be asked of; the first is taken where a request names none."""
    return [
        BundleSummary(
            name=name,
            hash=bundle.hash,
            size=bundle.info.network.size,
            channels=bundle.info.channels,
            labels=list(bundle.info.network.labels),
            intensity_scale=bundle.info.intensity_scale,
            components=len(bundle.directions.get("components", ())),
            critic=bundle.critic is not None,
            gate=(bundle.path / FILE).is_file(),
            training_ranges=bundle.info.training_ranges,
        )
        for name, bundle in service.bundles.items()
    ]


@router.get("/health", tags=["service"])
def show_health(service: Service) -> Health:
    """Whether the service works; needs no key."""
    counts, alive = service.queue.counts(), service.supervisor.alive
    return Health(
        status="ok" if alive else "no workers",
        version=sunaug.__version__,
        workers=alive,
        queued=counts.get("queued", 0),
        running=counts.get("running", 0),
    )


@router.get(
    "/metrics",
    tags=["service"],
    response_class=Response,
    responses={**_problems(), 200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}}},
)
def show_metrics(service: Service, key: Annotated[Key, Depends(require("admin"))]) -> Response:
    """Figures for Prometheus."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


class _Counted(StreamingResponse):
    """A stream that gives its place back when it ends, even where its reader has gone before the first line."""

    def __init__(self, lines: AsyncIterator[bytes], places: BoundedSemaphore) -> None:
        super().__init__(lines, media_type="application/x-ndjson")
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._places.release()


def _found(service: State, identifier: str, key: Key) -> Row[Any]:
    row = service.queue.batch(identifier, key)
    if row is None:
        raise _not_found()
    return row


def _not_found() -> HTTPException:
    return HTTPException(404, "There is no such batch of yours; it may have been deleted.")


def _why_not(row: Row[Any]) -> str:
    if row.state == "failed":
        return f"This batch has failed: {row.error}"
    if row.state != "done":
        return f"Not finished: {row.done:,} of {row.n:,} samples are made."
    return f"{json.loads(row.gate)['sentence']} To have the samples anyway, file the batch with ungated: true."


def _batch(row: Row[Any]) -> Batch:
    address = f"/v1/batches/{row.id}"
    return Batch(
        id=row.id,
        state=row.state,
        n=row.n,
        done=row.done,
        format=row.format,
        request=json.loads(row.request),
        gate=json.loads(row.gate) if row.gate else None,
        error=row.error,
        bytes=row.bytes,
        from_store=bool(row.from_store),
        created=datetime.fromtimestamp(row.created, UTC),
        finished=datetime.fromtimestamp(row.finished, UTC) if row.finished else None,
        download=f"{address}/download" if row.etag else None,
        stream=f"{address}/stream",
    )
