"""Bodies of requests: neither too long nor too slow."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BodyLimits"]


class BodyLimits:
    """ASGI middleware that takes in the whole body of a request before anything else sees it.

    No request of the service has a long body, and nothing is uploaded. A body that is too long is answered with 413,
    one that takes too long with 408; the connection is closed in both cases.

    Parameters
    ----------
    app : ASGI application
    max_bytes : int
    seconds : float
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self._app, self._max_bytes, self._seconds = app, max_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body: bytes | None = None
        status, sentence = 413, f"The body may have up to {self._max_bytes:,} bytes."
        if _announced(scope) <= self._max_bytes:
            try:
                async with asyncio.timeout(self._seconds):
                    body = await self._read(receive)
            except TimeoutError:
                status, sentence = 408, f"The body did not arrive within {self._seconds:g} s."
        if body is None:
            await JSONResponse({"detail": sentence}, status, {"Connection": "close"})(scope, receive, send)
            return
        first: Message | None = {"type": "http.request", "body": body, "more_body": False}

        async def replay() -> Message:
            nonlocal first
            message, first = first, None
            return message or await receive()  # then only that the client has gone

        await self._app(scope, replay, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body; None where it is too long."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                return None
            if message["type"] != "http.request" or not message.get("more_body"):
                return body


def _announced(scope: Scope) -> int:
    """Length that the headers speak of; the server in front has checked that it is a number."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
