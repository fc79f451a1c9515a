import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from forecasting_adapters import MixedSampler, MixedSolarDataset, Mixture, SolarDataset, SyntheticSolarDataset
from sunaug.errors import UsageError

RANKS = Path(__file__).with_name("mixed_ranks.py")


@pytest.fixture(scope="module")
def pool(observed: Path, synthetic: Path) -> MixedSolarDataset:
    """Eighteen real samples, four of them positive, and twenty synthetic ones, all positive."""
    return MixedSolarDataset(SolarDataset(observed), SyntheticSolarDataset(synthetic), evaluation=())


def counts(pool: MixedSolarDataset, indices: list[int]) -> tuple[int, int, int]:
    """Real negative, real positive and synthetic samples among these."""
    labels = pool.labels[indices]
    real = np.array(indices) < pool.n_real
    return int((real & (labels == 0)).sum()), int((real & (labels == 1)).sum()), int((~real).sum())


def test_without_a_mixture_a_dataset_holds_everything(pool: MixedSolarDataset) -> None:
    assert len(pool) == 38
    assert pool.class_counts() == {
        "real": {"negative": 14, "positive": 4},
        "synthetic": {"negative": 0, "positive": 20},
    }


def test_a_sampler_says_what_it_takes(observed: Path) -> None:
    with pytest.raises(UsageError, match="takes a MixedSolarDataset, and not a SolarDataset"):
        MixedSampler(SolarDataset(observed), ratio=0.5)  # type: ignore[arg-type]


def test_a_schedule_gives_each_epoch_its_ratio(pool: MixedSolarDataset) -> None:
    for schedule in ([0, 0.5, 1], lambda epoch: min(epoch / 2, 1)):
        sampler = MixedSampler(pool, ratio=schedule, seed=3)
        found = []
        for epoch in range(4):
            sampler.set_epoch(epoch)
            indices = list(sampler)
            assert len(set(indices)) == len(indices) == len(sampler)
            found.append(counts(pool, indices))
        assert found == [(14, 4, 0), (14, 4, 9), (14, 4, 18), (14, 4, 18)]


def test_epochs_take_other_samples_in_another_order_and_the_seed_repeats_them(pool: MixedSolarDataset) -> None:
    def epochs(seed: int) -> list[list[int]]:
        sampler = MixedSampler(pool, ratio=0.5, seed=seed)
        return [(sampler.set_epoch(epoch), list(sampler))[1] for epoch in range(2)]

    first, second = epochs(1)
    assert first != second
    assert {index for index in first if index >= 18} != {index for index in second if index >= 18}
    assert epochs(1) == [first, second]
    assert epochs(2) != [first, second]
    assert list(MixedSampler(pool, ratio=0, shuffle=False)) == list(range(18))


def test_classes_are_filled_up(pool: MixedSolarDataset) -> None:
    assert counts(pool, list(MixedSampler(pool, fill=14))) == (14, 4, 10)
    assert counts(pool, list(MixedSampler(pool, fill={1: 20}))) == (14, 4, 16)
    assert counts(pool, list(MixedSampler(pool, fill={1: 2}))) == (14, 4, 0)
    with pytest.raises(UsageError, match=r"class 0 has 14 real samples and 0 synthetic ones.*up to 15"):
        MixedSampler(pool, fill=15)


