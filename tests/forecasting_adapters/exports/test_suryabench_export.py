"""SuryaBench exports through Surya's own ``SolarFlareDataset`` and SuryaBench's own ``FlareDSDataset``.

The scalers are those of Surya-1.0, where Surya's tests look for them: ``data/Surya-1.0/scalers.yaml`` in its clone. Its
loader imports scikit-image for pooling and wandb for its logs, neither of which is used here, so that empty modules
stand in where they are not installed.
"""

from __future__ import annotations

import importlib
import pickle
import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch.utils.data import ConcatDataset, DataLoader

from forecasting_adapters.exports import export, open_export
from forecasting_adapters.exports.note import read_note
from forecasting_adapters.exports.suryabench import flare_labels
from forecasting_adapters.leakage import LeakageError
from forecasting_adapters.suryabench import SuryaFlareDataset
from sunaug.calibrate.stretch import STRETCHES
from sunaug.cube import open_cube
from sunaug.errors import GateRefused, UsageError
from sunaug.sources import RejectedFile
from sunaug.sources.suryabench import VARIABLES, refer
from tests.exported import FLUXES, RANGES, generated, synthetic_cube
from tests.peers import load_module, peer

pytest.importorskip("h5netcdf")
pytest.importorskip("hdf5plugin")

CHANNELS = ["aia94", "aia131", "aia171"]
WINDOW = {
    "time_delta_input_minutes": [-60, 0],
    "time_delta_target_minutes": 60,
    "n_input_timestamps": 2,
    "rollout_steps": 0,
}


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return synthetic_cube(tmp_path_factory.mktemp("cube") / "rare.zarr")


@pytest.fixture(scope="module")
def out(cube, tmp_path_factory):
    return export(cube, "suryabench", tmp_path_factory.mktemp("surya") / "out")


@pytest.fixture
def surya(monkeypatch, tmp_path):
    """Surya's package importable, in a folder of its own for the logs that its loader writes."""
    monkeypatch.syspath_prepend(peer("Surya"))
    _stand_in(monkeypatch, "skimage", "skimage.measure")
    _stand_in(monkeypatch, "wandb")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def scalers(surya):
    info = yaml.safe_load(peer("Surya", "data/Surya-1.0/scalers.yaml").read_text())
    return importlib.import_module("surya.utils.data").build_scalers(info)


def _stand_in(monkeypatch, *names):
    try:
        importlib.import_module(names[0])
    except ImportError:
        for name in names:
            module = ModuleType(name)
            module.__version__ = "0"
            monkeypatch.setitem(sys.modules, name, module)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)


def _theirs(out, scalers, channels=CHANNELS):
    module = load_module(peer("Surya", "downstream_examples/solar_flare_forcasting/dataset.py"))
    return module.SolarFlareDataset(
        sdo_data_root_path=str(out),
        index_path=str(out / "train_index.csv"),
        flare_index_path=str(out / "train_flares.csv"),
        scalers=scalers,
        channels=channels,
        **WINDOW,
    )


def test_surya_reads_what_was_written(out, scalers):
    theirs = _theirs(out, scalers)
    assert len(theirs) == len(FLUXES)
    back = open_export(out)["intensity"].sel(channel=CHANNELS).values
    for place in range(len(FLUXES)):
        data, metadata = theirs[place]
        assert (data["ts"].shape, data["ts"].dtype) == ((3, 2, 32, 32), np.float32)
        assert (data["forecast"].shape, data["forecast"].dtype) == ((3, 1, 32, 32), np.float32)
        assert data["label"] == (FLUXES[place] >= 1e-5)
        assert metadata["timestamps_input"][1] == open_export(out)["time"].values[place]
        # In their order of channels, and no pixel else: the transform undone.
        for row, name in enumerate(CHANNELS):
            one = scalers[name]
            logs = data["ts"][row, 1] * (one.std + one.epsilon) + one.mean
            np.testing.assert_allclose(np.expm1(logs) / one.sl_scale_factor, back[place, row], rtol=1e-4, atol=1e-3)


def test_the_past_and_the_future_are_the_frame_itself(out, scalers):
    data, _ = _theirs(out, scalers)[2]
    np.testing.assert_array_equal(data["ts"][:, 0], data["ts"][:, 1])
    np.testing.assert_array_equal(data["forecast"][:, 0], data["ts"][:, 1])
    index = pd.read_csv(out / "train_index.csv")
    assert index["synthetic"].all()
    assert index["timestep"].is_unique
    assert (index.groupby("path").size() == 3).all()


