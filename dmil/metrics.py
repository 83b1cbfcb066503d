"""Pure functions from predictions to numbers; every one returns a Python float and works on one model's output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dmil.interactions.synergy import is_synergistic


def accuracy(logits: Tensor, target: Tensor) -> float:
    """Share of correct rows. logits or probabilities (N, C), target (N,)."""
    return (logits.argmax(-1) == target).double().mean().item()


def macro_f1(logits: Tensor, target: Tensor) -> float:
    """Unweighted mean over all C classes of 2 tp / (2 tp + fp + fn); a class neither present nor predicted has 0."""
    n_classes = logits.shape[-1]
    predicted = F.one_hot(logits.argmax(-1), n_classes).double()
    actual = F.one_hot(target, n_classes).double()
    hits = (predicted * actual).sum(0)
    return (2 * hits / (predicted.sum(0) + actual.sum(0)).clamp(min=1)).mean().item()


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
