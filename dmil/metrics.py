"""Pure functions from predictions to numbers; every one returns a Python float and works on one model's output."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from dmil.interactions.synergy import is_synergistic


def accuracy(logits: Tensor, target: Tensor) -> float:
    """Share of correct rows. logits or probabilities (N, C), target (N,)."""
    return (logits.argmax(-1) == target).double().mean().item()


def macro_f1(logits: Tensor, target: Tensor) -> float:
    """Unweighted mean over all C classes of 2 tp / (2 tp + fp + fn); a class neither present nor predicted has 0."""
    predicted, n_classes = logits.argmax(-1), logits.shape[-1]
    said, there, hits = (x.bincount(minlength=n_classes) for x in (predicted, target, target[predicted == target]))
    return (2 * hits.double() / (said + there).clamp(min=1)).mean().item()


def negative_log_likelihood(logits: Tensor, target: Tensor) -> float:
    """Mean -log p(target) in nats. logits (N, C), target (N,)."""
    return F.cross_entropy(logits.double(), target).item()


def expected_calibration_error(logits: Tensor, target: Tensor, *, n_bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width confidence bins, weighted by their share.

    Guo, Pleiss, Sun, Weinberger: "On Calibration of Modern Neural Networks", ICML 2017, equation 5. Bins are
    (0, 1/n], (1/n, 2/n], ... logits (N, C), target (N,).
    """
    confidence, predicted = logits.double().softmax(-1).max(-1)
    bins = (confidence * n_bins).ceil().long().clamp(1, n_bins) - 1
    gap = (predicted == target).double() - confidence
    return torch.zeros(n_bins, dtype=torch.double).index_add(0, bins.cpu(), gap.cpu()).abs().sum().item() / len(target)


def synergy_indicator(logits: Tensor, unimodal: Sequence[Tensor], target: Tensor) -> float:
    """Share of rows that the multimodal prediction gets right and every unimodal one gets wrong.

    logits (N, C), unimodal: one (N, C) per separately trained unimodal model, target (N,).
    """
    return is_synergistic(logits, unimodal, target).double().mean().item()


def mean_absolute_error(prediction: Tensor, target: Tensor) -> float:
    """prediction (N, 1) or (N,), target (N,), in units of the target."""
    return (prediction.reshape(target.shape) - target).abs().double().mean().item()


def correlation(prediction: Tensor, target: Tensor) -> float:
    """Pearson's correlation; nan where one of the two is constant. Shapes as in ``mean_absolute_error``."""
    both = torch.stack([prediction.reshape(target.shape), target]).double()
    if (both == both[:, :1]).all(-1).any():
        return math.nan
    return torch.corrcoef(both)[0, 1].item()


def _signs(prediction: Tensor, target: Tensor, *, has_neutral: bool) -> tuple[Tensor, Tensor]:
    """Predicted and true sign, (n,) bool: with neutral >= 0 of all samples, without > 0 of those that are not 0."""
    prediction = prediction.reshape(target.shape)
    if has_neutral:
        return prediction >= 0, target >= 0
    counted = target != 0
    return prediction[counted] > 0, target[counted] > 0


def sign_accuracy(prediction: Tensor, target: Tensor, *, has_neutral: bool) -> float:
    """Share of samples whose sign is right (acc-2), nan without a sample that counts.

    has_neutral: >= 0 against < 0 (Has0); otherwise samples whose true value is 0 are left out, and > 0 stands against
    the rest (Non0). This and the two below are defined as in MMSA (Mao et al., "M-SENA", ACL 2022), from whose tables
    published numbers of CMU-MOSI and CMU-MOSEI come. Shapes as in ``mean_absolute_error``.
    """
    predicted, actual = _signs(prediction, target, has_neutral=has_neutral)
    return (predicted == actual).double().mean().item()


def sign_f1(prediction: Tensor, target: Tensor, *, has_neutral: bool) -> float:
    """F1 of both signs, each weighted by how many samples truly have it; see ``sign_accuracy``."""
    predicted, actual = _signs(prediction, target, has_neutral=has_neutral)
    found = torch.zeros((), dtype=torch.double)
    for sign in (True, False):
        of_sign, true = predicted == sign, actual == sign
        hits, n = (of_sign & true).sum().double(), true.sum()
        found = found + n * 2 * hits / (of_sign.sum() + n).clamp(min=1)
    return (found / len(actual)).item()


def seven_class_accuracy(prediction: Tensor, target: Tensor) -> float:
    """Share of samples that are right once both values are clipped to [-3, 3] and rounded, halves to even (acc-7)."""
    predicted, actual = (x.clamp(-3, 3).round() for x in (prediction.reshape(target.shape), target))
    return (predicted == actual).double().mean().item()


SENTIMENT: dict[str, Callable[[Tensor, Tensor], float]] = {
    "acc2_has0": partial(sign_accuracy, has_neutral=True),
    "f1_has0": partial(sign_f1, has_neutral=True),
    "acc2_non0": partial(sign_accuracy, has_neutral=False),
    "f1_non0": partial(sign_f1, has_neutral=False),
    "acc7": seven_class_accuracy,
}
"""By the names of ``dmil.data.SENTIMENT``."""
