"""Populations side by side in processes of this machine, without Ray."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import torch

from benchmarks.trials import PopulationRecord
from sweeps.backend import Search, compact, out_of_memory, reason
from sweeps.population import Data, Population, train_population

MOST_TRIES = 3
PARENT_CHECK_SECONDS = 2.0

_data: Data | None = None


def run(search: Search, data: Data, *, device: str, jobs: int) -> None:
    """Trains every population of a search, ``jobs`` at a time.

    Nobody can tell which worker broke a pool; populations that were in it are tried again one at a time.
    """
    packed = pickle.dumps(compact(data))
    while not search.is_over:
        with _pool(packed, jobs) as pool:
            suspects = _work(pool, search, device, jobs)
        assert suspects or search.is_over, "a search that waits for nothing gives work"
        for population in suspects:
            _try_alone(packed, search, population, device)


def _work(pool: ProcessPoolExecutor, search: Search, device: str, jobs: int) -> list[Population]:
    """Until all is done, or the pool breaks; returns the populations that were in it then."""
    running: dict[Future[PopulationRecord], Population] = {}
    while True:
        while len(running) < jobs and (population := search.next()):
            try:
                running[pool.submit(_train, population, device)] = population
            except BrokenProcessPool:
                return [population, *running.values()]
        if not running:
            return []
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            population = running.pop(future)
            if not _take(future, search, population):
                return [population, *running.values()]


def _try_alone(packed: bytes, search: Search, population: Population, device: str) -> None:
    """After a first try in company."""
    for _ in range(MOST_TRIES - 1):
        with _pool(packed, 1) as pool:
            if _take(pool.submit(_train, population, device), search, population):
                return
    search.fail(population, out_of_memory(f"it died {MOST_TRIES} times"))


def _take(future: Future[PopulationRecord], search: Search, population: Population) -> bool:
    """Tells the search what became of a population; False where its worker may have died."""
    try:
        record = future.result()
    except BrokenProcessPool:
        return False
    except Exception as error:
        search.fail(population, reason(error))
    else:
        search.finish(population, record)
    return True


def _pool(packed: bytes, jobs: int) -> ProcessPoolExecutor:
    """packed: the data as bytes; torch would send its tensors through /dev/shm, of which containers have little."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(packed, os.getpid()))


def _start(packed: bytes, parent: int) -> None:
    """A worker begins: it keeps the data, has one thread as in Ray, and ends with the process that started it."""
    global _data
    _data = pickle.loads(packed)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)


def _train(population: Population, device: str) -> PopulationRecord:
    assert _data is not None
    return train_population(population, _data, device=device)
