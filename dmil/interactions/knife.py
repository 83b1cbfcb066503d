"""KNIFE, a density that can be differentiated: Pichler, Colombo, Boudiaf, Koliander, Piantanida, ICML 2022."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Knife(nn.Module):
    """A mixture of K Gaussians with full covariance, its means, scales and correlations learned by maximum likelihood.

    log p(x) = -(d/2) log 2 pi + logsumexp_k [ log pi_k + sum_j log s_kj - |(1 + L_k) S_k (x - mu_k)|^2 / 2 ] with
    S_k = diag(s_k), s = exp(tanh a), and L_k strictly lower triangular, so that the determinant is that of S_k. The
    deviations s bound the scale: features must be standardised. d^2 parameters a component: it needs n >> d^2.
    """

    def __init__(self, dim: int, n_components: int = 5) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(n_components))
        self.mean = nn.Parameter(torch.randn(n_components, dim))
        self.log_scale = nn.Parameter(torch.randn(n_components, dim))
        self.lower = nn.Parameter(torch.randn(n_components, dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """-log p(x) in nats: x (..., B, d) -> (..., B). Parameters may have leading replica dimensions."""
        log_scale = self.log_scale.tanh().unsqueeze(-2)
        scaled = (x.unsqueeze(-3) - self.mean.unsqueeze(-2)) * log_scale.exp()  # (..., K, B, d)
        white = scaled + scaled @ self.lower.tril(-1).mT
        log_density = log_scale.sum(-1) - white.square().sum(-1) / 2
        mixture = (log_density + self.weights.log_softmax(-1).unsqueeze(-1)).logsumexp(-2)
        return x.shape[-1] / 2 * math.log(2 * math.pi) - mixture
