"""Populations side by side in processes of this machine, without Ray."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import torch

from benchmarks.trials import PopulationRecord
from sweeps.backend import Search, out_of_memory, reason
from sweeps.population import Data, Population, train_population

MOST_TRIES = 3
PARENT_CHECK_SECONDS = 2.0

_data: Data | None = None


def run(search: Search, data: Data, *, device: str, jobs: int) -> None:
    """Trains every population of a search, ``jobs`` at a time; a worker that dies costs its population a new try."""
    tries: dict[tuple[str, int], int] = {}
    waiting: list[Population] = []
    while not search.is_over:
        with _pool(data, jobs) as pool:
            waiting = _work(pool, search, waiting, device, jobs)
        assert waiting or search.is_over, "a search that waits for nothing gives work"
        for population in list(waiting):
            place = (population.study, population.number)
            tries[place] = tries.get(place, 0) + 1
            if tries[place] == MOST_TRIES:
                waiting.remove(population)
                search.fail(population, out_of_memory(f"it died {MOST_TRIES} times"))


def _work(
    pool: ProcessPoolExecutor, search: Search, waiting: list[Population], device: str, jobs: int
) -> list[Population]:
    """Until all is done, or the pool breaks; returns the populations that were in it then."""
    running: dict[Future[PopulationRecord], Population] = {}
    waiting = list(waiting)
    while True:
        while len(running) < jobs and (population := waiting.pop(0) if waiting else search.next()):
            try:
                running[pool.submit(_train, population, device)] = population
            except BrokenProcessPool:
                return [population, *running.values(), *waiting]
        if not running:
            return []
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            population = running.pop(future)
            try:
                record = future.result()
            except BrokenProcessPool:
                return [population, *running.values(), *waiting]
            except Exception as error:
                search.fail(population, reason(error))
            else:
                search.finish(population, record)


def _pool(data: Data, jobs: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(data, os.getpid(), jobs))


def _start(data: Data, parent: int, jobs: int) -> None:
    """A worker begins: it keeps the data, takes its share of the cores, and ends with the process that started it."""
    global _data
    _data = data
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // jobs))
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)


def _train(population: Population, device: str) -> PopulationRecord:
    assert _data is not None
    return train_population(population, _data, device=device)
