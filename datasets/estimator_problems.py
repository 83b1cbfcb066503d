"""Problems on which estimators of interactions are judged: logic gates, correlated Gaussians, a latent-factor model.

Not datasets of the leaderboard. What is known about them: the decomposition of the gates exactly, the densities of the
Gaussians exactly, of the latent-factor model only which latents decide the label.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dmil.seeds import generator

Rule = Callable[[int, int], int]


def _first(a: int, b: int) -> int:
    return a


def _second(a: int, b: int) -> int:
    return b


def _both(a: int, b: int) -> int:
    return 2 * a + b


def _and(a: int, b: int) -> int:
    return a & b


def _or(a: int, b: int) -> int:
    return a | b


def _xor(a: int, b: int) -> int:
    return a ^ b


# Of two fair bits a and b: what x1, x2 and y are. Two bits side by side are one symbol of four.
GATES: dict[str, tuple[Rule, Rule, Rule]] = {
    "and": (_first, _second, _and),
    "or": (_first, _second, _or),
    "xor": (_first, _second, _xor),
    "unique1": (_first, _second, _first),
    "redundant": (_first, _first, _first),
    "redundant_and_unique1": (_both, _second, _and),
    "redundant_or_unique1": (_both, _second, _or),
    "redundant_xor_unique1": (_both, _second, _xor),
}


def gate(name: str) -> Tensor:
    """p(x1, x2, y) of a logic gate: (2 or 4, 2, 2) in float64."""
    x1, x2, y = GATES[name]
    p = torch.zeros(4 if x1 is _both else 2, 2, 2, dtype=torch.float64)
    for a in (0, 1):
        for b in (0, 1):
            p[x1(a, b), x2(a, b), y(a, b)] += 0.25
    return p


@dataclass(frozen=True)
class Gaussian:
    """Label y uniform over C classes; u, v ~ N(0, sigma^2 1) in C dimensions; x1 = e_y + u and
    x2 = e_y + rho u + sqrt(1 - rho^2) v (Yang, Wang, Hu, ICML 2025)."""

    n_classes: int = 10
    rho: float = 0.5
    sigma: float = 0.5

    def __post_init__(self) -> None:
        if self.n_classes < 2 or not -1 < self.rho < 1 or self.sigma <= 0:
            raise ValueError(f"`n_classes >= 2`, `-1 < rho < 1` and `sigma > 0` must hold, but got {self}")

    def sample(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """n draws: x1 (n, C), x2 (n, C) in float32, y (n,) int64."""
        y = torch.randint(self.n_classes, (n,), generator=rng)
        u, v = self.sigma * torch.randn(2, n, self.n_classes, generator=rng)
        centre = F.one_hot(y, self.n_classes)
        return centre + u, centre + self.rho * u + math.sqrt(1 - self.rho**2) * v, y

    def terms(self, x1: Tensor, x2: Tensor, y: Tensor) -> dict[str, Tensor]:
        """What the true densities say of each sample, nats: h1, h2 = -log p(x_m), i1, i2, i12 = log p(y | .) / p(y)."""
        x1, x2 = x1.double(), x2.double()
        centre = torch.eye(self.n_classes, dtype=torch.float64)
        u, other = x1.unsqueeze(1) - centre, x2.unsqueeze(1) - centre  # (n, class, C)
        rest = math.sqrt(1 - self.rho**2) * self.sigma
        first, second = _log_normal(u, self.sigma), _log_normal(other, self.sigma)
        both = first + _log_normal(other - self.rho * u, rest)
        given = {"1": first, "2": second, "12": both}
        marginal = {name: log.logsumexp(1) - math.log(self.n_classes) for name, log in given.items()}
        terms = {f"h{name}": -marginal[name] for name in ("1", "2")}
        row = y.unsqueeze(1)
        return terms | {f"i{name}": log.gather(1, row).squeeze(1) - marginal[name] for name, log in given.items()}


def _log_normal(x: Tensor, sigma: float) -> Tensor:
    """log density of N(0, sigma^2 1) at x (..., d)."""
    return -x.square().sum(-1) / (2 * sigma**2) - x.shape[-1] * math.log(sigma * math.sqrt(2 * math.pi))


# Adjusted LSMI of the true densities, nats: (C, rho, sigma) -> r, u1, u2, s; 200,000-sample Monte Carlo.
GAUSSIAN_TABLE: dict[tuple[int, float, float], tuple[float, float, float, float]] = {
    (2, 0.5, 0.5): (0.50, 0, 0, 0.063),
    (2, 0.0, 0.5): (0.50, 0, 0, 0.134),
    (2, 0.9, 0.5): (0.50, 0, 0, 0.011),
    (2, -0.5, 0.5): (0.50, 0, 0, 0.187),
    (10, 0.5, 0.5): (1.342, 0, 0, 0.257),
    (10, 0.0, 0.5): (1.342, 0, 0, 0.590),
    (10, 0.9, 0.5): (1.342, 0, 0, 0.046),
    (10, -0.5, 0.5): (1.302, 0.04, 0.04, 0.872),
    (10, -0.9, 0.5): (1.015, 0.33, 0.33, 0.635),
}

# Share of the latents w_1 (x1 alone), w_2 (x2 alone) and w_12 (both) that decide the label.
LATENT_SHARES: dict[str, tuple[float, float, float]] = {
    "redundancy": (0, 0, 1),
    "uniqueness1": (1, 0, 0),
    "uniqueness2": (0, 1, 0),
    "synergy": (1, 1, 0),
    "mix1": (0.5, 0.5, 0.5),
    "mix2": (1, 0.5, 0.5),
    "mix3": (1, 1, 0.5),
    "mix4": (0.5, 0.5, 1),
    "mix5": (0, 0.5, 0.5),
    "mix6": (0, 0.5, 1),
}
LATENT_DIM, LATENT_WIDTH, LATENT_VARIANCE, LATENT_DROPOUT = 5, 32, 1.5, 0.2


def latent_factors(name: str, n: int, rng: torch.Generator, *, n_classes: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """The generator of Liang et al., NeurIPS 2023: x1 (n, 64), x2 (n, 64), y (n,), classes of equal size.

    w_1, w_2, w_12 ~ N(0, 1.5 1) in 5 dimensions; x_m = [w_m T_m, w_12 T_12] with T ~ U(0, 1), the same for every
    draw. The label is the bin of the sigmoid of the mean of the chosen latents after dropout (0.2). A share of one
    half means the first two of five. "synergy" is additive: each modality alone says a part, unlike XOR.
    """
    shares = LATENT_SHARES[name]
    latents = math.sqrt(LATENT_VARIANCE) * torch.randn(3, n, LATENT_DIM, generator=rng)
    maps = torch.rand(3, LATENT_DIM, LATENT_WIDTH, generator=generator("estimator_problems", "maps"))
    shown = latents @ maps
    chosen = torch.cat([w[:, : int(LATENT_DIM * share)] for w, share in zip(latents, shares, strict=True)], 1)
    kept = torch.rand(chosen.shape, generator=rng) >= LATENT_DROPOUT
    score = (chosen * kept / (1 - LATENT_DROPOUT)).mean(1).sigmoid()
    y = torch.empty(n, dtype=torch.int64)
    y[score.argsort()] = torch.arange(n) * n_classes // n
    return torch.cat([shown[0], shown[2]], 1), torch.cat([shown[1], shown[2]], 1), y
