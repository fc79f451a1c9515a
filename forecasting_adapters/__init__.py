"""Synthetic Suns for the data loaders of forecasting models.

`dataset` holds the PyTorch datasets of real, synthetic and mixed frames, `leakage` the guard that refuses to evaluate a
forecaster on days which the generator has seen, `skill` the scores that flare forecasts are judged by.
"""

from forecasting_adapters.dataset import (
    MixedSolarDataset,
    Sample,
    SolarDataset,
    SyntheticSolarDataset,
    balanced_sampler,
)
from forecasting_adapters.leakage import LeakageError, check_leakage

__all__ = [
    "LeakageError",
    "MixedSolarDataset",
    "Sample",
    "SolarDataset",
    "SyntheticSolarDataset",
    "balanced_sampler",
    "check_leakage",
]
