"""Whether a method's confidence is its accuracy: the reliability of its predictions, bin by bin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.samples import Answers

N_BINS = 10
MIN_SHARE = 0.005


@dataclass(frozen=True)
class Reliability:
    """bins: (mean confidence, accuracy, share of samples) of each bin of confidence that holds enough of them."""

    method: str
    bins: tuple[tuple[float, float, float], ...]


def reliability(method: str, runs: Sequence[Answers]) -> Reliability:
    """Ten bins of equal width over the confidence in the likeliest class, samples of all seeds together.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
    """
    confidence = np.concatenate([one.confidence for one in runs]).astype(np.float64)
    is_right = np.concatenate([one.is_right for one in runs])
    places = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    masks = [places == i for i in range(N_BINS)]
    bins = [
        (float(confidence[mask].mean()), float(is_right[mask].mean()), float(mask.mean()))
        for mask in masks
        if mask.mean() >= MIN_SHARE
    ]
    return Reliability(method, tuple(bins))
