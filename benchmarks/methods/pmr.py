"""PMR: class means judge each modality, and who is behind gets a loss of its own from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.methods._heads import Modulated, MultiHeadSettings, losses_alone, scores
from dmil.data import Inputs, Task
from dmil.encoders import Sources
from dmil.feed import Feed
from dmil.losses import task_loss
from dmil.method import Output
from dmil.nn import MLP
from dmil.seeds import generator
from dmil.settings import Settings, tunable

SHARE = 0.1  # of the training samples of each class


@dataclass(frozen=True)
class PmrSettings(MultiHeadSettings):
    """alpha: weight of the prototypes' loss. momentum: share of the old prototypes, the authors' epsilon. is_graded:
    whether that weight grows with the lag, as in the paper, or is whole, as in the code. modulated_share: of the
    budget's epochs, from the first, in which the loss has a part in training. The authors' alpha is 1, epsilon 0.2,
    and 100 of 150 epochs are modulated; BalanceBenchmark has alpha 0.6, epsilon 0.5."""

    alpha: float = tunable(1.0, low=0.1, high=10.0, log=True)
    momentum: float = tunable(0.2, low=0.0, high=0.9)
    is_graded: bool = tunable(False, choices=(False, True), per_replica=False)
    modulated_share: float = tunable(2 / 3, choices=(1 / 3, 2 / 3, 1.0), per_replica=False)


class Pmr(Modulated):
    """Fan, Xu, Wang, Wang, Guo: "PMR: Prototypical Modal Rebalance for Multimodal Learning", CVPR 2023.

    Before every epoch the prototype c_mk of modality m and class k is the mean encoding of a tenth of the class (eq.
    6), in evaluation mode, and a share of the old prototype (eq. 12). l_m[k] = -|z_m - c_mk|, the length and not its
    square, are the components (eq. 7); P_m is their cross-entropy (eq. 9) and q_m the mean probability of the true
    class (eq. 8). Loss J + alpha sum_m w_m P_m (eq. 10), with w_m = 1 for who is behind, as in the authors' code, or
    w_m = clip(max_j q_j / q_m - 1; 0, 1), which for two modalities is the paper's (eq. 11). Both forms for more than
    two are ours.

    The paper's entropy term for early epochs (eq. 13) is not in its code and is left out. The code takes the first
    tenth of the batches: classes that are not in it have prototypes that are no numbers; here every class is drawn
    from, the same samples for all replicas. A sample that lies on a prototype has gradient zero; the root in the code
    has none there. A known reimplementation quietly does another method for three modalities. A hidden layer in the
    head is searched, as the rule holds for any head. A regression has no classes. Extra cost: buffers of M C width
    numbers and, each epoch, a tenth of a forward pass over the training split.
    """

    Settings: ClassVar[type[Settings]] = PmrSettings
    revision: ClassVar[int] = 2
    settings: PmrSettings
    prototypes: Tensor

    def __init__(self, settings: PmrSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        n, d = len(sources), settings.width
        self.head = MLP(n * d, task.n_outputs, hidden=d, depth=settings.head_depth, dropout=settings.dropout)
        self.register_buffer("prototypes", torch.zeros(n, task.n_outputs, d))

    @classmethod
    def unfit(cls, sources: Sources, task: Task) -> str | None:
        if task.kind == "regression":
            return "pmr needs classes, but the task is a regression"
        return super().unfit(sources, task)

    def forward(self, inputs: Inputs) -> Output:
        z = self.encoders(inputs)
        features = self.head.features(torch.cat(z, -1))
        near = nearness(torch.stack(z, -3), self.prototypes)
        return Output(self.head[-1](features), near, representation=None if self.training else features)

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        joint = task_loss(self.task, output.logits, target)
        if not self.is_modulated(stage):
            return joint
        assert output.components is not None
        q = scores(self.task, output.components.detach(), target)
        losses = losses_alone(self.task, output.components, target)
        return joint + self.settings.alpha * (lag(q, is_graded=self.settings.is_graded) * losses).sum(-1)

    @torch.no_grad()
    def start_epoch(self, epoch: int, train: Feed) -> None:
        super().start_epoch(epoch, train)
        index = drawn(train.target.cpu(), epoch)
        part = Feed(train.split.take(index), train.device, train.dtype)
        z = torch.cat([torch.stack(self.encoders(inputs), -3) for inputs in part.blocks()], -2)
        members = F.one_hot(part.target, self.task.n_classes).to(z).T
        count = members.sum(-1, keepdim=True)
        fresh = torch.where(count > 0, members @ z / count.clamp(min=1), self.prototypes)
        kept = torch.as_tensor(self.settings.momentum)[..., None, None, None] if epoch > 1 else torch.zeros(())
        self.prototypes.copy_((1 - kept) * fresh + kept * self.prototypes)


def nearness(z: Tensor, prototypes: Tensor) -> Tensor:
    """Minus the distance of z (..., M, B, d) to each of (..., M, C, d): (..., M, B, C)."""
    return -torch.cdist(z, prototypes.to(z), compute_mode="donot_use_mm_for_euclid_dist")


def lag(q: Tensor, *, is_graded: bool) -> Tensor:
    """w of scores (..., M): (..., M)."""
    if is_graded:
        return (q.amax(-1, keepdim=True) / q - 1).clamp(0, 1)
    is_last = F.one_hot(q.argmin(-1), q.shape[-1]).to(q)
    return is_last * (q < q.amax(-1, keepdim=True))


def drawn(target: Tensor, epoch: int) -> Tensor:
    """Positions of a tenth of each class, at least one sample of it, others in every epoch."""
    order = torch.randperm(len(target), generator=generator("pmr", epoch))
    found = [order[target[order] == k] for k in target.unique()]
    return torch.cat([rows[: math.ceil(SHARE * len(rows))] for rows in found])
