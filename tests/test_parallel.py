"""Datasets side by side: every line with its dataset, every status counted."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import __main__ as front
from benchmarks import parallel, training
from benchmarks.methods.late_fusion import LateFusion
from benchmarks.run import Options, make_benches, run_benches
from benchmarks.tracking import Tracking
from dmil.data import Split
from dmil.method import Method, Output
from dmil.train import predict
from reports.table import build_tables


def test_each_line_names_its_dataset_and_a_failure_counts(capfd: pytest.CaptureFixture[str]) -> None:
    assert parallel.run_side_by_side(["nowhere", "nobody"], ["run"], 2) == 1
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert sorted(line.split()[0] for line in lines[:2]) == ["nobody", "nowhere"]
    assert all("error: unknown dataset" in line for line in lines[:2])
    assert lines[2].startswith("2 datasets, 2 at a time")
    assert "nowhere (status 2), nobody (status 2)" in err


def test_cores_are_those_that_a_limit_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # joblib reads a container's quota where it reads this
    assert parallel.n_cores() == 1


def test_one_job_per_core_but_one_on_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "n_cores", lambda: 4)
    assert [parallel.default_jobs(device) for device in ("cpu", "cuda")] == [4, 1]


@pytest.mark.parametrize(("epochs", "device", "expected"), [(60, "cpu", 3), (2, "cpu", 1), (60, "cuda", 1)])
def test_rows_side_by_side_where_that_pays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, epochs: int, device: str, expected: int
) -> None:
    monkeypatch.setattr(training, "n_cores", lambda: 3)
    options = Options("digits", methods=("joint", "dmil", "unimodal"), epochs=epochs, device="cpu")
    (bench,) = make_benches(options, tmp_path / "results")
    rows = [list(row) for _, row in groupby(bench.specs, key=lambda spec: spec.row)]
    assert len(rows) == 4
    assert training.rows_at_once(rows, len(bench.splits.train), device) == expected


def test_a_method_that_fails_when_it_predicts_is_a_hole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(method: Method, split: Split, **options: Any) -> Output:
        if isinstance(method, LateFusion):
            raise RuntimeError("out of\nmemory")
        return predict(method, split, **options)

    monkeypatch.setattr("benchmarks.execute.predict", fail)
    options = Options("interactions-s-n100", methods=("late_fusion", "joint"), seeds=2, epochs=1, device="cpu")
    benches = make_benches(options, tmp_path / "results")
    assert run_benches(benches) == 1
    assert (benches[0].n_failed, len(benches[0].finished)) == (2, 2)
    (table,) = build_tables(Tracking(tmp_path / "results"))
    assert "at its evaluation: RuntimeError: out of memory" in str(table.line("late_fusion"))
    assert not list((tmp_path / "results" / "outbox").iterdir())


@pytest.mark.parametrize(("asked", "n_threads"), [(None, 1), ("1", 1), ("2", 2), ("2,1", 2)])
def test_threads_are_one_or_as_many_as_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, n_threads: int
) -> None:
    """Whatever torch took when it was imported, which may be before the variable was set."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        training.settle_threads()
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)


def test_a_suite_of_several_datasets_runs_side_by_side(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[list[str], list[str], int]] = []

    def note(datasets: list[str], arguments: list[str], jobs: int) -> int:
        asked.append((datasets, arguments, jobs))
        return 0

    monkeypatch.setattr(parallel, "run_side_by_side", note)
    monkeypatch.setattr("benchmarks.store.RESULTS", tmp_path)
    arguments = ["run", "--suite", "deficits", "--methods", "joint", "--seeds", "1", "--jobs", "2"]
    assert front.main(arguments) == 0
    ((datasets, given, jobs),) = asked
    assert len(datasets) == 11
    assert [dataset.endswith("-unequal") for dataset in datasets] == [True] * 3 + [False] * 8  # the longest first
    assert (given, jobs) == (arguments, 2)
    assert not list(tmp_path.iterdir())


def test_no_job_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["run", "--suite", "deficits", "--jobs", "0"]) == 2
    assert "--jobs takes a whole number of 1 or more, but got 0" in capsys.readouterr().err
