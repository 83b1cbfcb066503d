"""Tables of probabilities: mutual information, and what every table must be."""

from __future__ import annotations

import torch
from torch import Tensor


def check_table(p: Tensor) -> Tensor:
    """p in float64 and with sum one to the last digit."""
    if p.dim() != 3:
        raise ValueError(f"p needs the three dimensions (x1, x2, y), but got the shape {[*p.shape]}")
    p = p.detach().double()
    if not p.isfinite().all() or (p < 0).any() or abs(p.sum().item() - 1) > 1e-6:
        raise ValueError(f"p must be non-negative with sum 1, but got minimum {p.min()} and sum {p.sum()}")
    return p / p.sum()


def mutual_information(joint: Tensor) -> float:
    """I(A;B) in nats of a table p(a, b)."""
    joint = joint.double()
    ratio = safe_log(joint) - safe_log(joint.sum(1, keepdim=True)) - safe_log(joint.sum(0, keepdim=True))
    return (joint * ratio).sum().item()


def entropy(p: Tensor) -> float:
    """H in nats of a table of probabilities."""
    return -(p * safe_log(p)).sum().item()


def safe_log(p: Tensor) -> Tensor:
    """log p, and 0 where p is 0."""
    return torch.where(p > 0, p, 1.0).log()
