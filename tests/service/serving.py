"""A service of its own process for tests, with a tiny bundle, and what is needed to talk to it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from sunaug.cli.listening import listening
from sunaug.fidelity.policy import load_policy
from sunaug.service.access import Key, Keys, pepper_file, read_pepper
from sunaug.service.app import make_app
from sunaug.service.database import Database, database_url
from sunaug.service.logs import set_up_logs
from sunaug.service.settings import Limits, Settings, open_bundles

POLICY = (
    "name: lenient\ngating: [nothing]\nminimum_frames: 12\nenough: 12\nsamples: 32\njudges: 0\n"
    "drop: false\ndrop_share: 1.0\n"
)
"""Refuses sets of less than 12 samples, and nothing else."""


@contextmanager
def in_thread(state: Path, bundle: Path, **limits: Any) -> Iterator[Service]:
    """The application in a thread of the tests, without workers: what is filed stays in the queue."""
    settings = Settings(
        state=state,
        bundles={bundle.name: bundle},
        policy=load_policy(),
        database=database_url(state),
        workers=0,
        open_to_local=False,
        limits=Limits(**limits),
    )
    app = make_app(settings, open_bundles([str(bundle)]))
    log_file = state.with_name(f"{state.name}.log")
    with log_file.open("w") as log, listening("127.0.0.1", 0) as listener:
        set_up_logs(log)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Service(f"http://127.0.0.1:{listener.getsockname()[1]}", state, log_file)
        finally:
            server.should_exit = True
            thread.join()
            set_up_logs()


@dataclass
class Service:
    """A running service."""

    url: str
    state: Path
    log_file: Path
    process: subprocess.Popen[bytes] | None = None

    def log(self) -> str:
        """All that it has written so far."""
        return self.log_file.read_text()

    def client(self, token: str | None = None) -> httpx.Client:
        """A client that gives a key."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


@contextmanager
def served(state: Path, *options: object) -> Iterator[Service]:
    """``sunaug serve`` on a free port."""
    state.mkdir(exist_ok=True, parents=True)
    log_file = state.with_name(f"{state.name}.log")
    command = [sys.executable, "-m", "sunaug", "serve", "--state", state, "--port", 0, "--lease", 2, *options]
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
    try:
        assert process.stdout is not None
        address = None
        while address is None:
            line = process.stdout.readline().decode()
            assert line, f"the service ended with {process.wait()}: {log_file.read_text()[-2000:]}"
            address = re.search(r"http://\S+(?=/)", line)
        yield Service(address[0], state, log_file, process)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def open_keys(state: Path) -> Keys:
    """The keys of a service, as its command line reaches them."""
    pepper = read_pepper(pepper_file(state))  # makes the folder
    return Keys(Database(database_url(state)), pepper)


def make_key(
    state: Path, name: str = "Ada", scopes: tuple[str, ...] = ("generate", "read"), per_day=None
) -> tuple[Key, str]:
    """A new key and its token."""
    return open_keys(state).create(name, scopes, per_day)


def until(client: httpx.Client, identifier: str, *states: str, seconds: float = 300) -> dict:
    """Wait until a batch is in one of some states."""
    last = time.monotonic() + seconds
    while True:
        batch = client.get(f"/v1/batches/{identifier}").raise_for_status().json()
        if batch["state"] in (states or ("done", "failed")):
            return batch
        assert time.monotonic() < last, batch
        time.sleep(0.1)


def file(client: httpx.Client, **request: object) -> dict:
    """File a batch that has to be accepted."""
    answer = client.post("/v1/batches", json=request)
    assert answer.status_code == 202, answer.text
    return answer.json()
