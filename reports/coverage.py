"""``python -m reports.coverage``: how often the intervals of reports hold the truth, on simulated leaderboards.

The truth is known in a model where method m with seed s is right on sample i if

    level_m + easiness_i + suitability_mi + luck_ms + noise_mis > 0,

all of them normal: its expected accuracy over endless samples and seeds is a value of the normal distribution
function. Samples of one group have a part of easiness and suitability in common. Of a regression the same sum is the
error of a prediction, and the mean of its absolute value that of a folded normal distribution.

For aggregates over datasets, scores of two methods are normal with known means, the datasets fixed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.aggregate import CUT, interquartile_mean, probability_of_improvement
from reports.bootstrap import drawn_means, interval_of, sums_of
from reports.statistics import CONFIDENCE, generator, summarise

N_BOARDS = 1000
# Leaderboards that share their draws, as the rows of one table do.
BATCH = 50
EASINESS, SUITABILITY = 1.5, 1.0


@dataclass(frozen=True)
class Regime:
    """What the leaderboards are like. luck: standard deviation over seeds, on the scale where noise has 1.

    accuracies: true ones of two methods; biases: instead, of a regression, what their errors have for a level, in
    standard deviations of an error. n_groups: of samples, 0 for samples without groups; shared: part of the
    variance of easiness and suitability that samples of one group have in common.
    """

    name: str
    n_samples: int = 752
    n_seeds: int = 5
    luck: float = 0.1
    accuracies: tuple[float, float] = (0.76, 0.78)
    n_groups: int = 0
    shared: float = 0.0
    biases: tuple[float, float] | None = None

    @property
    def truth(self) -> float:
        if self.biases is None:
            return self.accuracies[0] - self.accuracies[1]
        one, other = (self.scale * _folded(bias) for bias in self.biases)
        return other - one

    @property
    def scale(self) -> float:
        """Standard deviation of all that chance adds to a level."""
        return math.sqrt(EASINESS**2 + SUITABILITY**2 + self.luck**2 + 1)


@dataclass(frozen=True)
class Coverage:
    """Shares of leaderboards whose interval holds the truth: the one reported, the percentile bootstrap without
    correction, and Student's t over seeds alone. width: mean of the one reported."""

    reported: float
    plain: float
    over_seeds: float
    width: float


REGIMES = (
    Regime("only samples matter", luck=0.0),
    Regime("seeds matter a little", luck=0.05),
    Regime("seeds matter", luck=0.2),
    Regime("seeds matter most", luck=0.8),
    Regime("a true tie", n_samples=500, accuracies=(0.75, 0.75)),
    Regime("a large difference", n_samples=500, accuracies=(0.55, 0.80)),
    Regime("nearly perfect", n_samples=500, accuracies=(0.97, 0.985), luck=0.2),
    Regime("three seeds", n_seeds=3, luck=0.2),
    Regime("ten seeds", n_seeds=10, luck=0.2),
    Regime("31 groups", n_groups=31, shared=0.1),
    Regime("31 groups, seeds matter", n_groups=31, shared=0.1, luck=0.2),
    Regime("six groups, seeds matter", n_groups=6, shared=0.1, luck=0.2),
    Regime("errors", luck=0.2, biases=(0.2, 0.4)),
    Regime("errors, 31 groups", n_groups=31, shared=0.1, luck=0.2, biases=(0.2, 0.4)),
)
# Datasets and seeds.
AGGREGATES = ((3, 5), (8, 5), (4, 3), (4, 10))
# Of the scores of a dataset: standard deviation over seeds, and what one of two methods has more of on average.
SCORE_LUCK, SCORE_GAIN = 0.02, 0.01


def _folded(mean: float) -> float:
    """Expected absolute value of a normal number with this mean and deviation 1."""
    return math.sqrt(2 / math.pi) * math.exp(-(mean**2) / 2) + mean * math.erf(mean / math.sqrt(2))


