"""Many clients at once, for a minute; a restart in the middle of it."""

import asyncio
import threading
import time

import pytest

from benchmarks.service_load import made_counts, run
from tests.service.serving import make_key, served

CLIENTS, SECONDS = 200, 60

pytestmark = pytest.mark.slow


def _options(tiny):
    return "--bundle", tiny, "--rate", 100_000, "--max-queue", 50


def _check(found, state):
    assert set(found["statuses"]) <= {200, 202, 429}, found
    assert found["states"] == {"done": found["accepted"]}, found
    assert found["accepted"] > 50, found
    made = made_counts(state.with_name(f"{state.name}.log"))
    assert len(made) <= found["accepted"]
    assert set(made.values()) == {1}, found
    print(found)


def test_many_clients_for_a_minute(tiny, tmp_path):
    state = tmp_path / "state"
    token = make_key(state)[1]
    with served(state, *_options(tiny)) as service:
        found = asyncio.run(run(service.url, token, CLIENTS, SECONDS, None))
    assert found["broken_off"] == 0
    _check(found, state)


def test_a_restart_under_load_loses_nothing(tiny, tmp_path):
    state = tmp_path / "state"
    token = make_key(state)[1]
    found = {}
    with served(state, *_options(tiny)) as service:
        port = service.url.rsplit(":", 1)[1]
        clients = threading.Thread(
            target=lambda: found.update(asyncio.run(run(service.url, token, CLIENTS, SECONDS, None)))
        )
        clients.start()
        time.sleep(SECONDS / 3)
        service.process.kill()
        service.process.wait()
        with served(state, *_options(tiny), "--port", port):
            clients.join()
    assert found["broken_off"] > 0
    _check(found, state)
