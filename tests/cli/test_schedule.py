import importlib.util

import pytest

from tests.cli.commands import refused
from tests.pipelines.nights import write_pipeline


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "give either --cron '0 3 * * *' or --every 6h"),
        (("--cron", "0 3 * * *", "--every", "6h"), 2, "give either --cron"),
        (("--every", "soon"), 2, "--every: 'soon' is no duration"),
        (("--every", "1s"), 2, "--every 1s: 5 s at least"),
        (("--every", "6h", "--server", "http://127.0.0.1:9"), 1, "http://127.0.0.1:9: no Prefect server answers there"),
        (("--every", "6h", "--server", "file:///tmp"), 1, "file:///tmp: no Prefect server answers there"),
    ],
)
def test_what_cannot_be_scheduled(tmp_path, capsys, arguments, code, said):
    pytest.importorskip("prefect")
    found = refused(capsys, "schedule", write_pipeline(tmp_path), *arguments)
    assert found[0] == code
    assert said in found[1]
    assert len(found[1].splitlines()) == 1


def test_without_prefect_one_sentence_says_what_to_do(tmp_path, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("pipelines.schedule.find_spec", lambda name: None if name == "prefect" else find(name))
    code, said = refused(capsys, "schedule", write_pipeline(tmp_path), "--every", "6h")
    assert code == 2
    assert said == (
        "sunaug: schedules need Prefect: pip install 'sunaug[schedule]'; `sunaug run` in a crontab needs none.\n"
    )
    assert not (tmp_path / "work").exists()
