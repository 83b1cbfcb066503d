"""Numbers over seeds and over samples: pure functions."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
MIN_SEEDS = 3


def generator(*name: str) -> np.random.Generator:
    """Random numbers that belong to a name: the same for the same name, whoever else draws."""
    digest = hashlib.sha256("\0".join(name).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@dataclass(frozen=True)
class Summary:
    """Mean of n values; std is the sample standard deviation, low and high a Student-t interval for the mean.

    One value alone has neither (None).
    """

    mean: float
    std: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def shown(self) -> tuple[float, float] | None:
        """The interval, None where too few values make it meaningless."""
        if self.n < MIN_SEEDS or self.low is None or self.high is None:
            return None
        return self.low, self.high


def summarise(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and 95 % interval of at least one finite value."""
    from scipy.special import stdtrit

    n = len(values)
    mean = statistics.fmean(values)
    if n == 1:
        return Summary(mean, None, None, None, 1)
    std = statistics.stdev(values)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * std / math.sqrt(n)
    return Summary(mean, std, mean - half, mean + half, n)


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """Mean, or None where a value is missing or not finite: no average over incomplete cells."""
    if not values or any(value is None or not math.isfinite(value) for value in values):
        return None
    return statistics.fmean(value for value in values if value is not None)


def synergy_indicator(is_right: NDArray[np.bool_], unimodal: Sequence[NDArray[np.bool_]]) -> float:
    """Share of samples that a method gets right and every unimodal model gets wrong.

    is_right: (N,); unimodal: one (N,) per modality, at least one, same samples in the same order.
    """
    return float(np.mean(is_right & ~np.logical_or.reduce(unimodal)))


def entropy(gate: NDArray[np.float32]) -> float:
    """Mean entropy in bits of the rows of (N, K), each a distribution."""
    weights = gate.astype(np.float64)
    terms = np.log2(weights, out=np.zeros_like(weights), where=weights > 0)
    return float(-(weights * terms).sum(axis=1).mean())


def rank_correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float | None:
    """Spearman's correlation of (N,) and (N,); None where one of them is constant."""
    from scipy.stats import spearmanr

    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)
