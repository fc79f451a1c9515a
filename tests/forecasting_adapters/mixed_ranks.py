"""One of two processes of torch.distributed (gloo) that read one mixture; leaves a list of what it saw in a folder.

python mixed_ranks.py FOLDER, with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in the environment.
"""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset

from forecasting_adapters.record import TrainingRecord
from forecasting_adapters.sampling import MixedSampler


class Pool(Dataset):
    """Twelve real samples, the last four positive, and ten synthetic ones."""

    n_real = 12
    labels = np.array([0] * 8 + [1] * 14)

    def __len__(self) -> int:
        return 22

    def __getitem__(self, index: int) -> dict:
        return {"number": index, "label": torch.tensor(self.labels[index]), "synthetic": torch.tensor(index >= 12)}


def train(folder: Path) -> None:
    distributed.init_process_group("gloo")
    loader = DataLoader(Pool(), batch_size=4, sampler=MixedSampler(Pool(), ratio=0.5))
    record = TrainingRecord(folder / "seen.csv")
    seen = [number for batch in record.watch(loader, 0) for number in batch["number"].tolist()]
    (folder / f"rank{os.environ['RANK']}.txt").write_text("\n".join(map(str, seen)))
    distributed.destroy_process_group()


if __name__ == "__main__":
    train(Path(sys.argv[1]))
