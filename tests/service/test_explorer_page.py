import base64
import io
import os
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr.storage
from PIL import Image

from tests.browser import page as browser_page
from tests.models import CHANNELS
from tests.service.serving import make_key, served

pytestmark = pytest.mark.slow

QUALITY = 45
"""Of the pictures for the documentation: all four stay below 300 kB."""


@pytest.fixture(scope="module")
def service(tiny, tmp_path_factory):
    with served(tmp_path_factory.mktemp("service") / "state", "--bundle", tiny, "--rate", 100) as running:
        yield running


@pytest.fixture(scope="module")
def token(service):
    return make_key(service.state, "Grace")[1]


@contextmanager
def _opened(service, token, scene="", **window):
    """The page in a tab that has the key already."""
    with browser_page("about:blank", **window) as opened:
        opened.page.add_init_script(f"sessionStorage.setItem('sunaug-key', '{token}')")
        opened.page.goto(f"{service.url}/{scene}")
        _settled(opened.page)
        yield opened


def _until(page, condition, seconds=30):
    """Wait in this process: the page's policy lets nobody evaluate a text in it."""
    last = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < last, page.content()
        page.wait_for_timeout(30)


def _drawn(page, action):
    """Do something and wait until the Sun has been drawn anew."""

    def count():
        return int(page.get_attribute("#stage", "data-drawn") or 0)

    before = count()
    action()
    _until(page, lambda: count() > before)


def _pictures(page, row="now"):
    sources = page.eval_on_selector_all(f'[data-row="{row}"] img', "all => all.map((one) => one.src)")
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one.split(",")[1])))) for one in sources]


def _differ(one, two):
    return all(not np.array_equal(left, right) for left, right in zip(one, two, strict=True))


def _settled(page):
    page.locator("#rows img").nth(2).wait_for()
    page.wait_for_load_state("networkidle")


def _assert_own_requests(opened, address):
    opened.assert_clean()
    assert all(one.startswith((f"{address}/", "data:", "blob:")) for one in opened.requests)


def _download(page, path):
    with page.expect_download() as found:
        page.click("#jobs button:text('Download')")
    found.value.save_as(path)
    with zarr.storage.ZipStore(path, mode="r") as store:
        return xr.open_zarr(store).load()


def test_the_sun_is_redrawn_compared_and_made(service, token, tmp_path):
    with _opened(service, token) as opened:
        page = opened.page
        assert page.locator("#directions input[type=range]").count() == 9
        assert page.inner_text("#stage .mark").startswith("SYNTHETIC")
        alternatives = page.eval_on_selector_all("#rows img", "all => all.map((one) => one.alt)")
        assert len(alternatives) == 3
        assert all(one.startswith("SYNTHETIC Sun") for one in alternatives)
        first = _pictures(page)

        _drawn(page, lambda: page.locator("#component\\=0").fill("3"))
        by_mouse = _pictures(page)
        assert _differ(first, by_mouse)

        page.locator("#flare").focus()
        _drawn(page, lambda: page.keyboard.press("ArrowRight"))
        assert page.locator("output[for=flare]").inner_text() == "+0.1"
        by_key = _pictures(page)
        assert _differ(by_mouse, by_key)
        _drawn(page, lambda: page.keyboard.press("ArrowLeft"))
        assert all(map(np.array_equal, by_mouse, _pictures(page)))

        _drawn(page, lambda: page.click("#pin"))
        _drawn(page, lambda: page.locator("#forecast_flux").fill("-4.7"))
        assert page.locator("output[for=forecast_flux]").inner_text() == "M1.9"
        assert all(map(np.array_equal, by_mouse, _pictures(page, "pinned")))
        _drawn(page, lambda: page.locator("#component\\=1").fill("-2"))
        assert _differ(_pictures(page), by_mouse)
        _drawn(page, lambda: page.check("input[value=difference]"))
        assert len(_pictures(page, "difference")) == 3
        assert page.locator('[data-row="pinned"]').count() == 0
        _drawn(page, lambda: page.click("#unpin"))
        assert page.locator(".row").count() == 1

        assert page.inner_text("#ordered b") == "M1.9 or more"
        page.fill("#n", "14")
        page.check("#ungated")
        page.click("#make")
        page.wait_for_selector("#jobs li[data-state=done]", timeout=60_000)
        assert page.inner_text("#jobs .head b") == "14 × M1.9 or more, seed 0, tiny zarr"
        assert "without the gate" in page.inner_text("#jobs li")
        cube = _download(page, tmp_path / "made.zip")
        _assert_own_requests(opened, service.url)
    assert (cube.attrs["synthetic"], cube.attrs["gate"]["verdict"]) == (True, "ungated")
    assert cube.sizes["sample"] == 14
    assert list(cube["channel"].values) == CHANNELS
    assert (cube["forecast_flux"].values >= 1.9e-5 * (1 - 1e-6)).all()
    steps = dict(zip(cube["direction"].values.tolist(), cube["steering"].values[0].tolist(), strict=True))
    assert steps == {"flare": 0.0, "component=0": 3.0, "component=1": -2.0}


