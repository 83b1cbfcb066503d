"""Studies and populations made by hand, for the tests of tracking and of the sweep report."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mlflow.entities import Run, ViewType

from benchmarks.outbox import Outbox
from benchmarks.record import content_hash
from benchmarks.trials import FAILED, FINISHED, PRUNED, ConfigurationRecord, PopulationRecord, ReplicaRecord, StudyPlan
from tests.made_runs import client_of, stored

SPACE: dict[str, dict[str, Any]] = {
    "lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "dropout": {"low": 0.0, "high": 0.6, "log": False},
    "width": {"choices": [32, 64, 128, 256]},
}
BASE: dict[str, Any] = {"lr": 1e-3, "weight_decay": 0.01, "dropout": 0.5, "batch_size": 64, "width": 128, "depth": 1}
EPOCHS = 9


def made_study(method: str = "joint", **changes: Any) -> StudyPlan:
    """Sixteen configurations of two seeds, in populations of eight; ``changes`` replace any field."""
    fields: dict[str, Any] = {
        "suite": "small",
        "dataset": "toy",
        "method": method,
        "data_checksum": "c0ffee",
        "device": "cpu",
        "torch": "2.13.0",
        "code": "5ha12ed",
        "revision": 1,
        "budget": {"epochs": EPOCHS, "patience": 20, "lr_patience": 8, "lr_factor": 0.5, "max_grad_norm": 1.0},
        "rungs": ((1 / 9, 1 / 2), (1 / 3, 1 / 8)),
        "space": SPACE,
        "base": BASE,
        "overrides": (),
        "seeds": (0, 1),
        "n_trials": 16,
        "population": 8,
        "ahead": 2,
        "command": f"python -m sweeps run --dataset toy --methods {method}",
        "planned_at": 1000,
    }
    fields |= changes
    # Not of n_trials, planned_at and command: the same study can be prolonged.
    identity = {name: fields[name] for name in ("dataset", "method", "data_checksum", "code", "budget", "seeds")}
    return StudyPlan(**{"key": content_hash(identity)} | fields)


def made_params(number: int, space: Mapping[str, Mapping[str, Any]] = SPACE) -> dict[str, Any]:
    """Settings of configuration ``number``: the defaults for 0, then values spread evenly over each range."""
    if number == 0:
        return {name: BASE[name] for name in space}
    params: dict[str, Any] = {}
    for axis, (name, one) in enumerate(space.items()):
        share = number * math.sqrt((5, 2, 3, 7)[axis % 4]) % 1
        if "choices" in one:
            params[name] = one["choices"][int(share * len(one["choices"]))]
        elif one["log"]:
            params[name] = one["low"] * (one["high"] / one["low"]) ** share
        else:
            params[name] = one["low"] + share * (one["high"] - one["low"])
    return params


def made_population(
    plan: StudyPlan,
    number: int = 0,
    *,
    scores: Sequence[float] | None = None,
    pruned: Mapping[int, int] | None = None,
    failed: Sequence[int] = (),
    n_epochs: int = EPOCHS,
    **changes: Any,
) -> PopulationRecord:
    """Population ``number`` of a study, its configurations numbered from ``number * plan.population`` on.

    scores: one for each configuration; without them 0.9 at a learning rate of 1e-3 and 0.2 less for each power of ten
    away from it. pruned: place in the population -> epoch; failed: places. ``changes`` replace any field.
    """
    pruned = pruned or {}
    first, configurations = number * plan.population, []
    n = plan.population if scores is None else len(scores)
    for place in range(n):
        params = made_params(first + place, plan.space)
        score = 0.9 - 0.2 * abs(math.log10(params.get("lr", 1e-3)) + 3) if scores is None else scores[place]
        status = FAILED if place in failed else PRUNED if place in pruned else FINISHED
        epochs = pruned.get(place, n_epochs)
        configurations.append(made_configuration(plan, first + place, params, score, status, epochs))
    started = plan.planned_at + 10_000 * number
    fields: dict[str, Any] = {
        "study": plan.key,
        "number": number,
        "configurations": tuple(configurations),
        "seconds": 4.0,
        "started": started,
        "ended": started + 4000,
        "device_name": "cpu",
        "worker": "here:1",
    }
    return PopulationRecord(**fields | changes)


def made_configuration(
    plan: StudyPlan, number: int, params: dict[str, Any], score: float, status: str, n_epochs: int
) -> ConfigurationRecord:
    """Its seeds lie 0.02 apart around ``score``. One that failed did so in the second epoch of its first seed."""
    n = len(plan.seeds)
    if status == FAILED:
        replicas = [failed_replica(plan.seeds[0]), *(made_replica(seed, score, PRUNED, 2) for seed in plan.seeds[1:])]
    else:
        parts = [score + 0.02 * (place - (n - 1) / 2) for place in range(n)]
        replicas = [made_replica(seed, part, status, n_epochs) for seed, part in zip(plan.seeds, parts, strict=True)]
    return ConfigurationRecord(
        number=number,
        params=params,
        settings=plan.base | params,
        status=status,
        score=None if status == FAILED else score,
        loss=None if status == FAILED else 1 - score,
        error=f"seed {plan.seeds[0]}: {replicas[0].error}" if status == FAILED else None,
        pruned_at=n_epochs if status == PRUNED else None,
        epochs=sum(len(replica.history) for replica in replicas),
        seconds=sum(replica.seconds for replica in replicas),
        replicas=tuple(replicas),
    )


def made_replica(seed: int, score: float, status: str, n_epochs: int) -> ReplicaRecord:
    """Its accuracy grows evenly to ``score`` at its last epoch; its validation loss is what is missing to 1."""
    history, best = [], {}
    for epoch in range(1, n_epochs + 1):
        accuracy = score * epoch / n_epochs
        best = {"train/loss": 1 / epoch, "valid/loss": 1 - accuracy, "valid/acc": accuracy}
        history.append({"epoch": epoch, "stage": "joint", **best})
    return ReplicaRecord(seed, status, None, best, n_epochs, tuple(history), 0.25)


def failed_replica(seed: int) -> ReplicaRecord:
    best = {"train/loss": 1.0, "valid/loss": 0.5, "valid/acc": 0.5}
    strange = {"train/loss": math.nan, "valid/loss": math.inf, "valid/acc": 0.5}
    history = ({"epoch": 1, "stage": "joint", **best}, {"epoch": 2, "stage": "joint", **strange})
    error = "training loss or gradient not finite in epoch 2, stage joint"
    return ReplicaRecord(seed, FAILED, error, best, 1, history, 0.25)


def put_study(outbox: Outbox, plan: StudyPlan | None, *populations: PopulationRecord) -> None:
    """Writes one entry."""
    with outbox.stage() as folder:
        if plan is not None:
            plan.save(folder)
        for population in populations:
            population.save(folder)


def runs_at(folder: Path, level: str) -> list[Run]:
    """Runs of one level of all sweeps in the store under ``folder``, by name."""
    found = stored(client_of(folder), f"tags.level = '{level}'", suite="sweeps")
    return sorted(found, key=lambda run: str(run.info.run_name))


def sweep_state(folder: Path) -> list[tuple[Any, ...]]:
    """All that a store holds of sweeps, without what differs from one delivery to the next, its ids. No run of them,
    not even a deleted one, may be left running."""
    client = client_of(folder)
    (experiment,) = [client.get_experiment_by_name("sweeps")]
    running = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'", ViewType.ALL)
    assert [run.info.run_name for run in running] == []
    runs = {run.info.run_id: run for run in stored(client, suite="sweeps")}
    points: dict[str, list[tuple[Any, ...]]] = {run_id: [] for run_id in runs}
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        for run_id, *point in connection.execute("select run_uuid, key, step, value, timestamp from metrics"):
            points.get(run_id, []).append(tuple(point))
    state = []
    for run_id, run in runs.items():
        tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
        parent = runs.get(run.data.tags.get("mlflow.parentRunId", ""))
        names = (run.info.run_name, parent.info.run_name if parent else "")
        info = (run.info.status, run.info.start_time, run.info.end_time)
        state.append((names, info, tags, run.data.params, run.data.metrics, sorted(points[run_id])))
    return sorted(state, key=lambda one: one[0])
