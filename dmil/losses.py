"""Losses that reduce over the last dimensions they know and leave leading ones alone, one value per replica."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from dmil.data import Task


def sample_loss(task: Task, logits: Tensor, target: Tensor) -> Tensor:
    """Loss of each sample: logits (..., B, C), target (..., B) broadcast to it, result (..., B).

    Classification: cross-entropy in nats. Regression: absolute error of ``logits[..., 0]``.
    """
    target = target.expand(logits.shape[:-1])
    if task.kind == "regression":
        return (logits.squeeze(-1) - target).abs()
    return F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none").view(target.shape)


def task_loss(task: Task, logits: Tensor, target: Tensor) -> Tensor:
    """Mean of ``sample_loss`` over the batch: (...)."""
    return sample_loss(task, logits, target).mean(-1)


def reconstruction_error(estimate: Tensor, original: Tensor) -> Tensor:
    """Mean squared error over batch and dimensions: (..., B, d) to (...)."""
    return (estimate - original).square().mean((-2, -1))
