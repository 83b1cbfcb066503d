"""`python -m sweeps.speed`: what populations are worth, against one Ray trial for each configuration; and halving.

Times are paired: each round runs all contestants in Ray Tune on this machine, and ratios are medians over rounds. Ray's
start is not counted for any of them.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.methods import TABLE, rows
from benchmarks.plan import row_settings
from benchmarks.registry import load_dataset
from benchmarks.suite import DEFAULT_SUITE, load_suite
from benchmarks.trials import FINISHED, ConfigurationRecord, PopulationRecord
from dmil.seeds import derive_seed
from dmil.selection import Budget
from sweeps.halving import RUNGS
from sweeps.plan import FIRST_SEED
from sweeps.population import Configuration, Data, Population
from sweeps.space import Space, search_space, shared_names


@dataclass
class Fixed:
    """A search over populations known beforehand. seconds: from handing out the first to getting back the last."""

    waiting: deque[Population]
    records: list[PopulationRecord] = field(default_factory=list)
    n_flying: int = 0
    started: float = 0.0
    seconds: float = 0.0

    @property
    def is_over(self) -> bool:
        return not self.waiting and not self.n_flying

    def next(self) -> Population | None:
        if not self.waiting:
            return None
        self.started = self.started or time.perf_counter()
        self.n_flying += 1
        return self.waiting.popleft()

    def finish(self, population: Population, record: PopulationRecord) -> None:
        self.n_flying -= 1
        self.records.append(record)
        self.seconds = time.perf_counter() - self.started

    def fail(self, population: Population, reason: str) -> None:
        raise RuntimeError(f"{population}: {reason}")

    @property
    def configurations(self) -> list[ConfigurationRecord]:
        return [one for record in self.records for one in record.configurations]

    @property
    def best(self) -> float:
        return max(one.score for one in self.configurations if one.status == FINISHED and one.score is not None)

    @property
    def n_epochs(self) -> int:
        return sum(one.epochs for one in self.configurations)


def draw(space: Space, fixed: Sequence[str], base: dict[str, object], n: int) -> list[Configuration]:
    """The base, then random ones that share the ``fixed`` settings with it."""
    chance = random.Random(derive_seed("speed"))
    found = [Configuration(0, {}, dict(base))]
    for number in range(1, n):
        params = {}
        for name, entry in space.items():
            if name in fixed or "choices" in entry:
                continue
            low, high = entry["low"], entry["high"]
            share = chance.random()
            params[name] = low * (high / low) ** share if entry["log"] else low + share * (high - low)
        found.append(Configuration(number, params, base | params))
    return found


def contest(
    configurations: Sequence[Configuration], per_population: int, template: Population, data: Data, place: Place
) -> Fixed:
    """Trains all configurations in populations of a size."""
    from sweeps import cluster

    parts = [configurations[i : i + per_population] for i in range(0, len(configurations), per_population)]
    populations = deque(
        Population(**vars(template) | {"number": k, "configurations": tuple(part)}) for k, part in enumerate(parts)
    )
    search = Fixed(populations)
    with tempfile.TemporaryDirectory(prefix="dmil-") as scratch:
        cluster.run(search, data, device=place.device, jobs=place.jobs, address=None, scratch=Path(scratch))
    return search


@dataclass(frozen=True)
class Place:
    device: str
    jobs: int


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m sweeps.speed", description=__doc__)
    parser.add_argument("--dataset", default="mosi")
    parser.add_argument("--method", default="dmil")
    parser.add_argument("--configurations", type=int, default=32)
    parser.add_argument("--population", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="instead of the suite's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args(arguments)
    suite, splits = load_suite(DEFAULT_SUITE, options.dataset), load_dataset(options.dataset)
    data = Data(splits.train, splits.valid, splits.task)
    (row,) = rows([options.method], tuple(splits.train.inputs))
    settings = row_settings(row, suite.settings)
    budget = asdict(Budget(**suite.budget | ({"epochs": options.epochs} if options.epochs else {})))
    space = search_space(TABLE[row.base])
    drawn = draw(space, shared_names(space, settings), settings.to_dict(), options.configurations)
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + options.seeds))
    whole = Population("speed", 0, row.name, row.base, row.modalities, budget, seeds, (), ())
    halved = Population("speed", 0, row.name, row.base, row.modalities, budget, seeds, RUNGS, ())
    place = Place(options.device, options.jobs)
    n = options.population
    contestants = {
        "one configuration a trial": (1, whole),
        f"populations of {n}": (n, whole),
        f"populations of {n}, halving": (n, halved),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    print(
        f"{options.configurations} configurations x {options.seeds} seeds of {row.name} on {options.dataset}, ", end=""
    )
    print(f"{budget['epochs']} epochs at most, {place.jobs} at a time on {place.device}", flush=True)
    for _ in range(options.rounds):
        for name, (per_population, template) in contestants.items():
            search = contest(drawn, per_population, template, data, place)
            times[name].append(search.seconds)
            trained = sum(record.seconds for record in search.records)
            print(f"  {name:<30} {search.seconds:7.1f} s, {trained:7.1f} s of training, ", end="")
            print(f"{search.n_epochs} epochs, best {search.best:.4f}", flush=True)
    first, *others = times
    for name in others:
        ratios = sorted(one / other for one, other in zip(times[first], times[name], strict=True))
        print(f"{name}: {statistics.median(ratios):.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
