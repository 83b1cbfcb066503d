"""The best of the first n configurations, over every order in which they could have been tried: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LOW, HIGH = 0.05, 0.95
# Probabilities are products of up to N factors: what rounding takes from one must not move a quantile.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Best:
    """The best score among the first n, over random orders: its mean, and the quantiles LOW and HIGH."""

    n: int
    mean: float
    low: float
    high: float


def best_of(scores: Sequence[float]) -> list[Best]:
    """For n = 1 to N: what the best of the first n scores is when all N! orders are equally likely; exact.

    The first n of a random order are n of the N scores, drawn without replacement, so that none of them lies above
    the k-th smallest with probability C(k, n) / C(N, n). A quantile is the smallest score that reaches its
    probability. With replacement the mean is the expected validation performance of Dodge et al., "Show Your Work:
    Improved Reporting of Experimental Results" (EMNLP 2019); why without is the unbiased choice: Tang et al.,
    "Showing Your Work Doesn't Always Work" (ACL 2020).
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    total = len(ordered)
    ranks = np.arange(1, total + 1)
    at_most = np.ones(total)
    found = []
    for n in range(1, total + 1):
        # C(k, n) / C(N, n) from n - 1: no binomial is ever written out.
        at_most = at_most * np.maximum(ranks - n + 1, 0) / (total - n + 1)
        mean = float(np.diff(at_most, prepend=0.0) @ ordered)
        low, high = (float(ordered[np.searchsorted(at_most, share - TOLERANCE)]) for share in (LOW, HIGH))
        found.append(Best(n, mean, low, high))
    return found


def best_so_far(scores: Sequence[float]) -> list[float]:
    """The best of the first n scores in the order given, n = 1 to N."""
    return np.maximum.accumulate(np.asarray(scores, dtype=np.float64)).tolist() if len(scores) else []