def test_sets_without_a_file(service, token):
    with _opened(service, token) as opened:
        page = opened.page
        page.fill("#n", "4")
        page.click("#make")
        item = page.locator("#jobs li", has_text="4 × M1.0 or more")
        item.locator("text=could not be judged").wait_for(timeout=60_000)
        assert "no real frames to be compared with" in item.inner_text()
        assert item.locator("button:text('Download')").count() == 0
        item.locator("button:text('Delete')").click()
        item.wait_for(state="detached")
        _drawn(page, lambda: page.locator("#forecast_flux").fill("-8"))
        assert page.is_disabled("#make")
        opened.assert_clean()
        _drawn(page, lambda: page.locator("#forecast_flux").fill("-5"))
        page.fill("#n", "9999999")
        page.click("#make")
        page.wait_for_selector("#refused:visible")
        assert "a batch may have up to" in page.inner_text("#refused")


UNKNOWN = {
    "verdict": "unknown",
    "sentence": "Unknown: too few to judge: 64 samples, 256 are needed.",
    "account": "64 made, 5 rejected (limb_radius aia94 5), 59 judged",
    "checks": {
        "stripes aia171": {"value": 2, "floor": 1, "limit": 1.5, "state": "failed", "passed": False, "role": "teacher"},
        "recall a": {"value": 0.1, "floor": 0.8, "limit": None, "state": "unknown", "passed": None, "role": "judge"},
        "kid a": {"value": 0.1, "floor": 0.1, "limit": 0.2, "state": "passed", "passed": True, "role": "judge"},
    },
}


def test_what_the_gate_cannot_tell_is_shown_as_unknown(service, token):
    """What the service answers is replaced: no small generator has a verdict of this kind."""
    with _opened(service, token) as opened:
        page = opened.page
        page.fill("#n", "3")
        page.click("#make")
        page.wait_for_selector("#jobs li[data-state=done]", timeout=60_000)

        def answer(route):
            told = route.fetch().json()
            told["batches"] = [{**one, "gate": UNKNOWN, "download": None} for one in told["batches"]]
            route.fulfill(json=told)

        page.route("**/v1/batches", answer)
        page.reload()
        _settled(page)
        item = page.locator("#jobs li").first
        item.locator("text=the gate cannot tell").wait_for(timeout=30_000)
        said = item.inner_text()
        assert UNKNOWN["sentence"] in said
        assert f"Samples: {UNKNOWN['account']}." in said
        assert "Fidelity report: gating checks 1 passed, 1 failed, 1 unknown" in said
        item.locator("summary").click()
        marks = [row.split("\t")[0].strip() for row in item.locator("table").inner_text().splitlines()[1:]]
        assert marks == ["✗", "?", "✓"]
        assert item.locator("button:text('Download')").count() == 0


