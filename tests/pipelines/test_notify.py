"""Webhooks hear how a run ended; one that does not answer fails nothing, and its address stays a secret."""

import pytest

from pipelines.notify import notify
from pipelines.reports import Outcome, RunReport, write_report
from pipelines.run import run_recipe
from pipelines.sections import NotifySection
from sunaug.errors import UsageError
from tests.pipelines.nights import FEW, make_home, only
from tests.pipelines.webhook import webhook


@pytest.fixture
def hook():
    with webhook() as running:
        yield running


def _report(status):
    return RunReport("tiny", "2026-01-02T03:04:05.000+00:00", [Outcome("gate", status, "why | how", key="k")])


def test_who_wants_to_hear_is_told(hook):
    report = _report("refused")
    assert notify([NotifySection(url=hook.url)], report) == []
    (posted,) = hook.posted
    assert posted["text"] == "tiny: gate: refused: why | how."
    assert posted["report"]["status"] == "refused"
    assert posted["report"]["steps"][0]["step"] == "gate"
    assert notify([NotifySection(url=hook.url, on=["published"])], report) == []
    assert len(hook.posted) == 1


def test_a_server_that_stumbles_is_asked_again(hook):
    hook.failures = [503, 500]
    assert notify([NotifySection(url=hook.url, wait=0)], _report("failed")) == []
    assert len(hook.posted) == 1


def test_a_server_that_fails_is_named_without_its_secret(hook, monkeypatch):
    hook.failures = [500] * 3
    (said,) = notify([NotifySection(url=hook.url, wait=0)], _report("failed"))
    assert said == "the webhook at 127.0.0.1 answered 500 in 3 attempts; nobody was told."
    monkeypatch.setenv("HOOK", "http://127.0.0.1:9/secret-token")
    (said,) = notify([NotifySection(url_env="HOOK", attempts=1, timeout=1)], _report("failed"))
    assert "127.0.0.1 did not answer" in said
    assert "secret" not in said
    (said,) = notify([NotifySection(url_env="NO_SUCH")], _report("failed"))
    assert said == "NO_SUCH: this environment variable holds no http address, so nobody was told."


def test_a_run_that_fails_is_told_and_written_down(hook, tmp_path, monkeypatch):
    monkeypatch.setenv("HOOK", hook.url)
    recipe = make_home(tmp_path, FEW[:1], **(only("ingest", "labels") | {"notify": [{"url_env": "HOOK"}]}))
    (tmp_path / "flares.csv").unlink()
    with pytest.raises(UsageError):
        run_recipe(recipe)
    (posted,) = hook.posted
    assert posted["text"].startswith("tiny: labels: failed: ")
    assert [one["status"] for one in posted["report"]["steps"]] == ["done", "failed"]
    assert "secret" not in "".join(one.read_text() for one in (tmp_path / "work").rglob("*.*") if one.is_file())


def test_the_newest_reports_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.reports.KEPT_REPORTS", 2)
    for second in range(4):
        report = _report("done")
        report.started = f"2026-01-02T03:04:0{second}.000+00:00"
        path = write_report(tmp_path, report)
    assert path.name == "2026-01-02T030403.000Z.md"
    assert "| gate | done | 0.0 s | why \\| how |" in path.read_text()
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        f"2026-01-02T03040{second}.000Z.{suffix}" for second in (2, 3) for suffix in ("json", "md")
    ]