def test_surya_bench_reads_it_too(cube, out, scalers, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(peer("SuryaBench", "HelioFM"))
    module = load_module(peer("SuryaBench", "flare/flare.py"))
    rooted = export(cube, "suryabench", tmp_path / "rooted", root=str(tmp_path / "rooted"))
    for kind, expected in (("maximum", [1, 1, 0, 1, 1, 0, 0, 1]), ("cumulative", [1, 1, 0, 1, 1, 0, 0, 1])):
        theirs = module.FlareDSDataset(
            index_path=str(rooted / "train_index.csv"),
            ds_flare_index_paths=[str(rooted / "train_flares.csv")],
            df_flare_label_type=kind,
            scalers=scalers,
            channels=CHANNELS,
            **WINDOW,
        )
        assert [int(theirs[place][0]["target"]) for place in range(len(theirs))] == expected
    data, _ = theirs[4]
    surya_data, _ = _theirs(out, scalers)[4]
    np.testing.assert_allclose(data["ts"], surya_data["ts"], rtol=1e-4, atol=1e-4)


def test_labels_are_read_off_the_flux():
    found = flare_labels(np.array(FLUXES))
    assert list(found["max_goes_class"]) == ["M5.0", "M1.0", "C9.9", "X1.3", "X9.3", "FQ", "B2.0", "X13.3"]
    np.testing.assert_allclose(found["cumulative_index"], [50, 10, 9.9, 130, 930, 0, 0, 1330])


def test_their_own_reader_of_classes_agrees():
    creator = load_module(peer("SuryaBench", "flare/flare_index_creator.py"))
    found = flare_labels(np.array(FLUXES)).query("max_goes_class != 'FQ'")
    theirs = creator.sub_class_num(found.rename(columns={"max_goes_class": "fl_goescls"}))
    # Theirs gives None to what is weaker than C.
    np.testing.assert_allclose([value or 0.0 for value in theirs], found["cumulative_index"])


def test_frames_without_a_known_forecast_have_no_label(tmp_path):
    opened = open_cube(synthetic_cube(tmp_path / "c.zarr", n=3)).load()
    opened["forecast_flux"][1] = np.nan
    out = export(opened, "suryabench", tmp_path / "out")
    assert list(pd.read_csv(out / "train_flares.csv")["sample"]) == [0, 0, 0, 2, 2, 2]
    assert len(list(out.rglob("*.nc"))) == 3


def test_the_files_say_what_they_are(out):
    import h5netcdf

    with h5netcdf.File(min(out.rglob("*.nc")), "r") as file:
        assert file.attrs["SYNTHETIC"] == "made by sunaug; not an observation"
        assert file.attrs["sample"] == "rare/000000"
        assert set(file.variables) == set(CHANNELS)
        assert file.variables["aia171"].attrs["unit"] == "DN/s"


def test_open_export_gives_every_bit_back(cube, tmp_path):
    stored = open_cube(cube).load()
    physical = stored.assign_attrs(intensity_scale="physical", solar_radius_pixels=976 / 0.6 / 4096 * 32)
    opened = open_export(export(physical, "suryabench", tmp_path / "out"), verify=True)
    np.testing.assert_array_equal(opened["intensity"], stored["intensity"])
    np.testing.assert_array_equal(opened["forecast_flux"], stored["forecast_flux"])
    assert opened.attrs["intensity_scale"] == "physical"
    assert opened.attrs["export"]["steps"] == []


def test_samples_of_the_generator_lie_within_surya_s_statistics(scalers, tmp_path):
    theirs = _theirs(export(generated(), "suryabench", tmp_path / "out", split="none", allow_ungated=True), scalers)
    means = np.mean([theirs[place][0]["ts"].mean(axis=(1, 2, 3)) for place in range(len(theirs))], axis=0)
    assert (np.abs(means) < 2).all(), dict(zip(CHANNELS, means, strict=True))


def test_the_dataset_gives_what_their_loader_gives(cube, out, scalers):
    ours = SuryaFlareDataset(cube, scalers, CHANNELS)
    theirs = _theirs(out, scalers)
    assert len(ours) == len(theirs)
    for place in (0, 5):
        (mine, when), (real, their_when) = ours[place], theirs[place]
        assert mine.keys() == real.keys()
        assert when.keys() == their_when.keys()
        for key, value in real.items():
            assert np.shape(mine[key]) == np.shape(value), key
            assert np.asarray(mine[key]).dtype == np.asarray(value).dtype, key
            np.testing.assert_allclose(mine[key], value, rtol=1e-5, atol=1e-6, err_msg=key)
        for key, value in their_when.items():
            assert type(when[key]) is type(value)
            np.testing.assert_array_equal(when[key], value)


def test_both_go_through_their_collate_together(cube, out, scalers):
    collate = importlib.import_module("surya.utils.data").custom_collate_fn
    both = ConcatDataset([_theirs(out, scalers), SuryaFlareDataset(cube, scalers, CHANNELS)])
    data, metadata = next(iter(DataLoader(both, batch_size=16, collate_fn=collate)))
    assert data["ts"].shape == (16, 3, 2, 32, 32)
    assert data["ts"].dtype == torch.float32
    assert data["label"].dtype == torch.int64
    torch.testing.assert_close(data["label"][:8], data["label"][8:])
    assert len(metadata["timestamps_input"]) == 16


def _plain_scalers():
    return {name: {"mean": 0.1, "std": 0.2, "epsilon": 1e-8, "sl_scale_factor": 0.01} for name in VARIABLES}


def test_missing_channels_are_zero_and_other_processes_give_the_same(cube):
    ours = SuryaFlareDataset(cube, _plain_scalers(), size=16)
    data, _ = ours[1]
    assert data["ts"].shape == (13, 2, 16, 16)
    present = [VARIABLES.index(name) for name in CHANNELS]
    assert (data["ts"][present].std(axis=(1, 2, 3)) > 0).all()
    assert not np.delete(data["ts"], present, axis=0).any()
    there = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(there[1][0]["ts"], data["ts"])
    assert ours.training_ranges == (tuple(RANGES[0]),)


def test_the_normalisation_is_the_signed_logarithm(cube):
    ours = SuryaFlareDataset(cube, _plain_scalers(), ["aia171"], border="missing", label_key="target")
    data, _ = ours[0]
    assert data["target"] == 1
    counts = open_cube(cube)["intensity"].sel(channel="aia171").values[0]
    middle = STRETCHES["aia171"].intensity(counts)[12:20, 12:20].mean()
    brightness = np.expm1(data["ts"][0, 1, 12:20, 12:20] * 0.2 + 0.1) / 0.01
    assert brightness.mean() == pytest.approx(middle, rel=0.1)


def test_what_the_dataset_cannot_use_is_refused(cube, tmp_path):
    with pytest.raises(UsageError, match="aia1700: not a channel of SuryaBench"):
        SuryaFlareDataset(cube, _plain_scalers(), ["aia1700"])
    with pytest.raises(UsageError, match=r"has aia171, aia131, aia94, none of hmi_m\."):
        SuryaFlareDataset(cube, _plain_scalers(), ["hmi_m"])
    with pytest.raises(UsageError, match="no mean, std, epsilon, sl_scale_factor for aia94"):
        SuryaFlareDataset(cube, {}, ["aia94"])
    with pytest.raises(UsageError, match=r"nowhere\.yaml: cannot be read as scalers"):
        SuryaFlareDataset(cube, tmp_path / "nowhere.yaml")
    refused = synthetic_cube(tmp_path / "r.zarr", n=2, gate={"verdict": "refused", "sentence": "Too smooth."})
    with pytest.raises(GateRefused, match="Too smooth"):
        SuryaFlareDataset(refused, _plain_scalers())


def test_the_dataset_is_refused_where_the_generator_has_seen_what_suryabench_validates_on(cube, tmp_path):
    seen = [["2012-01-14T20:00:00Z", "2012-01-15T00:00:01Z"]]
    leaking = synthetic_cube(tmp_path / "seen.zarr", n=2, training_ranges=seen)
    with pytest.raises(LeakageError, match=r"SYNTHETIC/seen: .* SuryaBench and Surya, .* split='none'") as error:
        SuryaFlareDataset(leaking, _plain_scalers())
    assert error.value.ranges == [("2012-01-15T00:00:00", "2012-01-16T00:00:00")]
    assert len(SuryaFlareDataset(leaking, _plain_scalers(), split="none")) == 2
    assert len(SuryaFlareDataset(leaking, _plain_scalers(), split="sdofmv2")) == 2
    assert len(SuryaFlareDataset(cube, _plain_scalers())) == 8
    unknown = synthetic_cube(tmp_path / "unknown.zarr", n=2, training_ranges=[])
    with pytest.raises(LeakageError, match="does not say what its generator was trained on"):
        SuryaFlareDataset(unknown, _plain_scalers())


def test_an_export_is_not_taken_for_observations(out):
    file = next(out.rglob("*.nc"))
    with pytest.raises(RejectedFile, match="a synthetic frame, not an observation"):
        refer(file)


def test_it_says_that_no_date_is_safe(tmp_path):
    out = export(synthetic_cube(tmp_path / "rare.zarr", n=2), "suryabench", tmp_path / "out")
    said = " ".join(read_note(out)["warnings"])
    assert "tests on all times from 2020-01-01 on" in said
    assert "no date is safe for synthetic frames: use the tables train_*.csv" in said
    assert {"train_index.csv", "train_flares.csv"} == {file.name for file in out.glob("*.csv")}
