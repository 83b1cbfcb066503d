"""MLB: a loss for every modality, and gradients scaled by how far a modality is ahead of, or behind, the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.methods._heads import LEAST_SCORE, Additive, beside, losses_alone, of_encoder, scores
from dmil.data import Inputs, Task
from dmil.encoders import Sources
from dmil.losses import task_loss
from dmil.method import Output
from dmil.nn import Linear
from dmil.settings import Settings, tunable


@dataclass(frozen=True)
class MlbSettings(Settings):
    """alpha: steepness. beta: largest factor of a modality that is behind; 2 is the authors' form without beta.
    Theirs: alpha 0.8; alpha and beta 0.5 and 10 on CREMA-D, 2 and 1 on AVE, 2 and 0.5 on UCF101."""

    alpha: float = tunable(0.8, low=0.1, high=3.0, log=True)
    beta: float = tunable(2.0, low=0.5, high=10.0, log=True)


class Mlb(Additive):
    """Kontras, Chatzichristos, Blaschko, De Vos: "Improving Multimodal Learning with Multi-Loss Gradient Modulation"
    (Multi-Loss Balanced), BMVC 2024.

    That "MLB" means this method and not low-rank bilinear pooling (Kim et al., ICLR 2017) is likely, not certain.

    Loss J + sum_m J_m: an additive joint head, which predicts, and a linear head for each modality. From the latter's
    scores rho_m = mean_{j != m} q_j / q_m (regression: MSE_m over the mean of the others'), above 1 for who is behind;
    k_m = 1 + tanh(alpha (rho_m - 1)), with beta - 1 before tanh where rho_m > 1. All gradients of encoder m, of its
    head and of its slice of the joint head are scaled by k_m; the joint bias is not, and there is no noise.

    The public class calls a parent of undefined name and is registered under another method's key; this is written
    from the rule. As with ``ogm_ge``, AdamW cancels a k_m that stays the same. Extra cost: M linear heads; one forward,
    one backward pass.
    """

    Settings: ClassVar[type[Settings]] = MlbSettings
    settings: MlbSettings

    def __init__(self, settings: MlbSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        self.heads = Linear(settings.width, task.n_outputs, groups=(len(sources),))

    def forward(self, inputs: Inputs) -> Output:
        z = self.encoders(inputs)
        alone = self.heads(torch.stack(z, -3))
        return Output(self.head(z).sum(-3), alone, representation=None if self.training else torch.cat(z, -1))

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        assert output.components is not None
        alone = losses_alone(self.task, output.components, target)
        return task_loss(self.task, output.logits, target) + alone.sum(-1)

    @torch.no_grad()
    def adjust_gradients(self, gradients: Mapping[str, Tensor], output: Output, target: Tensor) -> None:
        assert output.components is not None
        alpha, beta = (torch.as_tensor(x) for x in (self.settings.alpha, self.settings.beta))
        k = coefficients(self._lag(output.components, target), alpha, beta)
        for m in range(len(self.modalities)):
            for gradient in of_encoder(gradients, m).values():
                gradient.mul_(beside(k[..., m], gradient))
        for name in ("head.weight", "heads.weight", "heads.bias"):
            gradients[name].mul_(beside(k, gradients[name]))

    def _lag(self, alone: Tensor, target: Tensor) -> Tensor:
        """rho_m of logits (..., M, B, C): (..., M)."""
        if self.task.kind == "regression":
            errors = (alone.squeeze(-1) - target.unsqueeze(-2)).square().mean(-1).clamp(min=LEAST_SCORE)
            return errors / mean_of_others(errors)
        q = scores(self.task, alone, target)
        return mean_of_others(q) / q


def mean_of_others(x: Tensor) -> Tensor:
    """Of each of (..., M) numbers the mean of the rest."""
    return (x.sum(-1, keepdim=True) - x) / (x.shape[-1] - 1)


def coefficients(rho: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """k_m of rho (..., M) with alpha and beta (...)."""
    height = torch.where(rho > 1, beta.unsqueeze(-1) - 1, 1.0)
    return 1 + height * torch.tanh(alpha.unsqueeze(-1) * (rho - 1))
