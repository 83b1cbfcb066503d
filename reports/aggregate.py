"""Methods across datasets: pure functions of scores, methods × datasets × seeds.

Scores of one method are a list with one array per dataset, (n_seeds,), as numbers of seeds may differ; every dataset
weighs the same. Accuracies of different datasets are comparable after ``normalise`` alone: 0 is what answering with
the label frequencies has, 1 is perfect. Nothing here knows holes: pass complete cells only.

Intervals are stratified bootstrap intervals (Agarwal et al. 2021, "Deep reinforcement learning at the edge of the
statistical precipice"): seeds are drawn with replacement within each dataset, datasets are fixed, so they say nothing
of further datasets. Resampling n seeds shows (n - 1) / n of their variance and knows no t quantile, too little
for five: deviations from the estimate are widened by sqrt(n / (n - 1)) t / z. With 3 to 5 seeds that raises the share
of simulated intervals of the interquartile mean that hold the truth from 80-91 to 93-97 %, and of the probability of
improvement from 88-94 to 95-98 % (``reports.coverage``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.statistics import CONFIDENCE, MIN_SEEDS, generator

Scores = Sequence[NDArray[np.float64]]
N_RESAMPLES = 2000
MIN_DATASETS_FOR_RANKS = 8
ALPHA = 0.05
MAX_EXACT = 13
TIE = 1e-9
# Share that an interquartile mean cuts at either end.
CUT = 0.25


@dataclass(frozen=True)
class Estimate:
    """low and high: 95 % stratified bootstrap interval, None where a dataset has fewer than ``MIN_SEEDS`` seeds."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RankTest:
    """Friedman's test, then Wilcoxon's signed-rank test of every pair with Holm's correction.

    friedman_p: of "all methods are alike". pairs: (method, method) -> corrected p; empty where Friedman's test finds
    no difference, for then no pair is tested. groups: for a critical-difference diagram, methods by place in the
    input, best mean rank first, none of which the tests tell apart; each as large as can be, two methods at least.
    """

    friedman_p: float
    pairs: dict[tuple[int, int], float]
    groups: tuple[tuple[int, ...], ...]


