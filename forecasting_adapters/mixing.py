"""Real and synthetic samples in one dataset, with the guard before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from forecasting_adapters.dataset import SolarDataset
from forecasting_adapters.leakage import check_evaluation
from forecasting_adapters.samples import FrameDataset, Sample, count_labels
from forecasting_adapters.sampling import Mixture
from forecasting_adapters.synthetic import SyntheticSolarDataset
from sunaug.errors import UsageError
from sunaug.fidelity.verdict import PASSED

__all__ = ["MixedSolarDataset"]


class MixedSolarDataset(Dataset[Sample]):
    """Real samples followed by synthetic ones: one mixture, or all of them for a `MixedSampler` to choose from.

    Parameters
    ----------
    real : torch.utils.data.Dataset
        `SolarDataset`, or any map-style dataset whose items are dicts with ``image`` and ``label``, or can be made into
        such by `to_sample`. What else a sample holds is filled in where it is missing: fluxes as NaN, a ``sample_id``.
    synthetic : SyntheticSolarDataset
    ratio : float, optional
        Synthetic samples for each real one: 0.5 adds half as many as there are real ones.
    fill : int or mapping of int to int, optional
        In place of a ratio, the number of samples that each class is filled up to, see `Mixture`. With neither of the
        two all synthetic samples are there, and `MixedSampler` decides.
    replace : bool
        Synthetic samples stand in for as many real ones of the most frequent class.
    seed : int
        Decides which synthetic samples are taken; the same seed takes the same ones, none of them twice.
    evaluation : str, array_like of datetime64, SolarDataset, or an iterable of these, optional
        What the forecaster will be validated and tested on; a str names a published split, such as ``sdofm``
        (`forecasting_adapters.leakage.PUBLISHED_SPLITS`). By default `SolarDataset.held_out_times` of `real`; any other
        dataset does not know them, and nothing is checked.
    to_sample : callable, optional
        Turns an item of `real` into a dict sample.
    allow_leakage : bool
        Mix in spite of the guard; `leakage` and `provenance` then say so.

    Attributes
    ----------
    leakage : str or None
        What the guard found and was told to allow.
    n_real : int
        Number of real samples: those after them are synthetic.

    Raises
    ------
    LeakageError
        If the generator was trained on any time of `evaluation`.
    UsageError
        If there are too few samples for the mixture, or the two kinds of sample do not fit together.
    """

    def __init__(
        self,
        real: Any,
        synthetic: SyntheticSolarDataset,
        ratio: float | None = None,
        *,
        fill: int | Mapping[int, int] | None = None,
        replace: bool = False,
        seed: int = 0,
        evaluation: Any = None,
        to_sample: Callable[[Any], Sample] | None = None,
        allow_leakage: bool = False,
    ) -> None:
        _check_order(real, synthetic)
        if ratio is not None and not isinstance(ratio, int | float):
            raise UsageError("a dataset has one ratio; a schedule of them is for MixedSampler to follow.")
        self.real, self.synthetic, self.ratio, self.seed = real, synthetic, ratio, seed
        self._to_sample = to_sample
        self._real_labels: NDArray[np.int64] | None = getattr(real, "labels", None) if to_sample is None else None
        self._real, self._synthetic = np.arange(len(real)), np.arange(len(synthetic))
        self.mixture = Mixture(ratio, fill, replace) if ratio is not None or fill is not None else None
        if self.mixture is None and replace:
            raise UsageError("replace= needs a ratio or fill= here; without them give it to MixedSampler.")
        if self.mixture is not None:
            self._real, self._synthetic = self.mixture.draw(
                len(real),
                len(synthetic),
                lambda: (self._all_real_labels(), synthetic.labels),
                seed=seed,
                source=f"SYNTHETIC/{synthetic.name}",
            )
        self.n_real = len(self._real)
        self.leakage = _guard(real, synthetic, evaluation, allow_leakage) if len(self._synthetic) else None
        if len(self._synthetic):
            self._check_fit()

    def __len__(self) -> int:
        return len(self._real) + len(self._synthetic)

    def __getitem__(self, index: int) -> Sample:
        place = self._place(index)
        if place >= self.n_real:
            return self.synthetic[int(self._synthetic[place - self.n_real])]
        number = int(self._real[place])
        return self._mapped(number, self.real[number])

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of a batch, those of each kind read together."""
        places = np.array([self._place(index) for index in indices], np.int64)
        samples: list[Sample] = [{}] * len(places)
        ours, theirs = np.flatnonzero(places >= self.n_real), np.flatnonzero(places < self.n_real)
        chosen = self._synthetic[places[ours] - self.n_real]
        numbers = self._real[places[theirs]].tolist()
        for slot, sample in zip(ours, _fetch(self.synthetic, chosen.tolist()), strict=True):
            samples[slot] = sample
        for slot, number, item in zip(theirs, numbers, _fetch(self.real, numbers), strict=True):
            samples[slot] = self._mapped(number, item)
        return samples

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of all samples, real ones first, shape (n,); reads every real sample once if they are not known."""
        return np.concatenate([self._all_real_labels()[self._real], self.synthetic.labels[self._synthetic]])

    def class_counts(self) -> dict[str, dict[str, int]]:
        """Number of negative and positive samples, of the ``real`` and the ``synthetic`` ones."""
        labels = self.labels
        return {"real": count_labels(labels[: self.n_real]), "synthetic": count_labels(labels[self.n_real :])}

    def provenance(self) -> dict[str, Any]:
        """What a forecaster trained on this has seen, ready for JSON.

        Counts, mixture, seed, bundle and its training ranges, what the gate said, and what guard and gate were told to
        let pass.
        """
        return {
            "class_counts": self.class_counts(),
            "ratio": self.ratio,
            "mixture": self.mixture.described() if self.mixture else None,
            "seed": self.seed,
            "synthetic": self.synthetic.name,
            "bundle_hash": self.synthetic.bundle_hash,
            "training_ranges": [list(one) for one in self.synthetic.training_ranges],
            "gate": self.synthetic.gate,
            "ungated_allowed": self.synthetic.gate != PASSED,
            "leakage": self.leakage,
            "leakage_allowed": self.leakage is not None,
        }

    def _place(self, index: int) -> int:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return place

    def _all_real_labels(self) -> NDArray[np.int64]:
        if self._real_labels is None:
            mapped = (self._mapped(number, self.real[number]) for number in range(len(self.real)))
            self._real_labels = np.array([int(sample["label"]) for sample in mapped], dtype=np.int64)
        return self._real_labels

    def _mapped(self, number: int, item: Any) -> Sample:
        """An item of the real dataset as a whole sample."""
        sample = self._to_sample(item) if self._to_sample else item
        if not isinstance(sample, dict) or not {"image", "label"} <= set(sample):
            raise UsageError(
                f"item {number} of the real dataset is not a dict with image and label; give to_sample=, a callable "
                "that makes one of it."
            )
        return {
            "image": torch.as_tensor(sample["image"], dtype=torch.float32),
            "label": torch.as_tensor(sample["label"], dtype=torch.int64),
            "forecast_flux": torch.tensor(float("nan")),
            "nowcast_flux": torch.tensor(float("nan")),
            "sample_id": f"real/{number:06d}",
            "synthetic": torch.tensor(False),
        } | {name: value for name, value in sample.items() if name not in ("image", "label")}

    def _check_fit(self) -> None:
        """Find out now, and in words, what would otherwise end in a collate error or in two kinds of normalisation."""
        if isinstance(self.real, FrameDataset):
            for what in ("channels", "scaling", "label", "threshold"):
                ours, theirs = getattr(self.real, what), getattr(self.synthetic, what)
                if ours != theirs:
                    raise UsageError(
                        f"real and synthetic frames differ in {what} ({ours} and {theirs}); open both with the same "
                        "settings."
                    )
        real, synthetic = self[0], self[self.n_real]
        if real["image"].shape != synthetic["image"].shape:
            raise UsageError(
                f"real images have the shape {tuple(real['image'].shape)} and synthetic ones "
                f"{tuple(synthetic['image'].shape)} (C, H, W); bring both to one with channels=, size= and transform=."
            )
        if odd := set(real) ^ set(synthetic):
            raise UsageError(
                f"real and synthetic samples do not both hold {', '.join(sorted(odd))}, and cannot be in one batch; "
                "add or drop it with to_sample= or transform=."
            )


def _check_order(real: Any, synthetic: Any) -> None:
    """Refuse sets in each other's place: the real one decides what is held out, the other what the generator saw."""
    if isinstance(synthetic, SyntheticSolarDataset) and not isinstance(real, SyntheticSolarDataset):
        return
    if isinstance(real, SyntheticSolarDataset) and not isinstance(synthetic, SyntheticSolarDataset):
        raise UsageError("the first is the real set, the second the synthetic one; they are swapped.")
    if isinstance(real, SyntheticSolarDataset):
        raise UsageError("the first is the real set, and both are synthetic; give real frames first.")
    raise UsageError(
        f"the second is the synthetic set, a SyntheticSolarDataset, and not {_kind(synthetic)}; open it with that."
    )


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"


def _fetch(dataset: Any, indices: list[int]) -> list[Any]:
    """Items of any map-style dataset, at once where it knows how."""
    if callable(batch := getattr(dataset, "__getitems__", None)):
        return list(batch(indices))
    return [dataset[index] for index in indices]


def _guard(real: Any, synthetic: SyntheticSolarDataset, evaluation: Any, allow_leakage: bool) -> str | None:
    """Check every set evaluated on; returns what was found where that is allowed."""
    if evaluation is None:
        evaluation = [real.held_out_times] if isinstance(real, SolarDataset) else []
    source = f"SYNTHETIC/{synthetic.name}"
    found = check_evaluation(synthetic.training_ranges, evaluation, source=source, allow_leakage=allow_leakage)
    known = [one for one in (synthetic.leakage, found) if one]
    return " ".join(dict.fromkeys(known)) or None
