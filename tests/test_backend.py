"""What backends have in common: shares of a GPU, reasons in one line, addresses of clusters, what is shipped."""

from __future__ import annotations

import json
import pickle
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.errors import UserError
from benchmarks.provenance import torch_release
from benchmarks.trials import PopulationRecord
from dmil.data import Split, Task
from sweeps.backend import Queue, answer, compact, gpu_share, last_failure, reason
from sweeps.cluster import check_address
from sweeps.population import Data, Population, train_population
from tests.test_population import Given, made, made_data, results


@pytest.mark.parametrize(
    ("peak", "replicas", "share"),
    [
        (0.0, 1, 0.05),  # 600 of 80000 MB is 0.0075
        (100.0, 16, 0.05),  # 600 + 2400 = 3000: 0.0375
        (150.0, 16, 0.1),  # 600 + 3600 = 4200: 0.0525
        (1000.0, 16, 0.35),  # 600 + 24000 = 24600: 0.3075
        (1000.0, 52, 1.0),  # 600 + 78000 = 78600: 0.98
        (1e6, 16, 1.0),
    ],
)
def test_share_of_a_gpu(peak: float, replicas: int, share: float) -> None:
    assert gpu_share(peak_per_replica_mb=peak, n_replicas=replicas, total_mb=80_000.0) == share


def measured(population: Population, peak: float) -> PopulationRecord:
    return PopulationRecord(
        population.study, population.number, (), 1.0, 0, 1, peak_memory_mb=peak, total_memory_mb=8e4
    )


def test_the_first_of_a_study_has_a_gpu_for_itself_and_the_next_ones_share() -> None:
    a, b = ([made(number, study=study) for number in range(3)] for study in "ab")
    search = Given([a[0], b[0], a[1], a[2], b[1]])
    queue = Queue(search, is_on_gpu=True)
    assert queue.next(n_cpus=8, n_gpus=1) == (a[0], 1.0)
    assert queue.next(n_cpus=8, n_gpus=1) is None  # b's first waits for a whole GPU; nobody overtakes it
    assert queue.next(n_cpus=8, n_gpus=2) == (b[0], 1.0)
    assert queue.next(n_cpus=8, n_gpus=2) is None
    queue.finish(a[0], measured(a[0], 4 * 1000.0))  # two configurations with two seeds: 1000 MB each
    share = 0.1  # (600 + 1.5 * 4000) / 80000 = 0.0825
    assert queue.next(n_cpus=8, n_gpus=2) == (a[1], share)
    assert queue.next(n_cpus=2, n_gpus=2) is None  # a CPU each
    assert queue.next(n_cpus=8, n_gpus=2) == (a[2], share)
    queue.finish(a[1], measured(a[1], 4 * 100.0))
    assert queue.measured["a"] == (1000.0, 8e4)  # the most that was ever seen
    queue.finish(b[0], measured(b[0], 1.0))
    assert queue.next(n_cpus=8, n_gpus=2) == (b[1], 0.05)
    assert not queue.is_over
    queue.finish(a[2], measured(a[2], 1.0))
    queue.finish(b[1], measured(b[1], 1.0))
    assert queue.is_over


def test_more_memory_than_its_share_costs_a_second_try_on_a_whole_gpu() -> None:
    first, second = made(0), made(1)
    search = Given([first, second])
    queue = Queue(search, is_on_gpu=True)
    queue.next(n_cpus=8, n_gpus=1)
    queue.finish(first, measured(first, 1.0))
    assert queue.next(n_cpus=8, n_gpus=1) == (second, 0.05)
    queue.fail(second, "too large", is_out_of_memory=True)
    assert (search.failed, queue.is_over) == ({}, False)
    assert queue.next(n_cpus=8, n_gpus=1) == (second, 1.0)
    queue.fail(second, "too large", is_out_of_memory=True)
    assert (search.failed, queue.is_over) == ({1: "too large"}, True)


def test_on_cpus_as_many_as_there_are() -> None:
    queue = Queue(Given([made(number) for number in range(3)]), is_on_gpu=False)
    assert [queue.next(n_cpus=2.0, n_gpus=0.0) is not None for _ in range(3)] == [True, True, False]
    queue.fail(made(0), "memory", is_out_of_memory=True)  # no GPU, no second try
    assert queue.next(n_cpus=2.0, n_gpus=0.0) == (made(2), 0.0)


