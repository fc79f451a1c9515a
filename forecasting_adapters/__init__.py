"""Synthetic Suns for the data loaders of forecasting models.

`dataset` holds the PyTorch dataset of real frames, `synthetic` that of synthetic ones, `mixing` and `sampling` bring
them together, `streaming` makes samples ahead of a training, `lightning` has the data module of Lightning. Samples are
dicts (`samples`). `leakage` is the guard that refuses to evaluate a forecaster on days which the generator has seen,
`record` writes down what a training saw, `skill` has the scores that flare forecasts are judged by, `exports` the
layouts of other projects.
"""

from typing import TYPE_CHECKING, Any

from forecasting_adapters.dataset import SolarDataset
from forecasting_adapters.leakage import LeakageError, check_leakage, check_timestamps
from forecasting_adapters.mixing import MixedSolarDataset
from forecasting_adapters.record import TrainingRecord
from forecasting_adapters.samples import Sample
from forecasting_adapters.sampling import MixedSampler, Mixture, balanced_sampler
from forecasting_adapters.streaming import SyntheticStream
from forecasting_adapters.synthetic import SyntheticSolarDataset

if TYPE_CHECKING:
    from forecasting_adapters.lightning import RecordCallback, SolarDataModule

__all__ = [
    "LeakageError",
    "MixedSampler",
    "MixedSolarDataset",
    "Mixture",
    "RecordCallback",
    "Sample",
    "SolarDataModule",
    "SolarDataset",
    "SyntheticSolarDataset",
    "SyntheticStream",
    "TrainingRecord",
    "balanced_sampler",
    "check_leakage",
    "check_timestamps",
]


def __getattr__(name: str) -> Any:
    # Lightning takes seconds to import, and not everyone has it.
    if name in ("RecordCallback", "SolarDataModule"):
        from forecasting_adapters import lightning

        return getattr(lightning, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
