"""Linear probes: what a multinomial logistic regression can read from a representation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

L2 = (1e-4, 1e-3, 1e-2, 1e-1)
HOLD_OUT = 5  # without validation data every fifth training row chooses the penalty


@dataclass(frozen=True)
class Probe:
    """A fitted regression in float64. mean, scale: (D,), of the training features; coefficients (D + 1, C), the last
    row the intercept; l2: the penalty that was chosen."""

    mean: Tensor
    scale: Tensor
    coefficients: Tensor
    l2: float

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(class | x) in nats, float64: x (N, D) -> (N, C)."""
        return (_standardise(x, self.mean, self.scale) @ self.coefficients).log_softmax(-1)


def fit_probe(
    train_x: Tensor,
    train_y: Tensor,
    n_classes: int,
    *,
    l2: Sequence[float] = L2,
    valid: tuple[Tensor, Tensor] | None = None,
) -> Probe:
    """Minimises mean cross-entropy + l2/2 |coefficients|^2 on standardised features, by full-batch L-BFGS in float64.

    train_x (N, D), train_y (N,) int64; features that are constant in training are left out. Of several ``l2`` the one
    with the lowest cross-entropy on ``valid`` is taken; without it, every fifth training row chooses, and the probe is
    fitted again on all of them. The penalty pulls the intercept towards the log of the smoothed class frequencies, so
    that a class absent from training keeps a finite log probability. Nothing is random.

    Raises:
        ValueError: shapes or classes that do not fit, a penalty that is not positive, or features that are not finite.
    """
    penalties = sorted(l2, reverse=True)
    if not penalties or not all(penalty > 0 and math.isfinite(penalty) for penalty in penalties):
        raise ValueError(f"`l2` needs one positive number or more, but got {tuple(l2)}")
    check_features(train_x, train_y, n_classes)
    if valid is not None:
        check_features(*valid, n_classes)
        if valid[0].shape[-1] != train_x.shape[-1]:
            raise ValueError(f"training features have width {train_x.shape[-1]}, validation {valid[0].shape[-1]}")
    if len(penalties) == 1:
        return _path(train_x, train_y, n_classes, penalties)[0]
    if valid is not None:
        return _best(_path(train_x, train_y, n_classes, penalties), *valid)
    held = torch.arange(len(train_y), device=train_y.device) % HOLD_OUT == HOLD_OUT - 1
    if not held.any():  # too few rows for a choice
        return _path(train_x, train_y, n_classes, penalties[:1])[0]
    best = _best(_path(train_x[~held], train_y[~held], n_classes, penalties), train_x[held], train_y[held])
    return _path(train_x, train_y, n_classes, [best.l2])[0]


def check_features(x: Tensor, y: Tensor, n_classes: int) -> None:
    """Raises ValueError unless x is (N, D), finite, and y (N,) holds classes below ``n_classes``; N at least 1."""
    if x.dim() != 2 or y.shape != x.shape[:1] or not len(y):
        raise ValueError(f"features (N, D) and labels (N,), N >= 1, are needed, but got {[*x.shape]} and {[*y.shape]}")
    if y.is_floating_point() or int(y.min()) < 0 or int(y.max()) >= n_classes:
        raise ValueError(f"labels must be classes 0..{n_classes - 1}, but got {y.dtype} {y.min()}..{y.max()}")
    if not x.isfinite().all():
        raise ValueError("features must be finite, but some are not")


def _standardise(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Standardised features and a column of ones: (N, D + 1)."""
    return F.pad((x.double() - mean) * scale, (0, 1), value=1.0)


def _best(probes: Sequence[Probe], x: Tensor, y: Tensor) -> Probe:
    """The probe with the lowest cross-entropy; the first, most penalised one at a tie."""
    return min(probes, key=lambda probe: F.nll_loss(probe.log_prob(x), y).item())


def _path(x: Tensor, y: Tensor, n_classes: int, penalties: Sequence[float]) -> list[Probe]:
    """One probe for each penalty, the largest first, each started where the one before ended."""
    std, mean = torch.std_mean(x.double(), 0, correction=0)
    scale = torch.where(std > 1e-9 * (1 + mean.abs()), 1 / std, 0.0)
    features = _standardise(x, mean, scale)
    counts = torch.bincount(y, minlength=n_classes).double()
    origin = features.new_zeros(features.shape[1], n_classes)
    origin[-1] = ((counts + 1) / (counts.sum() + n_classes)).log()
    probes, start = [], torch.zeros_like(origin)
    for penalty in penalties:
        start = _minimise(features, y, origin, start, penalty)
        probes.append(Probe(mean, scale, origin + start, penalty))
    return probes


@torch.enable_grad()
def _minimise(features: Tensor, y: Tensor, origin: Tensor, start: Tensor, penalty: float) -> Tensor:
    """The offset from ``origin`` that minimises the penalised cross-entropy."""
    offset = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [offset], max_iter=1000, history_size=20, tolerance_grad=1e-7, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        loss = F.cross_entropy(features @ (origin + offset), y) + penalty / 2 * offset.square().sum()
        (offset.grad,) = torch.autograd.grad(loss, [offset])
        return loss

    optimiser.step(closure)
    return offset.detach()
