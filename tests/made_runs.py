"""Runs and plans made by hand, for the tests of outbox, tracking and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from benchmarks.mlflow_store import create_schema
from benchmarks.outbox import Outbox
from benchmarks.record import PREDICTIONS, Plan, PlannedRow, RunRecord, content_hash
from benchmarks.store import create_sqlite
from benchmarks.tracking import Tracking

Pair = tuple[Tracking, Outbox]
CARD = {
    "name": "toy",
    "title": "A toy",
    "source": "made by hand",
    "licence": "none",
    "citation": "nobody",
    "split_rule": "by hand",
    "preprocessing": "none",
    "traps": ("it is <not> real",),
    "checksums": {"toy.csv": "ab" * 32},
    "modalities": {"left": "one number", "right": "another"},
    "truth_names": (),
    "warning": None,
    "bayes_accuracy": None,
}


BUDGET = {"epochs": 60, "patience": 20, "lr_patience": 8, "lr_factor": 0.5, "max_grad_norm": 1.0}
TUNING = {
    "sweep": "5feed",
    "suite": "leaderboard",
    "budget": BUDGET,
    "n_configurations": 64,
    "seeds": [1000, 1001],
    "n_epochs": 2345,
    "valid_score": 0.8125,
    "valid_loss": 0.5,
    "default_score": 0.75,
    "revision": 1,
    "code": "c0de",
    "torch": "2.13.0",
    "device": "cpu",
    "tuned_at": "2026-01-02T03:04:05+00:00",
    "command": "python -m sweeps run --dataset toy",
}


def made_key(method: str, seed: int) -> str:
    return content_hash([method, seed])


def made_group(method: str, dataset: str = "toy") -> str:
    return content_hash([dataset, method])


def made_record(method: str = "joint", seed: int = 0, **changes: Any) -> RunRecord:
    """A finished run with a history of three epochs; ``changes`` replace any field."""
    test_acc = changes.pop("test_acc", 0.75)
    metrics = {"test/acc": test_acc, "test/macro_f1": 0.5, "test/nll": 0.7, "test/ece": 0.1, "valid/acc": 0.8}
    metrics |= {"n_params": 120.0, "train_seconds": 2.5, "best_epoch": 1.0}
    history = [{"epoch": i, "stage": "joint", "train/loss": 1.0 / (i + 1), "valid/acc": 0.5 + i / 10} for i in range(3)]
    fields: dict[str, Any] = {
        "key": made_key(method, seed),
        "group": made_group(method),
        "protocol": "p1",
        "suite": "small",
        "dataset": "toy",
        "method": method,
        "seed": seed,
        "status": "finished",
        "spec": {"method": method, "settings": {"lr": 0.001, "encoder": {"width": 64}}},
        "metrics": metrics,
        "history": history,
        "tags": {"git_commit": "abc1234", "device": "cpu"},
        "started": 1_000_000 + seed,
        "ended": 1_002_500 + seed,
    }
    return RunRecord(**fields | changes)


def failed_record(method: str, seed: int, error: str = "loss is nan in epoch 3", **changes: Any) -> RunRecord:
    return made_record(method, seed, status="failed", error=error, metrics={}, history=[], **changes)


def made_plan(
    rows: Mapping[str, Sequence[int]], tuning: Mapping[str, dict[str, Any]] | None = None, **changes: Any
) -> Plan:
    """A plan of methods and their seeds. tuning: of some of the methods."""
    planned = tuple(
        PlannedRow(
            method=method,
            group=made_group(method, changes.get("dataset", "toy")),
            settings={"lr": 0.001, "encoder": {"width": 64}},
            keys={str(seed): made_key(method, seed) for seed in seeds},
            tuning=(tuning or {}).get(method, {}),
        )
        for method, seeds in rows.items()
    )
    fields: dict[str, Any] = {
        "suite": "small",
        "dataset": "toy",
        "protocol": "p1",
        "planned_at": 1000,
        "command": "python -m benchmarks run --dataset toy",
        "card": CARD,
        "data_checksum": "c0ffee",
        "rows": planned,
        "budget": BUDGET,
        "code": "5ha12ed",
    }
    return Plan(**fields | changes)


def put(
    outbox: Outbox, *records: RunRecord, plan: Plan | None = None, files: dict[str, pd.DataFrame] | None = None
) -> None:
    """Writes one entry. files: predictions by run key."""
    with outbox.stage() as folder:
        if plan is not None:
            plan.save(folder)
        for record in records:
            record.save(folder / record.key)
            if files and record.key in files:
                files[record.key].to_parquet(folder / record.key / PREDICTIONS)


def predictions(
    probabilities: Sequence[Sequence[float]],
    target: Sequence[int],
    split: str = "test",
    *,
    truth: Sequence[str] | None = None,
    gate: Mapping[str, Sequence[float]] | None = None,
    info: Mapping[str, Sequence[float]] | None = None,
) -> pd.DataFrame:
    """Per-sample predictions as a run leaves them. probabilities (N, C), target (N,), truth (N,) names.

    gate, info: (N,) of each component, of each composition.
    """
    n = len(target)
    frame = pd.DataFrame({"id": [f"s{i}" for i in range(n)], "group": ["g"] * n, "split": [split] * n})
    frame["target"] = np.asarray(target, dtype=np.int64)
    frame["truth"] = None if truth is None else list(truth)
    for column, values in enumerate(np.asarray(probabilities, dtype=np.float32).T):
        frame[f"prob_{column}"] = values
    for component in gate or {}:
        for column in range(np.shape(probabilities)[1]):
            frame[f"logit_{component}_{column}"] = np.float32(0)
    for kind, parts in (("gate", gate or {}), ("info", info or {})):
        for name, values in parts.items():
            frame[f"{kind}_{name}"] = np.asarray(values, dtype=np.float32)
    return frame


def answers(is_right: Sequence[int]) -> list[list[float]]:
    """Probabilities of two classes for samples of class 1; 0.8 for the class that is answered."""
    return [[0.2, 0.8] if right else [0.8, 0.2] for right in is_right]


def bytes_under(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@cache
def empty_store() -> bytes:
    """A fresh sqlite store as a file's content: making one takes MLflow two seconds."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        create_sqlite(path, create_schema)
        return path.read_bytes()


