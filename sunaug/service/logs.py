"""What the service writes down: a line for each request and event, without secrets and without surprises.

Nothing of what a request says is trusted: control characters are written as escapes, so that no line can be forged, and
whatever looks like an API key is cut down to its id. Query strings, headers and bodies are not written at all.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TextIO

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sunaug.service.metrics import Metrics

__all__ = ["RequestLog", "set_up_logs"]

_SECRET = re.compile(r"(sunaug_[0-9a-f]{12})_[A-Za-z0-9_-]+")
_PASSWORD = re.compile(r"(\w://[^\s:/@]*):[^\s@]+@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_log = logging.getLogger("sunaug.service")


class _OneLine(logging.Formatter):
    """A line for each record, whatever is in it."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        text = _PASSWORD.sub(r"\1:***@", _SECRET.sub(r"\1_***", text))
        return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def set_up_logs(stream: TextIO | None = None) -> None:
    """Send the lines of the service, of uvicorn and of SQLAlchemy to a stream, by default standard error."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_OneLine("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    for name, level in (
        ("sunaug.service", logging.INFO),
        ("uvicorn", logging.WARNING),
        ("sqlalchemy", logging.WARNING),
    ):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


class RequestLog:
    """ASGI middleware that writes a line for each request and counts it.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            seconds = time.monotonic() - started
            route = getattr(scope.get("route"), "path", "none")  # as it is declared: few different ones
            self._metrics.count(scope["method"], route, status, seconds)
            key = scope.get("state", {}).get("key", "-")
            peer = (scope.get("client") or ("-",))[0]
            _log.info("%s %s %s %d %.0f ms key %s", peer, scope["method"], scope["path"], status, seconds * 1000, key)
