"""The label-shuffle control: whether runs that were trained on meaningless labels are at chance on the test set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.samples import Answers, Estimates, Samples, estimates_in
from reports.statistics import MIN_SEEDS

CONFIDENCE = 0.99  # one dataset in a hundred is off by chance alone
ROUNDING = 1e-9


@dataclass(frozen=True)
class Control:
    """Balanced accuracy (mean recall over classes) of the control, mean over seeds, and chance: 1 / number of classes.

    Of a regression: mean absolute error, and the error that the same predictions have when it is left to chance which
    sample each of them is for. low, high: 99 % interval over test samples and seeds; None below three seeds.
    """

    mean: float
    low: float | None
    high: float | None
    chance: float
    n_seeds: int

    @property
    def is_at_chance(self) -> bool | None:
        """Whether the interval holds chance; None without an interval."""
        if self.low is None or self.high is None:
            return None
        return self.low - ROUNDING <= self.chance <= self.high + ROUNDING


def control_of(runs: Sequence[Samples]) -> Control | None:
    """The control from what its runs said about the same test samples; None where there is no run."""
    estimates = estimates_in(runs)
    if estimates:
        return _of_errors(estimates)
    answers = [one for one in runs if isinstance(one, Answers)]
    return _of_answers(answers) if answers else None


def _of_answers(runs: Sequence[Answers]) -> Control:
    """The variance is that over seeds plus that over samples, drawn within each class, of the share of seeds that are
    right. What a seed and a sample have in common is in both, so that the interval errs on the wide side. Student's t
    with one degree of freedom less than seeds.
    """
    target, n = runs[0].target, len(runs)
    classes: NDArray[np.int64] = np.unique(target)
    by_seed = [np.mean([run.is_right[target == c].mean() for c in classes]) for run in runs]
    mean, chance = float(np.mean(by_seed)), 1 / len(classes)
    if n < MIN_SEEDS:
        return Control(mean, None, None, chance, n)
    share = np.mean([run.is_right for run in runs], axis=0)
    of_samples = sum(share[target == c].var() / (target == c).sum() for c in classes) / len(classes) ** 2
    half = _half_width(by_seed, float(of_samples))
    return Control(mean, mean - half, mean + half, chance, n)


def _of_errors(runs: Sequence[Estimates]) -> Control:
    """Error minus chance is a mean over samples of |p - y| - E|p - Y| - E|P - y| + E|P - Y|, small letters for the
    sample's own prediction and target: its variance is that over samples, and over seeds as in ``_of_answers``.
    """
    target, n = runs[0].target.astype(np.float64), len(runs)
    by_prediction = [distances(run.prediction, target) for run in runs]
    by_target = [distances(target, run.prediction) for run in runs]
    mean = float(np.mean([run.measured.mean() for run in runs]))
    chances = [float(one.mean()) for one in by_prediction]
    chance = float(np.mean(chances))
    if n < MIN_SEEDS:
        return Control(mean, None, None, chance, n)
    parts = (
        np.mean([run.measured for run in runs], axis=0) - np.mean(by_prediction, axis=0) - np.mean(by_target, axis=0)
    )
    by_seed = [float(run.measured.mean()) - one for run, one in zip(runs, chances, strict=True)]
    half = _half_width(by_seed, float(parts.var()) / len(target))
    return Control(mean, mean - half, mean + half, chance, n)


def distances(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean distance of each point to all others: (N,) and (M,) to (N,)."""
    ordered = np.sort(others)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    below = np.searchsorted(ordered, points)
    whole: NDArray[np.float64] = points * (2 * below - len(ordered)) + sums[-1] - 2 * sums[below]
    return whole / len(ordered)


def _half_width(by_seed: Sequence[float], of_samples: float) -> float:
    """Of the interval of a mean over seeds, with the variance that samples add to it."""
    from scipy.special import stdtrit

    n = len(by_seed)
    error = math.sqrt(float(np.var(by_seed, ddof=1)) / n + of_samples)
    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * error
