"""Losses that reduce over the last dimensions they know and leave leading ones alone, one value per replica."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from dmil.data import Task


def task_loss(task: Task, logits: Tensor, target: Tensor) -> Tensor:
    """Mean loss of each leading index: logits (..., B, C), target (..., B) broadcast to it, result (...).

    Classification: cross-entropy in nats. Regression: absolute error of ``logits[..., 0]``.
    """
    target = target.expand(logits.shape[:-1])
    if task.kind == "regression":
        return (logits.squeeze(-1) - target).abs().mean(-1)
    flat = F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none")
    return flat.view(target.shape).mean(-1)


def reconstruction_error(estimate: Tensor, original: Tensor) -> Tensor:
    """Mean squared error over batch and dimensions: (..., B, d) to (...)."""
    return (estimate - original).square().mean((-2, -1))
