"""Studies and configurations in the words MLflow accepts, and back. No MLflow here."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from benchmarks.convert import all_metrics, clip, gathered, not_finite, series, spread
from benchmarks.store import Stored
from benchmarks.trials import (
    FAILED,
    FINISHED,
    PRUNED,
    ConfigurationRecord,
    PopulationRecord,
    ReplicaRecord,
    StudyPlan,
    StudyRow,
    Trial,
)

STUDY_LEVEL, CONFIGURATION_LEVEL, REPLICA_LEVEL = "study", "configuration", "replica"
IDENTITY = ("key", "suite", "dataset", "method", "data_checksum", "code", "revision", "device", "torch", "command")
SHARED = ("study", "suite", "dataset", "method")
PLAN_TAG, PARAMS_TAG = "plan", "params"


def study_tags(plan: StudyPlan) -> dict[str, str]:
    """Tags of a study's run. ``plan`` holds the whole plan, the others are there to search by and to be read."""
    tags = {name: str(getattr(plan, name)) for name in (*IDENTITY, "planned_at", "n_trials")}
    tags |= {"level": STUDY_LEVEL, "study": plan.key, "budget": json.dumps(plan.budget, sort_keys=True)}
    text = json.dumps(asdict(plan), sort_keys=True)
    return {name: clip(value) for name, value in tags.items()} | spread(PLAN_TAG, text)


def configuration_tags(study: Stored, population: PopulationRecord, one: ConfigurationRecord) -> dict[str, str]:
    tags = {name: study.tags[name] for name in SHARED}
    tags |= {"level": CONFIGURATION_LEVEL, "number": str(one.number), "population": str(population.number)}
    tags |= {"status": one.status, "device_name": population.device_name, "worker": population.worker}
    tags |= {"error": clip(one.error)} if one.error else {}
    tags |= spread(PARAMS_TAG, json.dumps(one.params))
    return tags | not_finite(configuration_metrics(population, one))


def configuration_metrics(population: PopulationRecord, one: ConfigurationRecord) -> dict[str, float]:
    """peak_memory_mb: of the whole population; seconds: of this configuration alone."""
    values = {"valid/score": one.score, "valid/loss": one.loss, "pruned_at": one.pruned_at}
    values |= {"epochs": one.epochs, "seconds": one.seconds, "peak_memory_mb": population.peak_memory_mb}
    return {name: float(value) for name, value in values.items() if value is not None}


def replica_tags(configuration: Stored, replica: ReplicaRecord) -> dict[str, str]:
    tags = {name: configuration.tags[name] for name in (*SHARED, "population")}
    tags |= {"level": REPLICA_LEVEL, "configuration": configuration.tags["number"]}
    tags |= {"seed": str(replica.seed), "status": replica.status}
    tags |= {"error": clip(replica.error)} if replica.error else {}
    return tags | not_finite(replica.best)


def replica_points(replica: ReplicaRecord) -> list[tuple[str, float, int]]:
    """(name, value, step): its history, then its best epoch one step after the last."""
    return series(replica.history, replica.best | {"best_epoch": replica.best_epoch, "seconds": replica.seconds})


def trial(run: Stored) -> Trial:
    """A configuration from its run."""
    tags, metrics = run.tags, all_metrics(run)
    pruned_at = metrics.get("pruned_at")
    return Trial(
        number=int(tags["number"]),
        population=int(tags["population"]),
        params=json.loads(gathered(PARAMS_TAG, tags)),
        status=tags["status"],
        score=metrics.get("valid/score"),
        loss=metrics.get("valid/loss"),
        error=tags.get("error"),
        pruned_at=None if pruned_at is None else int(pruned_at),
        epochs=int(metrics["epochs"]),
        seconds=metrics["seconds"],
        run_id=run.run_id,
        started=run.started,
        ended=run.ended,
    )


def ended(runs: Iterable[Stored]) -> dict[int, Stored]:
    """Of the runs of configurations those that hold everything, by number, one for each."""
    complete = [run for run in runs if run.status in ("FINISHED", "FAILED")]
    return {int(run.tags["number"]): run for run in sorted(complete, key=lambda run: int(run.tags["number"]))}


def study_row(study: Stored, runs: Iterable[Stored]) -> StudyRow:
    """A study from its run and those of its configurations."""
    content: dict[str, Any] = json.loads(gathered(PLAN_TAG, study.tags))
    return StudyRow(StudyPlan.of(content), tuple(trial(run) for run in ended(runs).values()), study.run_id)


def newest_studies(found: Iterable[Stored]) -> list[Stored]:
    """Of each dataset, method and suite the study planned last, sorted by these."""
    in_order = sorted(found, key=lambda run: (int(run.tags["planned_at"]), run.tags["key"], run.run_id))
    latest = {tuple(run.tags[name] for name in ("dataset", "method", "suite")): run for run in in_order}
    return [latest[name] for name in sorted(latest)]


def study_metrics(trials: Iterable[Trial]) -> dict[str, float]:
    """How many configurations ended how, what they cost, and the best score of those trained to their end."""
    trials = list(trials)
    statuses = [one.status for one in trials]
    values = {f"n_{status}": float(statuses.count(status)) for status in (FINISHED, PRUNED, FAILED)}
    values |= {"epochs": float(sum(one.epochs for one in trials)), "seconds": sum(one.seconds for one in trials)}
    scores = [one.score for one in trials if one.status == FINISHED and one.score is not None]
    return values | ({"valid/score": max(scores)} if scores else {})
