"""What happens to the study and the populations of an outbox entry on their way into tracking.

Experiment ``sweeps``; parent run = study (tag ``key``), child = configuration (tags ``study`` and ``number``),
grandchild = replica. A configuration's run ends only after those of its replicas: one that has ended is complete and is
never sent again, one that has not is replaced, with all that hangs on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from benchmarks.convert import flatten, series
from benchmarks.convert_studies import (
    CONFIGURATION_LEVEL,
    PLAN_TAG,
    REPLICA_LEVEL,
    STUDY_LEVEL,
    configuration_metrics,
    configuration_tags,
    ended,
    replica_points,
    replica_tags,
    study_metrics,
    study_tags,
    trial,
)
from benchmarks.delivery import Store
from benchmarks.errors import UserError
from benchmarks.store import Stored
from benchmarks.trials import FAILED, STUDY, ConfigurationRecord, PopulationRecord, ReplicaRecord, StudyPlan

EXPERIMENT = "sweeps"
POPULATIONS = "population-*.json"
T = TypeVar("T")


def send_studies(store: Store, entry: Path) -> int:
    """Sends the study and the populations of one entry; returns how many populations were new to the store.

    Raises:
        UserError: a file is damaged, or a population's study is neither in the entry nor in the store.
    """
    plan = _load(StudyPlan.load, entry, entry / STUDY) if (entry / STUDY).exists() else None
    populations = [_load(PopulationRecord.load, path, path) for path in sorted(entry.glob(POPULATIONS))]
    keys = dict.fromkeys([*([plan.key] if plan else []), *(population.study for population in populations)])
    n_sent = 0
    for key in keys:
        own = [population for population in populations if population.study == key]
        n_sent += _send_study(store, key, plan if plan and plan.key == key else None, own)
    return n_sent


def configurations(store: Store, study: Stored) -> list[Stored]:
    """The run of every configuration of a study, whatever its state."""
    condition = f"tags.study = '{study.tags['key']}' and tags.level = '{CONFIGURATION_LEVEL}'"
    return store.search([study.experiment], condition)


def _load(load: Callable[[Path], T], source: Path, path: Path) -> T:
    try:
        return load(source)
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"{path} was not written by this version ({error!r}); move {path.parent} away") from error


def _send_study(store: Store, key: str, plan: StudyPlan | None, populations: list[PopulationRecord]) -> int:
    experiment = store.experiment(EXPERIMENT)
    found = store.search([experiment], f"tags.study = '{key}' and tags.level != '{REPLICA_LEVEL}'")
    study = _upsert(store, experiment, key, plan, [run for run in found if run.tags["level"] == STUDY_LEVEL])
    there = ended(run for run in found if run.tags["level"] == CONFIGURATION_LEVEL)
    n_sent = 0
    for population in populations:
        new = [one for one in population.configurations if one.number not in there]
        there |= {one.number: _send_configuration(store, study, population, one) for one in new}
        n_sent += bool(new)
    _remove_unended(store, study)
    _settle(store, study, list(there.values()))
    return n_sent


def _upsert(store: Store, experiment: str, key: str, plan: StudyPlan | None, found: list[Stored]) -> Stored:
    """Finds or makes a study's run; of two plans for one study the newer stays, whichever arrives first."""
    for repeated in found[1:]:
        store.delete(repeated.run_id)
    if plan is None:
        if not found:
            raise UserError(f"a population of study {key} came without its {STUDY}; run that sweep again to send both")
        return found[0]
    tags = study_tags(plan)
    if not found:
        name = f"{plan.dataset} {plan.method}"
        study = store.create(experiment, tags, name=name, started=plan.planned_at)
    else:
        study = found[0]
        # A plan that got shorter leaves no tail of the longer one behind.
        tail = {name: "" for name in study.tags if name.startswith(f"{PLAN_TAG}.")}
        update = {name: value for name, value in (tail | tags).items() if study.tags.get(name) != value}
        if update and plan.planned_at >= int(study.tags["planned_at"]):
            store.tag(study.run_id, update)
            study = replace(study, tags=study.tags | update)
    params = {name: value for name, value in flatten(plan.base).items() if name not in study.params}
    if params:
        store.log(study.run_id, [], params=params, at=plan.planned_at)
    return study


def _remove_unended(store: Store, study: Stored) -> None:
    """Removes what a kill, or a request that was repeated, left open, and all that hangs on it."""
    condition = f"tags.study = '{study.tags['key']}'"
    condition += " and attributes.status != 'FINISHED' and attributes.status != 'FAILED'"
    unended = [run for run in store.search([study.experiment], condition) if run.run_id != study.run_id]
    below: set[str] = set()
    for run in unended:
        if run.tags["level"] == CONFIGURATION_LEVEL:
            replicas = store.search([study.experiment], f"tags.mlflow.parentRunId = '{run.run_id}'")
            below |= {replica.run_id for replica in replicas}
    ids = {run.run_id for run in unended}
    for run_id in (*(below - ids), *ids):
        store.delete(run_id)


def _send_configuration(store: Store, study: Stored, population: PopulationRecord, one: ConfigurationRecord) -> Stored:
    tags = configuration_tags(study, population, one) | {"mlflow.parentRunId": study.run_id}
    name = f"{study.tags['dataset']} {study.tags['method']} {one.number}"
    run = store.create(study.experiment, tags, name=name, started=population.started)
    for replica in one.replicas:
        _send_replica(store, run, population, replica, f"{name} seed {replica.seed}")
    values = configuration_metrics(population, one)
    store.log(run.run_id, series([], values), params=flatten(one.settings), at=population.ended)
    status = _end(store, run, one.status, population)
    return replace(run, status=status, tags=tags, metrics=values, ended=population.ended)


def _send_replica(
    store: Store, configuration: Stored, population: PopulationRecord, replica: ReplicaRecord, name: str
) -> None:
    tags = replica_tags(configuration, replica) | {"mlflow.parentRunId": configuration.run_id}
    run = store.create(configuration.experiment, tags, name=name, started=population.started)
    store.log(run.run_id, replica_points(replica), params={}, at=population.ended)
    _end(store, run, replica.status, population)


def _end(store: Store, run: Stored, status: str, population: PopulationRecord) -> str:
    """MLflow knows no pruned runs: they have finished, a tag tells."""
    word = "FAILED" if status == FAILED else "FINISHED"
    store.close(run.run_id, word, ended=population.ended)
    return word


def _settle(store: Store, study: Stored, runs: list[Stored]) -> None:
    """Writes what the study has spent and reached by now, and ends its run where it has all its configurations."""
    values = study_metrics(trial(run) for run in runs)
    now = max((run.ended for run in runs), default=study.started)
    news = [(name, value, 0) for name, value in values.items() if study.metrics.get(name) != value]
    if news:
        store.log(study.run_id, news, params={}, at=now)
    status = "FINISHED" if len(runs) >= int(study.tags["n_trials"]) else "SCHEDULED"
    if (study.status, study.ended) != (status, now):
        store.close(study.run_id, status, ended=now)
