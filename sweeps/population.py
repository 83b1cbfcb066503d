"""A population: configurations that share a stack. Trained on training and validation data; no test data comes here."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.encoders import sources
from benchmarks.methods import TABLE
from benchmarks.trials import FAILED, FINISHED, PRUNED, ConfigurationRecord, PopulationRecord, ReplicaRecord
from dmil.data import Split, Task
from dmil.selection import Budget
from dmil.settings import Settings, override
from dmil.train import FitResult, OnEpoch, Replica, fit
from sweeps.halving import Halving, rung_epochs

MEGABYTE = 2**20


@dataclass(frozen=True)
class Configuration:
    """One to be trained. number: its place in the study; 0 is the base, which halving spares, as what tuning is worth
    is the difference to it. params: what was searched; settings: all of them."""

    number: int
    params: dict[str, Any]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Population:
    """Everything that training one needs beside data: plain values, so that it can be sent anywhere.

    study: key of its study. number: its place there, from 0. base: name of the method in ``benchmarks.methods.TABLE``;
    method: of the table row; modalities: what the method sees. rungs: of all epochs, the share after which
    configurations are dropped, and the share kept; none for training all to the end. encoders: by modality, see
    ``dmil.encoders``.
    """

    study: str
    number: int
    method: str
    base: str
    modalities: tuple[str, ...]
    budget: dict[str, Any]
    seeds: tuple[int, ...]
    rungs: tuple[tuple[float, float], ...]
    configurations: tuple[Configuration, ...]
    encoders: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method}, population {self.number + 1}"


@dataclass(frozen=True)
class Data:
    """What a sweep may see of a dataset."""

    train: Split
    valid: Split
    task: Task

    def only(self, modalities: Sequence[str]) -> Data:
        return Data(self.train.only(modalities), self.valid.only(modalities), self.task)


def train_population(
    population: Population, data: Data, *, device: str = "cpu", on_epoch: OnEpoch | None = None
) -> PopulationRecord:
    """Trains every configuration with every seed as one stack and says what each reached on validation.

    Numbers depend on the population and the data alone, not on where or beside what this runs.

    Raises:
        torch.OutOfMemoryError: the accelerator cannot hold the stack.
    """
    method = TABLE[population.base]
    data = data.only(population.modalities)
    budget = Budget(**population.budget)
    settings: list[Settings] = [override(method.Settings(), one.settings) for one in population.configurations]
    replicas = [Replica(seed, one) for one in settings for seed in population.seeds]
    told = sources(data.train, population.encoders)
    stages = method(settings[0], told, data.task).stages(budget.epochs)
    rungs = rung_epochs(population.rungs, stages)
    base = {c for c, one in enumerate(population.configurations) if one.number == 0}
    halving = Halving(len(settings), len(population.seeds), rungs, stages[-1].name, spared=base)
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    started, clock = int(time.time() * 1000), time.perf_counter()
    results = fit(
        method,
        data.train,
        data.valid,
        data.task,
        encoders={name: population.encoders[name] for name in told if name in population.encoders},
        replicas=replicas,
        budget=budget,
        on_epoch=on_epoch,
        prune=halving,
        device=device,
    )
    n = len(population.seeds)
    return PopulationRecord(
        study=population.study,
        number=population.number,
        configurations=tuple(
            _configuration(one, results[c * n : (c + 1) * n], halving.pruned_at.get(c))
            for c, one in enumerate(population.configurations)
        ),
        seconds=time.perf_counter() - clock,
        started=started,
        ended=int(time.time() * 1000),
        device_name=torch.cuda.get_device_name(device) if on_gpu else "cpu",
        worker=f"{socket.gethostname()}:{os.getpid()}",
        peak_memory_mb=torch.cuda.max_memory_allocated(device) / MEGABYTE if on_gpu else None,
        total_memory_mb=torch.cuda.get_device_properties(device).total_memory / MEGABYTE if on_gpu else None,
    )


def _configuration(one: Configuration, results: Sequence[FitResult], pruned_at: int | None) -> ConfigurationRecord:
    failed = next((result for result in results if result.status == FAILED), None)
    bests = [result.best for result in results]
    score = loss = None
    if failed is None:
        score = sum(best["valid/acc"] if "valid/acc" in best else -best["valid/mae"] for best in bests) / len(bests)
        loss = sum(best["valid/loss"] for best in bests) / len(bests)
    return ConfigurationRecord(
        number=one.number,
        params=one.params,
        settings=one.settings,
        status=FAILED if failed else PRUNED if pruned_at is not None else FINISHED,
        score=score,
        loss=loss,
        error=f"seed {failed.replica.seed}: {failed.error}" if failed else None,
        pruned_at=pruned_at,
        epochs=sum(len(result.history) for result in results),
        seconds=sum(result.seconds for result in results),
        replicas=tuple(
            ReplicaRecord(
                seed=result.replica.seed,
                status=result.status,
                error=result.error,
                best=result.best,
                best_epoch=result.best_epoch,
                history=tuple(result.history),
                seconds=result.seconds,
            )
            for result in results
        ),
    )
