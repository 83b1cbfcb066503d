"""How much of a store a report reads: not more because there are other runs. And the script that measures it."""

from __future__ import annotations

import math
import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from benchmarks.convert import newest, table_row
from benchmarks.delivery import children
from benchmarks.outbox import Outbox
from benchmarks.record import Row
from benchmarks.tracking import Tracking
from reports.__main__ import main
from reports.speed import Clock, Timing, sentence
from reports.speed import main as measure
from reports.speed_copies import DATASET, WOBBLE, multiply
from tests.made_runs import (
    Pair,
    deliver,
    failed_record,
    made_key,
    made_plan,
    made_record,
    made_tracking,
    on,
    put,
    stored,
    three,
    three_methods,
)
from tests.made_runs import client_of as client
from tests.made_studies import made_population, made_study, put_study

Calls = Counter[str]


class Counting:
    """An MLflow client that counts its calls."""

    def __init__(self, client: Any) -> None:
        self.client, self.calls = client, Calls()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self.client, name)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for reading: toy, and others."""
    folder = tmp_path_factory.mktemp("filled")
    pair = made_tracking(folder)
    deliver(pair, *three("joint", 0.5, 0.6, 0.7))
    add_others(pair)
    return folder


def counting(folder: Path) -> tuple[Tracking, Calls]:
    """A fresh reader of the store under ``folder``, and what it asks MLflow."""
    tracking = Tracking(folder, f"sqlite:///{folder / 'mlflow.db'}")
    counter = Counting(tracking._store.client)
    tracking._store.__dict__["client"] = counter
    return tracking, counter.calls


def calls_of_a_report(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Calls:
    tracking, calls = counting(folder)
    monkeypatch.setattr("benchmarks.tracking.Tracking", lambda: tracking)
    with TemporaryDirectory() as out:
        assert main([*arguments, "--out", out]) == 0
    return calls


def add_others(pair: Pair) -> None:
    """Three datasets more, an older table of toy, another suite, and a sweep on toy."""
    tracking, outbox = pair
    for name in ("digits", "mosi", "utd"):
        deliver(pair, *on(name, *three("joint", 0.5, 0.6, 0.7), *three("dmil", 0.5, 0.6, 0.7)), dataset=name)
    old = made_plan({"joint": range(3)}, planned_at=1, protocol="old", suite="far")
    (row,) = old.rows
    old = replace(old, rows=(replace(row, group="far", keys={seed: f"far{seed}" for seed in row.keys}),))
    own: dict[str, Any] = {"protocol": "old", "suite": "far", "group": "far"}
    put(outbox, *(replace(one, key=f"far{one.seed}", **own) for one in three("joint", 0.1, 0.2, 0.3)), plan=old)
    add_sweep(pair)
    assert tracking.deliver(outbox).error is None


def add_sweep(pair: Pair) -> None:
    study = made_study(population=2, n_trials=2)
    put_study(pair[1], study, made_population(study))
    assert pair[0].deliver(pair[1]).error is None


def test_other_runs_cost_no_query(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, files = three_methods()
    add_sweep(pair)
    deliver(pair, *records, files=files)
    alone = calls_of_a_report(tmp_path, monkeypatch, "--dataset", "toy", "--suite", "small")
    assert alone["search_runs"] == 3, "all rows; the runs of those asked for; for the index all studies"
    assert alone["get_run"] == 0, "a search says where the files of its runs lie"
    add_others(pair)
    assert calls_of_a_report(tmp_path, monkeypatch, "--dataset", "toy", "--suite", "small") == alone


def test_rows_of_one_dataset_cost_two_queries(filled: Path) -> None:
    tracking, calls = counting(filled)
    assert len(tracking.rows("mosi")) == 2
    assert calls["search_runs"] == 2


def test_every_table_costs_one_query(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of_a_report(filled, monkeypatch)
    tracking, _ = counting(filled)
    n_tables = len({(row.suite, row.protocol) for row in tracking.rows()})
    n_studies = len(tracking.studies())
    assert calls["search_runs"] == 1 + n_tables + 1 + n_studies, "all rows, all studies, and the runs of each"
    assert calls["get_run"] == 0


def test_what_is_delivered_later_is_seen(pair: Pair) -> None:
    deliver(pair, *three("joint", 0.5, 0.6, 0.7))
    assert pair[0].tables() == [("toy", "small")]
    deliver(pair, *on("digits", *three("joint", 0.5, 0.6, 0.7)), dataset="digits")
    assert pair[0].tables() == [("digits", "small"), ("toy", "small")]
    assert [row.dataset for row in pair[0].rows()] == ["digits", "toy"]


def test_a_row_with_a_hole_is_asked_for_by_itself(pair: Pair, tmp_path: Path) -> None:
    deliver(pair, *three("joint", 0.5, 0.6, 0.7), *three("dmil", 0.5, 0.6))
    tracking, calls = counting(tmp_path)
    rows = {row.method: [run.status for run in row.runs] for row in tracking.rows("toy")}
    assert rows == {"joint": ["finished"] * 3, "dmil": ["finished", "finished", "missing"]}
    assert calls["search_runs"] == 3


def the_plain_way(tracking: Tracking) -> list[Row]:
    """A search for the runs of each row, as delivery makes it."""
    parents = newest(tracking._store.search(tracking._store.experiments(None), "tags.level = 'row'"))
    return [table_row(parent, children(tracking._store, parent)) for parent in parents]


def test_rows_hold_what_a_search_for_each_of_them_finds(filled: Path, tmp_path: Path) -> None:
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    (tracking, _), outbox = counting(tmp_path), Outbox(tmp_path / "outbox")
    # Trained for another protocol; missing there, and failed there; finished for both; failed for one.
    elsewhere = made_plan({"late_fusion": range(3), "ensemble": range(3)}, planned_at=5, protocol="p2")
    runs = [*three("late_fusion", 0.1, 0.2), failed_record("ensemble", 0), made_record("ensemble", 1)]
    put(outbox, *(replace(run, protocol="p2") for run in runs), plan=elsewhere)
    put(outbox, plan=made_plan({"late_fusion": range(3), "ensemble": range(3), "constant": [0]}, planned_at=9))
    put(outbox, failed_record("ensemble", 2), made_record("joint", 7), made_record("late_fusion", 2))
    put(outbox, replace(made_record("late_fusion", 2), key="unplanned"))
    assert tracking.deliver(outbox).error is None
    rows = tracking.rows()
    assert rows == the_plain_way(tracking)
    found = {
        row.method: [run.status for run in row.runs] for row in rows if (row.dataset, row.suite) == ("toy", "small")
    }
    assert found["late_fusion"] == ["finished"] * 3
    assert found["ensemble"] == ["failed", "finished", "failed"]
    assert found["constant"] == ["missing"]


def test_tables_and_sweeps_are_listed_without_their_runs(filled: Path) -> None:
    tracking, calls = counting(filled)
    names = [("digits", "small"), ("mosi", "small"), ("toy", "far"), ("toy", "small"), ("utd", "small")]
    assert tracking.tables() == names
    assert tracking.sweeps() == [("toy", "small")]
    assert calls["search_runs"] == 2


def test_of_two_tables_planned_at_once_the_same_wins_in_every_store(tmp_path: Path) -> None:
    plans = [made_plan({"joint": [0]}, protocol=name) for name in ("p1", "p2")]
    for i, order in enumerate((plans, plans[::-1], plans, plans[::-1])):
        (tmp_path / str(i)).mkdir()
        tracking, outbox = made_tracking(tmp_path / str(i))
        for plan in order:
            put(outbox, plan=plan)
        tracking.deliver(outbox)
        assert [row.protocol for row in tracking.rows()] == ["p2"]


def test_names_come_in_order(pair: Pair) -> None:
    settings = {"settings": {"zeta": 1, "alpha": 2, "mid": {"b": 3, "a": 4}}}
    record = replace(made_record(), spec=settings, tags={"z": "1", "b": "2"}, metrics={"test/z": 0.1, "test/acc": 0.2})
    put(pair[1], record)
    pair[0].deliver(pair[1])
    (row,) = pair[0].rows()
    for names in (row.runs[0].params, row.runs[0].tags, row.runs[0].metrics):
        assert list(names) == sorted(names)


def test_copies_are_tables_of_their_own(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    identity: dict[str, Any] = {"dataset": DATASET, "suite": "leaderboard", "protocol": "5" * 16}
    plan = made_plan({"joint": range(3)}, planned_at=1_790_000_000_000, **identity)
    runs = [replace(run, **identity, group=plan.rows[0].group) for run in three("joint", 0.5, 0.6, 0.7)]
    put(outbox, *runs, plan=plan)
    study = made_study(dataset=DATASET, suite="leaderboard", population=2, n_trials=2, planned_at=1_790_000_000_000)
    put_study(outbox, study, made_population(study))
    assert tracking.deliver(outbox).error is None
    multiply(tmp_path / "mlflow.db", 22, 12)

    assert len(stored(client(tmp_path), "tags.level = 'seed'", "leaderboard")) == 3 * (22 - 10)
    assert len(stored(client(tmp_path), "tags.level = 'seed'", "ablation")) == 3 * 10
    assert len(stored(client(tmp_path), suite="sweeps")) == 12 * (1 + 2 + 4)
    names = [(f"made-{i}", suite) for i in range(10) for suite in ("ablation", "leaderboard")]
    rows = tracking.rows()
    assert tracking.tables() == names == sorted((row.dataset, row.suite) for row in rows)
    original = next(row for row in rows if (row.dataset, row.suite) == (DATASET, "leaderboard"))
    assert original.planned_at == 1_790_000_000_000, "copies of the same table are older"
    for row in rows:
        for run, first in zip(row.runs, original.runs, strict=True):
            assert run.metrics | {"test/acc": 0} == first.metrics | {"test/acc": 0}
            assert abs(run.metrics["test/acc"] - first.metrics["test/acc"]) <= WOBBLE
        assert row is original or not {run.key for run in row.runs} & {run.key for run in original.runs}
        assert tracking.card(row)["name"] == "toy"
    assert [(one.plan.dataset, len(one.trials)) for one in tracking.studies()] == [(f"made-{i}", 2) for i in range(10)]
    assert original.runs[0].key == made_key("joint", 0)


def test_figures_are_medians_and_shares() -> None:
    timings = [Timing(*seconds, n_files=4) for seconds in ((6.0, 0.5, 2.0), (4.0, 1.0, 1.0), (5.0, 9.0, 9.0))]
    shares = "reading MLflow 2.0 s (40%), starting it 1.0 s (20%); 4 files"
    assert sentence(timings) == f"5.0 s in all, median of 3 (4.0 to 6.0); of that {shares}"
    shares = "reading MLflow 1.0 s (25%), starting it 1.0 s (25%); 4 files"
    assert sentence(timings[1:2]) == f"4.0 s in all; of that {shares}"


def test_a_clock_counts_what_calls_itself_once() -> None:
    class Slow:
        def outer(self) -> str:
            time.sleep(0.05)
            return self.inner()

        def inner(self) -> str:
            time.sleep(0.05)
            return "done"

        def _private(self) -> None:
            time.sleep(0.1)

    clock = Clock()
    slow = clock.timed_class(Slow)()
    assert slow.outer() == slow.inner() == "done"
    slow._private()
    assert 0.15 <= clock.seconds < 0.24


@pytest.mark.parametrize("bad", ["0", "-3", "many", "1.5"])
def test_bad_numbers_are_refused(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        measure([f"--runs={bad}"])
    assert caught.value.code == 2
    assert f"argument --runs: '{bad}' is no whole number of at least 1" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_script_measures_a_small_store(capsys: pytest.CaptureFixture[str]) -> None:
    assert measure(["--runs", "300", "--rounds", "1"]) in (0, 1), "how long it takes is not this test's affair"
    store, one, everything, sweeps, verdict = capsys.readouterr().out.splitlines()
    n_tables = math.ceil(300 / 95)
    assert store.startswith(
        f"store: {95 * n_tables:,} runs in {19 * n_tables} rows of {n_tables} tables, and 475 runs of"
    )
    for line, command in ((one, f"--dataset {DATASET}:"), (everything, ":"), (sweeps, "--sweep:")):
        assert line.removeprefix("python -m reports").strip().startswith(command)
        assert " s in all; of that reading MLflow " in line
    assert verdict.startswith("one dataset is ")
