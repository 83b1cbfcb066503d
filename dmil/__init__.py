"""Decomposition-based Multimodal Interaction Learning: the model, its training loop and its metrics.

Needs torch and nothing else.
"""

from dmil.data import Card, Split, Splits, Task
from dmil.method import Method, Output, Stage
from dmil.metrics import (
    accuracy,
    expected_calibration_error,
    macro_f1,
    mean_absolute_error,
    negative_log_likelihood,
    synergy_indicator,
)
from dmil.model import Dmil, DmilCd, DmilFc, DmilId, DmilSettings
from dmil.pid import DmilPid, DmilPidSettings
from dmil.seeds import derive_seed, generator
from dmil.selection import Budget
from dmil.settings import Settings, override, tunable
from dmil.train import FitResult, Replica, fit, predict

__all__ = [
    "Budget",
    "Card",
    "Dmil",
    "DmilCd",
    "DmilFc",
    "DmilId",
    "DmilPid",
    "DmilPidSettings",
    "DmilSettings",
    "FitResult",
    "Method",
    "Output",
    "Replica",
    "Settings",
    "Split",
    "Splits",
    "Stage",
    "Task",
    "accuracy",
    "derive_seed",
    "expected_calibration_error",
    "fit",
    "generator",
    "macro_f1",
    "mean_absolute_error",
    "negative_log_likelihood",
    "override",
    "predict",
    "synergy_indicator",
    "tunable",
]
