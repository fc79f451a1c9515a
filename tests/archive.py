"""A web server with the layout of JSOC's synoptic archive, and the faults that archives have."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from tests.make_data import write_fits

LAYOUT = (
    "/data/aia/synoptic/{{year:4d}}/{{month:2d}}/{{day:2d}}/H{{hour:2d}}00/"
    "AIA{{year:4d}}{{month:2d}}{{day:2d}}_{{hour:2d}}{{minute:2d}}_{{Wavelength:04d}}.fits"
)
"""What follows the server's name in the pattern of sunpy's client."""


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        archive = self.server.archive
        name = Path(self.path).name
        if not name.endswith(".fits"):
            archive.listings.append(self.path)
            super().do_GET()
            return
        with archive.lock:
            archive.asked.append(name)
            archive.open += 1
            archive.most_open = max(archive.most_open, archive.open)
            waiting = archive.faults.get(name, [])
            fault = waiting.pop(0) if waiting else ""
        try:
            self._answer(fault)
        finally:
            with archive.lock:
                archive.open -= 1

    def _answer(self, fault):
        body = Path(self.translate_path(self.path)).read_bytes()
        if fault == "503":
            self.send_error(503)
        elif fault == "no answer":
            self.close_connection = True
        elif fault == "page":
            self._send(b"<!DOCTYPE html><html>down for maintenance</html>")
        elif fault == "cut off":
            self._send(body[:-3000], length=len(body))
            self.close_connection = True
        elif fault == "short":
            self._send(body[:-3000])
        elif fault == "hang":
            self._send(body[:3000], length=len(body), hold=True)
        elif fault:
            self._send((Path(self.translate_path(self.path)).parent / fault).read_bytes())
        else:
            # So that downloads really overlap.
            self.server.archive.pause.wait(0.02)
            self._send(body)

    def _send(self, body, length=None, hold=False):
        self.send_response(200)
        self.send_header("Content-Type", "image/fits")
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if hold:
            self.server.archive.hanging.set()
            self.server.archive.pause.wait(20)

    def log_message(self, *_):
        pass


class Archive:
    """The server; `faults` gives, by file name, what goes wrong at the first requests for it."""

    def __init__(self, root: Path):
        self.root = root
        self.faults: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.listings: list[str] = []
        self.lock = threading.Lock()
        self.pause, self.hanging = threading.Event(), threading.Event()
        self.open = self.most_open = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(root)))
        self.server.archive = self
        self.pattern = f"http://127.0.0.1:{self.server.server_port}{LAYOUT}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, time: str, wavelength: int, *, header_time: str | None = None, **of_a_sun: Any) -> str:
        """Put a file into the archive, of the minute `time` (``2017-01-01T00:02``); its name.

        It holds noise, or what `tests.make_data.write_fits` makes of further arguments.
        """
        day, minute = time.split("T")
        year, month, date = day.split("-")
        folder = self.root / "data/aia/synoptic" / year / month / date / f"H{minute[:2]}00"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"AIA{year}{month}{date}_{minute.replace(':', '')}_{wavelength:04d}.fits"
        content = of_a_sun or {"size": 64, "image": np.random.default_rng(wavelength).integers(0, 1000, (64, 64))}
        write_fits(folder / name, time=header_time or f"{time}:05.84", wavelength=wavelength, **content)
        return name

    def close(self) -> None:
        self.pause.set()
        self.server.shutdown()
        self.server.server_close()
