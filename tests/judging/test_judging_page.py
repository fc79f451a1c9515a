import io
import re
import struct
import time

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from sunaug.errors import UsageError
from sunaug.judging import Frames
from sunaug.judging import app as judging_app
from sunaug.judging.trials import trials_of
from sunaug.pictures import frame_picture
from tests.judging.experiments import make_cubes, make_experiment
from tests.models import CHANNELS


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    return make_cubes(tmp_path_factory.mktemp("cubes"))


@pytest.fixture
def build(cubes, tmp_path):
    def build(**options):
        answers, frames, choice = make_experiment(cubes, tmp_path / "a.sqlite", **({"n": 4} | options))
        return TestClient(judging_app.make_app(answers, frames, choice)), answers, choice

    return build


def _chunks(png):
    names, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        names.append(png[place + 4 : place + 8].decode())
        place += 12 + length
    return names


def test_a_session(build):
    client, answers, choice = build()
    assert client.get("/trial").url.path == "/"
    page = client.post("/judge", data={"name": " Ada  L. "})
    assert page.url.path == "/trial/1"
    assert "Ada L." in page.text
    for trial in trials_of(choice, "Ada L.", 0):
        number = trial.number
        assert client.get("/done").url.path == f"/trial/{number}"
        assert client.get(f"/trial/{number + 1}").url.path == f"/trial/{number}"
        page = client.post(f"/trial/{number}", data={"answer": "real", "milliseconds": str(100 * number)})
        assert page.url.path == ("/done" if number == 4 else f"/trial/{number + 1}")
        again = client.post(f"/trial/{number}", data={"answer": "synthetic"})
        assert again.status_code == 409
        assert "one answer" in again.text
    assert "2 of 4" in page.text
    assert re.search(r"95 % interval 15&nbsp;% to\s+85&nbsp;%", page.text)
    for one in answers.session("Ada L."):
        assert (one.answer, one.milliseconds) == ("real", 100 * one.trial.number)
        truth = f"sample {one.trial.sample}" if one.trial.sample is not None else one.trial.time[:10]
        assert truth in page.text
        assert client.get(f"/trial/{one.trial.number}/image.png").status_code == 200


def test_nothing_betrays_the_answer(build):
    client, _, choice = build(n=8)
    client.post("/judge", data={"name": "Ada"})
    pages = []
    for trial in trials_of(choice, "Ada", 0):
        page = client.get(f"/trial/{trial.number}")
        pages.append(re.sub(r"(/trial/|Picture |value=\")\d+", r"\1#", page.text))
        addresses = re.findall(r'src="(/trial[^"]+)"', page.text)
        assert addresses == [f"/trial/{trial.number}/image/{panel}.png" for panel in range(3)]
        heads = set()
        for address in addresses:
            picture = client.get(address)
            assert _chunks(picture.content) in (["IHDR", "IDAT", "IEND"], ["IHDR", "IDAT", "IDAT", "IEND"])
            opened = Image.open(io.BytesIO(picture.content))
            assert (opened.mode, opened.size, opened.info) == ("RGB", (512, 512), {})
            heads.add(tuple((name, text) for name, text in picture.headers.items() if name != "content-length"))
        assert len(heads) == 1
        assert picture.headers["cache-control"] == "no-store"
        client.post(f"/trial/{trial.number}", data={"answer": "real"})
    assert len(set(pages)) == 1


def test_pictures_of_both_kinds_go_the_same_way(cubes, build):
    client, answers, choice = build(mode="pair")
    client.post("/judge", data={"name": "Ada"})
    frames = make_experiment(cubes, answers.path, n=4, mode="pair")[1]
    trial = trials_of(choice, "Ada", 0)[0]
    for side in ("left", "right"):
        key = trial.shown(side)
        assert isinstance(key, str) == (side == trial.truth)
        for number, name in enumerate(CHANNELS):
            shown = Image.open(io.BytesIO(client.get(f"/trial/1/{side}/{number}.png").content))
            expected = frame_picture(frames.frame(key)[[number]], [name], intensity_scale="browse", width=512)
            np.testing.assert_array_equal(np.asarray(shown), np.asarray(expected))


