import json
import sqlite3
from contextlib import closing

import httpx
import pytest

from tests.browser import page as browser_page
from tests.cli.commands import refused, run_main, sunaug
from tests.judging.experiments import make_cubes, served

pytest.importorskip("fastapi", reason="needs the extra service")
pytest.importorskip("uvicorn", reason="needs the extra service")


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    return make_cubes(tmp_path_factory.mktemp("cubes"))


def _stored(database):
    with closing(sqlite3.connect(database)) as opened:
        return opened.execute(
            "SELECT trial, truth, answer, correct, milliseconds FROM trials ORDER BY trial"
        ).fetchall()


@pytest.mark.slow
def test_a_killed_server_loses_nothing(cubes, tmp_path):
    database = tmp_path / "a.sqlite"
    client = httpx.Client(follow_redirects=True)
    with served(cubes, database, "--n", 4, "--mode", "pair") as (process, address):
        client.post(f"{address}/judge", data={"name": "Ada"})
        assert client.post(f"{address}/trial/1", data={"answer": "left"}).url.path == "/trial/2"
        assert client.post(f"{address}/trial/2", data={"answer": "right"}).url.path == "/trial/3"
        left = client.get(f"{address}/trial/3/left/0.png").content
        process.kill()  # SIGKILL
        process.wait()
        before = _stored(database)
    with served(cubes, database, "--n", 4, "--mode", "pair") as (_, address):
        assert _stored(database) == before
        page = client.get(f"{address}/trial")
        assert page.url.path == "/trial/3"
        assert client.get(f"{address}/trial/3/left/0.png").content == left
        assert client.post(f"{address}/trial/2", data={"answer": "left"}).status_code == 409
        client.post(f"{address}/trial/3", data={"answer": "left"})
        assert client.post(f"{address}/trial/4", data={"answer": "left"}).url.path == "/done"
    stored = _stored(database)
    assert [row[2] for row in stored] == ["left", "right", "left", "left"]
    assert [row[3] for row in stored] == [int(row[1] == row[2]) for row in stored]

    shown = sunaug("judge", "--results", "--database", database, "--json", tmp_path / "r.json")
    assert shown.returncode == 0, shown.stderr
    figures = json.loads((tmp_path / "r.json").read_text())
    correct = sum(row[3] for row in stored)
    assert (figures["overall"]["n"], figures["overall"]["correct"]) == (4, correct)
    assert any(line.split()[:5] == ["Ada", "4", "of", "4", str(correct)] for line in shown.stdout.splitlines())


def test_a_session_by_keyboard(cubes, tmp_path):
    database = tmp_path / "a.sqlite"
    keys = {"r": "real", "s": "synthetic", "ArrowRight": "synthetic", "ArrowLeft": "real"}
    with (
        served(cubes, database, "--n", 4, "--seconds", 1) as (_, address),
        browser_page(f"{address}/") as opened,
    ):
        page = opened.page
        page.keyboard.type("Ada")
        with page.expect_navigation(url="**/trial/1"):
            page.keyboard.press("Enter")
        for number, key in enumerate(keys, 1):
            page.wait_for_selector("#answer button:enabled")
            assert page.locator(".sun img").count() == 3
            page.keyboard.press("Enter")  # nothing is chosen yet
            if number == 1:
                page.wait_for_selector(".over")
                assert page.locator(".sun img").count() == 0
                assert "hidden" in page.inner_text("#status")
            page.keyboard.press(key)
            assert page.evaluate("document.activeElement.value") == keys[key]
            with page.expect_navigation(url="**/done" if number == 4 else f"**/trial/{number + 1}"):
                page.keyboard.press("Enter")
        page.wait_for_load_state("networkidle")
        assert page.locator(".truth li").count() == 4
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        opened.assert_clean()
        assert all(one.startswith(address) for one in opened.requests)
    stored = _stored(database)
    assert [row[2] for row in stored] == list(keys.values())
    assert [row[3] for row in stored] == [int(row[1] == row[2]) for row in stored]
    assert all(row[4] is not None and row[4] < 60_000 for row in stored)
    assert stored[0][4] > 1000


@pytest.mark.slow
def test_on_a_phone(cubes, tmp_path):
    with (
        served(cubes, tmp_path / "a.sqlite", "--mode", "pair", "--n", 2) as (_, address),
        browser_page(f"{address}/", width=390, height=844, touch=True) as opened,
    ):
        page = opened.page
        page.fill("#name", "Ada with a name as long as a name may be")
        page.tap("button.main")
        for _ in range(2):
            page.wait_for_selector("#answer button:enabled")
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            box = page.locator("#answer button").last.bounding_box()
            assert box["y"] + box["height"] <= 844
            assert box["height"] >= 44
            with page.expect_navigation():
                page.locator("#answer button").last.tap()
        assert page.url.endswith("/done")
        opened.assert_clean()


def test_commands_that_are_refused(cubes, tmp_path, capsys, monkeypatch):
    database = tmp_path / "a.sqlite"
    both = (cubes[0], "--against", cubes[1], "--database", database)
    for arguments, code, reason in (
        ((), 2, "SYNTHETIC --against CUBE"),
        ((cubes[0],), 2, "SYNTHETIC --against CUBE"),
        ((*both, "--seconds", "0"), 2, "--seconds 0"),
        ((*both, "--mode", "triple"), 2, "unknown mode"),
        ((*both, "--channel", "193"), 2, "has no channel aia193"),
        (("--results", "--database", database), 1, "no such database"),
        ((*both, "--n", "4", "--host", "203.0.113.7"), 1, "cannot be served there"),
    ):
        found, message = refused(capsys, "judge", *arguments)
        assert (found, reason in message) == (code, True), message
        assert not database.exists()
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    run_main(capsys, "judge", *both, "--n", "4", "--port", "0")
    found, message = refused(capsys, "judge", *both, "--n", "6", "--port", "0")
    assert (found, "was made with --n 4" in message) == (1, True), message


def test_without_the_extra(cubes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, message = refused(capsys, "judge", cubes[0], "--against", cubes[1], "--database", tmp_path / "a.sqlite")
    assert code == 1
    assert "sunaug[service]" in message
    assert not (tmp_path / "a.sqlite").exists()
