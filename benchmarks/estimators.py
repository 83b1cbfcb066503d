"""`python -m benchmarks.estimators`: LSMI and the batch estimator against the Gaussians whose densities are known."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.registry import estimator_problems
from dmil.interactions.atoms import ATOMS
from dmil.interactions.batch import BatchSettings, fit_batch
from dmil.interactions.lsmi import LsmiSettings, fit_lsmi
from dmil.interactions.pointwise import pointwise
from dmil.interactions.training import Schedule
from dmil.seeds import generator

Atoms = tuple[float, ...]
Key = tuple[int, float, float]
ORACLE_SAMPLES = 200_000


@dataclass(frozen=True)
class Preset:
    """How much data and which settings. n_steps: of the solved coupling in a batch of ``n_test``; 0 is the learned
    coupling in batches of its own size."""

    n_train: int
    n_test: int
    lsmi: LsmiSettings
    batch: BatchSettings
    n_steps: int = 0


PRESETS = {
    # The authors' settings and the size of the demonstration in LSMI's code; more test samples, to measure bias.
    "published": Preset(1600, 2048, LsmiSettings(), BatchSettings()),
    # What ten classes need: a density that can hold ten modes, and a q with more support.
    "large": Preset(
        30_000,
        2048,
        LsmiSettings(
            n_kernels=20,
            discriminators=Schedule(epochs=10, batch_size=64, step=7),
            densities=Schedule(epochs=40, batch_size=256, lr=2e-2, step=30),
        ),
        BatchSettings(classifiers=Schedule(epochs=20, batch_size=256), coupling=Schedule(epochs=0, batch_size=256)),
        n_steps=100,
    ),
}


@dataclass(frozen=True)
class Result:
    """One row: (C, rho, sigma), the atoms it should have and the mean of the seeds, in nats."""

    key: Key
    estimator: str
    expected: Atoms
    found: Atoms
    seconds: float

    @property
    def error(self) -> float:
        """The largest deviation of an atom."""
        return max(abs(a - b) for a, b in zip(self.expected, self.found, strict=True))

    def __str__(self) -> str:
        expected, found = (" ".join(f"{atom:7.3f}" for atom in atoms) for atoms in (self.expected, self.found))
        setting = "/".join(f"{value:g}" for value in self.key)
        return f"{self.estimator:<6} {setting:<12} {expected}  | {found}  | {self.error:6.3f}  {self.seconds:5.0f} s"


HEADER = "       C/rho/sigma  expected r, u1, u2, s            | mean of the seeds                | largest error"


def expected(key: Key) -> dict[str, Atoms]:
    """What each estimator estimates, by the true densities: adjusted LSMI; BROJA, where the symmetry of the two
    modalities (equal p(x_m | y)) makes I(X1;Y) the redundancy and leaves nothing unique."""
    problem = estimator_problems().Gaussian(*key)
    terms = problem.terms(*problem.sample(ORACLE_SAMPLES, generator("estimators", "oracle")))
    lsmi = pointwise(**{name: term.unsqueeze(0) for name, term in terms.items()}).replica(0).mean(adjusted=True)
    alone = float(terms["i1"].mean() + terms["i2"].mean()) / 2
    return {"lsmi": tuple(lsmi.atoms.values()), "batch": (alone, 0.0, 0.0, lsmi.total - alone)}


def samples(key: Key, n: int, seeds: Sequence[int], part: str) -> list[Tensor]:
    """x1, x2, y with a leading dimension of seeds, each with data of its own."""
    problem = estimator_problems().Gaussian(*key)
    draws = [problem.sample(n, generator("estimators", part, seed)) for seed in seeds]
    return [torch.stack(column) for column in zip(*draws, strict=True)]


def estimate(key: Key, preset: Preset, seeds: Sequence[int], estimator: str) -> list[Atoms]:
    """Atoms of each seed: adjusted LSMI, or the raw batch estimate."""
    train, test = (samples(key, n, seeds, part) for n, part in ((preset.n_train, "train"), (preset.n_test, "test")))
    x1, x2, y = train
    found: list[Any]
    if estimator == "lsmi":
        terms = fit_lsmi(x1, x2, y, key[0], seeds=seeds, settings=preset.lsmi).estimate(*test)
        found = [terms.replica(row).mean(adjusted=True) for row in range(len(seeds))]
    else:
        size = preset.n_test if preset.n_steps else None
        model = fit_batch(x1, x2, y, key[0], seeds=seeds, settings=preset.batch)
        found = model.estimate(test[0], test[1], batch_size=size, n_steps=preset.n_steps)
    return [tuple(each.atoms.values()) for each in found]


def results(keys: Sequence[Key], estimators: Sequence[str], preset: Preset, seeds: Sequence[int]) -> Iterator[Result]:
    """Row after row, as they are done."""
    for key in keys:
        wanted = expected(key)
        for estimator in estimators:
            started = time.perf_counter()
            atoms = torch.tensor(estimate(key, preset, seeds, estimator))
            found = tuple(atoms.mean(0).tolist())
            yield Result(key, estimator, wanted[estimator], found, time.perf_counter() - started)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimators", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="large")
    parser.add_argument("--estimators", default="lsmi,batch", help="lsmi, batch or both, with a comma")
    parser.add_argument("--classes", type=int, choices=(2, 10), help="rows with this number of classes only")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    estimators = options.estimators.split(",")
    if not set(estimators) <= {"lsmi", "batch"} or options.seeds < 1:
        parser.error(f"--estimators takes lsmi, batch, and --seeds 1 or more, but got {options}")
    keys = [key for key in estimator_problems().GAUSSIAN_TABLE if options.classes in (None, key[0])]
    preset, n = PRESETS[options.preset], len(keys) * len(estimators)
    print(f"{options.preset}: {preset.n_train} training, {preset.n_test} test samples, {options.seeds} seeds; nats")
    print(f"{HEADER} of {', '.join(ATOMS)}", flush=True)
    print(f"  row 1 of {n}", end="\r", file=sys.stderr, flush=True)
    for number, result in enumerate(results(keys, estimators, preset, range(options.seeds)), 1):
        print(result, flush=True)
        print(f"  row {min(number + 1, n)} of {n}", end="\r", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