def coverage(regime: Regime, n_boards: int = N_BOARDS) -> Coverage:
    """Over leaderboards that differ in samples, groups and seeds."""
    found = [one for batch in range(-(-n_boards // BATCH)) for one in _batch(regime, f"{regime.name} {batch}")]
    reported, plain, over_seeds, width = np.mean(found[:n_boards], axis=0).tolist()
    return Coverage(reported, plain, over_seeds, width)


def _batch(regime: Regime, name: str) -> Iterator[tuple[float, ...]]:
    """Of each leaderboard: whether the three intervals hold the truth, and the width of the one reported."""
    rng = generator("coverage", name)
    boards, sizes = _boards(regime, rng)
    for sums, drawn in zip(boards, drawn_means(boards, sizes, name), strict=True):
        reported = interval_of(sums, sizes, drawn, largest=1.0 if regime.biases is None else math.inf)
        plain = drawn[0] + drawn[1] - reported.mean
        low, high = np.quantile(plain, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        seeds = summarise((sums.sum(axis=0) / sizes.sum()).tolist())
        limits = (reported.low, reported.high), (float(low), float(high)), (seeds.low, seeds.high)
        hits = [low is not None and high is not None and low <= regime.truth <= high for low, high in limits]
        assert reported.low is not None
        assert reported.high is not None
        yield *hits, reported.high - reported.low


def _boards(regime: Regime, rng: np.random.Generator) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Sums of differences by unit and seed of every leaderboard of a batch, and the sizes of the units."""
    from scipy.special import ndtri

    n_units = regime.n_groups or regime.n_samples
    # Groups of a video's utterances differ in size by a factor of several.
    shares = rng.dirichlet(np.full(n_units, 3.0)) if regime.n_groups else np.full(n_units, 1 / n_units)
    sizes = rng.multinomial(regime.n_samples - n_units, shares) + 1
    units = np.repeat(np.arange(n_units), sizes)
    standard = regime.biases or [float(ndtri(accuracy)) for accuracy in regime.accuracies]
    boards = []
    for _ in range(BATCH):
        easiness = _by_sample(regime, units, EASINESS, rng)
        one, other = (regime.scale * level + _chance(regime, units, easiness, rng) for level in standard)
        if regime.biases is None:
            boards.append(sums_of((one > 0).astype(np.int8) - (other > 0).astype(np.int8), units))
        else:
            boards.append(sums_of(np.abs(other) - np.abs(one), units))
    return boards, sizes.astype(np.float64)


def _chance(
    regime: Regime, units: NDArray[np.int64], easiness: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """What chance adds to the level of one method, (N, S)."""
    luck = regime.luck * rng.standard_normal(regime.n_seeds)
    noise = rng.standard_normal((regime.n_samples, regime.n_seeds))
    return (easiness + _by_sample(regime, units, SUITABILITY, rng))[:, None] + luck + noise


def _by_sample(
    regime: Regime, units: NDArray[np.int64], deviation: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(N,) with that standard deviation, in part common to the samples of a group."""
    own = rng.standard_normal(regime.n_samples)
    common = rng.standard_normal(units[-1] + 1)[units]
    return deviation * (math.sqrt(1 - regime.shared) * own + math.sqrt(regime.shared) * common)


def aggregate_coverage(n_datasets: int, n_seeds: int, n_boards: int = N_BOARDS) -> tuple[float, float]:
    """Share of intervals that hold the truth, of the interquartile mean and of the probability of improvement."""
    from scipy.special import ndtr, ndtri
    from scipy.stats import trim_mean

    means = np.linspace(0.2, 0.8, n_datasets)
    everyone = means[:, None] + SCORE_LUCK * ndtri((np.arange(10_000) + 0.5) / 10_000)
    truths = float(trim_mean(everyone, CUT, axis=None)), float(ndtr(SCORE_GAIN / SCORE_LUCK / math.sqrt(2)))
    hits = []
    for board in range(n_boards):
        name = f"{n_datasets} {n_seeds} {board}"
        one, other = means[:, None] + SCORE_LUCK * generator("aggregates", name).standard_normal(
            (2, n_datasets, n_seeds)
        )
        found = (
            interquartile_mean(list(one), name),
            probability_of_improvement(list(one + SCORE_GAIN), list(other), name),
        )
        pairs = zip(found, truths, strict=True)
        hits.append([e.low is not None and e.high is not None and e.low <= truth <= e.high for e, truth in pairs])
    iqm, improvement = np.mean(hits, axis=0).tolist()
    return iqm, improvement


def main() -> None:
    """Prints a line per regime."""
    print(f"{N_BOARDS:,} simulated leaderboards each; share whose {CONFIDENCE:.0%} interval holds the truth")
    print(f"{'':26} reported   plain  t over seeds   width")
    for regime in REGIMES:
        found = coverage(regime, N_BOARDS)
        shares = f"{found.reported:8.3f} {found.plain:7.3f} {found.over_seeds:13.3f}"
        print(f"{regime.name:26} {shares} {found.width:7.3f}", flush=True)
    print(f"\n{'':26} IQM   probability of improvement")
    for n_datasets, n_seeds in AGGREGATES:
        iqm, improvement = aggregate_coverage(n_datasets, n_seeds, N_BOARDS)
        print(f"{n_datasets} datasets, {n_seeds} seeds{'':10} {iqm:.3f} {improvement:.3f}", flush=True)


if __name__ == "__main__":
    main()