def test_replacing_keeps_an_epoch_as_long_as_it_was(pool: MixedSolarDataset) -> None:
    assert counts(pool, list(MixedSampler(pool, ratio=0.5, replace=True))) == (5, 4, 9)
    assert counts(pool, list(MixedSampler(pool, fill={1: 9}, replace=True))) == (9, 4, 5)
    with pytest.raises(UsageError, match="18 synthetic samples cannot replace 14 real ones"):
        MixedSampler(pool, ratio=1, replace=True)
    mixed = MixedSolarDataset(pool.real, pool.synthetic, 0.5, replace=True, evaluation=())
    assert mixed.class_counts() == {
        "real": {"negative": 5, "positive": 4},
        "synthetic": {"negative": 0, "positive": 9},
    }
    assert [sample["sample_id"] for sample in mixed.__getitems__(range(18))] == [one["sample_id"] for one in mixed]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either a ratio"),
        ({"ratio": 1, "fill": 3}, "either a ratio"),
        ({"ratio": []}, "an empty schedule"),
        ({"ratio": [0.1, -1]}, "a ratio of -1"),
        ({"ratio": lambda epoch: float("nan")}, "a ratio of nan"),
        ({"ratio": 5}, "holds 20 samples, and a ratio of 5 to 18 real ones needs 90"),
        ({"fill": -2}, "cannot be filled up to -2"),
        ({"ratio": 1, "rank": 2, "num_replicas": 2}, "process 2 of 2"),
    ],
)
def test_mixtures_that_cannot_be(pool: MixedSolarDataset, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MixedSampler(pool, **options)


def test_a_dataset_has_no_schedule(pool: MixedSolarDataset) -> None:
    with pytest.raises(UsageError, match="a schedule of them is for MixedSampler"):
        MixedSolarDataset(pool.real, pool.synthetic, [0.1, 0.2], evaluation=())
    with pytest.raises(UsageError, match="replace= needs a ratio"):
        MixedSolarDataset(pool.real, pool.synthetic, replace=True, evaluation=())
    assert Mixture(ratio=[0, 1]).described() == {"ratio": [0, 1], "fill": None, "replace": False}
    assert "function" in Mixture(ratio=lambda epoch: 0).described()["ratio"]


@pytest.mark.parametrize(("drop_last", "each"), [(False, 10), (True, 9)])
def test_processes_share_an_epoch(pool: MixedSolarDataset, drop_last: bool, each: int) -> None:
    options = {"ratio": [11 / 18], "num_replicas": 3, "drop_last": drop_last, "seed": 4}
    parts = [list(MixedSampler(pool, rank=rank, **options)) for rank in range(3)]
    assert [len(part) for part in parts] == [each] * 3
    together = list(itertools.chain.from_iterable(parts))
    whole = MixedSampler(pool, ratio=[11 / 18], seed=4)
    # Of 29 samples, one is repeated so that all get ten, or two are left out.
    assert len(set(together)) == (27 if drop_last else 29)
    assert set(together) <= set(whole)


@pytest.mark.slow
def test_two_processes_of_torch_distributed_see_each_sample_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(RANKS), str(tmp_path)]
    ranks = [
        subprocess.Popen(command, env=os.environ | meeting | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for rank in ranks:
        try:
            _, complaint = rank.communicate(timeout=120)
        finally:
            rank.kill()
        assert rank.returncode == 0, complaint
    first, second = ((tmp_path / f"rank{rank}.txt").read_text().splitlines() for rank in range(2))
    assert len(first) == len(second) == 9
    assert len({*first, *second}) == 18
    # Both counted what both saw; the first process wrote it down.
    lines = (tmp_path / "seen.csv").read_text().splitlines()
    assert lines[1].startswith("0,18,8,4,0,6,0.5,")
    assert len(lines) == 2


class Numbers(Dataset[int]):
    """Stands in for a pool of many samples: its items are their numbers."""

    n_real = 40

    def __init__(self) -> None:
        self.labels = np.array([0] * 30 + [1] * 50)

    def __len__(self) -> int:
        return 80

    def __getitem__(self, index: int) -> int:
        return index


def batches(loader: DataLoader[int], taken: int | None = None) -> Iterator[list[int]]:
    return (batch.tolist() for batch in itertools.islice(loader, taken))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_epoch_goes_on_with_what_was_not_seen(workers: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="resuming needs the extra torchdata")

    def loader() -> tuple[MixedSampler, DataLoader[int]]:
        sampler = MixedSampler(Numbers(), ratio=[0.5, 1], seed=9, num_replicas=2, rank=1)
        return sampler, stateful.StatefulDataLoader(Numbers(), batch_size=4, sampler=sampler, num_workers=workers)

    sampler, whole = loader()
    expected = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        expected.append(list(batches(whole)))
    assert [sum(map(len, epoch)) for epoch in expected] == [30, 40, 40]

    sampler, stopped = loader()
    sampler.set_epoch(1)
    taken = iter(stopped)
    seen = [next(taken).tolist() for _ in range(3)]
    state = stopped.state_dict()
    assert seen == expected[1][:3]

    sampler, resumed = loader()
    resumed.load_state_dict(state)
    sampler.set_epoch(1)
    assert list(batches(resumed)) == expected[1][3:]
    sampler.set_epoch(2)
    assert list(batches(resumed)) == expected[2]


def test_a_state_of_another_seed_is_refused() -> None:
    sampler = MixedSampler(Numbers(), ratio=1, seed=1)
    state = sampler.state_dict()
    assert state == {"epoch": 0, "seed": 1, "yielded": 0}
    with pytest.raises(UsageError, match="the state is of seed 1, this sampler has 2"):
        MixedSampler(Numbers(), ratio=1, seed=2).load_state_dict(state)
