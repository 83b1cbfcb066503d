"""The label-shuffle control: whether runs that were trained on meaningless labels are at chance on the test set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.samples import Samples
from reports.statistics import MIN_SEEDS

CONFIDENCE = 0.99  # one dataset in a hundred is off by chance alone
ROUNDING = 1e-9


@dataclass(frozen=True)
class Control:
    """Balanced accuracy (mean recall over classes) of the control, mean over seeds, and chance: 1 / number of classes.

    low, high: its 99 % interval over test samples and seeds; None below three seeds.
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
    """The control from what its runs, one or more, said about the same test samples; None where there is no run.

    The variance is that over seeds plus that over samples, drawn within each class, of the share of seeds that are
    right. What a seed and a sample have in common is in both, so that the interval errs on the wide side. Student's t
    with one degree of freedom less than seeds.
    """
    from scipy.special import stdtrit

    if not runs:
        return None
    target, n = runs[0].target, len(runs)
    classes: NDArray[np.int64] = np.unique(target)
    by_seed = [np.mean([run.is_right[target == c].mean() for c in classes]) for run in runs]
    mean, chance = float(np.mean(by_seed)), 1 / len(classes)
    if n < MIN_SEEDS:
        return Control(mean, None, None, chance, n)
    share = np.mean([run.is_right for run in runs], axis=0)
    of_samples = sum(share[target == c].var() / (target == c).sum() for c in classes) / len(classes) ** 2
    error = math.sqrt(float(np.var(by_seed, ddof=1)) / n + float(of_samples))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * error
    return Control(mean, mean - half, mean + half, chance, n)
