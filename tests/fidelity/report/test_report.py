import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sunaug.cube import open_cube, select_split
from sunaug.errors import SunaugError
from sunaug.fidelity.evaluate import run_evaluation
from sunaug.fidelity.gate import Check
from sunaug.fidelity.report import render_report, set_side_by_side, write_report
from sunaug.fidelity.report.plots import Months, on_axis, range_row
from sunaug.fidelity.report.words import label, number
from tests.browser import page

WHEN = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
SECTIONS = ["compared", "pictures", "checks", "curves", "distributions", "single", "neighbours", "model"]


class _Page(HTMLParser):
    """What a page asks for, and what it says."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.pictures, self.ids, self.headings, self.words = [], [], [], [], []
        self.tag = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found, self.tag = dict(attrs), tag
        self.addresses += [found[name] for name in ("src", "href", "xlink:href", "srcset", "data") if name in found]
        if tag == "img":
            self.pictures.append(found)
        if "id" in found:
            self.ids.append(found["id"])

    def handle_data(self, data):
        if self.tag not in ("style", "script"):
            self.words.append(data)
        if self.tag == "h2":
            self.headings.append(data.strip())

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@dataclass
class _Bundle:
    path: Path


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "README.md").write_text(
        "# suns-32\n\nMakes <b>Suns</b>. ![a picture](https://example.org/sun.png) [more](https://example.org)\n\n"
        "| | |\n| --- | --- |\n| trained on | 200 frames |\n",
        encoding="utf-8",
    )
    return _Bundle(folder)


def test_page_has_everything_and_asks_for_nothing(evaluation, bundle, tmp_path):
    path = write_report(tmp_path / "new" / "report.html", evaluation, bundle=bundle, when=WHEN)
    text = path.read_text(encoding="utf-8")
    found = _Page(text)
    assert all(one.startswith(("data:", "#")) for one in found.addresses)
    assert "url(http" not in text
    assert "@import" not in text
    assert "<script src" not in text
    assert len(set(found.ids)) == len(found.ids)
    assert set(SECTIONS) <= set(found.ids)
    # Eight real and eight synthetic frames, six at each end, six pairs: of three channels each.
    assert len(found.pictures) >= 3 * (16 + 12 + 12)
    assert all(one["alt"] for one in found.pictures)
    assert evaluation.assessment.sentence in found.text
    assert found.text.count("Refused") >= 1
    assert "2026-11-24 12:30 UTC" in found.text
    assert evaluation.assessment.policy.hash[:12] in found.text
    assert "suns-32, SHA-256 abc123abc123…" in found.text
    assert "2012-01-01 00:00 to 2012-07-31 23:59" in found.text
    assert "A note of the networks" in found.text
    for check in evaluation.assessment.checks:
        assert label(check.name) in found.text
    figures = [int(one) for one in re.findall(r"<b>Figure (\d+)\.</b>", text)]
    assert figures == list(range(1, len(figures) + 1))
    assert len(figures) >= 8
    assert render_report(evaluation, bundle=bundle, when=WHEN) == text
    # Of the card, what would be fetched or followed stands there as text.
    assert "example.org/sun.png)" in found.text
    assert "<b>Suns</b>" not in text
    assert "<td>200 frames</td>" in text
    assert "<h4>suns-32</h4>" in text


def test_what_cannot_be_told_is_unknown_and_no_pass(evaluation):
    found = evaluation.assessment
    unknown = [replace(one, limit=float("nan")) for one in found.checks]
    lacking = ["too few to judge: 3 samples, 256 are needed"]
    told = replace(found, checks=unknown, problems=[], lacking=lacking)
    text = render_report(replace(evaluation, assessment=told), when=WHEN)
    assert "Unknown: too few to judge: 3 samples, 256 are needed." in text
    assert '<div class="verdict unknown">' in text
    gating = len(told.gating("unknown"))
    assert f"Gating checks: 0 passed, 0 failed, {gating} unknown." in text
    assert text.count('<td class="reported">unknown</td>') == len(unknown)
    assert f"Samples: {told.account.sentence}" in text


def test_opens_from_the_disk(evaluation, tmp_path):
    path = write_report(tmp_path / "report.html", evaluation)
    for width, touch in ((1280, False), (390, True)):
        with page(path.as_uri(), width=width, touch=touch, offline=True) as opened:
            assert opened.page.locator("h1").inner_text() == "Fidelity of bright.zarr"
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
            broken = "Array.from(document.images).filter((one) => !(one.complete && one.naturalWidth)).length"
            assert opened.page.evaluate(broken) == 0
            for section in SECTIONS:
                assert opened.page.locator(f"#{section}").is_visible()
            marks = opened.page.locator("#checks svg.track .point")
            known = sum(one.state != "unknown" for one in evaluation.assessment.checks)
            assert marks.count() == known
            assert "was not found here" in opened.page.locator("#model").inner_text()
            details = opened.page.locator("details").first
            details.locator("summary").click()
            assert details.locator("table").is_visible()
            assert [one for one in opened.requests if not one.startswith("data:")] == [path.as_uri()]
            opened.assert_clean()


def test_without_a_gate_the_sections_say_so(evaluation):
    text = _Page(render_report(replace(evaluation, assessment=None, samples=None, reference=None))).text
    assert "Not judged: the gate needs real frames" in text
    assert "There are no curves" in text
    assert "Single samples were not looked at" in text
    assert "No nearest training frames are known" in text


def test_a_set_that_is_too_small(quick, observed, samples):
    found = run_evaluation(samples("few.zarr", count=14), observed)
    assert not found.assessment.checks
    text = _Page(render_report(found)).text
    assert f"No figure could be made: {found.assessment.sentence}" in text
    assert "No forecast class has enough frames" in text


def test_real_frames_in_the_place_of_samples(quick, observed):
    cube = open_cube(observed)
    text = _Page(render_report(run_evaluation(select_split(cube, "validation"), cube))).text
    assert "Frames taken as samples" in text
    assert "SYNTHETIC" not in text


def test_report_that_cannot_be_written(evaluation, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SunaugError, match="report cannot be written"):
        write_report(tmp_path / "file" / "report.html", evaluation)


def test_months_have_the_mix_of_the_samples(evaluation):
    months = Months.of(evaluation.measured, evaluation.reference)
    assert months.names == ["2012-01", "2012-02", "2012-03", "2012-04", "2012-05", "2012-08", "2012-09"]
    for part, weights in months.members:
        rare = part.forecast_flux >= 1e-5
        assert weights.sum() == pytest.approx(1)
        assert weights[rare].sum() == pytest.approx(0.25)


def _check(value, floor=1.0, low=0.5, high=1.5, limit=2.0, better="lower", gating=True):
    return Check("limb_radius aia171", "physics", "radii", value, floor, low, high, limit, better, gating)


def test_places_on_the_axis():
    passed = range_row(_check(1.5))
    assert (passed.state, passed.beyond, passed.excess) == ("passed", "", "0.5")
    assert passed.place == on_axis(0.5)
    assert (passed.low, passed.high) == (on_axis(-0.5), on_axis(0.5))
    far = range_row(_check(13.0))
    assert (far.state, far.beyond, far.excess, far.place) == ("failed", "right", "12.0", on_axis(3))
    assert range_row(_check(-3.0)).beyond == "left"
    assert range_row(_check(3.0, gating=False)).state == "reported"
    # More is better: the limit lies below, and worse is to the right all the same.
    coverage = range_row(_check(0.1, floor=0.6, low=0.5, high=0.9, limit=0.4, better="higher"))
    assert coverage.state == "failed"
    assert coverage.place == pytest.approx(on_axis(2.5))
    assert coverage.low < on_axis(0) < coverage.high
    # All real windows alike.
    same = {"floor": 0.0, "low": 0.0, "high": 0.0, "limit": 0.0}
    assert range_row(_check(0.0, **same)).place == on_axis(0)
    beyond = range_row(_check(0.1, **same))
    assert (beyond.state, beyond.beyond, beyond.excess) == ("failed", "right", "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("limb_radius aia171", "Limb radius: 171 Å"),
        ("conditional_mean aia131|aia171", "Conditional mean: 131 Å given 171 Å"),
        ("hot_to_cool aia94/aia171", "Hot over cool emission: 94 Å / 171 Å"),
        ("unsigned_flux hmi_m", "Unsigned flux: HMI M"),
        ("frechet FID-768", "Fréchet distance: FID-768"),
        ("copies pixels", "Copies, in pixels"),
        ("authenticity", "Authenticity"),
    ],
)
def test_names_for_people(name, said):
    assert label(name) == said


def test_numbers_for_people():
    assert label("kid FID-768 aia171", without="FID-768 aia171") == "Kernel distance (KID)"
    written = [number(value) for value in (0.0, 0.01234, -1.5, 12345.6, 1.2e-5, -3e7, float("nan"), None, 250.0)]
    assert written == ["0", "0.0123", "−1.50", "12,346", "1.20 × 10⁻⁵", "−3.00 × 10⁷", "", "", "250"]


def test_two_cubes_side_by_side(evaluation, other):
    found = set_side_by_side(evaluation, other)
    assert found["cubes"] == ["bright.zarr", "fine.zarr"]
    total = found["checks"]["total aia171"]
    assert total["nearer"] == "fine.zarr"
    assert total["values"]["bright.zarr"] > total["limits"]["bright.zarr"]
    assert total["passed"] == {"bright.zarr": False, "fine.zarr": True}
    judged = [one for one in found["checks"].values() if one["nearer"]]
    assert sum(found["nearer"].values()) + found["even"] == len(judged)
    assert found["nearer"]["fine.zarr"] > found["nearer"]["bright.zarr"]
    assert found["sentence"].startswith(
        f"fine.zarr is nearer to real frames in {found['nearer']['fine.zarr']}, bright.zarr in"
    )
    turned = set_side_by_side(other, evaluation)
    assert turned["nearer"] == found["nearer"]
    alike = set_side_by_side(other, other)
    assert alike["cubes"] != ["fine.zarr", "fine.zarr"]
    assert alike["even"] == len(judged)
    assert alike["sentence"].startswith("Neither is nearer")
    none = set_side_by_side(replace(other, assessment=None), evaluation)
    assert none["sentence"].endswith("cannot be compared: no check is known of both.")
