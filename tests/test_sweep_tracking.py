"""Sweeps into a real sqlite store, and what reports read back. Kills and two writers have a file of their own."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from contextlib import closing
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.convert import gathered, spread
from benchmarks.tracking import Delivery
from benchmarks.trials import ConfigurationRecord, PopulationRecord, Trial
from tests.made_runs import Pair, client_of, made_record, put
from tests.made_studies import BASE, SPACE, made_population, made_study, put_study, runs_at, sweep_state

SCORES = (0.5, 0.75, 0.875, 0.125)


def test_a_population_arrives_complete(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    plan = made_study(n_trials=8, population=4)
    put_study(outbox, plan, made_population(plan, scores=SCORES, pruned={2: 3}, failed=[3]))
    assert tracking.deliver(outbox) == Delivery(1, 0, None)
    assert outbox.entries() == []

    (study,) = runs_at(tmp_path, "study")
    assert (study.info.status, study.info.start_time) == ("SCHEDULED", 1000), "four configurations are still to come"
    identity = {name: study.data.tags[name] for name in ("key", "suite", "dataset", "method", "data_checksum", "code")}
    assert identity == {name: getattr(plan, name) for name in identity}
    assert json.loads(study.data.tags["budget"]) == plan.budget
    assert study.data.tags["n_trials"] == "8"
    assert study.data.params == {name: json.dumps(value) for name, value in BASE.items()}
    # Two seeds each: nine epochs, nine, three, and the two in which one failed; a quarter of a second for each seed.
    counts = {"n_finished": 2, "n_pruned": 1, "n_failed": 1, "epochs": 2 * (9 + 9 + 3 + 2), "seconds": 2.0}
    assert study.data.metrics == {**counts, "valid/score": 0.75}, "the pruned one is not the best"

    first, second, third, fourth = runs_at(tmp_path, "configuration")
    assert {run.data.tags["mlflow.parentRunId"] for run in (first, second, third, fourth)} == {study.info.run_id}
    assert [run.info.status for run in (first, second, third, fourth)] == ["FINISHED"] * 3 + ["FAILED"]
    assert second.data.params == {**first.data.params, **{name: second.data.params[name] for name in SPACE}}
    assert first.data.metrics == {"valid/score": 0.5, "valid/loss": 0.5, "epochs": 18, "seconds": 0.5}
    assert (third.data.tags["status"], third.data.metrics["pruned_at"]) == ("pruned", 3)
    assert fourth.data.metrics == {"epochs": 4, "seconds": 0.5}
    assert (second.info.start_time, second.info.end_time) == (1000, 5000)


def test_a_replica_arrives_with_its_history(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    plan = made_study(n_trials=1)
    put_study(outbox, plan, made_population(plan, scores=[0.75], n_epochs=3))
    tracking.deliver(outbox)
    (configuration,) = runs_at(tmp_path, "configuration")
    low, high = runs_at(tmp_path, "replica")
    assert [run.data.tags["seed"] for run in (low, high)] == ["0", "1"]
    assert {run.data.tags["mlflow.parentRunId"] for run in (low, high)} == {configuration.info.run_id}
    assert high.data.tags["configuration"] == "0"
    assert high.data.metrics["valid/acc"] == pytest.approx(0.76)
    assert (high.data.metrics["best_epoch"], high.data.metrics["seconds"]) == (3, 0.25)
    history = client_of(tmp_path).get_metric_history(high.info.run_id, "valid/acc")
    expected = [(1, 0.76 / 3), (2, 0.76 * 2 / 3), (3, 0.76), (4, 0.76)]
    assert sorted((point.step, point.value) for point in history) == [(i, pytest.approx(v)) for i, v in expected]


def test_what_failed_or_is_not_finite_survives_as_such(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    plan = made_study(n_trials=2)
    population = made_population(plan, scores=[0.5, 0.5], failed=[1])
    strange = replace(population.configurations[0], loss=math.inf)
    strange = replace(strange, replicas=(replace(strange.replicas[0], best={"valid/loss": math.inf}),))
    put_study(outbox, plan, replace(population, configurations=(strange, population.configurations[1])))
    assert tracking.deliver(outbox) == Delivery(1, 0, None)
    (row,) = tracking.studies()
    reason = "seed 0: training loss or gradient not finite in epoch 2, stage joint"
    assert [(one.status, one.score, one.loss, one.error) for one in row.trials] == [
        ("finished", 0.5, math.inf, None),
        ("failed", None, None, reason),
    ]
    first, failed, dropped = runs_at(tmp_path, "replica")
    assert json.loads(first.data.tags["not_finite"]) == {"valid/loss": "inf"}
    assert [run.info.status for run in (first, failed, dropped)] == ["FINISHED", "FAILED", "FINISHED"]
    assert failed.data.tags["error"] == "training loss or gradient not finite in epoch 2, stage joint"
    history = client_of(tmp_path).get_metric_history(failed.info.run_id, "valid/loss")
    assert sorted((point.step, point.value) for point in history) == [(1, 0.5), (3, 0.5)]
    (study,) = runs_at(tmp_path, "study")
    assert study.info.status == "FINISHED", "a failed configuration is one of those planned"


def test_a_study_comes_back_as_it_was_written(pair: Pair) -> None:
    tracking, outbox = pair
    plan = made_study(overrides=("joint.depth=1",), is_higher_better=False)
    populations = [made_population(plan, number, pruned={5: 2}, failed=[6]) for number in (1, 0)]
    put_study(outbox, plan, *populations)
    assert tracking.deliver(outbox) == Delivery(2, 0, None)
    (row,) = tracking.studies()
    assert row.plan == plan
    assert [one.number for one in row.trials] == list(range(16))
    records = {one.number: (population, one) for population in populations for one in population.configurations}
    for one in row.trials:
        assert one == made_trial(*records[one.number], run_id=one.run_id)


def made_trial(population: PopulationRecord, record: ConfigurationRecord, run_id: str) -> Trial:
    shared = {entry.name for entry in fields(Trial)} & {entry.name for entry in fields(ConfigurationRecord)}
    own: dict[str, Any] = {name: getattr(record, name) for name in shared}
    return Trial(**own, population=population.number, run_id=run_id, started=population.started, ended=population.ended)


def test_delivering_again_adds_nothing(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    plan = made_study(n_trials=4, population=4)
    populations = [made_population(plan, scores=SCORES, pruned={2: 3}, failed=[3])]
    states = []
    for expected in (1, 0):
        put_study(outbox, plan, *populations)
        assert tracking.deliver(outbox) == Delivery(expected, 0, None)
        states.append(sweep_state(tmp_path))
    assert len(states[0]) == 1 + 4 + 8
    assert states[0] == states[1]


def test_a_study_grows_and_its_newest_plan_stays(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    plan = made_study(n_trials=2, population=2)
    longer = replace(plan, n_trials=4, planned_at=2000, command="longer")
    put_study(outbox, plan, made_population(plan, 0, scores=SCORES[:2]))
    tracking.deliver(outbox)
    assert _study(tmp_path) == ("FINISHED", "2", 2)
    put_study(outbox, longer)
    tracking.deliver(outbox)
    assert _study(tmp_path) == ("SCHEDULED", "4", 2)
    put_study(outbox, plan)
    tracking.deliver(outbox)
    assert _study(tmp_path) == ("SCHEDULED", "4", 2), "the older plan came late"
    put_study(outbox, longer, made_population(longer, 1, scores=SCORES[2:]))
    tracking.deliver(outbox)
    assert _study(tmp_path) == ("FINISHED", "4", 4)
    (row,) = tracking.studies()
    assert (row.plan, len(row.trials)) == (longer, 4)


def _study(folder: Path) -> tuple[str, str, int]:
    (run,) = runs_at(folder, "study")
    return run.info.status, run.data.tags["n_trials"], run.data.metrics["n_finished"]


def test_a_plan_of_any_length_arrives(pair: Pair) -> None:
    tracking, outbox = pair
    long = made_study(command="x" * 9000, planned_at=1)
    for plan in (long, replace(long, command="short", planned_at=2), replace(long, command="y" * 5000, planned_at=3)):
        put_study(outbox, plan)
        assert tracking.deliver(outbox) == Delivery(0, 0, None)
        assert [row.plan for row in tracking.studies()] == [plan]


@pytest.mark.parametrize("n", [0, 1, 1999, 2000, 2001, 4000])
def test_a_text_is_spread_over_tags_and_gathered(n: int) -> None:
    text = "abcdefg" * n
    tags = spread("plan", text[:n])
    assert max(map(len, tags.values())) <= 2000
    assert gathered("plan", tags | {"plans": "other"}) == text[:n]


def test_studies_are_those_planned_last(pair: Pair) -> None:
    tracking, outbox = pair
    plans = [
        made_study("joint", planned_at=3, code="new"),
        made_study("joint", planned_at=2, code="old"),
        made_study("dmil", planned_at=1),
        made_study("joint", dataset="another", planned_at=4, suite="other"),
    ]
    for plan in plans:
        put_study(outbox, plan, made_population(plan, scores=[0.5]))
    assert tracking.deliver(outbox) == Delivery(4, 0, None)
    found = tracking.studies()
    assert [(row.plan.dataset, row.plan.method) for row in found] == [
        ("another", "joint"),
        ("toy", "dmil"),
        ("toy", "joint"),
    ]
    assert found[2].plan.code == "new"
    assert [len(row.trials) for row in found] == [1, 1, 1]
    assert [row.plan.method for row in tracking.studies("toy")] == ["dmil", "joint"]
    assert [row.plan.dataset for row in tracking.studies(suite="other")] == ["another"]
    assert tracking.studies("toy", "other") == []


def test_a_store_without_sweeps_has_no_studies(pair: Pair) -> None:
    tracking, outbox = pair
    put(outbox, made_record())
    tracking.deliver(outbox)
    assert tracking.studies() == []


@pytest.mark.parametrize("level", ["study", "configuration", "replica"])
@pytest.mark.parametrize("number", [0, 1], ids=["nothing new", "something new"])
def test_what_a_repeated_request_made_twice_is_removed(pair: Pair, tmp_path: Path, level: str, number: int) -> None:
    """MLflow's client asks a server again when the answer was lost; the run that nobody knows of stays open."""
    tracking, outbox = pair
    plan = made_study(n_trials=2, population=1)
    put_study(outbox, plan, made_population(plan, 0, scores=[0.5]))
    tracking.deliver(outbox)
    client = client_of(tmp_path)
    for run in runs_at(tmp_path, level):
        client.create_run(run.info.experiment_id, tags=run.data.tags)
    put_study(outbox, plan, made_population(plan, number, scores=[0.5]))
    assert tracking.deliver(outbox) == Delivery(number, 0, None)
    assert len(sweep_state(tmp_path)) == 1 + 3 * (1 + number)


