"""The application: the API, the page, and what stands around both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

import sunaug
from sunaug.bundle import Bundle
from sunaug.service.explorer import explorer_router
from sunaug.service.limits import BodyLimits
from sunaug.service.logs import RequestLog
from sunaug.service.routes import router
from sunaug.service.settings import Settings
from sunaug.service.state import State

__all__ = ["make_app"]

_ABOUT = """
Synthetic frames of the Sun to order. File a batch, wait until it is `done`, download it.

Everything that is handed out is marked as SYNTHETIC, and has passed the fidelity gate unless it was asked for with
`ungated: true`. Nothing is uploaded, and no request names a file or an address.
"""


def make_app(settings: Settings, bundles: Mapping[str, Bundle]) -> FastAPI:
    """The service as an ASGI application; its workers run for as long as it does.

    Parameters
    ----------
    settings : Settings
    bundles : mapping of str to Bundle
        See `sunaug.service.settings.open_bundles`.

    Raises
    ------
    UsageError, SunaugError
        If the database or the folder of the service cannot be used.
    """
    state = State(settings, bundles)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state.supervisor.start()
        yield
        state.supervisor.stop()
        state.database.close()

    app = FastAPI(
        title="sunaug",
        version=sunaug.__version__,
        description=_ABOUT,
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # its scripts would come from another host
        redoc_url=None,
    )
    app.state.service, app.state.access, app.state.judging = state, state.access, settings.judging
    app.include_router(router)
    app.include_router(explorer_router)
    app.add_exception_handler(RequestValidationError, _say_what_is_wrong)
    app.add_exception_handler(400, _say_unreadable)
    limits = settings.limits
    app.add_middleware(BodyLimits, max_bytes=limits.body_bytes, seconds=limits.body_seconds)
    app.add_middleware(RequestLog, metrics=state.metrics)
    return app


def _say_what_is_wrong(request: Request, error: Exception) -> JSONResponse:
    """The first thing that is wrong, in a sentence; what was sent is not sent back."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    sentence = f"{where[:200]}: {first['msg']}"
    return JSONResponse({"detail": sentence.encode("utf-8", "replace").decode()}, 422)  # names may be no valid text


def _say_unreadable(request: Request, error: Exception) -> JSONResponse:
    """FastAPI knows two answers to a body that is no JSON; here both are one."""
    return JSONResponse({"detail": "body: not JSON in UTF-8"}, 422)
