"""Populations in training: the same numbers as alone, on validation alone, wherever they run."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from benchmarks.methods import METHODS
from benchmarks.trials import FAILED, FINISHED, PRUNED, PopulationRecord
from dmil.selection import Budget
from dmil.settings import override
from dmil.train import Replica, fit
from sweeps import local
from sweeps.backend import out_of_memory
from sweeps.halving import RUNGS
from sweeps.population import Configuration, Data, Population, train_population
from tests.made_problems import made_problem, small_settings

BUDGET: dict[str, Any] = {"epochs": 9, "patience": 9, "lr_patience": 5, "lr_factor": 0.5, "max_grad_norm": 1.0}


def made_data() -> Data:
    problem = made_problem()
    return Data(problem.train, problem.valid, problem.task)


def made(
    number: int = 0, *, method: str = "joint", lrs: tuple[float, ...] = (1e-4, 1e-2), **changes: Any
) -> Population:
    base = small_settings(METHODS[method]).to_dict()
    first = number * len(lrs)
    population = Population(
        study="study",
        number=number,
        method=method,
        base=method,
        modalities=tuple(made_data().train.inputs),
        budget=BUDGET,
        seeds=(1000, 1001),
        rungs=(),
        configurations=tuple(Configuration(first + i, {"lr": lr}, base | {"lr": lr}) for i, lr in enumerate(lrs)),
    )
    return replace(population, **changes)


def results(record: PopulationRecord) -> list[Any]:
    """All but what is a measurement of time or place."""
    return [
        (
            one.number,
            one.settings,
            one.status,
            one.score,
            one.loss,
            one.pruned_at,
            one.epochs,
            [
                (replica.seed, replica.status, replica.best, replica.best_epoch, replica.history)
                for replica in one.replicas
            ],
        )
        for one in record.configurations
    ]


@pytest.mark.parametrize("method", ["joint", "dmil"])
def test_scores_are_those_of_configurations_trained_alone(method: str) -> None:
    data, population = made_data(), made(method=method, lrs=(1e-3, 1e-2, 3e-2))
    record = train_population(population, data)
    for one in record.configurations:
        settings = override(METHODS[method].Settings(), one.settings)
        replicas = [Replica(seed, settings) for seed in population.seeds]
        alone = fit(METHODS[method], data.train, data.valid, data.task, replicas=replicas, budget=Budget(**BUDGET))
        accuracies = [result.best["valid/acc"] for result in alone]
        assert one.score == pytest.approx(sum(accuracies) / 2, abs=1e-6)
        assert one.loss == pytest.approx(sum(result.best["valid/loss"] for result in alone) / 2, abs=1e-4)
        assert (one.status, one.epochs) == (FINISHED, sum(len(result.history) for result in alone))


def test_halving_drops_and_failures_are_named() -> None:
    population = made(lrs=(1e30, 1e-2, 1e-3, 1e-4), rungs=((2 / 9, 1 / 2), (4 / 9, 1 / 4)))
    record = train_population(population, made_data())
    failed, *others = record.configurations
    assert (failed.status, failed.score, failed.pruned_at) == (FAILED, None, None)
    assert failed.error is not None
    assert failed.error.startswith("seed 100")
    assert "not finite in epoch 1" in failed.error
    assert sorted((one.status, one.pruned_at or 0, one.epochs) for one in others) == [
        (FINISHED, 0, 18),
        (PRUNED, 2, 4),
        (PRUNED, 4, 8),
    ]


def test_a_record_survives_json(tmp_path: Any) -> None:
    record = train_population(made(lrs=(1e30, 1e-2)), made_data())
    record.save(tmp_path)
    again = PopulationRecord.load(tmp_path / record.file_name)
    assert repr(again) == repr(record)  # nan is not equal to itself


def test_a_modality_alone() -> None:
    data = made_data()
    name = next(iter(data.train.inputs))
    record = train_population(made(method="unimodal", modalities=(name,)), data)
    assert {one.status for one in record.configurations} == {FINISHED}


@dataclass
class Given:
    """A search that gives a list of populations in order and keeps what it hears."""

    populations: list[Population]
    on_next: Callable[[], None] = lambda: None
    finished: dict[int, PopulationRecord] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    flying: int = 0
    most: int = 0

    @property
    def is_over(self) -> bool:
        return not self.populations and not self.flying

    def next(self) -> Population | None:
        self.on_next()
        if not self.populations:
            return None
        self.flying += 1
        self.most = max(self.most, self.flying)
        return self.populations.pop(0)

    def finish(self, population: Population, record: PopulationRecord) -> None:
        self.flying -= 1
        self.finished[population.number] = record

    def fail(self, population: Population, reason: str) -> None:
        self.flying -= 1
        self.failed[population.number] = reason


def test_processes_give_the_same_numbers_and_name_what_cannot_be_trained() -> None:
    populations = [made(number, rungs=RUNGS) for number in range(4)]
    broken = made(4)
    broken = replace(broken, configurations=(replace(broken.configurations[0], settings={"no_such": 1}),))
    search = Given([*populations, broken])
    local.run(search, made_data(), device="cpu", jobs=2)
    assert search.is_over
    assert search.most == 2
    for population in populations:
        assert results(search.finished[population.number]) == results(train_population(population, made_data()))
    assert set(search.failed) == {4}
    assert "unknown setting 'no_such'" in search.failed[4]
    assert "\n" not in search.failed[4]


def children() -> list[int]:
    """Processes of this one's pool."""
    me, found = os.getpid(), []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
                with open(f"/proc/{name}/cmdline") as file:
                    command = file.read()
            except OSError:
                continue
            if parent == me and "spawn_main" in command:
                found.append(int(name))
    return found


@pytest.mark.slow
def test_a_killed_worker_costs_a_new_try() -> None:
    long = {**BUDGET, "epochs": 200, "patience": 200}
    search = Given([made(0), made(1, budget=long), made(2)])
    killed: list[int] = []

    def kill(times: int) -> None:
        deadline = time.monotonic() + 60
        while len(killed) < times and time.monotonic() < deadline:
            alive = [pid for pid in children() if pid not in killed]
            if alive and 0 in search.finished:
                os.kill(alive[0], signal.SIGKILL)
                killed.append(alive[0])
            time.sleep(0.1)

    thread = threading.Thread(target=kill, args=(1,))
    thread.start()
    local.run(search, made_data(), device="cpu", jobs=1)
    thread.join()
    assert len(killed) == 1
    assert sorted(search.finished) == [0, 1, 2]
    assert search.failed == {}


class Deadly:
    """Ends the process that unpickles it: a worker."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


def test_a_population_that_kills_its_workers_takes_no_other_with_it() -> None:
    """Two at a time: the one that dies cannot be told from its neighbours before they are tried alone."""
    deadly: Any = Deadly()
    long = {**BUDGET, "epochs": 200, "patience": 200}
    search = Given([made(0, budget=long), made(1, configurations=(deadly,)), made(2, budget=long)])
    local.run(search, made_data(), device="cpu", jobs=2)
    assert sorted(search.finished) == [0, 2]
    assert search.failed == {1: out_of_memory(f"it died {local.MOST_TRIES} times")}


def test_torch_threads_are_left_as_they_were() -> None:
    before = torch.get_num_threads()
    local.run(Given([made(0)]), made_data(), device="cpu", jobs=2)
    assert torch.get_num_threads() == before