def test_an_experiment_that_another_machine_just_made_is_used(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking, outbox = pair
    other = client_of(tracking._store.results)
    real = tracking._store.experiments

    def made_meanwhile(suite: str | None) -> list[str]:
        found = real(suite)
        if suite == "sweeps" and not found:
            other.create_experiment("sweeps")
        return found

    monkeypatch.setattr(tracking._store, "experiments", made_meanwhile)
    plan = made_study()
    put_study(outbox, plan, made_population(plan, scores=[0.5]))
    assert tracking.deliver(outbox) == Delivery(1, 0, None)


def test_a_store_full_of_other_sweeps_does_not_slow_it_down(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    plan = made_study()
    put_study(outbox, plan)
    tracking.deliver(outbox)
    _add_replicas(tmp_path / "mlflow.db", 10_000)
    put_study(outbox, plan, made_population(plan, scores=SCORES))
    started = time.perf_counter()
    assert tracking.deliver(outbox) == Delivery(1, 0, None)
    assert [len(row.trials) for row in tracking.studies()] == [4]
    assert time.perf_counter() - started < 4.0


def _add_replicas(path: Path, n: int) -> None:
    """Replicas of other studies, written straight into the tables."""
    with closing(sqlite3.connect(path)) as connection, connection:
        (experiment,) = connection.execute("select experiment_id from experiments where name = 'sweeps'").fetchone()
        columns = "run_uuid, name, status, start_time, lifecycle_stage, experiment_id, artifact_uri, source_type"
        rows = [(f"{i:032x}", f"r{i}", "FINISHED", i, "active", experiment, "x", "LOCAL") for i in range(n)]
        connection.executemany(f"insert into runs ({columns}) values (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        tags = {"level": "replica", "dataset": "toy", "suite": "small", "method": "joint", "status": "finished"}
        values = [(name, value, f"{i:032x}") for i in range(n) for name, value in tags.items()]
        values += [("study", f"{i // 128:016x}", f"{i:032x}") for i in range(n)]
        connection.executemany("insert into tags (key, value, run_uuid) values (?, ?, ?)", values)


def test_the_factory_makes_what_a_sweep_would_write() -> None:
    plan = made_study()
    population = made_population(plan, 1, pruned={2: 3}, failed=[5])
    assert (
        PopulationRecord.of(json.loads(json.dumps(asdict(population)))).configurations[:5]
        == (population.configurations[:5])
    )
    assert [one.number for one in population.configurations] == list(range(8, 16))
    for one in population.configurations:
        assert set(one.params) == set(SPACE)
        assert set(one.settings) == set(BASE)
        assert 1e-4 <= one.params["lr"] <= 1e-2
        assert one.epochs == sum(len(replica.history) for replica in one.replicas)
