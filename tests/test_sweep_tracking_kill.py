"""Sweeps in tracking: a kill at any step of a delivery, and two writers at once, of which one store loses nothing."""

from __future__ import annotations

import math
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from benchmarks.outbox import Outbox
from benchmarks.tracking import Delivery, Tracking
from benchmarks.trials import StudyPlan
from tests.made_runs import Dying, Killed, made_tracking
from tests.made_studies import made_population, made_study, put_study, runs_at, sweep_state

METHODS = ("joint", "dmil")


def fill(outbox: Outbox) -> None:
    plan = made_study(n_trials=2, population=2)
    put_study(outbox, plan, made_population(plan, scores=[0.5, 0.75], failed=[1], n_epochs=2))


def deliver_and_die(folder: Path, n: float) -> int:
    """A delivery whose n-th call into MLflow never happens; returns how many there were."""
    tracking = tracking_at(folder)
    client = Dying(tracking._store.client, n)
    tracking._store.__dict__["client"] = client
    if n < math.inf:
        with pytest.raises(Killed):
            tracking.deliver(Outbox(folder / "outbox"))
    else:
        assert tracking.deliver(Outbox(folder / "outbox")) == Delivery(1, 0, None)
    return client.made


def tracking_at(folder: Path) -> Tracking:
    return Tracking(folder, f"sqlite:///{folder / 'mlflow.db'}")


def made_folder(path: Path) -> Path:
    path.mkdir()
    _, outbox = made_tracking(path)
    fill(outbox)
    return path


def test_kill_before_every_step_then_deliver_again(tmp_path: Path) -> None:
    whole = made_folder(tmp_path / "whole")
    n_calls = deliver_and_die(whole, math.inf)
    assert n_calls > 20
    expected = sweep_state(whole)
    assert len(expected) == 1 + 2 + 4
    for n in range(1, n_calls, 3):
        folder = made_folder(tmp_path / str(n))
        deliver_and_die(folder, n)
        assert tracking_at(folder).deliver(Outbox(folder / "outbox")).error is None
        assert sweep_state(folder) == expected, f"killed before call {n}"
        assert Outbox(folder / "outbox").entries() == []


@pytest.mark.parametrize("second", range(4, 12, 2))
def test_kill_while_the_leavings_of_a_kill_are_removed(tmp_path: Path, second: int) -> None:
    whole, folder = made_folder(tmp_path / "whole"), made_folder(tmp_path / "killed")
    n_calls = deliver_and_die(whole, math.inf)
    deliver_and_die(folder, n_calls - 6)
    half = runs_at(folder, "configuration")
    assert [run.info.status for run in half] == ["FINISHED", "RUNNING"], "the second one was being sent"
    deliver_and_die(folder, second)
    assert tracking_at(folder).deliver(Outbox(folder / "outbox")) == Delivery(1, 0, None)
    assert sweep_state(folder) == sweep_state(whole)


def test_another_population_may_come_between(tmp_path: Path) -> None:
    """A half-sent population waits behind another one: it is taken back with its replicas, then sent whole."""
    _, outbox = made_tracking(tmp_path)
    plan = made_study(n_trials=2, population=1)
    put_study(outbox, plan, made_population(plan, 0, scores=[0.5], n_epochs=2))
    deliver_and_die(tmp_path, 11)
    assert [run.info.status for run in runs_at(tmp_path, "replica")] == ["FINISHED", "RUNNING"]
    waiting = outbox.entries()[0].rename(tmp_path / "waiting")
    put_study(outbox, plan, made_population(plan, 1, scores=[0.5], n_epochs=2))
    assert tracking_at(tmp_path).deliver(outbox) == Delivery(1, 0, None)
    assert len(sweep_state(tmp_path)) == 1 + 1 + 2
    waiting.rename(outbox.root / "00000009")
    assert tracking_at(tmp_path).deliver(outbox) == Delivery(1, 0, None)
    assert len(sweep_state(tmp_path)) == 1 + 2 + 4


def sweep(store: Path, results: Path, method: str, *, n_populations: int = 3) -> None:
    """What one sweep does to tracking: it delivers after every population."""
    tracking, outbox = Tracking(results, f"sqlite:///{store / 'mlflow.db'}"), Outbox(results / "outbox")
    plan = made_plan(method, n_populations)
    for number in range(n_populations):
        put_study(outbox, plan, made_population(plan, number, scores=[0.5, 0.75], n_epochs=2))
        delivery = tracking.deliver(outbox)
        assert delivery.error is None, delivery.error


def made_plan(method: str, n_populations: int) -> StudyPlan:
    return made_study(method, n_trials=2 * n_populations, population=2)


def expect_all(store: Path) -> None:
    studies = tracking_at(store).studies()
    assert [row.plan.method for row in studies] == sorted(METHODS)
    assert [[one.number for one in row.trials] for row in studies] == [list(range(6))] * 2
    assert [run.info.status for run in runs_at(store, "study")] == ["FINISHED"] * 2
    assert len(sweep_state(store)) == 2 * (1 + 6 + 12)


@pytest.mark.parametrize("is_shared", [False, True], ids=["own outbox", "shared outbox"])
def test_two_threads_at_once_lose_nothing(tmp_path: Path, is_shared: bool) -> None:
    made_tracking(tmp_path)
    folders = [tmp_path / "results" if is_shared else tmp_path / method for method in METHODS]
    with ThreadPoolExecutor(2) as threads:
        jobs = [threads.submit(sweep, tmp_path, folder, name) for folder, name in zip(folders, METHODS, strict=True)]
    assert [job.exception() for job in jobs] == [None, None]
    assert all(Outbox(folder / "outbox").entries() == [] for folder in folders)
    expect_all(tmp_path)


def sweep_in_process(store: Path, results: Path, method: str, start: Barrier) -> None:
    import mlflow  # noqa: F401

    start.wait()
    sweep(store, results, method)


@pytest.mark.slow
@pytest.mark.parametrize("is_shared", [False, True], ids=["own outbox", "shared outbox"])
def test_two_processes_at_once_into_a_fresh_store(tmp_path: Path, is_shared: bool) -> None:
    """The store starts out missing: both come to make it."""
    folders = [tmp_path / "results" if is_shared else tmp_path / method for method in METHODS]
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    workers = [
        context.Process(target=sweep_in_process, args=(tmp_path, folder, method, start))
        for folder, method in zip(folders, METHODS, strict=True)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert all(Outbox(folder / "outbox").entries() == [] for folder in folders)
    expect_all(tmp_path)