def test_rows_that_a_view_looks_past_stay_here() -> None:
    """A split made of views would take its whole tensor along: here the test rows, all of 123456.0."""
    secret = torch.full((7,), 123456.0).numpy().tobytes()
    rows = torch.cat([torch.zeros(5, 7), torch.full((5, 7), 123456.0)])
    target = torch.tensor([0, 1, 0, 1, 0, 9, 9, 9, 9, 9])
    train, valid = (Split({"x": rows[part]}, target[part], truth=target[part]) for part in (slice(3), slice(3, 5)))
    data = Data(train, valid, Task())
    assert secret in pickle.dumps(data)
    own = compact(data)
    assert secret not in pickle.dumps(own)
    for split, its in ((own.train, train), (own.valid, valid)):
        assert torch.equal(split.inputs["x"], its.inputs["x"])
        assert split.truth is not None
        for tensor in (split.inputs["x"], split.target, split.truth):
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def test_a_worker_answers_with_a_record_or_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    population, data = made(0), made_data()
    found = answer(population, 0.0, data, "cpu", torch_release())
    record = PopulationRecord.of(json.loads(found["record"]))
    assert results(record) == results(train_population(population, data))
    assert answer(population, 0.0, data, "cpu", "1.0")["failure"].startswith("a worker has torch 2.")
    configuration = population.configurations[0]
    large = replace(configuration, settings=configuration.settings | {"width": 10**7})
    found = answer(replace(population, configurations=(large,)), 0.0, data, "cpu", torch_release())
    assert found["memory"].startswith("worker out of memory: RuntimeError: ")
    assert found["memory"].endswith("; use a smaller --population or fewer --jobs")


def test_reasons_are_one_line() -> None:
    assert reason(ValueError("a\n  b")) == "ValueError: a b"
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
    assert reason(error) == (
        "worker out of memory: OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB; "
        "use a smaller --population or fewer --jobs"
    )


def test_what_tune_notes_of_failures() -> None:
    note = (
        "Failure # 1 (occurred at 2026-01-01)\nValueError: an earlier one\n"
        "Failure # 2 (occurred at 2026-01-01)\nray::ImplicitFunc.train() (pid=1)\n  File x\n"
        "RuntimeError: CUDA error\n\n"
    )
    assert last_failure(note) == "RuntimeError: CUDA error (4 tries)"
    low = (
        "Failure # 1 (at 1)\n1 worker(s) were killed due to the node running low on memory. 9 GB used\nMore\nand more\n"
    )
    assert last_failure(low).startswith("worker out of memory: 1 worker(s) were killed due to the node running low on")
    assert last_failure("") == "its worker died (4 tries)"


@pytest.fixture
def no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_login")
def test_an_address_that_nobody_answers_is_noticed_in_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    started = time.monotonic()
    for address, expected in (
        (f"127.0.0.1:{port}", f"no Ray cluster at 127.0.0.1:{port} .*refused.*; start it"),
        ("nowhere.invalid:6379", "no Ray cluster at nowhere.invalid:6379"),
        ("6379", "'6379' is no address of a Ray cluster; write host:port, or auto"),
        ("head:0", "is no address of a Ray cluster"),
        ("ray://head:10001", "is a Ray Client address"),
    ):
        with pytest.raises(UserError, match=expected) as caught:
            check_address(address)
        assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("no_login")
def test_a_cluster_needs_a_login_that_was_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        for one in (address, "auto"):
            with pytest.raises(UserError, match="needs RAY_AUTH_MODE, but got None; set it to token"):
                check_address(one)
        monkeypatch.setenv("RAY_AUTH_MODE", "password")
        with pytest.raises(UserError, match="needs RAY_AUTH_MODE, but got 'password'"):
            check_address(address)
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        check_address(address)
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
        with pytest.raises(UserError, match="token' is no file"):
            check_address(address)
        (tmp_path / "token").write_text("0" * 64)
        check_address(address)
