"""Runs of a regression made by hand, and a small dataset of one for a checkout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.record import RunRecord
from tests.made_checkout import Checkout
from tests.made_runs import made_record

Made = tuple[list[RunRecord], dict[str, pd.DataFrame]]
N = 40
# Of a sentiment from -3 to 3; their median is 0.
TARGET = [-3.0, -1.0, 0.0, 0.0, 1.0, 1.0, 2.0, -2.0] * (N // 8)
SENTIMENT = {"acc2_has0": 0.75, "f1_has0": 0.7, "acc2_non0": 0.8, "f1_non0": 0.78, "acc7": 0.4}
LOADER = '''
"""A sentiment from -3 to 3, the sum of what two modalities say, with noise."""

import torch

from dmil.data import SENTIMENT, Card, Split, Splits, Task
from dmil.seeds import generator

RAW = ()
LIBRARIES = ("torch",)
CARD = Card(
    "sums", "Sums of two numbers", "made by hand", "none", "nobody", "by sample", "none",
    modalities={"left": "four numbers", "right": "five numbers"},
)


def split(name, n):
    rng = generator("sums", name)
    inputs = {"left": torch.randn(n, 4, generator=rng), "right": torch.randn(n, 5, generator=rng)}
    value = inputs["left"][:, 0] + inputs["right"][:, 0] * inputs["right"][:, 1]
    target = ((value + 0.3 * torch.randn(n, generator=rng)) * 5).round().clamp(-15, 15) / 5
    return Split(inputs, target, tuple(f"{name}-{i:03d}" for i in range(n)))


def prepare(root):
    parts = {name: split(name, n) for name, n in {"train": 200, "valid": 80, "test": 120}.items()}
    return Splits(**parts, task=Task("regression", metrics=SENTIMENT), card=CARD)
'''


def error_record(method: str, seed: int, mae: float, valid: float, **changes: Any) -> RunRecord:
    """A finished run of a regression with a history of three epochs; ``changes`` replace any field."""
    metrics = {"test/mae": mae, "test/corr": 0.5, "valid/mae": valid, "valid/corr": 0.6}
    metrics |= {f"test/{name}": value for name, value in SENTIMENT.items()}
    metrics |= {"n_params": 120.0, "train_seconds": 2.5, "best_epoch": 2.0, "epochs_run": 3.0}
    history = [
        {
            "epoch": i + 1,
            "stage": "joint",
            "train/loss": 1.0 / (i + 1),
            "valid/loss": valid + error,
            "valid/mae": valid + error,
        }
        for i, error in enumerate((0.5, 0.0, 0.1))
    ]
    return made_record(method, seed, **{"metrics": metrics, "history": history} | changes)


def estimates(prediction: Sequence[float], target: Sequence[float] = TARGET, **changes: Any) -> pd.DataFrame:
    """Per-sample predictions of a regression as a run leaves them; ``changes`` add or replace columns."""
    n = len(target)
    frame = pd.DataFrame({"id": [f"s{i:02d}" for i in range(n)], "group": [""] * n, "split": ["test"] * n})
    frame["target"] = np.asarray(target, dtype=np.float32)
    frame["truth"] = None
    frame["prediction"] = np.asarray(prediction, dtype=np.float32)
    return frame.assign(**changes)


def runs_off_by(errors: Mapping[str, Sequence[float]], valid: Mapping[str, float] | None = None) -> Made:
    """One run per error and method: half of its predictions are too low by it, the others too high. valid: validation
    error, else the mean of the test errors."""
    records, files = [], {}
    for method, by_seed in errors.items():
        for seed, error in enumerate(by_seed):
            mean = sum(by_seed) / len(by_seed)
            record = error_record(method, seed, error, (valid or {}).get(method, mean))
            records.append(record)
            files[record.key] = estimates([y + (error if i % 2 else -error) for i, y in enumerate(TARGET)])
    return records, files


def with_sums(sources: Path, folder: Path) -> Checkout:
    """A checkout that knows the dataset ``sums``, a regression."""
    checkout = Checkout(sources, folder)
    (folder / "datasets" / "sums.py").write_text(LOADER)
    registry = folder / "benchmarks" / "registry.py"
    text = registry.read_text()
    known = text.replace("DATASETS = {\n", 'DATASETS = {\n    "sums": "sums",\n', 1)
    assert known != text
    registry.write_text(known)
    suite = folder / "benchmarks" / "suites" / "leaderboard.yaml"
    suite.write_text(suite.read_text().replace("\ndatasets:\n", "\ndatasets:\n  sums:\n", 1))
    return checkout
