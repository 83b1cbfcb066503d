"""Delivery to a real ``mlflow server`` on loopback: there, not there, silent, and dying half-way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from benchmarks.errors import UserError
from benchmarks.outbox import Outbox
from benchmarks.record import PREDICTIONS
from benchmarks.tracking import Delivery, Tracking
from tests.made_runs import empty_store, failed_record, made_key, made_plan, made_record, predictions, put

pytestmark = pytest.mark.slow


class Server:
    """An ``mlflow server`` with a sqlite store in ``folder``, in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        options += ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        options += ["--artifacts-destination", str(self.folder / "served")]
        with (self.folder / "server.log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *options], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 90
        while not self._is_healthy():
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
            time.sleep(0.2)

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "server.db").write_bytes(empty_store())
    server = Server(tmp_path)
    server.start()
    yield server
    if server.process.poll() is None:
        server.stop()


def fill(outbox: Outbox, n_seeds: int = 3) -> None:
    records = [made_record(seed=seed, test_acc=seed / 10) for seed in range(n_seeds)]
    put(outbox, plan=made_plan({"joint": range(n_seeds + 1)}))
    for record in records:
        put(outbox, record, files={record.key: predictions([[1, 0]], [0])})


def test_everything_arrives_and_comes_back(server: Server, tmp_path: Path) -> None:
    tracking, outbox = Tracking(tmp_path, server.uri), Outbox(tmp_path / "outbox")
    fill(outbox)
    put(outbox, failed_record("joint", 3))
    assert tracking.deliver(outbox) == Delivery(4, 0, None)
    (row,) = Tracking(tmp_path, server.uri).rows("toy", "small")
    assert [run.status for run in row.runs] == ["finished"] * 3 + ["failed"]
    assert row.runs[2].metrics["test/acc"] == 0.2
    assert row.runs[0].tags["sweep"] == ""
    assert tracking.card(row)["licence"] == "none"
    path = tracking.artifact(made_key("joint", 1), PREDICTIONS)
    assert path.read_bytes()[:4] == b"PAR1"
    with pytest.raises(UserError, match="has no file checkpoint"):
        tracking.artifact(made_key("joint", 1), "checkpoint.safetensors")
    fill(outbox)
    assert tracking.deliver(outbox) == Delivery(0, 0, None)


def test_a_server_that_dies_keeps_the_rest_and_each_run_arrives_once(server: Server, tmp_path: Path) -> None:
    tracking, outbox = Tracking(tmp_path, server.uri), Outbox(tmp_path / "outbox")
    fill(outbox, n_seeds=4)
    attach = tracking._store.attach

    def attach_and_die(run_id: str, content: Path | str, name: str) -> None:
        if name == PREDICTIONS and (tmp_path / "served").exists() and len(outbox.entries()) == 2:
            server.stop()
        attach(run_id, content, name)

    tracking._store.attach = attach_and_die  # type: ignore[method-assign]
    started = time.monotonic()
    delivery = tracking.deliver(outbox)
    assert time.monotonic() - started < 20
    assert (delivery.n_sent, delivery.n_left) == (2, 2)
    assert server.uri in str(delivery.error)

    server.start()
    assert Tracking(tmp_path, server.uri).deliver(outbox) == Delivery(2, 0, None)
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("small")
    runs = list(client.search_runs([experiment.experiment_id], "tags.level = 'seed'"))
    assert sorted(run.data.tags["seed"] for run in runs) == ["0", "1", "2", "3"]
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_nobody_there_is_noticed_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    _expect_kept(tmp_path, f"http://127.0.0.1:{port}", within=2)


def test_a_silent_server_is_noticed_in_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _expect_kept(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}", within=6)


def test_a_name_that_does_not_exist_is_noticed(tmp_path: Path) -> None:
    _expect_kept(tmp_path, "http://mlflow.invalid:5000", within=30)


def test_a_database_that_is_not_there_is_noticed_without_its_password(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    message = _expect_kept(tmp_path, f"postgresql://me:secret@127.0.0.1:{port}/mlflow", within=2)
    assert "secret" not in message


def _expect_kept(folder: Path, uri: str, *, within: float) -> str:
    tracking, outbox = Tracking(folder, uri), Outbox(folder / "outbox")
    fill(outbox)
    started = time.monotonic()
    delivery = tracking.deliver(outbox)
    assert time.monotonic() - started < within
    assert (delivery.n_sent, delivery.n_left) == (0, 3)
    assert len(outbox.entries()) == 4
    with pytest.raises(UserError, match="no MLflow at"):
        tracking.rows()
    assert "\n" not in str(delivery.error)
    return str(delivery.error)
