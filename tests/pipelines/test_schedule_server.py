"""Schedules by a real Prefect server, at a short interval: whole processes, minutes."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipelines.publish import versions
from tests.pipelines.nights import FEW, LATER, make_home, write_nights, write_pipeline

pytestmark = pytest.mark.slow

EVERY = "20s"
PATIENCE = 900


@contextmanager
def _scheduled(recipe: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "sunaug", "schedule", str(recipe), "--every", EVERY]
    with (recipe.parent / "schedule.log").open("w") as log:
        # In a shell's background Ctrl-C is ignored, and children inherit that.
        heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True, preexec_fn=heeding)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[str], home: Path, status: str, earlier: int = 0) -> dict[str, Any]:
    """The next report with this status, after as many of them as were there before."""
    deadline = time.monotonic() + PATIENCE
    while True:
        reports = [json.loads(one.read_text()) for one in sorted((home / "work" / "reports").glob("*.json"))]
        found = [one for one in reports if one["status"] == status]
        if len(found) > earlier:
            return found[-1]
        log = (home / "schedule.log").read_text()
        assert process.poll() is None, log
        assert time.monotonic() < deadline, log
        time.sleep(1)


def test_two_runs_with_new_files_between_them_then_a_refusal(tmp_path):
    pytest.importorskip("prefect")

    def changed(seed: int, policy: str = "passes") -> dict[str, Any]:
        request = {"n": 16, "critic": False, "seed": seed}
        made = {"generate": {"request": request}, "gate": {"policy": f"{policy}.yaml"}}
        return {"bundle": "sdo2012-128", "train": None, **made}

    recipe = make_home(tmp_path, FEW, **changed(0))
    with _scheduled(recipe) as process:
        first = _wait_for(process, tmp_path, "published")
        assert "20 of 20 new files used" in first["steps"][0]["sentence"]
        write_nights(tmp_path / "later", LATER)
        (tmp_path / "later").rename(tmp_path / "incoming" / "later")
        second = _wait_for(process, tmp_path, "done")
        assert [(one["step"], one["status"]) for one in second["steps"]] == [
            *(("ingest", "done"), ("labels", "done")),
            *((step, "done already") for step in ("generate", "gate", "publish")),
        ]
        assert second["steps"][0]["sentence"] == "8 of 8 new files used; 28 frames in all"

        write_pipeline(tmp_path, **changed(1))
        _wait_for(process, tmp_path, "published", earlier=1)
        assert [(one.number, one.current) for one in versions(tmp_path / "published")] == [(1, False), (2, True)]

        write_pipeline(tmp_path, **changed(1, "refuses"))
        third = _wait_for(process, tmp_path, "refused")
        assert third["steps"][-1]["sentence"].endswith("version 2 stays published")
        assert [one.current for one in versions(tmp_path / "published")] == [False, True]
        while "Refused(" not in (tmp_path / "schedule.log").read_text():
            assert process.poll() is None
            time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(90) in (0, 130)
    log = (tmp_path / "schedule.log").read_text()
    assert "Traceback" not in log
