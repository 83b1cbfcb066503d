"""MMPareto: the multimodal and the unimodal gradient of each encoder, joined without conflict and without loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.methods._heads import MultiHead, MultiHeadSettings, of_encoder
from dmil.method import Output
from dmil.settings import Settings, tunable

END = 0.999


@dataclass(frozen=True)
class MMParetoSettings(MultiHeadSettings):
    """gamma: factor on every encoder's gradient; 1.5 is the authors', who train by SGD."""

    gamma: float = tunable(1.5, low=1.0, high=3.0)


class MMPareto(MultiHead):
    """Wei, Hu: "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024.

    Loss J + sum_m J_m with a head for each. For the encoder of m, g is the gradient of J and u that of J_m. Where they
    agree (cos > 0) both weigh w = 1/2; else w is that of the shortest point between them. h = 2 w g + 2 (1 - w) u; a
    tensor of h that is shorter than that of g + u gets the latter's length, and all is multiplied by gamma. Heads have
    the plain gradient.

    A known reimplementation does not clear gradients between its backward passes, so that g equals u and the second
    case never comes; here they are two calls to ``autograd.grad``. One suffices for all J_m, as J_m reaches encoder m
    alone. The authors' joint head is linear; one hidden layer is our addition to what is searched. They train by SGD;
    under AdamW gamma counts only beside the heads, where gradients are clipped together. Extra cost: M linear heads;
    one forward and two backward passes.
    """

    Settings: ClassVar[type[Settings]] = MMParetoSettings
    settings: MMParetoSettings

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        joint, alone = self.losses(output, target)
        return joint + alone.sum(-1)

    def gradients(
        self, loss: Tensor, output: Output, target: Tensor, parameters: Mapping[str, Tensor]
    ) -> Sequence[Tensor]:
        joint, alone = self.losses(output, target)
        values, n = list(parameters.values()), loss.numel()
        g = torch.autograd.grad(joint.sum(), values, retain_graph=True, materialize_grads=True)
        u = torch.autograd.grad(alone.sum(), values, materialize_grads=True)
        pairs = {name: (a.reshape(n, -1), b.reshape(n, -1)) for name, a, b in zip(parameters, g, u, strict=True)}
        found = {name: a + b for name, (a, b) in pairs.items()}
        gamma = torch.as_tensor(self.settings.gamma).expand(n)
        for m in range(len(self.modalities)):
            names = list(of_encoder(parameters, m))
            weight = joint_weight(*(torch.cat([pairs[name][i] for name in names], 1) for i in (0, 1)))
            found |= {name: joined(*pairs[name], weight, gamma) for name in names}
        return [found[name].reshape(p.shape) for name, p in parameters.items()]


def joint_weight(g: Tensor, u: Tensor) -> Tensor:
    """Weight of g beside 1 - weight of u: (n, P) each, one row per replica, to (n,)."""
    gg, uu, gu = (g * g).sum(1), (u * u).sum(1), (g * u).sum(1)
    inner = (uu - gu) / (gg + uu - 2 * gu)
    shortest = torch.where(gu >= gg, END, torch.where(gu >= uu, 1 - END, inner))
    return torch.where(gu > 0, 0.5, shortest)


def joined(g: Tensor, u: Tensor, weight: Tensor, gamma: Tensor) -> Tensor:
    """One tensor of h: rows (n, P), weight and gamma (n,)."""
    w = weight.unsqueeze(-1)
    h = 2 * w * g + 2 * (1 - w) * u
    length, whole = h.norm(dim=1), (g + u).norm(dim=1)
    stretch = torch.where(length > 0, (whole / length).clamp(min=1), 1.0)
    return (gamma * stretch).unsqueeze(-1) * h
