"""Joint learning with a loss for every modality: the baseline that the balancing methods must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from benchmarks.methods._heads import MultiHead, MultiHeadSettings
from dmil.method import Output
from dmil.settings import Settings, tunable


@dataclass(frozen=True)
class MultiLossSettings(MultiHeadSettings):
    """alone: weight of the unimodal losses, 1 in the code of Kontras et al."""

    alone: float = tunable(1.0, low=0.1, high=10.0, log=True)


class MultiLoss(MultiHead):
    """J + sum_m J_m: the joint head's loss and that of one linear head per modality; the joint head predicts.

    The multi-loss baseline of Kontras, Chatzichristos, Blaschko, De Vos: "Improving Multimodal Learning with
    Multi-Loss Gradient Modulation", BMVC 2024, and "uniform baseline" of Wei, Hu: "MMPareto", ICML 2024, there with a
    linear joint head. It is not ``joint``, which some comparisons call by the same name. A hidden layer in the joint
    head is our addition to what is searched. Extra cost: M linear heads; one forward, one backward pass.
    """

    Settings: ClassVar[type[Settings]] = MultiLossSettings
    settings: MultiLossSettings

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        joint, alone = self.losses(output, target)
        return joint + self.settings.alone * alone.sum(-1)