def test_only_the_trial_on_show_is_shown(build):
    client, _, _ = build()
    assert client.get("/trial/1/image/0.png").status_code == 404
    client.post("/judge", data={"name": "Ada"})
    assert client.get("/trial/1/image/0.png").status_code == 200
    for wrong in ("2/image/0.png", "0/image/0.png", "1/left/0.png", "1/image/3.png", "1/image/-1.png", "1/image.png"):
        assert client.get(f"/trial/{wrong}").status_code == 404, wrong
    client.post("/trial/1", data={"answer": "real"})
    assert client.get("/trial/1/image/0.png").status_code == 404


def test_answers_that_are_refused(build):
    client, answers, _ = build()
    assert client.post("/trial/1", data={"answer": "real"}).status_code == 403
    client.post("/judge", data={"name": "Ada"})
    for number, given, status in ((1, "left", 422), (1, "", 422), (2, "real", 409), (9, "real", 404)):
        assert client.post(f"/trial/{number}", data={"answer": given}).status_code == status
    assert client.post("/trial/1", content=b"answer=real&x=" + b"y" * 5000).status_code == 413
    assert client.post("/trial/1", content=b"\xff\xfe").status_code == 400
    assert all(one.answer is None for one in answers.session("Ada"))
    assert client.post("/trial/1", data={"answer": "real", "milliseconds": "1e9"}).status_code == 200
    assert answers.session("Ada")[0].milliseconds is None


def test_names_are_data(build):
    client, answers, _ = build()
    name = "<script>&'\"; Zoë 太陽"
    page = client.post("/judge", data={"name": name})
    assert page.url.path == "/trial/1"
    assert name not in page.text
    assert "&lt;script&gt;&amp;" in page.text
    assert answers.name(name) == name
    for wrong in ("", "x" * 41, "a\x07b"):
        refused = client.post("/judge", data={"name": wrong})
        assert refused.status_code == 422
        assert 'role="alert"' in refused.text
    client.cookies.clear()
    client.cookies.set("judge", "nobody")
    assert client.get("/trial").url.path == "/"


def test_two_judges_with_one_name_are_asked(build):
    client, _, _ = build()
    client.post("/judge", data={"name": "Ada"})
    client.post("/trial/1", data={"answer": "real"})
    client.post("/leave")
    page = client.post("/judge", data={"name": "ada"})
    assert "Are you Ada?" in page.text
    assert "1 of 4 answers" in page.text
    assert client.post("/judge", data={"name": "ada", "again": "yes"}).url.path == "/trial/2"


def test_time_is_over(build, monkeypatch):
    monkeypatch.setattr(judging_app, "GRACE_SECONDS", 0.0)
    client, _, _ = build(seconds=0.2)
    assert 'data-left="0.200"' in client.post("/judge", data={"name": "Ada"}).text
    assert client.get("/trial/1/image/0.png").status_code == 200
    assert client.post("/trial/1/shown").status_code == 204
    time.sleep(0.3)
    assert client.get("/trial/1/image/0.png").status_code == 410
    assert "<img" not in client.get("/trial/1").text
    assert client.post("/trial/1", data={"answer": "real"}).url.path == "/trial/2"
    assert client.get("/trial/2/image/0.png").status_code == 200


def test_one_channel(build):
    page = build(channel="94")[0].post("/judge", data={"name": "Ada"})
    assert page.text.count("<img") == 1
    assert "AIA 94 Å" in page.text
    assert "171" not in page.text


def test_cubes_that_do_not_go_together(cubes, tmp_path):
    from sunaug.cube import open_cube
    from tests.models import make_cube

    made = open_cube(cubes[0])
    with pytest.raises(UsageError, match="different frame sizes"):
        Frames(made, open_cube(make_cube(tmp_path / "large.zarr", size=32)))
    with pytest.raises(UsageError, match="has no channel aia193"):
        Frames(made, open_cube(cubes[1]), "193")


def test_nothing_comes_from_elsewhere(build):
    client, _, _ = build()
    page = client.post("/judge", data={"name": "Ada"})
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("judging.css", "judging.js", "icon.svg"):
        text = client.get(f"/static/{name}").text.replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"(?m)^\s*//.*$", "", text)
        assert "@import" not in text
    assert client.get("/static/..%2fapp.py").status_code == 404
    assert client.get("/docs").status_code == client.get("/openapi.json").status_code == 404
