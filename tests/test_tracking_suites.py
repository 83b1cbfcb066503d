"""Runs that two suites plan: trained once, a row of both tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.record import PREDICTIONS
from benchmarks.run import Options, make_benches, run_benches
from benchmarks.tracking import Tracking
from reports.table import Table, build_tables
from tests.made_runs import (
    Pair,
    client_of,
    empty_store,
    failed_record,
    made_plan,
    made_record,
    predictions,
    put,
    stored,
)


def test_a_row_takes_the_runs_that_another_suite_has_trained(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    records = [made_record(seed=seed, test_acc=0.7 + seed / 10) for seed in (0, 1)]
    files = {record.key: predictions([[1, 0]], [0]) for record in records}
    put(outbox, *records, plan=made_plan({"joint": [0, 1]}), files=files)
    put(outbox, plan=made_plan({"joint": [0, 1, 2]}, suite="wide", protocol="p2"))
    tracking.deliver(outbox)
    wide, small = (tracking.rows(suite=suite)[0] for suite in ("wide", "small"))
    assert [run.status for run in wide.runs] == ["finished", "finished", "missing"]
    assert [run.run_id for run in wide.runs[:2]] == [run.run_id for run in small.runs]
    assert tracking.run_artifact(wide.runs[0].run_id, PREDICTIONS).is_file()
    (parent,) = stored(client_of(tmp_path), "tags.level = 'row'", "wide")
    assert parent.data.metrics["test/acc_mean"] == pytest.approx(0.75)
    assert parent.info.status == "SCHEDULED", "seed 2 is still to come"
    put(outbox, made_record(seed=2, suite="wide", protocol="p2"))
    assert tracking.deliver(outbox).n_sent == 1
    assert [run.status for run in tracking.rows(suite="wide")[0].runs] == ["finished"] * 3
    assert len(tracking.rows(suite="small")[0].runs) == 2


def test_a_suite_leaves_the_failed_runs_of_another_where_they_are(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    put(outbox, failed_record("joint", 0), plan=made_plan({"joint": [0]}))
    put(outbox, made_record(seed=0, suite="wide"), plan=made_plan({"joint": [0]}, suite="wide"))
    tracking.deliver(outbox)
    found = {suite: stored(client_of(tmp_path), "tags.level = 'seed'", suite) for suite in ("small", "wide")}
    assert {suite: [run.info.status for run in runs] for suite, runs in found.items()} == {
        "small": ["FAILED"],
        "wide": ["FINISHED"],
    }
    rows = {row.suite: row.runs[0].status for row in tracking.rows()}
    assert rows == {"small": "finished", "wide": "finished"}, "what has been repeated with success has not failed"


def test_a_bench_does_not_train_what_another_suite_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mlflow.db").write_bytes(empty_store())

    def bench(suite: str, methods: str) -> Table:
        options = Options("interactions-s", suite, tuple(methods.split(",")), seeds=2, epochs=1, device="cpu")
        assert run_benches(make_benches(options, tmp_path / "results")) == 0
        return {table.suite: table for table in build_tables(Tracking(tmp_path / "results"))}[suite]

    first = bench("leaderboard", "joint,unimodal")
    assert "6 of 6 runs trained" in capsys.readouterr().out
    other = bench("field", "joint,ensemble,mlb")
    assert "4 of 10 runs trained" in capsys.readouterr().out, "ensemble, of members that are there, and mlb"
    scores = [{line.method: line.seed_scores for line in table.lines if line.row} for table in (first, other)]
    assert all(scores[1][name] == values for name, values in scores[0].items())
    assert {line.method: line.reasons for line in other.lines if line.reasons} == {}
