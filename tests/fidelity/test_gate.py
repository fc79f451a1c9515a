import numpy as np
import pytest

from sunaug.errors import GateRefused, UsageError
from sunaug.fidelity.account import Account, Rejections
from sunaug.fidelity.gate import Assessment, Check, described
from sunaug.fidelity.limits import allowance, rooms
from sunaug.fidelity.policy import Policy, load_policy, policy_names
from sunaug.fidelity.reference import Mix, matching, strata
from sunaug.fidelity.roles import NOT_MADE
from sunaug.fidelity.verdict import refuse_ungated, verdict_of

POLICY = Policy(name="test", gating=["frechet *", "limb_*"], ignored=["limb_width *"])


def check(**changes):
    like = {
        "name": "frechet a",
        "family": "distribution",
        "unit": "",
        "value": 1.5,
        "floor": 1.0,
        "low": 0.8,
        "high": 1.6,
        "limit": 2.0,
        "better": "lower",
        "gating": True,
    }
    return Check(**like | changes)


def assessment(checks, problems=(), lacking=(), rejected=(False,), before=None):
    return Assessment(
        POLICY,
        NOT_MADE,
        list(checks),
        50,
        2,
        13,
        list(problems),
        list(lacking),
        np.array(rejected),
        {"far": int(np.sum(rejected))} if any(rejected) else {},
        before or Rejections(0, {}),
    )


def test_a_check_is_in_units_of_its_tolerance():
    assert check().state == "passed"
    assert check().excess == pytest.approx(0.5)
    assert check(value=3.0).state == "failed"
    assert check(value=3.0).excess == pytest.approx(2)
    higher = check(better="higher", value=0.2, floor=0.8, limit=0.4)
    assert higher.state == "failed"
    assert higher.excess == pytest.approx(1.5)


@pytest.mark.parametrize("missing", ["value", "limit"])
def test_what_has_no_value_or_no_limit_is_unknown_and_not_passed(missing):
    unknown = check(**{missing: float("nan")})
    assert unknown.state == "unknown"
    assert np.isnan(unknown.excess)
    told = described(assessment([unknown, check(name="frechet b")]))
    assert told["counts"] == {"passed": 1, "failed": 0, "unknown": 1}
    assert told["checks"]["frechet a"]["state"] == "unknown"
    assert told["checks"]["frechet a"]["passed"] is None


def test_the_verdict_names_the_worst():
    passed = assessment([check(), check(name="kid a", value=9.0, gating=False)])
    assert passed.verdict == "passed"
    assert passed.sentence.startswith("Passed: all 1 gating checks")
    assert "judges are a." in passed.sentence
    failed = assessment([check(), check(name="frechet b", value=3.0), check(name="frechet c", value=9.0)])
    assert failed.verdict == "refused"
    assert [one.name for one in failed.failed] == ["frechet c", "frechet b"]
    assert "2 of 3 gating checks fail: frechet c (8.0× the tolerance), frechet b" in failed.sentence
    assert assessment([check()], ["30% of the samples are rejected"]).verdict == "refused"


def test_what_lacks_something_to_pass_is_unknown_and_can_still_be_refused():
    lacks = assessment([check()], lacking=["too few to judge: 64 samples, 256 are needed"])
    assert lacks.verdict == "unknown"
    assert lacks.sentence == "Unknown: too few to judge: 64 samples, 256 are needed."
    assert assessment([check(value=9.0)], lacking=["too few to judge"]).verdict == "refused"


def test_rejected_samples_stay_in_the_account():
    found = assessment([check()], rejected=[True, False, False], before=Rejections(2, {"far": 1, "copy": 1}))
    assert found.account.sentence == "5 made, 3 rejected (far 2, copy 1), 2 judged"
    told = described(found)
    assert (told["made"], told["rejected"], told["judged"]) == (5, 3, 2)
    assert told["why_rejected"] == {"far": 2, "copy": 1}
    assert Account(4, Rejections(1, {}), drop=False).sentence == "4 made, 1 rejected, 4 judged"


def test_limits_hold_every_window_that_is_left_out():
    random = np.random.default_rng(0)
    windows = random.lognormal(0, 1, (13, 6))
    windows[3, 2] = 60.0  # one unusual month
    middle, room = rooms(windows)
    for left_out in range(13):
        centre, reach = rooms(np.delete(windows, left_out, axis=0))
        assert (centre + reach > 0).all()
    assert (windows <= middle + room + 1e-9).all()
    # The unusual month is let in because it was there, and what comes with it is a wide room for this figure alone.
    assert room[2] > 60
    assert np.delete(room, 2).max() < 60


def test_nine_in_ten_windows_pass_everything_when_left_out():
    windows = np.random.default_rng(1).lognormal(0, 0.6, (13, 40))
    times = allowance(windows, 0.9)
    passing = 0
    for left_out in range(13):
        middle, room = rooms(np.delete(windows, left_out, axis=0))
        passing += bool((windows[left_out] <= middle + times * room).all())
    assert times > 1
    assert passing >= 11
    assert allowance(windows, 1.0) >= times


