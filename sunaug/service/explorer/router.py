"""The addresses of the page: the page itself, its files, its sliders, and the pictures that it asks for."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from sunaug.errors import SunaugError
from sunaug.flares import format_goes_class
from sunaug.service.access import require
from sunaug.service.explorer.controls import Controls, controls_of
from sunaug.service.explorer.drawing import chosen_channels, draw, draw_difference
from sunaug.service.explorer.scenes import Preview, PreviewRequest, Read
from sunaug.service.explorer.studio import Studio
from sunaug.service.filing import public_sentence
from sunaug.service.schemas import Problem
from sunaug.service.state import state_of

__all__ = ["explorer_router"]

_STATIC = Path(__file__).with_name("static")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILES = {path.name: _TYPES[path.suffix] for path in _STATIC.iterdir() if path.suffix in _TYPES}
_HEADERS = {
    # Pictures come as data within an answer, and a set that is saved goes through a blob; nothing else is let in.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_OPENING = Lock()

explorer_router = APIRouter(tags=["explorer"])
"""``/``, ``/explorer/...`` (its files), ``GET /v1/controls``, ``GET /v1/controls/{bundle}`` and ``POST /v1/preview``.

The page is open to everybody and holds no secret; all else needs a key as the rest of the service does. The application
keeps its `sunaug.service.state.State` in ``app.state.service``, and in ``app.state.judging`` the address of a running
`sunaug judge`, if there is one for the page to link to.
"""


class Served(BaseModel):
    """What can be explored."""

    bundles: list[str] = Field(description="Names of the bundles; the first is shown first.")
    judging: str | None = Field(description="Where people judge samples.")


def _studio(request: Request) -> Studio:
    state = request.app.state
    with _OPENING:
        if not hasattr(state, "studio"):
            state.studio = Studio(state_of(request).bundles)
    studio: Studio = state.studio
    return studio


Drawing = Annotated[Studio, Depends(_studio)]


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    said = {
        401: "No key, or none that is valid.",
        403: "The key lacks the scope.",
        404: "No such bundle.",
        413: "The body is too long.",
        422: "Something that cannot be drawn.",
        429: "Too often, or too many at once; see Retry-After.",
    }
    return {code: {"model": Problem, "description": said[code]} for code in (401, 403, 422, 429, *codes)}


@explorer_router.get("/", include_in_schema=False)
def show_page() -> Response:
    """The page."""
    return FileResponse(_STATIC / "index.html", media_type="text/html", headers=_HEADERS)


@explorer_router.get("/explorer/{name}", include_in_schema=False)
def show_file(name: str) -> Response:
    """A file of the page."""
    if name not in _FILES:
        raise HTTPException(404, "There is no such file.")
    return FileResponse(_STATIC / name, media_type=_FILES[name], headers=_HEADERS)


@explorer_router.get("/v1/controls", dependencies=[Depends(require("read"))], responses=_problems())
def list_controls(request: Request, studio: Drawing) -> Served:
    """Names of the bundles that can be explored, and where samples are judged by people."""
    return Served(bundles=list(studio.bundles), judging=getattr(request.app.state, "judging", None))


@explorer_router.get("/v1/controls/{bundle}", dependencies=[Depends(require("read"))], responses=_problems(404))
def show_controls(bundle: str, studio: Drawing) -> Controls:
    """Channels, conditions and directions of a bundle, and what each direction changes."""
    return controls_of(bundle, studio.bundle(bundle))


@explorer_router.post("/v1/preview", dependencies=[Depends(require("generate"))], responses=_problems(404, 413))
async def preview(asked: PreviewRequest, studio: Drawing) -> Preview:
    """Draw one SYNTHETIC Sun, channel by channel; the same request gives the same pixels."""
    bundle = studio.bundle(asked.bundle)
    if asked.minus is not None:
        studio.bundle(asked.minus.bundle)
    try:
        return await studio.run(lambda: _drawn(studio, asked))
    except SunaugError as error:
        raise HTTPException(422, public_sentence(error, {str(bundle.path): asked.bundle})) from None


def _drawn(studio: Studio, asked: PreviewRequest) -> Preview:
    bundle = studio.bundle(asked.bundle)
    places = chosen_channels(bundle.info, asked.channels)
    frame = studio.frame(asked)
    difference = None
    if asked.minus is not None:
        difference = draw_difference(frame, studio.frame(asked.minus), bundle.info, places, asked.width)
    return Preview(
        bundle=asked.bundle,
        bundle_hash=bundle.hash,
        pictures=draw(frame, bundle.info, places, asked.width),
        difference=difference,
        reading=_read(studio, asked),
    )


def _read(studio: Studio, asked: PreviewRequest) -> Read | None:
    critic, found = studio.bundle(asked.bundle).critic, studio.reading(asked)
    if critic is None or found is None:
        return None
    flux = dict(zip(critic.labels, found.flux[0].tolist(), strict=True))
    classes = {name: format_goes_class(value) for name, value in flux.items()}
    return Read(flux=flux, goes_class=classes, distance=float(found.distance[0]))