def normalise(accuracy: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Accuracy above the floor as a share of what is there to gain: 0 at the floor, 1 when perfect, negative below.

    floor: accuracy of the constant row, below 1. Raises ValueError where it is not.
    """
    if not 0 <= floor < 1:
        raise ValueError(f"`0 <= floor < 1` must hold, but got floor={floor}")
    return (np.asarray(accuracy, dtype=np.float64) - floor) / (1 - floor)


def interquartile_mean(scores: Scores, name: str) -> Estimate:
    """Mean of the middle half of all runs of a method, on all datasets together.

    name: of the random numbers. A dataset with fewer seeds than another weighs as much.
    """
    rng = generator("interquartile mean", name)
    draws = _middle([_resampled(runs, rng) for runs in scores])
    value = float(_middle([runs[None] for runs in scores])[0])
    n_runs = sum(len(runs) for runs in scores)
    # The runs cut take their degrees of freedom with them (Tukey and McLaughlin 1963).
    return _estimate(value, draws, [len(runs) for runs in scores], kept=1 - 2 * int(CUT * n_runs) / n_runs)


def _middle(scores: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(B,) from one (B, n_seeds) per dataset."""
    from scipy.stats import trim_mean

    common = math.lcm(*(runs.shape[1] for runs in scores))
    pooled = [np.repeat(runs, common // runs.shape[1], axis=1) for runs in scores]
    return np.asarray(trim_mean(np.concatenate(pooled, axis=1), CUT, axis=1))


def probability_of_improvement(one: Scores, other: Scores, name: str) -> Estimate:
    """How likely a run of one method is better than a run of the other on a dataset drawn at random, ties half.

    Mean over datasets of the Mann-Whitney statistic over the product of the numbers of runs. name: of the random
    numbers.
    """
    both = list(zip(one, other, strict=True))
    value = float(np.mean([_superiority(x[None], y[None]) for x, y in both]))
    rng = generator("probability of improvement", name)
    draws = np.mean([_superiority(_resampled(x, rng), _resampled(y, rng)) for x, y in both], axis=0)
    found = _estimate(value, draws, [min(len(x), len(y)) for x, y in both])
    if found.low is None or found.high is None:
        return found
    return Estimate(value, max(found.low, 0.0), min(found.high, 1.0))


def _superiority(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(X > Y) + P(X = Y) / 2 of every resample. x: (B, n), y: (B, m); (B,)."""
    return np.asarray((np.sign(x[:, :, None] - y[:, None, :]) / 2 + 0.5).mean(axis=(1, 2)))


def mean_ranks(scores: Sequence[Scores]) -> NDArray[np.float64]:
    """Mean over datasets of each method's rank by mean score, 1 the best; ties share their ranks.

    scores: methods × datasets × seeds. (n_methods,).
    """
    from scipy.stats import rankdata

    return np.asarray(rankdata(-_means(scores), axis=0).mean(axis=1))


def rank_test(scores: Sequence[Scores]) -> RankTest | None:
    """Whether mean scores on datasets tell methods apart; None where ``why_no_rank_test`` has a reason.

    scores: methods × datasets × seeds.
    """
    from scipy.stats import friedmanchisquare

    means = _means(scores)
    if why_no_rank_test(means.shape[1], len(means)):
        return None
    if not np.ptp(means, axis=0).any():
        return RankTest(1.0, {}, (tuple(range(len(means))),))
    friedman_p = float(friedmanchisquare(*means).pvalue)
    pairs = list(itertools.combinations(range(len(means)), 2)) if friedman_p < ALPHA else []
    corrected = holm([signed_rank(means[i] - means[j]) for i, j in pairs])
    found = dict(zip(pairs, corrected, strict=True))
    order = np.argsort(mean_ranks(scores), kind="stable").tolist()
    return RankTest(friedman_p, found, _groups(order, found))


def why_no_rank_test(n_datasets: int, n_methods: int) -> str:
    """Why there is no rank test and no critical-difference diagram, empty where there is."""
    if n_datasets < MIN_DATASETS_FOR_RANKS:
        found = "1 dataset holds" if n_datasets == 1 else f"{n_datasets} datasets hold"
        return (
            f"No rank test and no critical-difference diagram: {found} complete rows of every method compared, and "
            f"with fewer than {MIN_DATASETS_FOR_RANKS} such a test can hardly tell methods apart."
        )
    if n_methods < 3:
        return f"No rank test and no critical-difference diagram: they compare three methods or more, not {n_methods}."
    return ""


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction, in the order given: each p times the number of those not smaller."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors), 1)
    return [float(value) for value in corrected]


def signed_rank(differences: NDArray[np.float64]) -> float:
    """Wilcoxon's two-sided p of (n_datasets,); datasets where both are alike keep their ranks (Pratt 1959), so that
    they count against a difference.

    Exact up to ``MAX_EXACT`` differences, by all ways to give them signs (what SciPy does with ties, a hundred times
    faster); above, SciPy's approximation.
    """
    from scipy.stats import rankdata, wilcoxon

    moved = np.flatnonzero(differences)
    if len(moved) > MAX_EXACT:
        return float(wilcoxon(differences, zero_method="pratt").pvalue)
    ranks = rankdata(np.abs(differences))
    signs = np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1
    sums = signs @ ranks[moved]
    found = ranks[differences > 0].sum()
    return float(min(1.0, 2 * min((sums <= found + TIE).mean(), (sums >= found - TIE).mean())))


def _groups(order: list[int], pairs: dict[tuple[int, int], float]) -> tuple[tuple[int, ...], ...]:
    """Longest stretches of methods by rank in which no pair differs; without tested pairs, one of all."""
    differs = {pair for pair, p in pairs.items() if p < ALPHA}
    found: list[tuple[int, ...]] = []
    last_end = 0
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and all(tuple(sorted((one, order[end]))) not in differs for one in order[start:end]):
            end += 1
        if end - start > 1 and end > last_end:
            found.append(tuple(order[start:end]))
            last_end = end
    return tuple(found)


def _means(scores: Sequence[Scores]) -> NDArray[np.float64]:
    """(n_methods, n_datasets)."""
    means = [[runs.mean() for runs in by_dataset] for by_dataset in scores]
    # The same runs in another order have the same mean but for rounding, and must tie.
    return np.round(means, 12)


def _resampled(runs: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(N_RESAMPLES, n_seeds) from (n_seeds,), with replacement."""
    return runs[rng.integers(len(runs), size=(N_RESAMPLES, len(runs)))]


def _estimate(value: float, draws: NDArray[np.float64], sizes: Sequence[int], *, kept: float = 1.0) -> Estimate:
    """The widened percentile interval. draws: (B,); sizes: seeds of each dataset; kept: share of them that counts."""
    from scipy.special import ndtri, stdtrit

    if min(sizes) < MIN_SEEDS:
        return Estimate(value, None, None)
    level = (1 + CONFIDENCE) / 2
    n_free = kept * sum(size - 1 for size in sizes)
    widening = math.sqrt(min(sizes) / (min(sizes) - 1)) * float(stdtrit(n_free, level) / ndtri(level))
    low, high = (float(value + widening * (limit - value)) for limit in np.quantile(draws, [1 - level, level]))
    return Estimate(value, low, high)