def test_figures_that_few_windows_give_have_no_limit():
    windows = np.full((13, 2), np.nan)
    windows[:4, 0] = 1.0
    windows[:, 1] = np.arange(13)
    middle, room = rooms(windows)
    assert np.isnan([middle[0], room[0]]).all()
    assert middle[1] == 6


def test_policies():
    assert "default" in policy_names()
    default = load_policy()
    assert default.gates("frechet solar-texture")
    assert default.gates("precision FID-768")
    assert not default.gates("density FID-768")
    assert POLICY.gates("limb_radius aia171")
    assert not POLICY.gates("limb_width aia171")
    assert len(POLICY.hash) == 64
    assert POLICY.hash != default.hash == load_policy("default").hash


def test_a_policy_can_take_over_another_one(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("extends: default\nwindows: 9\nignored: ['limb_*']\n")
    mine, default = load_policy(file), load_policy()
    assert (mine.name, mine.windows, mine.confidence) == ("mine", 9, default.confidence)
    assert default.gates("limb_radius aia171")
    assert not mine.gates("limb_radius aia171")
    assert not mine.gates("kid solar-content")
    content = load_policy("content")
    assert content.gates("frechet solar-content")
    assert not content.gates("frechet solar-texture")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gating: [a\n", "not YAML"),
        ("gating: [a]\nconfidence: 2\n", "confidence: Input should be less than or equal to 1"),
        ("gating: [a]\nlevel: 3\n", "level: Extra inputs"),
        ("windows: 9\n", "gating: Field required"),
    ],
)
def test_bad_policies(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_policy(file)


def test_an_unknown_policy_names_those_there_are():
    with pytest.raises(UsageError, match=r"strictest: no such policy; give a YAML file or one of content, default"):
        load_policy("strictest")


def test_kinds_of_frames_by_forecast():
    flux = np.array([np.nan, 0.0, 9e-7, 1e-6, 9.99e-6, 1e-5, 3e-4])
    assert strata(flux).tolist() == [-1, 0, 0, 1, 1, 2, 2]


def test_sets_have_the_samples_mix():
    validation = np.repeat([1e-7, 2e-6, 2e-5], [30, 100, 40])
    train = np.repeat([1e-7, 2e-6, 2e-5], [300, 600, 120])
    rare = matching(np.full(500, 3e-5), (validation, train))
    assert rare.counts.tolist() == [0, 0, 20]
    half = matching(np.repeat([2e-6, 2e-5], 250), (validation, train))
    assert half.counts.tolist() == [0, 20, 20]
    assert matching(np.full(9, np.nan), (validation, train)).n <= 9
    assert strata(train[half.draw(train, np.random.default_rng(0))]).tolist() == [1] * 20 + [2] * 20


def test_windows_follow_each_other_in_time():
    flux = np.tile([2e-6, 2e-5], 100)
    windows = Mix(np.array([0, 10, 10])).windows(flux, 5)
    assert [len(rows) for rows in windows] == [20] * 5
    assert [int(rows.min()) for rows in windows] == sorted(int(rows.min()) for rows in windows)
    assert windows[0].max() == 19
    assert windows[-1].max() == 199


def test_a_described_assessment_has_the_gating_checks():
    found = described(assessment([check(), check(name="kid a", gating=False)]))
    assert list(found["checks"]) == ["frechet a"]
    assert found["checks"]["frechet a"] == {
        "value": 1.5,
        "floor": 1.0,
        "limit": 2.0,
        "state": "passed",
        "passed": True,
        "role": "judge",
    }
    assert found["policy_sha256"] == POLICY.hash
    assert list(described(assessment([check(gating=False)]), everything=True)["checks"]) == ["frechet a"]


def test_only_what_passed_is_taken():
    refuse_ungated({"gate": {"verdict": "passed"}}, "a.zarr", allow=False)
    for gate, message in (
        ({"verdict": "refused", "sentence": "Refused: too blurred."}, r"has refused it \(Refused: too blurred\)"),
        (
            {"verdict": "unknown", "sentence": "Unknown: too few."},
            r"cannot tell whether it passes \(Unknown: too few\)",
        ),
        ({"verdict": "ungated"}, "made with --no-gate"),
        ({"verdict": "unjudged"}, "has not judged it"),
        ("not checked", "has not judged it"),
    ):
        with pytest.raises(GateRefused, match=message):
            refuse_ungated({"gate": gate}, "a.zarr", allow=False)
        refuse_ungated({"gate": gate}, "a.zarr", allow=True)
    assert verdict_of({}) == "unjudged"
    assert verdict_of({"gate": {"verdict": "made up"}}) == "unjudged"