def test_an_address_holds_the_sun(service, token):
    with _opened(service, token) as opened:
        page = opened.page
        _drawn(page, lambda: page.locator("#component\\=2").fill("-2.5"))
        _drawn(page, lambda: page.fill("#seed", "42"))
        _until(page, lambda: "%22seed%22%3A42" in page.url)
        shown, scene = _pictures(page), page.url.removeprefix(f"{service.url}/")
    with _opened(service, token, scene) as opened:
        assert opened.page.input_value("#seed") == "42"
        assert opened.page.input_value("#component\\=2") == "-2.5"
        assert all(map(np.array_equal, shown, _pictures(opened.page)))
        for nonsense in ("sets", '{"seed":"<b>","steering":{"flare":"x"}}'):
            opened.page.goto(f"{service.url}/#{nonsense}")
            opened.page.reload()
            _settled(opened.page)
            assert opened.page.input_value("#seed") == "0"
        assert opened.console_errors == []


def test_the_page_asks_for_a_key_and_keeps_it_in_the_tab(service, token):
    with browser_page(f"{service.url}/") as opened:
        page = opened.page
        page.wait_for_selector("#key-dialog[open]")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-dialog[open]")
        page.keyboard.type(token)
        page.keyboard.press("Enter")
        _settled(page)
        kept = page.evaluate("[localStorage.length, document.cookie, Object.values(sessionStorage)]")
        assert kept == [0, "", [token]]
        assert token not in page.content()
        assert not any(token in one for one in opened.requests)
        assert {one.partition("/v1")[2] for one in opened.failed_requests} == {"/controls: 401"}
    assert token not in service.log()


def test_on_a_phone(service, token):
    with _opened(service, token, width=390, height=844, touch=True) as opened:
        page = opened.page
        _drawn(page, lambda: page.tap("#pin"))
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.locator("#component\\=7").scroll_into_view_if_needed()
        sun, slider = page.locator("#rows img").first.bounding_box(), page.locator("#component\\=7").bounding_box()
        assert 0 <= sun["y"] < slider["y"] < 844  # the Sun stays in sight of its sliders
        assert slider["height"] >= 24
        page.locator("#make").scroll_into_view_if_needed()
        assert page.locator("#make").bounding_box()["width"] > 200
        opened.assert_clean()


@pytest.mark.slow
def test_the_bundled_model(tmp_path):
    """The real thing, with pictures of the page for the documentation in $SUNAUG_SCREENSHOTS."""
    folder = Path(os.environ.get("SUNAUG_SCREENSHOTS", tmp_path))
    with served(tmp_path / "state", "--bundle", "sdo2012-128") as running:
        with browser_page(f"{running.url}/", height=820) as opened:
            page = opened.page
            _settled(page)
            page.click("#pin")
            _drawn(page, lambda: page.locator("#flare").fill("2.5"))
            _drawn(page, lambda: page.locator("#component\\=4").fill("1.5"))
            page.locator('[data-row="now"]', has_text="component 4 +1.5").wait_for()
            page.locator("#forecast_flux").scroll_into_view_if_needed()
            page.screenshot(path=folder / "compare.jpg", type="jpeg", quality=QUALITY)
            _drawn(page, lambda: page.check("input[value=difference]"))
            page.locator("#stage").screenshot(path=folder / "difference.jpg", type="jpeg", quality=QUALITY)
            _drawn(page, lambda: page.click("#unpin"))
            page.click("#make")
            page.wait_for_selector("#jobs li[data-state=done]", timeout=300_000)
            page.fill("#n", "16")
            page.check("#ungated")
            page.click("#make")
            page.wait_for_selector("#jobs button:text('Download')", timeout=300_000)
            page.click("#jobs summary")
            page.locator("#sets").scroll_into_view_if_needed()
            page.screenshot(path=folder / "sets.jpg", type="jpeg", quality=QUALITY)
            cube = _download(page, tmp_path / "made.zip")
            assert cube.sizes == {"sample": 16, "channel": 3, "y": 128, "x": 128, "direction": 2}
            _assert_own_requests(opened, running.url)
        with browser_page(f"{running.url}/", width=390, height=844, touch=True) as opened:
            _settled(opened.page)
            opened.page.screenshot(path=folder / "phone.jpg", type="jpeg", quality=QUALITY)
