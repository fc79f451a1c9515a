"""Many clients at once: what a running service answers, how fast, and whether every batch is made once.

    sunaug serve --state /tmp/load --bundle BUNDLE --rate 100000 2> /tmp/load.log &
    python benchmarks/service_load.py http://127.0.0.1:8000 --clients 200 --seconds 60 --log /tmp/load.log

Each client files a batch of its own, looks at it until it is done, and downloads it; then the next. One in ten is one
that others file too. In the end every batch that was accepted has to be done, and the service's log has to name each
set as made exactly once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

SAMPLES = 8
SHARED_SEEDS = 10
END_SECONDS = 600


@dataclass
class Load:
    """What the clients have seen."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    downloaded: int = 0
    broken_off: int = 0


async def ask(client: httpx.AsyncClient, load: Load, method: str, address: str, **options: object) -> httpx.Response:
    """A request that is counted; asked again where the service says so, or is away for a moment."""
    while True:
        started = time.monotonic()
        try:
            answer = await client.request(method, address, **options)
        except httpx.TransportError:
            load.broken_off += 1
            await asyncio.sleep(0.5)
            continue
        load.seconds.append(time.monotonic() - started)
        load.statuses[answer.status_code] += 1
        if answer.status_code != 429:
            return answer
        await asyncio.sleep(min(float(answer.headers["retry-after"]), 5))


async def one_client(number: int, client: httpx.AsyncClient, load: Load, until: float) -> None:
    turn = 0
    while time.monotonic() < until:
        shared = (number + turn) % 10 == 0
        seed = turn % SHARED_SEEDS if shared else 1_000_000 + number * 10_000 + turn
        turn += 1
        request = {"n": SAMPLES, "seed": seed, "ungated": True}
        answer = await ask(client, load, "POST", "/v1/batches", json=request)
        if answer.status_code != 202:
            continue
        identifier = answer.json()["id"]
        load.accepted.add(identifier)
        while time.monotonic() < until:
            batch = (await ask(client, load, "GET", f"/v1/batches/{identifier}")).json()
            if batch["state"] == "done":
                await ask(client, load, "GET", batch["download"])
                load.downloaded += 1
                break
            await asyncio.sleep(0.2)


async def wait_for_all(client: httpx.AsyncClient, load: Load) -> Counter[str]:
    """States of all accepted batches, once none of them is waiting any more."""
    last = time.monotonic() + END_SECONDS
    while time.monotonic() < last:
        health = (await ask(client, load, "GET", "/v1/health")).json()
        if not health["queued"] and not health["running"]:
            break
        await asyncio.sleep(1)
    states: Counter[str] = Counter()
    for identifier in load.accepted:
        answer = await ask(client, load, "GET", f"/v1/batches/{identifier}")
        states[answer.json()["state"] if answer.status_code == 200 else "lost"] += 1
    return states


def made_counts(log: Path) -> Counter[str]:
    """How often the log says of each set that it was made."""
    return Counter(re.findall(r"set (\S+): made", log.read_text()))


async def run(url: str, key: str | None, clients: int, seconds: float, log: Path | None) -> dict[str, object]:
    """Let the clients loose, and say what came of it."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    load = Load()
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=120) as client:
        started = time.monotonic()
        await asyncio.gather(*(one_client(number, client, load, started + seconds) for number in range(clients)))
        took, latencies = time.monotonic() - started, np.array(load.seconds)
        statuses = dict(load.statuses)
        states = await wait_for_all(client, load)
    found: dict[str, object] = {
        "clients": clients,
        "seconds": round(took, 1),
        "requests": int(sum(statuses.values())),
        "requests_per_second": round(sum(statuses.values()) / took, 1),
        "statuses": statuses,
        "broken_off": load.broken_off,
        "milliseconds": {
            name: round(1000 * float(np.percentile(latencies, p))) for name, p in (("median", 50), ("p99", 99))
        },
        "accepted": len(load.accepted),
        "downloaded": load.downloaded,
        "states": dict(states),
    }
    if log:
        made = made_counts(log)
        found |= {"sets_made": len(made), "sets_made_twice": sum(count > 1 for count in made.values())}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--log", type=Path, help="what the service writes to standard error")
    options = parser.parse_args()
    key = os.environ.get("SUNAUG_API_KEY")
    found = asyncio.run(run(options.url, key, options.clients, options.seconds, options.log))
    print(json.dumps(found, indent=2))
    good = set(found["statuses"]) <= {200, 202, 429} and set(found["states"]) <= {"done"}
    sys.exit(0 if good and not found.get("sets_made_twice") else 1)


if __name__ == "__main__":
    main()
