"""A local server that speaks the Hugging Face Hub's protocol, as far as a download needs it."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_API = re.compile(r"/api/(?P<kind>datasets|models)/(?P<name>[^/]+/[^/]+)(?P<rest>/.*)?")
_FILE = re.compile(r"/(?:(?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)/resolve/[^/]+/(?P<path>.+)")


@dataclass
class Hub:
    """The address of a server, the repositories that it has, and the files that were downloaded from it."""

    endpoint: str
    repositories: dict[tuple[str, str], Path] = field(default_factory=dict)
    downloaded: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if found := _API.fullmatch(path):
            root = self.hub.repositories.get((found["kind"], found["name"]))
            return self._listing(found, root) if root else self._missing("RepoNotFound")
        if found := _FILE.fullmatch(path):
            root = self.hub.repositories.get((found["kind"] or "models", found["name"]))
            if root and (root / found["path"]).is_file():
                return self._file((root / found["path"]).read_bytes(), found["path"], body)
            return self._missing("EntryNotFound" if root else "RepoNotFound")
        return self._missing("EntryNotFound")

    def _listing(self, found: re.Match[str], root: Path) -> None:
        files = sorted(path for path in root.rglob("*") if path.is_file())
        names = [str(path.relative_to(root)) for path in files]
        if (found["rest"] or "").startswith("/tree"):
            answer: object = [
                {"type": "file", "path": name, "size": path.stat().st_size, "oid": _etag(path.read_bytes())}
                for name, path in zip(names, files, strict=True)
            ]
        else:
            siblings = [{"rfilename": name} for name in names]
            answer = {
                "_id": "1",
                "id": found["name"],
                "sha": COMMIT,
                "private": False,
                "siblings": siblings,
                "tags": [],
            }
        self._send(json.dumps(answer).encode(), {"Content-Type": "application/json"}, True)

    def _file(self, content: bytes, name: str, body: bool) -> None:
        if body:
            self.hub.downloaded.append(name)
        self._send(content, {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": COMMIT}, body)

    def _send(self, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _missing(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None: ...


def _etag(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextmanager
def serve() -> Iterator[Hub]:
    """Run the server; put folders into its `repositories`."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}")
    handler.hub = hub
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()