def made_tracking(folder: Path) -> tuple[Tracking, Outbox]:
    """An empty sqlite store and an empty outbox under ``folder``."""
    (folder / "mlflow.db").write_bytes(empty_store())
    return Tracking(folder, f"sqlite:///{folder / 'mlflow.db'}"), Outbox(folder / "outbox")


def client_of(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def stored(client: MlflowClient, condition: str = "", suite: str = "small") -> list[Run]:
    experiment = client.get_experiment_by_name(suite)
    return list(client.search_runs([experiment.experiment_id], condition)) if experiment else []


def seeds(client: MlflowClient) -> list[Run]:
    return stored(client, "tags.level = 'seed'")


def deliver(
    pair: Pair,
    *records: RunRecord,
    files: dict[str, Any] | None = None,
    card: dict[str, Any] | None = None,
    **changes: Any,
) -> None:
    """Sends runs with a plan of three seeds for each of their methods; ``changes`` replace any field of the plan."""
    tracking, outbox = pair
    methods = {record.method: range(3) for record in records}
    put(outbox, plan=made_plan(methods, card=CARD | (card or {}), **changes))
    put(outbox, *records, files=files)
    assert tracking.deliver(outbox).error is None


def with_valid(records: list[RunRecord], value: float) -> list[RunRecord]:
    """The same runs with another validation accuracy."""
    return [replace(record, metrics=record.metrics | {"valid/acc": value}) for record in records]


def three(method: str, *accuracies: float, **changes: Any) -> list[RunRecord]:
    return [made_record(method, seed, test_acc=value, **changes) for seed, value in enumerate(accuracies)]


def three_methods() -> tuple[list[RunRecord], dict[str, Any]]:
    """Four test samples of class 1. Right: left on sample 0, right on 0 and 1, joint on all (seed 0) or 3 alone.

    So 2 of 4 samples are synergistic for seed 0 and 1 of 4 for the other two: (0.5 + 0.25 + 0.25) / 3.
    """
    right = {"unimodal_left": [{0}] * 3, "unimodal_right": [{0, 1}] * 3, "joint": [{0, 1, 2, 3}, {3}, {3}]}
    records, files = [], {}
    for method, by_seed in right.items():
        for seed, hits in enumerate(by_seed):
            record = made_record(method, seed)
            frame = predictions(answers([i in hits for i in range(4)]), [1, 1, 1, 1])
            frame.loc[4] = {**frame.loc[0].to_dict(), "split": "valid", "target": 0}
            records.append(record)
            files[record.key] = frame.iloc[::-1] if method == "joint" else frame
    return records, files


def on(dataset: str, *records: RunRecord) -> list[RunRecord]:
    """The same runs on another dataset."""
    return [replace(record, dataset=dataset, group=made_group(record.method, dataset)) for record in records]


class Killed(BaseException):
    pass


class Dying:
    """An MLflow client that dies instead of making its n-th call."""

    def __init__(self, client: MlflowClient, n: float) -> None:
        self.client, self.n, self.made = client, n, 0

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        if self.made >= self.n:
            raise Killed
        self.made += 1
        return getattr(self.client, name)
