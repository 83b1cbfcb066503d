"""What a backend draws populations from, and what it says when it cannot train one."""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from benchmarks.provenance import torch_release
from benchmarks.trials import PopulationRecord
from dmil.data import Split
from sweeps.population import Data, Population, train_population

MOST_FAILURES = 3  # of a population's workers, before it is given up
CONTEXT_MB = 600.0  # what a process takes of an accelerator before its first tensor
HEADROOM = 1.5  # of memory: fragments, and settings that need more than those measured
SHARE_STEPS = 20  # shares of an accelerator are multiples of a twentieth, a twentieth at least


class Search(Protocol):
    """Gives populations and takes what became of them; called in the driver's process, from one thread at a time."""

    @property
    def is_over(self) -> bool:
        """Nothing is left to train and nothing is being trained."""

    def next(self) -> Population | None:
        """The next population that may start now; None: others must finish first, or all are handed out."""

    def finish(self, population: Population, record: PopulationRecord) -> None:
        """It is trained."""

    def fail(self, population: Population, reason: str) -> None:
        """It cannot be trained, however often one tries: its study is given up, the others go on."""


def compact(data: Data) -> Data:
    """The same data in tensors of their own: a view takes all that it looks into along, test rows maybe."""

    def own(split: Split) -> Split:
        inputs = {name: x.clone() for name, x in split.inputs.items()}
        truth = None if split.truth is None else split.truth.clone()
        rows = {name: index.clone() for name, index in split.rows.items()}
        return replace(split, inputs=inputs, target=split.target.clone(), truth=truth, rows=rows)

    return Data(own(data.train), own(data.valid), data.task)


def reason(error: BaseException) -> str:
    """One line that says why a population could not be trained."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    return out_of_memory(text) if is_out_of_memory(error) else text


def out_of_memory(text: str) -> str:
    return f"worker out of memory: {text.rstrip('. ')}; use a smaller --population or fewer --jobs"


def is_out_of_memory(error: BaseException) -> bool:
    """torch says it of a CPU's memory only in words."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator: can't" in str(error)


def answer(population: Population, share: float, data: Data, device: str, version: str) -> dict[str, str]:
    """A record as JSON text, which Tune leaves as it is; or the reason why there is none."""
    if torch_release() != version:
        return {"failure": f"a worker has torch {torch_release()}, not {version}; install the same on all nodes"}
    torch.set_num_threads(1)
    if device != "cpu":
        torch.cuda.set_per_process_memory_fraction(share)
    try:
        return {"record": json.dumps(train_population(population, data, device=device).to_dict())}
    except Exception as error:
        if is_out_of_memory(error):
            return {"memory": reason(error)}
        if device != "cpu":
            raise  # after most errors of CUDA a process is of no more use: Tune tries again in a new one
        return {"failure": reason(error)}
    finally:
        if device != "cpu":
            torch.cuda.empty_cache()


def last_failure(note: str) -> str:
    """One line of Tune's note of a trial's failures: it ends with the exception, or what became of the process."""
    lines = [line.strip() for line in note.rpartition("Failure #")[2].splitlines()[1:] if line.strip()]
    low = next((line for line in lines if "running low on memory" in line), None)
    text = (low or lines[-1] if lines else "its worker died")[:300]
    return out_of_memory(text) if low else f"{text} ({MOST_FAILURES + 1} tries)"


def gpu_share(*, peak_per_replica_mb: float, n_replicas: int, total_mb: float) -> float:
    """Share of an accelerator of ``total_mb`` that so many replicas should be given."""
    needed = (CONTEXT_MB + HEADROOM * peak_per_replica_mb * n_replicas) / total_mb
    return min(max(1, math.ceil(needed * SHARE_STEPS)), SHARE_STEPS) / SHARE_STEPS


def n_replicas(population: Population) -> int:
    return len(population.configurations) * len(population.seeds)


@dataclass
class Queue:
    """Populations of a search on their way to devices: one CPU each, and where ``is_on_gpu`` a share of a GPU.

    The first of a study takes a whole GPU, the next ones what its memory was measured to need. One that needs more
    than its share is given a whole GPU before it is given up. A population waits here until the devices can hold it,
    so that its share is set by all that is known when it starts.
    """

    search: Search
    is_on_gpu: bool
    waiting: deque[Population] = field(default_factory=deque)
    running: dict[tuple[str, int], float] = field(default_factory=dict)
    measured: dict[str, tuple[float, float]] = field(default_factory=dict)  # study -> MB per replica, MB in all
    whole: set[tuple[str, int]] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        return not self.running and not self.waiting and self.search.is_over

    def next(self, *, n_cpus: float, n_gpus: float) -> tuple[Population, float] | None:
        """The next population and its share of a GPU, if devices of so many CPUs and GPUs can hold it."""
        if len(self.running) + 1 > n_cpus:
            return None
        if not self.waiting:
            population = self.search.next()
            if population is None:
                return None
            self.waiting.append(population)
        share = self._share(self.waiting[0])
        if sum(self.running.values()) + share > n_gpus + 1e-6:
            return None
        population = self.waiting.popleft()
        self.running[_place(population)] = share
        return population, share

    def finish(self, population: Population, record: PopulationRecord) -> None:
        self.running.pop(_place(population))
        if record.peak_memory_mb is not None and record.total_memory_mb is not None:
            each = record.peak_memory_mb / n_replicas(population)
            known = self.measured.get(population.study, (0.0, 0.0))[0]
            self.measured[population.study] = max(each, known), record.total_memory_mb
        self.search.finish(population, record)

    def fail(self, population: Population, why: str, *, is_out_of_memory: bool = False) -> None:
        share = self.running.pop(_place(population))
        if is_out_of_memory and 0 < share < 1:
            self.whole.add(_place(population))
            self.waiting.append(population)
        else:
            self.search.fail(population, why)

    def _share(self, population: Population) -> float:
        if not self.is_on_gpu:
            return 0.0
        if population.study not in self.measured or _place(population) in self.whole:
            return 1.0
        each, total = self.measured[population.study]
        return gpu_share(peak_per_replica_mb=each, n_replicas=n_replicas(population), total_mb=total)


def _place(population: Population) -> tuple[str, int]:
    return population.study, population.number
