"""Delivery into a real sqlite store, and what reports read back. Kills and servers have files of their own."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.convert import clean_name, flatten, points
from benchmarks.errors import UserError
from benchmarks.outbox import Outbox
from benchmarks.record import CHECKPOINT, PREDICTIONS
from benchmarks.tracking import Delivery, Tracking
from tests.made_runs import (
    Pair,
    client_of,
    failed_record,
    made_key,
    made_plan,
    made_record,
    predictions,
    put,
    seeds,
    stored,
)


def test_a_delivered_stack_is_complete(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    records = [made_record(seed=seed, test_acc=0.7 + seed / 10) for seed in (0, 1)]
    put(outbox, plan=made_plan({"joint": [0, 1, 2]}))
    put(outbox, *records, files={record.key: predictions([[1, 0]], [0]) for record in records})
    assert tracking.deliver(outbox) == Delivery(2, 0, None)
    assert outbox.entries() == []

    client = client_of(tmp_path)
    (parent,) = stored(client, "tags.level = 'row'")
    child = min(seeds(client), key=lambda run: run.data.tags["seed"])
    assert parent.info.status == "SCHEDULED", "seed 2 is still to come"
    assert parent.data.metrics["test/acc_mean"] == pytest.approx(0.75)
    assert parent.data.metrics["test/acc_std"] == pytest.approx(0.1 / math.sqrt(2))
    assert parent.data.metrics["n_seeds"] == 2
    assert json.loads(parent.data.tags["plan"]) == {str(seed): made_key("joint", seed) for seed in range(3)}
    assert (child.info.status, child.info.start_time, child.info.end_time) == ("FINISHED", 1_000_000, 1_002_500)
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags["key"] == records[0].key
    assert child.data.tags["git_commit"] == "abc1234"
    assert child.data.tags["sweep"] == ""
    assert child.data.params == {"lr": "0.001", "encoder.width": "64"} == parent.data.params
    assert child.data.metrics["valid/acc"] == 0.8, "the restored best state, not the last epoch"
    history = client.get_metric_history(child.info.run_id, "valid/acc")
    assert sorted((point.step, point.value) for point in history) == [(0, 0.5), (1, 0.6), (2, 0.7), (3, 0.8)]


def test_artifacts_are_read_in_place(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    record = made_record()
    with outbox.stage() as folder:
        record.save(folder / record.key)
        (folder / record.key / CHECKPOINT).write_bytes(b"weights")
    tracking.deliver(outbox)
    path = tracking.artifact(record.key, CHECKPOINT)
    assert path.read_bytes() == b"weights"
    assert path.is_relative_to(tmp_path / "artifacts" / "small")
    assert json.loads(tracking.artifact(record.key, "history.json").read_text()) == record.history
    assert json.loads(tracking.artifact(record.key, "spec.json").read_text()) == record.spec
    with pytest.raises(UserError, match=f"has no file {PREDICTIONS}"):
        tracking.artifact(record.key, PREDICTIONS)
    with pytest.raises(UserError, match="no finished run with key 123"):
        tracking.artifact("123", CHECKPOINT)


def test_delivering_again_adds_nothing(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    for expected in (3, 0):
        put(outbox, *(made_record(seed=seed) for seed in range(3)), plan=made_plan({"joint": range(3)}))
        assert tracking.deliver(outbox) == Delivery(expected, 0, None)
    assert len(seeds(client_of(tmp_path))) == 3
    (parent,) = stored(client_of(tmp_path), "tags.level = 'row'")
    assert parent.info.status == "FINISHED"
    assert tracking.finished([made_key("joint", 0), "unknown"]) == {made_key("joint", 0)}
    assert tracking.finished([made_key("joint", 0)], dataset="other") == set()


def test_a_retried_failure_is_replaced_and_a_finished_run_is_not(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    put(outbox, failed_record("joint", 0), failed_record("joint", 1, "out of memory"))
    tracking.deliver(outbox)
    assert tracking.finished([made_key("joint", 0)]) == set()
    put(outbox, made_record(seed=0), failed_record("joint", 1, "again"))
    assert tracking.deliver(outbox).n_sent == 2
    put(outbox, failed_record("joint", 0, "too late"))
    assert tracking.deliver(outbox).n_sent == 0
    runs = {run.data.tags["seed"]: (run.info.status, run.data.tags.get("error")) for run in seeds(client_of(tmp_path))}
    assert runs == {"0": ("FINISHED", None), "1": ("FAILED", "again")}
    assert len(seeds(client_of(tmp_path))) == 2


def test_a_run_left_half_sent_is_sent_anew(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    put(outbox, plan=made_plan({"joint": [0]}))
    tracking.deliver(outbox)
    client = client_of(tmp_path)
    experiment = client.get_experiment_by_name("small").experiment_id
    tags = {"level": "seed", "key": made_key("joint", 0), "group": made_record().group, "protocol": "p1"}
    client.create_run(experiment, tags=tags)
    put(outbox, made_record())
    assert tracking.deliver(outbox).n_sent == 1
    assert [run.info.status for run in seeds(client)] == ["FINISHED"]


def test_not_finite_values_survive_as_such(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    metrics = {"test/acc": math.nan, "test/nll": math.inf, "test/ece": -math.inf, "valid/acc": 0.5}
    history = [{"epoch": 0, "stage": "joint", "valid/loss": math.inf, "valid/acc": 0.5}]
    put(outbox, made_record(metrics=metrics, history=history), plan=made_plan({"joint": [0]}))
    assert tracking.deliver(outbox).error is None
    (run,) = seeds(client_of(tmp_path))
    assert run.data.metrics == {"valid/acc": 0.5}
    (row,) = tracking.rows()
    assert math.isnan(row.runs[0].metrics.pop("test/acc"))
    assert row.runs[0].metrics == {"test/nll": math.inf, "test/ece": -math.inf, "valid/acc": 0.5}
    kept = json.loads(tracking.artifact(made_key("joint", 0), "history.json").read_text())
    assert kept[0]["valid/loss"] == math.inf


def test_no_name_and_no_length_stops_a_delivery(pair: Pair) -> None:
    tracking, outbox = pair
    names = ["acc@5", "../up", "/root", "a//b", "", ".", "naïve (%)", "x" * 400, "a:b", "a\nb"]
    settings = {**dict.fromkeys(names, "y" * 9000), **{f"s{i}": i for i in range(120)}, "none": None}
    history = [{"epoch": i, **dict.fromkeys(names, float(i)), "valid/acc": i / 300} for i in range(300)]
    record = made_record(
        metrics={**dict.fromkeys(names, 1.0), "test/acc": 0.5},
        tags=dict.fromkeys(filter(None, names), "z" * 9000),
        spec={"settings": settings},
        history=history,
    )
    put(outbox, record)
    assert tracking.deliver(outbox) == Delivery(1, 0, None)
    assert tracking.finished([record.key]) == {record.key}


def test_names_that_are_fine_stay() -> None:
    for name in ("test/acc", "train/loss", "encoder.width", "n_params", "my metric-2"):
        assert clean_name(name) == name
    assert clean_name("acc@5") == "acc_5"
    assert clean_name("../up") == "___up"


def test_settings_are_flattened() -> None:
    assert flatten({"a": {"b": 1, "c": [1, 2]}, "d": None, "e": "text", "f": {}}) == {
        "a.b": "1",
        "a.c": "[1, 2]",
        "d": "null",
        "e": "text",
        "f": "{}",
    }


def test_final_metrics_come_one_step_after_the_last_epoch() -> None:
    record = made_record(
        metrics={"valid/acc": 0.9}, history=[{"epoch": 4, "stage": "x", "valid/acc": 0.1, "skip": None}]
    )
    assert points(record) == [("valid/acc", 0.1, 4), ("valid/acc", 0.9, 5)]


def test_rows_are_the_newest_plan(pair: Pair) -> None:
    tracking, outbox = pair
    put(outbox, plan=made_plan({"joint": [0], "constant": [0]}, protocol="old", planned_at=1))
    put(outbox, plan=made_plan({"dmil": [0, 1]}, planned_at=2))
    put(outbox, plan=made_plan({"ensemble": [0]}, planned_at=3, command="second"))
    put(outbox, plan=made_plan({"joint": [0]}, dataset="other", planned_at=4, protocol="q"))
    tracking.deliver(outbox)
    assert [(row.dataset, row.method) for row in tracking.rows()] == [
        ("other", "joint"),
        ("toy", "dmil"),
        ("toy", "ensemble"),
    ]
    assert [row.command for row in tracking.rows("toy")] == ["python -m benchmarks run --dataset toy", "second"]
    assert tracking.rows("toy", suite="none") == []
    assert tracking.card(tracking.rows("toy")[0])["source"] == "made by hand"


def test_newer_settings_of_a_method_replace_its_row(pair: Pair) -> None:
    tracking, outbox = pair
    plan = made_plan({"joint": [0]}, planned_at=5)
    put(outbox, plan=plan)
    put(outbox, plan=replace(plan, rows=(replace(plan.rows[0], group="other settings"),), planned_at=9))
    tracking.deliver(outbox)
    assert [row.group for row in tracking.rows()] == ["other settings"]


def test_plans_of_one_row_merge_and_the_newer_wins(pair: Pair) -> None:
    tracking, outbox = pair
    plan = made_plan({"joint": [0, 1, 2]}, planned_at=5)
    newer = made_plan({"joint": [0]}, planned_at=6, command="newer")
    newer = replace(newer, rows=(replace(newer.rows[0], keys={"0": "new", "3": "three"}),))
    for first, second in ((plan, newer), (newer, plan)):
        put(outbox, plan=first)
        put(outbox, plan=second)
        tracking.deliver(outbox)
        (row,) = tracking.rows()
        assert [run.key for run in row.runs] == ["new", made_key("joint", 1), made_key("joint", 2), "three"]
        assert row.command == "newer"


def test_the_same_settings_under_another_protocol_are_another_row(pair: Pair) -> None:
    tracking, outbox = pair
    put(outbox, made_record(seed=0), made_record(seed=1), plan=made_plan({"joint": [0, 1]}, planned_at=1))
    short = replace(made_plan({"joint": [0]}, planned_at=2, protocol="short"))
    short = replace(short, rows=(replace(short.rows[0], keys={"0": "quick"}),))
    put(outbox, made_record(key="quick", protocol="short"), plan=short)
    tracking.deliver(outbox)
    (row,) = tracking.rows()
    assert [run.key for run in row.runs] == ["quick"]
    put(outbox, plan=made_plan({"joint": [0, 1]}, planned_at=3))
    tracking.deliver(outbox)
    (row,) = tracking.rows()
    assert [run.status for run in row.runs] == ["finished", "finished"]


def test_a_planned_seed_without_a_run_is_missing_and_a_failed_one_failed(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    put(outbox, made_record(seed=0), failed_record("joint", 1), plan=made_plan({"joint": [0, 1, 2]}))
    put(outbox, made_record(seed=0, key="from-older-code"))
    tracking.deliver(outbox)
    (row,) = tracking.rows()
    assert [(run.seed, run.status) for run in row.runs] == [(0, "finished"), (1, "failed"), (2, "missing")]
    assert row.runs[0].key == made_key("joint", 0), "a run outside the plan does not take a planned seed's place"
    assert row.runs[1].error == "loss is nan in epoch 3"
    assert row.settings == {"lr": "0.001", "encoder.width": "64"}
    (parent,) = stored(client_of(tmp_path), "tags.level = 'row'")
    assert parent.info.status == "FAILED"


def test_runs_without_their_plan_still_make_a_row(pair: Pair) -> None:
    tracking, outbox = pair
    put(outbox, made_record(seed=0), made_record(seed=1))
    tracking.deliver(outbox)
    (row,) = tracking.rows()
    assert [run.status for run in row.runs] == ["finished", "finished"]


def test_a_refused_entry_does_not_hold_up_the_others(pair: Pair) -> None:
    tracking, outbox = pair
    with outbox.stage() as folder:
        (folder / "k").mkdir()
        (folder / "k" / "record.json").write_text("{}")
    put(outbox, made_record())
    delivery = tracking.deliver(outbox)
    assert (delivery.n_sent, delivery.n_left) == (1, 1)
    assert "is not a run record of this version" in str(delivery.error)


def test_a_corrupt_store_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database " * 100)
    tracking, outbox = Tracking(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}"), Outbox(tmp_path / "outbox")
    put(outbox, made_record())
    delivery = tracking.deliver(outbox)
    assert (delivery.n_sent, delivery.n_left) == (0, 1)
    assert "file is not a database" in str(delivery.error)
    with pytest.raises(UserError, match="file is not a database"):
        tracking.rows()


def test_ten_thousand_other_runs_do_not_slow_it_down(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    put(outbox, *(made_record(seed=seed) for seed in range(5)), plan=made_plan({"joint": range(5)}))
    tracking.deliver(outbox)
    _add_trials(tmp_path / "mlflow.db", 10_000)
    started = time.perf_counter()
    (row,) = tracking.rows("toy")
    assert tracking.finished([run.key for run in row.runs]) == {run.key for run in row.runs}
    assert time.perf_counter() - started < 3.0


def _add_trials(path: Path, n: int) -> None:
    """Runs of a search in the same experiment, written straight into the tables."""
    with closing(sqlite3.connect(path)) as connection, connection:
        (experiment,) = connection.execute("select experiment_id from experiments where name = 'small'").fetchone()
        columns = "run_uuid, name, status, start_time, lifecycle_stage, experiment_id, artifact_uri, source_type"
        rows = [(f"{i:032x}", f"t{i}", "FINISHED", i, "active", experiment, "x", "LOCAL") for i in range(n)]
        connection.executemany(f"insert into runs ({columns}) values (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        tags = {"level": "trial", "dataset": "toy", "protocol": "p1", "suite": "small"}
        values = [(name, value, f"{i:032x}") for i in range(n) for name, value in tags.items()]
        connection.executemany("insert into tags (key, value, run_uuid) values (?, ?, ?)", values)
