"""What published projects hold out, by stored dates and by their own code, and that the guard obeys it."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from forecasting_adapters import MixedSolarDataset, SolarDataset, SyntheticSolarDataset, SyntheticStream
from forecasting_adapters.exports import export
from forecasting_adapters.leakage import LeakageError, check_leakage
from forecasting_adapters.published_splits import PUBLISHED_SPLITS, published_split
from sunaug.bundle import bundled_names, load_bundle
from sunaug.cube import open_cube, set_attributes
from sunaug.errors import UsageError
from sunaug.generation import Request, generate_cube
from tests.models import make_bundle, make_cube
from tests.peers import load_module, peer

STORED = {
    # What `assign_split` of SuryaBench says of noon of these days.
    "suryabench": {
        "2010-12-31": "",
        "2011-01-10": "",
        "2011-01-14": "",
        "2011-01-15": "validation",
        "2012-01-31": "validation",
        "2012-02-01": "",
        "2015-06-01": "",
        "2019-01-20": "validation",
        "2019-12-31": "",
        "2020-01-01": "test",
        "2031-06-01": "test",
    },
    "sdofm": {
        "2012-01-15": "validation",
        "2012-02-01": "",
        "2012-09-30": "",
        "2012-10-01": "validation",
        "2012-11-01": "test",
        "2031-12-31": "test",
    },
    "sdofmv2": {"2012-01-15": "", "2012-10-31": "", "2012-11-01": "validation", "2012-12-31": "test"},
    "flarebench-1": {
        "2011-05-31": "",
        "2011-06-01": "validation",
        "2011-11-30": "validation",
        "2011-12-01": "",
        "2019-05-31": "",
        "2019-06-01": "validation",
        "2019-12-01": "test",
        "2021-11-30": "test",
        "2021-12-01": "",
    },
    "flarebench-6": {"2021-11-30": "", "2022-05-30": "validation", "2022-05-31": "", "2026-03-31": "test"},
    "pandey-1": {"2010-12-31": "", "2012-01-01": "validation", "2012-03-31": "validation", "2012-04-01": ""},
    "pandey-4": {"2010-11-30": "", "2010-12-01": "validation", "2018-12-31": "validation", "2019-12-31": ""},
}
SEEN = {
    "suryabench": "2012-01-20",
    "sdofm": "2012-01-20",
    "sdofmv2": "2012-11-20",
    "flarebench": "2011-08-20",
    "flarebench-1": "2019-08-20",
    "flarebench-2": "2020-02-20",
    "flarebench-3": "2022-11-30",
    "flarebench-4": "2020-12-01",
    "flarebench-5": "2023-11-20",
    "flarebench-6": "2025-03-01",
    "pandey-1": "2012-02-20",
    "pandey-2": "2012-06-30",
    "pandey-3": "2012-07-01",
    "pandey-4": "2012-11-20",
}
"""A day of each split that a generator must not have seen."""
NOON = np.timedelta64(12, "h")
UNSEEN = {"pandey-2": "2012-08-10"}
EVERYWHERE_ELSE = "2012-05-10"
"""A day that none of the other splits holds out."""


def kind(split, day):
    moment = pd.DatetimeIndex([f"{day}T12:00"])
    found = [name for name in ("validation", "test") if any(rule.holds(moment)[0] for rule in getattr(split, name))]
    return found[0] if found else ""


def days():
    return np.arange("2010-05-01", "2027-01-01", dtype="datetime64[D]").astype("datetime64[ns]") + NOON


@pytest.mark.parametrize("name", STORED)
def test_splits_hold_out_what_their_project_does(name):
    split = PUBLISHED_SPLITS[name]
    assert {day: kind(split, day) for day in STORED[name]} == STORED[name]
    held = split.holds(np.array([f"{day}T12:00" for day in STORED[name]], "datetime64[ns]"))
    assert held.tolist() == [what != "" for what in STORED[name].values()]


def test_all_folds_of_flarebench_together():
    folds = [PUBLISHED_SPLITS[f"flarebench-{fold}"].holds(days()) for fold in range(1, 7)]
    np.testing.assert_array_equal(PUBLISHED_SPLITS["flarebench"].holds(days()), np.any(folds, axis=0))


def test_suryabench_leaves_no_date_to_come():
    assert PUBLISHED_SPLITS["suryabench"].no_date_is_safe
    assert not any(split.no_date_is_safe for name, split in PUBLISHED_SPLITS.items() if name != "suryabench")


def test_a_split_tells_what_it_holds_out():
    assert PUBLISHED_SPLITS["suryabench"].sentence == (
        "validates on the 15th to the 31st of January from 2011-01-01 to 2019-12-31; "
        "tests on all times from 2020-01-01 on"
    )
    assert PUBLISHED_SPLITS["sdofm"].sentence == (
        "validates on October, January of every year; tests on November, December of every year"
    )
    with pytest.raises(UsageError, match="unknown published split 'surya': choose one of suryabench, sdofm"):
        published_split("surya")


@pytest.mark.parametrize("name", bundled_names())
def test_the_bundled_models_have_seen_what_suryabench_validates_on(name):
    ranges = load_bundle(name).info.training_ranges
    with pytest.raises(LeakageError, match="2012-01-15T00:00:00 to 2012-02-01T00:00:00"):
        check_leakage(ranges, "suryabench")
    with pytest.raises(LeakageError, match="SDO-FM"):
        check_leakage(ranges, "sdofm")
    check_leakage(ranges, "sdofmv2")
    check_leakage(ranges, "flarebench")


def ranges_on(day):
    start = np.datetime64(day)
    return [[f"{start}T00:00:00Z", f"{start + np.timedelta64(1, 'D')}T00:00:00Z"]]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return SolarDataset(make_cube(tmp_path_factory.mktemp("real") / "real.zarr"), split="train")


@pytest.mark.parametrize("name", SEEN)
def test_a_cube_and_a_bundle_are_refused_where_their_generator_has_seen_the_split(name, real, tmp_path):
    for day, refused in ((SEEN[name], True), (UNSEEN.get(name, EVERYWHERE_ELSE), False)):
        bundle = make_bundle(tmp_path / day)
        bundle.info.training_ranges[:] = ranges_on(day)
        cube = small_cube(tmp_path / f"{day}.zarr", day)
        exported = export(cube, "folder", tmp_path / f"{day}.exported", allow_ungated=True)
        for source in (bundle, cube, exported):
            options = {"n": 4, "allow_ungated": True} if source is bundle else {"allow_ungated": True}
            synthetic = SyntheticSolarDataset(source, **options)
            if refused:
                with pytest.raises(LeakageError, match=r"held out by .* which (validates|tests) on"):
                    MixedSolarDataset(real, synthetic, ratio=0.1, evaluation=name)
                with pytest.raises(LeakageError, match=r"held out by .* which (validates|tests) on"):
                    SyntheticSolarDataset(source, evaluation=name, **options)
            else:
                MixedSolarDataset(real, synthetic, ratio=0.1, evaluation=name)
                assert SyntheticSolarDataset(source, evaluation=name, **options).leakage is None


def test_every_published_split_has_a_day_to_be_refused_for():
    assert set(SEEN) == set(PUBLISHED_SPLITS)


def test_a_bundle_is_refused_before_its_samples_are_made_and_judged(real, tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    bundle.info.training_ranges[:] = ranges_on("2012-01-20")
    # Neither is allowed ungated: the guard speaks first.
    with pytest.raises(LeakageError, match=r"SYNTHETIC/tiny: .* SuryaBench"):
        SyntheticSolarDataset(bundle, n=4, evaluation="suryabench")
    with pytest.raises(LeakageError, match=r"SYNTHETIC/tiny: .* SuryaBench"):
        SyntheticStream(bundle, n=4, evaluation="suryabench")
    stream = SyntheticStream(bundle, n=4, evaluation="suryabench", allow_leakage=True, allow_ungated=True)
    assert "SuryaBench" in stream.leakage
    assert SyntheticStream(bundle, n=4, evaluation="sdofmv2", allow_ungated=True).leakage is None
    taken = SyntheticSolarDataset(bundle, n=4, evaluation="suryabench", allow_leakage=True, allow_ungated=True)
    mixed = MixedSolarDataset(real, taken, ratio=0.1, evaluation="sdofmv2")
    assert mixed.provenance()["leakage"] == taken.leakage
    again = MixedSolarDataset(real, taken, ratio=0.1, evaluation="suryabench", allow_leakage=True)
    assert again.provenance()["leakage"] == taken.leakage, "what is known is said once"


@pytest.mark.parametrize("name", SEEN)
def test_an_export_is_refused_where_the_generator_has_seen_the_split(name, tmp_path):
    days = (SEEN[name], UNSEEN.get(name, EVERYWHERE_ELSE))
    seen, unseen = (small_cube(tmp_path / f"{day}.zarr", day) for day in days)
    with pytest.raises(LeakageError, match=r"samples of a bundle that was not trained on them, or pass split='none'"):
        export(seen, "folder", tmp_path / "refused", split=name, allow_ungated=True)
    assert not (tmp_path / "refused").exists()
    assert not (tmp_path / "refused.partial").exists()
    export(unseen, "folder", tmp_path / "taken", split=name, allow_ungated=True)
    export(seen, "folder", tmp_path / "other", split="none", allow_ungated=True)


def test_days_beside_those_trained_on_count_as_seen():
    every_second_day = [ranges_on(f"2012-03-{day:02d}")[0] for day in range(1, 30, 2)]
    exact = [
        [start.replace("T00:00:00", "T23:00:00"), start.replace("T00:00:00", "T23:00:01")]
        for start, _ in every_second_day
    ]
    for near in ("2012-03-01T23:12", "2012-03-02T12:00", "2012-02-29T00:00", "2012-03-30T23:59"):
        with pytest.raises(LeakageError):
            check_leakage(exact, np.array([near], "datetime64[ns]"))
    check_leakage(exact, np.array(["2012-02-28T23:59", "2012-03-31T00:00"], "datetime64[ns]"))


def test_suryabenchs_own_code():
    theirs = load_module(peer("SuryaBench", "flare/flare_split.py"))
    names = {"training": "", "leaky_validation": ""}
    told = [theirs.assign_split(pd.Timestamp(day)) for day in days()]
    split = PUBLISHED_SPLITS["suryabench"]
    assert [kind(split, str(day)[:10]) for day in days()] == [names.get(one, one) for one in told]


def test_sdofmv2s_own_code():
    folder = peer("sdofmv2", "configs/pretrain")
    months = [
        yaml.safe_load(file.read_text())["data"]["month_splits"]
        for file in sorted(folder.glob("pretrain_mae_A*_*.yaml"))
    ]
    split = PUBLISHED_SPLITS["sdofmv2"]
    ours = {"val": list(split.validation[0].months), "test": list(split.test[0].months)}
    assert ours in [{name: one[name] for name in ours} for one in months]


def test_flarebenchs_own_code():
    root = peer("DeepSWM", "ml/src")
    text = next(text for file in sorted(root.rglob("*.py")) if "FOLD_PERIODS = {" in (text := file.read_text()))
    tree = ast.parse(text)
    (node,) = [
        one.value
        for one in ast.walk(tree)
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "FOLD_PERIODS"
    ]
    for fold, periods in ast.literal_eval(node).items():
        index = pd.DatetimeIndex(days())
        theirs = np.zeros(len(index), bool)
        for first, last in (*periods["val"], *periods["test"]):
            theirs |= (index >= pd.Timestamp(first)) & (index < pd.Timestamp(last) + pd.Timedelta("1D"))
        np.testing.assert_array_equal(PUBLISHED_SPLITS[f"flarebench-{fold}"].holds(days()), theirs)


def test_pandeys_own_code(tmp_path, monkeypatch):
    theirs = load_module(peer("fulldisk-spatial-analytics", "data_labeling/labeling.py"))
    monkeypatch.chdir(tmp_path)
    Path("data_labels").mkdir()
    index = pd.DatetimeIndex(days())
    index = index[(index >= pd.Timestamp("2010-12-01")) & (index < pd.Timestamp("2019-01-01"))]
    columns = ["target", "goes_class", "fl_lon", "fl_lat", "rest_fl", "rest_lon", "rest_lat"]
    frame = pd.DataFrame({"label": index, **dict.fromkeys(columns, "0")})
    theirs.create_CVDataset(theirs.date_to_filename(frame.copy()))
    for fold in (1, 2, 3, 4):
        validated = pd.read_csv(f"data_labels/Fold{fold}_val.csv")["label"].str.extract(r"\.m(\d{4})\.(\d\d)\.(\d\d)_")
        moments = pd.to_datetime(validated[0] + "-" + validated[1] + "-" + validated[2])
        held = index[PUBLISHED_SPLITS[f"pandey-{fold}"].holds(index.values)].normalize()
        assert list(moments) == list(held)


def small_cube(path, day):
    bundle = make_bundle(path.with_suffix(".bundle"))
    generate_cube(path, bundle, Request(n=3))
    set_attributes(path, {"training_ranges": ranges_on(day)})
    return open_cube(path)
