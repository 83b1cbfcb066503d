"""UMT: encoders of a joint model that stay close to those of frozen unimodal teachers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.methods._heads import MultiHeadSettings, Multimodal, losses_alone
from dmil.data import Inputs, Task
from dmil.encoders import Encoders, Sources
from dmil.losses import reconstruction_error, task_loss
from dmil.method import PARTS, Output, Stage
from dmil.nn import MLP, Linear
from dmil.settings import Settings, tunable

TEACHERS, DISTILLATION = "teachers", "distillation"


@dataclass(frozen=True)
class UmtSettings(MultiHeadSettings):
    """distance: weight of the distance to the teachers, 10 in BalanceBenchmark. teacher_share: of the budget's epochs,
    in which the teachers train; rounded down, at most half."""

    distance: float = tunable(10.0, low=0.01, high=100.0, log=True)
    teacher_share: float = tunable(1 / 3, choices=(1 / 6, 1 / 3, 1 / 2), per_replica=False)


class Umt(Multimodal):
    """Du, Teng, Li, Liu, Yuan, Wang, Yuan, Zhao: "On Uni-Modal Feature Learning in Supervised Multi-Modal Learning"
    (Uni-Modal Teacher), ICML 2023.

    First stage: a unimodal model for each modality, all at once, on the sum of their losses; of each the epoch is kept
    that is its own best on validation. Second stage: a fresh joint model on J + distance * sum_m MSE(z_m, z_m of
    the teacher), means over samples and features. Teachers have encoders of the same build and, in the second stage,
    are frozen and in evaluation mode: a known toolkit leaves them in training mode, so that dropout blurs what is to
    be learned. Both stages come out of the same budget; one of less than three epochs leaves teachers untrained.
    Teachers share what a replica has one of: the norm by which gradients are clipped and the learning rate, which falls
    at plateaus of their mean prediction, which also ends the stage where it is long enough for that.

    Known from third-party code only, the weight as well. The joint head may have a hidden layer, our addition to what
    is searched. Any number of modalities; regression as it stands. Extra cost: M encoders and M linear heads as
    teachers; in the second stage a forward pass of M encoders without gradient.
    """

    Settings: ClassVar[type[Settings]] = UmtSettings
    revision: ClassVar[int] = 2
    settings: UmtSettings

    def __init__(self, settings: UmtSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        n, d, out = len(sources), settings.width, task.n_outputs
        self.head = MLP(n * d, out, hidden=d, depth=settings.head_depth, dropout=settings.dropout)
        encoders = Encoders(sources, width=d, depth=settings.depth, dropout=settings.dropout)
        heads = nn.ModuleList(Linear(d, out) for _ in sources)
        self.teachers = nn.ModuleDict({"encoders": encoders, "heads": heads})
        self.stage = DISTILLATION

    @property
    def component_names(self) -> tuple[str, ...]:
        return ()

    @property
    def judged_parts(self) -> tuple[tuple[str, ...], ...]:
        return tuple((f"teachers.encoders.each.{m}.", f"teachers.heads.{m}.") for m in range(len(self.modalities)))

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        n = min(int(self.settings.teacher_share * epochs), epochs // 2)
        last = Stage(DISTILLATION, epochs - n, trains=("encoders", "head"))
        return (Stage(TEACHERS, n, trains=("teachers",), keeps=PARTS), last) if n else (last,)

    def forward(self, inputs: Inputs) -> Output:
        if self.stage == TEACHERS:
            taught = self.teachers["encoders"](inputs)
            heads: Any = self.teachers["heads"]
            logits = torch.stack([head(z) for head, z in zip(heads, taught, strict=True)], -3)
            read = None if self.training else torch.cat(taught, -1)
            return Output(logits.mean(-3), extra={PARTS: logits}, representation=read)
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
            return losses_alone(self.task, output.extra[PARTS], target).sum(-1)
        return task_loss(self.task, output.logits, target) + self.settings.distance * output.extra["distance"]
