"""Kill -9 at any moment, and two processes at once: every key ends with exactly one finished run."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from benchmarks.outbox import Outbox
from benchmarks.record import PREDICTIONS
from benchmarks.store import create_sqlite
from benchmarks.tracking import Delivery, Tracking
from tests.made_runs import (
    Dying,
    Killed,
    client_of,
    empty_store,
    made_plan,
    made_record,
    made_tracking,
    predictions,
    put,
    seeds,
    stored,
)

DELIVER = """
import sys
from pathlib import Path
from benchmarks.outbox import Outbox
from benchmarks.tracking import Tracking
import mlflow
folder = Path(sys.argv[1])
print("ready", flush=True)
print(Tracking(folder, f"sqlite:///{folder / 'mlflow.db'}").deliver(Outbox(folder / "outbox")), flush=True)
"""


def expect_each_once(folder: Path, n_runs: int) -> None:
    client = client_of(folder)
    found = seeds(client)
    assert Counter(run.info.status for run in found) == {"FINISHED": n_runs}
    assert len({run.data.tags["key"] for run in found}) == n_runs
    assert not stored(client, "attributes.status = 'RUNNING'")
    for run in found:
        assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {
            "spec.json",
            "history.json",
            PREDICTIONS,
        }


@pytest.mark.slow
def test_kill_at_random_moments_then_deliver_again(tmp_path: Path, root: Path) -> None:
    """The store starts out missing, so that kills fall into making it as well."""
    chance = random.Random(4)
    outbox = Outbox(tmp_path / "outbox")
    methods = ("joint", "dmil", "ensemble")
    put(outbox, plan=made_plan({method: range(5) for method in methods}))
    for method in methods:
        records = [made_record(method, seed) for seed in range(5)]
        put(outbox, *records, files={record.key: predictions([[1, 0]], [0]) for record in records})
    survived = [_survives(tmp_path, root, delay=0.3 * n + chance.uniform(0, 0.3)) for n in range(5)]
    assert survived[0] is False, "a store is not made this fast"
    delivery = made_again(tmp_path).deliver(outbox)
    assert delivery.error is None
    expect_each_once(tmp_path, 15)


def _survives(folder: Path, root: Path, *, delay: float) -> bool:
    """Starts a delivery and kills it after ``delay`` seconds; whether it had ended by then."""
    command = [sys.executable, "-c", DELIVER, str(folder)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        has_ended = process.poll() is not None
        os.kill(process.pid, signal.SIGKILL)
    return has_ended


def test_kill_before_every_step_then_deliver_again(tmp_path: Path) -> None:
    """The same, exhaustively: the n-th call into MLflow never happens, for every n."""
    calls = _calls_of_an_undisturbed_delivery(tmp_path / "whole")
    assert calls > 20
    for n in range(0, calls, 3):
        folder = tmp_path / str(n)
        folder.mkdir()
        tracking, outbox = made_tracking(folder)
        _fill(outbox)
        store = tracking._store
        store.__dict__["client"] = Dying(store.client, n)
        with pytest.raises(Killed):
            tracking.deliver(outbox)
        assert made_again(folder).deliver(outbox).error is None
        expect_each_once(folder, 2)


def made_again(folder: Path) -> Tracking:
    return Tracking(folder, f"sqlite:///{folder / 'mlflow.db'}")


def _fill(outbox: Outbox) -> None:
    records = [made_record(seed=seed) for seed in (0, 1)]
    put(outbox, plan=made_plan({"joint": [0, 1]}))
    put(outbox, *records, files={record.key: predictions([[1, 0]], [0]) for record in records})


def _calls_of_an_undisturbed_delivery(folder: Path) -> int:
    folder.mkdir()
    tracking, outbox = made_tracking(folder)
    _fill(outbox)
    counter = Dying(tracking._store.client, math.inf)
    tracking._store.__dict__["client"] = counter
    assert tracking.deliver(outbox) == Delivery(2, 0, None)
    return counter.made


def _deliver_in_process(folder: Path, start: Barrier) -> None:
    import mlflow  # noqa: F401

    outbox = Outbox(folder / "outbox")
    start.wait()
    delivery = made_again(folder).deliver(outbox)
    assert delivery.error is None, delivery.error


@pytest.mark.slow
def test_two_processes_at_once_into_a_fresh_store(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    for seed in range(12):
        record = made_record(seed=seed)
        put(outbox, record, files={record.key: predictions([[1, 0]], [0])})
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    workers = [context.Process(target=_deliver_in_process, args=(tmp_path, start)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert outbox.entries() == []
    expect_each_once(tmp_path, 12)


def test_a_store_whose_making_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    def cut_short(uri: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_bytes(empty_store()[:5000])
        raise KeyboardInterrupt

    path = tmp_path / "mlflow.db"
    with pytest.raises(KeyboardInterrupt):
        create_sqlite(path, cut_short)
    assert not path.exists()
    tracking, outbox = made_again(tmp_path), Outbox(tmp_path / "outbox")
    put(outbox, made_record())
    assert tracking.deliver(outbox) == Delivery(1, 0, None)
    assert sorted(found.name for found in tmp_path.glob("mlflow.db*")) in (
        ["mlflow.db"],
        ["mlflow.db", "mlflow.db-shm", "mlflow.db-wal"],
    )
