"""UMT: encoders of a joint model that stay close to those of frozen unimodal teachers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmarks.methods._heads import MultiHeadSettings, Multimodal, losses_alone
from dmil.data import Inputs, Task
from dmil.encoders import Encoders, Sources
from dmil.losses import reconstruction_error, task_loss
from dmil.method import Output, Stage
from dmil.nn import MLP, Linear
from dmil.settings import Settings, tunable

TEACHERS, DISTILLATION = "teachers", "distillation"


@dataclass(frozen=True)
class UmtSettings(MultiHeadSettings):
    """distance: weight of the distance to the teachers, 10 in BalanceBenchmark. teacher_epochs: for how long the
    teachers train, at most half of all epochs."""

    distance: float = tunable(10.0, low=0.1, high=100.0, log=True)
    teacher_epochs: int = tunable(20, choices=(10, 20, 30), least=1, per_replica=False)


class Umt(Multimodal):
    """Du, Teng, Li, Liu, Yuan, Wang, Yuan, Zhao: "On Uni-Modal Feature Learning in Supervised Multi-Modal Learning"
    (Uni-Modal Teacher), ICML 2023.

    First stage: a unimodal model for each modality, all at once, on the sum of their losses; the epoch is kept whose
    mean prediction is best on validation. Second stage: a fresh joint model on J + distance * sum_m MSE(z_m, z_m of
    the teacher), means over samples and features. Teachers have encoders of the same build and, in the second stage,
    are frozen and in evaluation mode: a known toolkit leaves them in training mode, so that dropout blurs what is to
    be learned. Both stages come out of the same budget; one of a single epoch leaves teachers untrained. Teachers share
    what a replica has one of: the norm by which gradients are clipped, the learning rate, which falls at plateaus of
    their mean prediction, and the epoch that is kept.

    Known from third-party code only, the weight as well. The joint head may have a hidden layer, our addition to what
    is searched. Any number of modalities; regression as it stands. Extra cost: M encoders and M linear heads as
    teachers; in the second stage a forward pass of M encoders without gradient.
    """

    Settings: ClassVar[type[Settings]] = UmtSettings
    settings: UmtSettings

    def __init__(self, settings: UmtSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        n, d, out = len(sources), settings.width, task.n_outputs
        self.head = MLP(n * d, out, hidden=d, depth=settings.head_depth, dropout=settings.dropout)
        encoders = Encoders(sources, width=d, depth=settings.depth, dropout=settings.dropout)
        self.teachers = nn.ModuleDict({"encoders": encoders, "heads": Linear(d, out, groups=(n,))})
        self.stage = DISTILLATION

    @property
    def component_names(self) -> tuple[str, ...]:
        return ()

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        n = min(self.settings.teacher_epochs, epochs // 2)
        last = Stage(DISTILLATION, epochs - n, trains=("encoders", "head"))
        return (Stage(TEACHERS, n, trains=("teachers",)), last) if n else (last,)

    def forward(self, inputs: Inputs) -> Output:
        if self.stage == TEACHERS:
            taught = self.teachers["encoders"](inputs)
            logits = self.teachers["heads"](torch.stack(taught, -3))
            read = None if self.training else torch.cat(taught, -1)
            return Output(logits.mean(-3), extra={"teachers": logits}, representation=read)
        z = self.encoders(inputs)
        features = self.head.features(torch.cat(z, -1))
        output = Output(self.head[-1](features), representation=None if self.training else features)
        if self.training:
            with torch.no_grad():
                taught = self.teachers["encoders"](inputs)
            output.extra["distance"] = reconstruction_error(torch.stack(z, -3), torch.stack(taught, -3)).sum(-1)
        return output

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        if stage == TEACHERS:
            return losses_alone(self.task, output.extra["teachers"], target).sum(-1)
        return task_loss(self.task, output.logits, target) + self.settings.distance * output.extra["distance"]
