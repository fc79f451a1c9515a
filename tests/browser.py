"""A headless browser that tests look at pages with, and that notes what goes wrong on them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Response

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Opened:
    """A page in a browser and what went wrong on it since it was opened."""

    page: Page
    console_errors: list[str] = field(default_factory=list)
    failed_requests: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    """Addresses of everything that was asked for, in order."""

    def assert_clean(self) -> None:
        """No error in the console, no request without an answer below 400."""
        assert (self.console_errors, self.failed_requests) == ([], [])


def find_chromium() -> Path | None:
    """The machine's own Chromium; None where it has none."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    return Path(found) if found else None


@contextmanager
def page(
    url: str, *, width: int = 1280, height: int = 800, offline: bool = False, touch: bool = False
) -> Iterator[Opened]:
    """Open `url` (http, or file for a page on the disk) in a browser of its own, which is closed in the end.

    Parameters
    ----------
    url : str
    width, height : int
        Of the window in CSS pixels; 390 by 844 is a phone.
    offline : bool
        Cut the network off: what a page on the disk still asks for then counts as failed.
    touch : bool
        A screen that is touched, without a mouse.

    Notes
    -----
    Skips the test where Chromium or playwright is absent.
    """
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = find_chromium()
    if chromium is None:
        pytest.skip(f"no browser on this machine ({', '.join(_NAMES)})")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=_ARGUMENTS)
        try:
            context = browser.new_context(
                viewport={"width": width, "height": height}, offline=offline, has_touch=touch, is_mobile=touch
            )
            opened = Opened(context.new_page())
            _listen(opened)
            opened.page.goto(url)
            yield opened
        finally:
            browser.close()


def _listen(opened: Opened) -> None:
    def note_message(message: ConsoleMessage) -> None:
        if message.type == "error":
            opened.console_errors.append(message.text)

    def note_answer(answer: Response) -> None:
        if answer.status >= 400:
            opened.failed_requests.append(f"{answer.url}: {answer.status}")

    page = opened.page
    page.on("request", lambda request: opened.requests.append(request.url))
    page.on("requestfailed", lambda request: opened.failed_requests.append(f"{request.url}: {request.failure}"))
    page.on("response", note_answer)
    page.on("console", note_message)
    page.on("pageerror", lambda error: opened.console_errors.append(str(error)))
