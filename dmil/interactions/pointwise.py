"""The pointwise decomposition behind LSMI: from entropies and informations of a sample to its r, u1, u2, s."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dmil.interactions.atoms import ATOMS, Decomposition
from dmil.interactions.tables import check_table, safe_log


@dataclass(frozen=True)
class Pointwise:
    """Terms of each sample, all of one shape (..., N) and in nats; a leading dimension is one of replicas.

    i1, i2, i12: pointwise information of x1, x2 and both about y. r, u1, u2, s: what it consists of, before the mean
    adjustment; ``delta`` (..., 1) is the adjustment: r + delta, u_m - delta, s + delta. weights: None, or the
    probability of each entry.
    """

    i1: Tensor
    i2: Tensor
    i12: Tensor
    r: Tensor
    u1: Tensor
    u2: Tensor
    s: Tensor
    delta: Tensor
    weights: Tensor | None = None

    def adjusted(self) -> dict[str, Tensor]:
        """r, u1, u2, s of each sample after the mean adjustment."""
        return {name: getattr(self, name) + _SIGN[name] * self.delta for name in ATOMS}

    def mean(self, *, adjusted: bool) -> Decomposition:
        """Means over all entries, of one replica."""
        terms = self.adjusted() if adjusted else {name: getattr(self, name) for name in ATOMS}
        values: dict[str, Any] = {name: _mean(term, self.weights).item() for name, term in terms.items()}
        return Decomposition(**values, total=_mean(self.i12, self.weights).item())

    def replica(self, index: int) -> Pointwise:
        """One of several replicas."""
        names = ("i1", "i2", "i12", *ATOMS, "delta")
        return Pointwise(**{name: getattr(self, name)[index] for name in names})


_SIGN = {"r": 1, "u1": -1, "u2": -1, "s": 1}


def pointwise(
    *, h1: Tensor, h2: Tensor, i1: Tensor, i2: Tensor, i12: Tensor, weights: Tensor | None = None
) -> Pointwise:
    """LSMI, Yang, Wang, Hu, ICML 2025: r = min(h_1, h_2) - min(h_1 - i_1, h_2 - i_2), and the rest from r.

    h_m: -log p(x_m); i_m, i12: log p(y | x_m) / p(y) and the same of both; nats. Redundancy is the difference of a
    specificity term min h_m = min -log p(x_m) and an ambiguity term min -log p(x_m | y), so h_1 and h_2 must be
    entropies of comparable feature spaces. ``weights``: probabilities of the entries; then nothing is a replica.
    """
    r = torch.minimum(h1, h2) - torch.minimum(h1 - i1, h2 - i2)
    u1, u2, s = i1 - r, i2 - r, i12 - i1 - i2 + r
    delta = mean_adjustment(*(_mean(term, weights) for term in (r, u1, u2, s)))
    return Pointwise(i1, i2, i12, r, u1, u2, s, delta if weights is not None else delta.unsqueeze(-1), weights)


def mean_adjustment(r: Tensor, u1: Tensor, u2: Tensor, s: Tensor) -> Tensor:
    """delta of the means, in one pass: -min(r, s) if one of these is negative, else min(u1, u2) if one of those is,
    else 0. It may push the other pair below zero; r + u_m and the total stay what they were."""
    outer, inner = torch.minimum(r, s), torch.minimum(u1, u2)
    return torch.where(outer < 0, -outer, inner.clamp(max=0))


def discrete_lsmi(
    p: Tensor, *, target: str = "y", sources: tuple[str, str] = ("x1", "x2")
) -> tuple[Pointwise, Decomposition]:
    """LSMI (Yang, Wang, Hu, ICML 2025) of a known table: pointwise terms (n1, n2, ny), and their adjusted means.

    p: (n1, n2, ny). Cells of probability zero hold zeros. ``Pointwise.mean`` gives the means before the adjustment.

    Raises:
        ValueError: p is not a distribution over three variables.
    """
    p = check_table(p)
    x1, x2, y = p.sum((1, 2))[:, None, None], p.sum((0, 2))[None, :, None], p.sum((0, 1))
    x1y, x2y, x12 = p.sum(1)[:, None, :], p.sum(0)[None], p.sum(2, keepdim=True)
    there = p > 0

    def log(table: Tensor) -> Tensor:
        return safe_log(torch.where(there, table, 0.0))

    found = pointwise(
        h1=-log(x1),
        h2=-log(x2),
        i1=log(x1y) - log(x1) - log(y),
        i2=log(x2y) - log(x2) - log(y),
        i12=log(p) - log(x12) - log(y),
        weights=p,
    )
    return found, replace(found.mean(adjusted=True), target=target, sources=sources)


def _mean(term: Tensor, weights: Tensor | None) -> Tensor:
    return term.mean(-1) if weights is None else (weights * term).sum()
