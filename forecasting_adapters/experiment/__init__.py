"""Does augmentation help? One forecaster, trained in many ways, judged on days that none of them has seen.

`arms` says what is compared, `benchmark` runs it, `selection` chooses on validation, `results` judges, `report` and
`figure` show. The command is ``sunaug forecast-benchmark``.
"""

from forecasting_adapters.experiment.arms import ARMS, Arm, SyntheticUse, choose_arms, load_arms
from forecasting_adapters.experiment.benchmark import run_benchmark
from forecasting_adapters.experiment.results import ArmResult, Results
from forecasting_adapters.experiment.settings import Settings

__all__ = [
    "ARMS",
    "Arm",
    "ArmResult",
    "Results",
    "Settings",
    "SyntheticUse",
    "choose_arms",
    "load_arms",
    "run_benchmark",
]
