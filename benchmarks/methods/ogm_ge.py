"""OGM-GE: the modality that is ahead is slowed down, and noise is added to the gradients of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.methods._heads import Additive, Modulated, beside, of_encoder, scores
from dmil.data import Task
from dmil.encoders import Sources
from dmil.method import Output
from dmil.nn import RandomLayer
from dmil.settings import Settings, tunable

LEAST_STD = 1e-8


@dataclass(frozen=True)
class OgmGeSettings(Settings):
    """alpha: 0.8 on CREMA-D, 0.1 on VGGSound, 0.3 in BalanceBenchmark. modulated_share: of the budget's epochs, from
    the first, in which gradients change; 50 of 100 are the authors'."""

    alpha: float = tunable(0.8, low=0.05, high=1.0, log=True)
    modulated_share: float = tunable(0.5, choices=(0.25, 0.5, 1.0), per_replica=False)


class OgmGe(Modulated, Additive):
    """Peng, Wei, Deng, Wang, Hu: "Balanced Multimodal Learning via On-the-Fly Gradient Modulation", CVPR 2022.

    Joint learning on a linear head, whose slices give each modality's score q_m. With rho_m = q_m / min_j q_j, for two
    modalities the paper's ratio (eq. 9), k_m = 1 - tanh(alpha rho_m) where rho_m > 1, else 1 (eq. 10; the argument is
    rho_m itself, so that k_m jumps at 1). The encoder's gradient becomes k_m g + e, e ~ N(0, std(g)^2) for each tensor
    (eq. 17), the noise for every modality, the slowest included.

    The authors' code changes tensors of rank 4 alone, convolutions: with other encoders it does nothing. Here it is
    every tensor of an encoder with rank two or more; biases, norms and the head are left alone. The form for more than
    two modalities is a third party's, the score of a regression ours. The authors train by SGD; under the suite's
    AdamW, which divides by the size of past gradients, a k_m that stays the same changes nothing, its changes and the
    noise do. Extra cost: none but the noise; one forward, one backward pass.
    """

    Settings: ClassVar[type[Settings]] = OgmGeSettings
    revision: ClassVar[int] = 2
    settings: OgmGeSettings

    def __init__(self, settings: OgmGeSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        self.enhancement = RandomLayer()

    @torch.no_grad()
    def adjust_gradients(self, gradients: Mapping[str, Tensor], output: Output, target: Tensor) -> None:
        if not self.is_modulated(self.stage):
            return
        assert output.components is not None
        k = coefficients(scores(self.task, output.components, target), torch.as_tensor(self.settings.alpha))
        for m in range(len(self.modalities)):
            for gradient in of_encoder(gradients, m).values():
                if gradient.dim() - k[..., m].dim() >= 2:
                    noise = self.enhancement.noise.normal(gradient) * beside(spread(gradient), gradient)
                    gradient.mul_(beside(k[..., m], gradient)).add_(noise)


def coefficients(q: Tensor, alpha: Tensor) -> Tensor:
    """k_m of scores (..., M) with alpha (...)."""
    rho = q / q.amin(-1, keepdim=True)
    return torch.where(rho > 1, 1 - torch.tanh(alpha.unsqueeze(-1) * rho), 1.0)


def spread(gradient: Tensor) -> Tensor:
    """Standard deviation over one tensor of each replica, (S, ..) to (S,); that of a single number is zero."""
    rows = gradient.flatten(1)
    return rows.std(1, correction=min(1, rows.shape[1] - 1)) + LEAST_STD
