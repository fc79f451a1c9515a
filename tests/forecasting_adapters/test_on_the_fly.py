import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import sunaug
from forecasting_adapters import SyntheticSolarDataset, SyntheticStream, generated
from sunaug.bundle import Bundle
from sunaug.errors import GateRefused, SunaugError, UsageError
from sunaug.fidelity.request_verdict import RequestVerdict
from sunaug.fidelity.verdict import PASSED, REFUSED
from sunaug.generation import Request
from tests.models import make_bundle

N = 40


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def made(bundle: Bundle) -> np.ndarray:
    """What `generate` makes of the same request, scaled as the datasets do it."""
    return sunaug.generate(bundle, N, rare=True, seed=5)["intensity"].values / 127.5 - 1


def on_the_fly(bundle: Bundle | Path, **options: object) -> SyntheticSolarDataset:
    return SyntheticSolarDataset(bundle, **{"n": N, "rare": True, "seed": 5, "allow_ungated": True} | options)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_sample_i_is_the_same_whoever_makes_it(bundle: Bundle, made: np.ndarray, workers: int) -> None:
    frames = on_the_fly(bundle)
    order = np.random.default_rng(1).permutation(N)[:21].tolist()
    seen = 0
    for batch in DataLoader(frames, batch_size=5, sampler=order, num_workers=workers):
        numbers = [int(name.rpartition("/")[2]) for name in batch["sample_id"]]
        assert numbers == order[seen : seen + len(numbers)]
        np.testing.assert_allclose(batch["image"].numpy(), made[numbers], atol=1e-6)
        seen += len(numbers)
    assert seen == 21


def test_samples_one_by_one_and_from_a_folder_are_the_same_bits(bundle: Bundle) -> None:
    frames = on_the_fly(bundle.path)
    assert frames[3]["sample_id"] == "SYNTHETIC/tiny/000003"
    together = frames.__getitems__([33, 3, 12])
    assert torch.equal(frames[12]["image"], together[2]["image"])
    sent = pickle.dumps(frames)
    assert len(sent) < 20_000  # no network in it
    assert torch.equal(pickle.loads(sent)[33]["image"], together[0]["image"])


def test_fluxes_and_labels(bundle: Bundle) -> None:
    expected = sunaug.generate(bundle, N, seed=2)["forecast_flux"].values
    mixed = on_the_fly(bundle, rare=False, seed=2)
    mixed[7]
    np.testing.assert_array_equal(mixed.forecast_flux, expected)
    np.testing.assert_array_equal(mixed.labels, expected * (1 + 1e-6) >= 1e-5)
    assert [int(sample["label"]) for sample in mixed] == mixed.labels.tolist()
    rare = on_the_fly(bundle)
    assert rare.labels.tolist() == [1] * N
    assert not rare.source._known.any()  # the request says it, no sample was made for it
    assert on_the_fly(bundle, threshold="X1").class_counts()["negative"] > 0


def test_the_ranges_travel_with_samples_made_on_the_fly(bundle: Bundle) -> None:
    frames = on_the_fly(bundle)
    assert frames.training_ranges == (("2012-01-01T00:00:00Z", "2012-08-01T00:00:00Z"),)
    assert frames.bundle_hash == bundle.hash
    assert frames.gate == "ungated"


def test_a_bundle_needs_n_and_its_label(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="say with n= how many"):
        SyntheticSolarDataset(bundle, allow_ungated=True)
    with pytest.raises(UsageError, match=r"--n 0"):
        on_the_fly(bundle, n=0)
    blind = make_bundle(tmp_path / "blind", conditions=())
    with pytest.raises(UsageError, match="not conditioned on forecast_flux"):
        on_the_fly(blind, rare=False)


def test_what_the_gate_has_not_passed_is_not_made(bundle: Bundle) -> None:
    with pytest.raises(GateRefused, match=r"tiny, on the fly: the fidelity gate has not judged it"):
        on_the_fly(bundle, allow_ungated=False)


def test_the_verdict_is_that_of_the_kind_of_request(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []

    def verdict(of, request, policy, **options):
        asked.append(request)
        found = {
            "verdict": REFUSED if request.rare else PASSED,
            "sentence": "Refused: grey.",
            "made": 512,
            "judged": 500,
        }
        return RequestVerdict({"rare": request.rare}, found)

    monkeypatch.setattr(generated, "verdict_of_request", verdict)
    with pytest.raises(GateRefused, match=r"has refused it \(Refused: grey\. Measured on 500 of 512 samples"):
        on_the_fly(bundle, allow_ungated=False)
    plain = on_the_fly(bundle, allow_ungated=False, rare=False)
    assert plain.gate == PASSED
    assert plain.attrs["gate"]["request"] == {"rare": False}
    assert [one.rare for one in asked] == [True, False]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_gives_every_sample_of_an_epoch_once(bundle: Bundle, made: np.ndarray, workers: int) -> None:
    stream = SyntheticStream(bundle, N, rare=True, seed=5, block=6, allow_ungated=True)
    images = {}
    for batch in DataLoader(stream, batch_size=7, num_workers=workers):
        images |= dict(zip(batch["sample_id"], batch["image"], strict=True))
    assert sorted(images) == [f"SYNTHETIC/tiny/{number:06d}" for number in range(N)]
    for name, image in images.items():
        np.testing.assert_allclose(image, made[int(name[-6:])], atol=1e-6)


def test_epochs_and_processes_share_no_sample(bundle: Bundle) -> None:
    seen: list[str] = []
    for rank in range(2):
        stream = SyntheticStream(bundle, 20, block=4, num_replicas=2, rank=rank, allow_ungated=True)
        for epoch in range(2):
            stream.set_epoch(epoch)
            seen += [sample["sample_id"] for sample in stream]
    assert sorted(seen) == [f"SYNTHETIC/tiny/{number:06d}" for number in range(40)]


def test_a_stream_without_end_goes_on_until_it_is_left(bundle: Bundle) -> None:
    stream = SyntheticStream(bundle, block=2, ahead=1, allow_ungated=True)
    taken = iter(stream)
    names = [next(taken)["sample_id"] for _ in range(5)]
    taken.close()
    assert names == [f"SYNTHETIC/tiny/{number:06d}" for number in range(5)]
    with pytest.raises(UsageError, match="has no epochs"):
        stream.set_epoch(1)


def test_what_cannot_be_streamed(bundle: Bundle, synthetic: Path) -> None:
    with pytest.raises(UsageError, match="is no bundle"):
        SyntheticStream(synthetic)
    with pytest.raises(UsageError, match="0 blocks of 32"):
        SyntheticStream(bundle, ahead=0, allow_ungated=True)


def test_a_worker_process_does_not_generate_on_a_gpu(bundle: Bundle) -> None:
    frames = on_the_fly(bundle)
    frames.source._device = torch.device("cuda")
    with pytest.raises(SunaugError, match="cannot generate on cuda"):
        next(iter(DataLoader(frames, num_workers=1)))
