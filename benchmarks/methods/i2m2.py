"""I2M2: an expert for what modalities say together, one for what each says alone, and the product of them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmarks.methods._heads import MultiHeadSettings, Multimodal, losses_alone
from dmil.data import Inputs, Task
from dmil.encoders import Encoders, Sources
from dmil.losses import task_loss
from dmil.method import PARTS, Output, Stage
from dmil.nn import MLP, Linear
from dmil.settings import Settings, tunable

EXPERTS, PRODUCT = "experts", "product"


@dataclass(frozen=True)
class I2M2Settings(MultiHeadSettings):
    """expert_share: of the budget's epochs, in which every expert first trains by itself, rounded down, at most half; 0
    starts with the product. The authors do the former on AV-MNIST, then SGD at 1e-2, and the latter on MIMIC with
    RMSprop at 1e-3; they clip gradients to 8. head_depth: of the inter-modality expert, which needs a hidden layer to
    be one."""

    head_depth: int = tunable(1, choices=(1, 2), least=1, per_replica=False)
    expert_share: float = tunable(1 / 3, choices=(0.0, 1 / 6, 1 / 3, 1 / 2), per_replica=False)


class I2M2(Multimodal):
    """Madaan, Makino, Chopra, Cho: "Jointly Modeling Inter- & Intra-Modality Dependencies for Multi-modal Learning",
    NeurIPS 2024.

    log p is log softmax(l_inter) + sum_m log softmax(l_m), normalised. The inter-modality expert and the M experts of
    one modality have separate encoders: 2 M. The loss is that of the product alone; without a loss of its own, an
    expert that starts behind is starved by one that is right already, hence the first stage, in which every expert
    trains on its own loss and is kept as it was when it was best on validation. It comes out of the same budget. The
    experts share what a replica has one of: the norm by which gradients are clipped, and the product's validation
    score, whose plateaus lower the learning rate and which ends the stage where it is long enough for that.
    The experts are components in the order inter, M_1, .., M_M. Any number of modalities.

    Regression, for which nobody gives a form: the mean of the M + 1 predictions, absolute error. The authors' "intra
    only" baseline is the same product without the inter-modality expert and is not ``ensemble``, whose members never
    train together. Extra cost: M encoders and M linear heads; a step is two forward and two backward passes of
    ``joint``.
    """

    Settings: ClassVar[type[Settings]] = I2M2Settings
    revision: ClassVar[int] = 2
    settings: I2M2Settings

    def __init__(self, settings: I2M2Settings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        n, d, out = len(sources), settings.width, task.n_outputs
        self.head = MLP(n * d, out, hidden=d, depth=settings.head_depth, dropout=settings.dropout)
        self.heads = nn.ModuleList(Linear(d, out) for _ in sources)
        self.intra = Encoders(sources, width=d, depth=settings.depth, dropout=settings.dropout)
        self.stage = PRODUCT

    @property
    def component_names(self) -> tuple[str, ...]:
        return ("inter", *super().component_names)

    @property
    def judged_parts(self) -> tuple[tuple[str, ...], ...]:
        alone = [(f"intra.each.{m}.", f"heads.{m}.") for m in range(len(self.modalities))]
        return (("encoders.", "head."), *alone)

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        n = min(int(self.settings.expert_share * epochs), epochs // 2)
        last = Stage(PRODUCT, epochs - n)
        return (Stage(EXPERTS, n, keeps=PARTS), last) if n else (last,)

    def forward(self, inputs: Inputs) -> Output:
        features = self.head.features(torch.cat(self.encoders(inputs), -1))
        alone = self.intra(inputs)
        said = [self.head[-1](features), *(head(z) for head, z in zip(self.heads, alone, strict=True))]
        experts = torch.stack(said, -3)
        read = None if self.training else torch.cat([features, *alone], -1)
        return Output(product(self.task, experts), experts, extra={PARTS: experts}, representation=read)

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        assert output.components is not None
        if stage == EXPERTS:
            return losses_alone(self.task, output.components, target).sum(-1)
        return task_loss(self.task, output.logits, target)


def product(task: Task, experts: Tensor) -> Tensor:
    """Logits (..., K, B, C) to the log of their normalised product, (..., B, C); numbers to their mean."""
    if task.kind == "regression":
        return experts.mean(-3)
    return experts.log_softmax(-1).sum(-3).log_softmax(-1)
