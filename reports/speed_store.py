"""A store of many runs for ``reports.speed``.

One table and one sweep of its methods go through the real delivery, with every file; ``reports.speed_copies`` makes the
others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.outbox import Outbox
from benchmarks.record import PREDICTIONS, Plan, PlannedRow, RunRecord, content_hash
from benchmarks.tracking import Tracking
from benchmarks.trials import FINISHED, ConfigurationRecord, PopulationRecord, ReplicaRecord, StudyPlan
from reports.speed_copies import DATASET, SUITES, multiply
from reports.statistics import generator

VARIANTS = ("fc", "id", "cd", "pid", "pid_free", "pid_even", "pid_mlpgate", "pid_late", "pid_noisy")
METHODS = (
    *("constant", "unimodal_x1", "unimodal_x2", "ensemble", "joint", "joint_mlp", "late_fusion"),
    *("late_fusion_learned", "dmil", *(f"dmil_{name}" for name in VARIANTS), "lsmi"),
)
COMPONENTS = ("R", "U_x1", "U_x2", "S")
TRUTHS = ("r", "u1", "u2", "s")
SEEDS, N_EPOCHS = range(5), 40
N_VALID, N_TEST = 1000, 4000
N_CONFIGURATIONS = 8
# Of each method a study, its configurations, and two seeds of each.
N_SWEEP_RUNS = len(METHODS) * (1 + 3 * N_CONFIGURATIONS)
PLANNED_AT = 1_790_000_000_000
DAY = 86_400_000
BUDGET = {"epochs": N_EPOCHS, "patience": 12, "lr_patience": 8, "lr_factor": 0.5, "max_grad_norm": 1.0}
SETTINGS = {
    "lr": 0.001,
    "weight_decay": 0.01,
    "batch_size": 128,
    "dropout": 0.1,
    "encoder": {"width": 64, "depth": 2},
    "latent": 64,
    "initial_logvar": -4.0,
    "beta": 0.001,
    "intra_epochs": 10,
    "decomposition_epochs": 5,
}
CARD: dict[str, Any] = {
    "name": DATASET,
    "title": "Made for timing",
    "source": "random numbers",
    "licence": "MIT, like the code",
    "citation": "none",
    "split_rule": "independent draws",
    "preprocessing": "none",
    "traps": [],
    "checksums": {},
    "modalities": {"x1": "not there", "x2": "not there"},
    "truth_names": TRUTHS,
    "warning": None,
    "bayes_accuracy": 0.95,
}


@dataclass(frozen=True)
class Made:
    """What a store holds: runs of the bench, their rows and tables, runs of sweeps of all levels."""

    n_runs: int
    n_rows: int
    n_tables: int
    n_sweep_runs: int


def uri_of(results: Path) -> str:
    return f"sqlite:///{results.resolve() / 'mlflow.db'}"


def make_store(results: Path, n_runs: int) -> Made:
    """Fills an empty folder with at least ``n_runs`` runs of the bench and as many of sweeps.

    Raises UserError where the folder cannot be written, or MLflow refuses what it is sent.
    """
    outbox = Outbox(results / "outbox")
    plan = _plan()
    with outbox.stage() as entry:
        plan.save(entry)
    for row in plan.rows:
        with outbox.stage() as entry:
            for seed in SEEDS:
                _save_run(entry, plan, row, seed)
    for number, method in enumerate(METHODS):
        with outbox.stage() as entry:
            _save_study(entry, method, number)
    delivery = Tracking(results, uri_of(results)).deliver(outbox)
    if delivery.error:
        raise UserError(delivery.error)
    n_tables = math.ceil(n_runs / (len(METHODS) * len(SEEDS)))
    n_sweeps = math.ceil(n_runs / N_SWEEP_RUNS)
    multiply(results / "mlflow.db", n_tables, n_sweeps)
    return Made(len(METHODS) * len(SEEDS) * n_tables, len(METHODS) * n_tables, n_tables, N_SWEEP_RUNS * n_sweeps)


def _plan() -> Plan:
    rows = tuple(
        PlannedRow(name, content_hash(["group", name]), SETTINGS, {str(seed): _key(name, seed) for seed in SEEDS})
        for name in METHODS
    )
    return Plan(
        suite=SUITES[0],
        dataset=DATASET,
        protocol=content_hash(["protocol"]),
        planned_at=PLANNED_AT,
        command=f"python -m benchmarks run --dataset {DATASET}",
        card=CARD,
        data_checksum=content_hash(["data"]),
        rows=rows,
        budget=BUDGET,
        code=content_hash(["code"]),
    )


def _key(method: str, seed: int) -> str:
    return content_hash(["key", method, seed])


def _save_run(entry: Path, plan: Plan, row: PlannedRow, seed: int) -> None:
    rng = generator("made run", row.method, str(seed))
    accuracy = 0.6 + 0.25 * METHODS.index(row.method) / len(METHODS) + float(rng.normal(0, 0.01))
    history = _history(accuracy)
    names = ("valid/nll", "valid/macro_f1", "valid/ece", "test/nll", "test/macro_f1", "test/ece", "train_seconds")
    metrics = history[-1] | {"test/acc": accuracy} | {name: float(rng.uniform()) for name in names}
    metrics |= {"n_params": 65_000.0, "best_epoch": N_EPOCHS - 1.0, "epochs_run": float(N_EPOCHS)}
    started = PLANNED_AT + 1000 * METHODS.index(row.method)
    record = RunRecord(
        key=row.keys[str(seed)],
        group=row.group,
        protocol=plan.protocol,
        suite=plan.suite,
        dataset=plan.dataset,
        method=row.method,
        seed=seed,
        status="finished",
        spec={"method": row.method, "seed": seed, "settings": row.settings, "budget": plan.budget},
        metrics={name: value for name, value in metrics.items() if name not in ("epoch", "stage")},
        history=history,
        tags={"git_commit": "0" * 40, "git_dirty": "false", "device": "cpu", "device_name": "cpu", "python": "3.11"},
        started=started,
        ended=started + 1000,
    )
    record.save(entry / record.key)
    _write_predictions(entry / record.key / PREDICTIONS, row.method, accuracy, rng)


def _history(accuracy: float) -> list[dict[str, Any]]:
    """One dict for each epoch, on the way to an accuracy."""
    history = []
    for epoch in range(N_EPOCHS):
        share = 1 - math.exp(-(epoch + 1) / 8)
        losses = {"train/loss": 1 - share, "valid/loss": 1.1 - share}
        history.append({"epoch": epoch, "stage": "joint", **losses, "valid/acc": accuracy * share})
    return history


def _write_predictions(path: Path, method: str, accuracy: float, rng: np.random.Generator) -> None:
    """The columns that a run on data of known truth leaves; see ``benchmarks.predictions``."""
    import pyarrow as pa
    from pyarrow import parquet

    n = N_VALID + N_TEST
    shared = generator("made samples")
    target, truth = shared.integers(2, size=n), shared.integers(len(TRUTHS), size=n)
    answered = np.where(rng.uniform(size=n) < accuracy, target, 1 - target)
    right = rng.uniform(0.5, 1, size=n)
    columns: dict[str, Any] = {
        "id": [f"sample-{i:05d}" for i in range(n)],
        "group": [""] * n,
        "split": ["valid"] * N_VALID + ["test"] * N_TEST,
        "target": target,
        "truth": [TRUTHS[i] for i in truth],
        "prob_0": np.where(answered == 0, right, 1 - right).astype(np.float32),
        "prob_1": np.where(answered == 1, right, 1 - right).astype(np.float32),
    }
    if method.startswith("dmil"):
        columns |= {f"logit_{name}_{k}": _weights(rng, n, 1)[0] for name in COMPONENTS for k in range(2)}
        columns |= {f"gate_{name}": one for name, one in zip(COMPONENTS, _weights(rng, n, 4), strict=True)}
    if method == "lsmi":
        columns |= {f"info_{name}": one for name, one in zip(TRUTHS, _weights(rng, n, 4), strict=True)}
    parquet.write_table(pa.table(columns), path, compression="zstd")


def _weights(rng: np.random.Generator, n: int, k: int) -> NDArray[np.float32]:
    """(K, N), each column a distribution."""
    return rng.dirichlet(np.ones(k + (k == 1)), size=n).T[:k].astype(np.float32)


def _save_study(entry: Path, method: str, number: int) -> None:
    """A study of one population, two seeds each."""
    base: dict[str, Any] = {"lr": 0.001, "dropout": 0.1, "width": 64}
    space: dict[str, Any] = {
        "lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "dropout": {"low": 0.0, "high": 0.6, "log": False},
        "width": {"choices": [32, 64, 128]},
    }
    plan = StudyPlan(
        key=content_hash(["study", method]),
        suite=SUITES[0],
        dataset=DATASET,
        method=method,
        data_checksum=content_hash(["data"]),
        device="cpu",
        torch="2.13.0",
        code=content_hash(["code"]),
        revision=1,
        budget=BUDGET,
        rungs=((1 / 9, 1 / 2), (1 / 3, 1 / 8)),
        space=space,
        base=base,
        overrides=(),
        seeds=(1000, 1001),
        n_trials=N_CONFIGURATIONS,
        population=N_CONFIGURATIONS,
        ahead=1,
        command=f"python -m sweeps run --dataset {DATASET}",
        planned_at=PLANNED_AT,
    )
    plan.save(entry)
    found = tuple(_configuration(plan, i) for i in range(N_CONFIGURATIONS))
    started = PLANNED_AT + 10_000 * number
    PopulationRecord(plan.key, 0, found, 10.0, started, started + 10_000, "cpu", "here:1").save(entry)


def _configuration(plan: StudyPlan, number: int) -> ConfigurationRecord:
    rng = generator("made configuration", plan.method, str(number))
    params = {"lr": float(10 ** rng.uniform(-4, -2)), "dropout": float(rng.uniform(0, 0.6)), "width": 64}
    params = params if number else plan.base
    score = float(rng.uniform(0.6, 0.9))
    history = tuple(_history(score))
    best = {name: value for name, value in history[-1].items() if name not in ("epoch", "stage")}
    replicas = tuple(ReplicaRecord(seed, FINISHED, None, best, N_EPOCHS, history, 1.0) for seed in plan.seeds)
    return ConfigurationRecord(
        number=number,
        params=params,
        settings=plan.base | params,
        status=FINISHED,
        score=score,
        loss=1 - score,
        epochs=2 * N_EPOCHS,
        seconds=2.0,
        replicas=replicas,
    )
