"""Gradient-Blending: losses weighed by how much what they train generalises and how little it overfits."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.methods._heads import MultiHead, MultiHeadSettings
from dmil.data import Inputs, Split, Task
from dmil.encoders import Sources
from dmil.feed import Feed
from dmil.losses import sample_loss
from dmil.method import LAST, Output, Stage
from dmil.seeds import generator
from dmil.settings import Settings, tunable

COPIES, BLEND = "copies", "blend"
HELD_OUT = 0.08  # of the training samples
MOST_HELD_OUT = 0.2  # of them, where whole groups are held out
LEAST_OVERFITTING = 0.01  # of the loss before training


@dataclass(frozen=True)
class GradientBlendingSettings(MultiHeadSettings):
    """copy_epochs: for how long the copies train, at most a third of all; 20 in MultiBench, 10 in BalanceBenchmark. The
    authors' joint head has hidden layers."""

    head_depth: int = tunable(1, choices=(0, 1), per_replica=False)
    copy_epochs: int = tunable(10, choices=(5, 10, 20), per_replica=False)


class GradientBlending(MultiHead):
    """Wang, Tran, Feiszli: "What Makes Training Multi-Modal Classification Networks Hard?", CVPR 2020, offline form.

    First stage: a copy of the untrained model for each head k, joint or of one modality, trains on J_k alone, on all
    training samples but about 8 % (``held_out``). With L the mean loss of a copy in evaluation mode,
    G = L_held(0) - L_held(n) and O = [L_held - L_train](n) - [L_held - L_train](0), w_k is |G| / O^2 over their sum.
    Second stage: the model itself, from its own start and on all training samples, on sum_k w_k J_k; the joint head
    predicts. n is the length of the first stage, of which the last epoch is kept: validation has no part in w. A budget
    of less than three epochs leaves weights equal. Copies share the norm by which a replica's gradients are clipped.

    Known from third-party code only. MultiBench by default puts end values in place of differences; another toolkit
    subtracts sums over splits of unlike length and isolates a modality by zeros at the input. Ours: O is at least 1 %
    of L_held(0), since a copy that does not overfit would take all, and groups are kept whole. The authors' online
    form, which measures again every few epochs, and MultiBench's final training of the head alone are left out.

    Extra cost: in training, twice the encoders again and M + 1 heads; epochs of the first stage, of the same budget,
    are two forward and two backward passes of ``joint`` each, and there are two passes over the training split.
    """

    Settings: ClassVar[type[Settings]] = GradientBlendingSettings
    revision: ClassVar[int] = 3
    settings: GradientBlendingSettings
    held: Tensor
    before: Tensor
    weights: Tensor

    def __init__(self, settings: GradientBlendingSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        parts = {"alone": self.encoders, "together": self.encoders, "head": self.head, "heads": self.heads}
        self.copies = nn.ModuleDict({name: copy.deepcopy(part) for name, part in parts.items()})
        n_heads = len(sources) + 1
        self.register_buffer("held", torch.zeros(0, dtype=torch.bool), persistent=False)
        self.register_buffer("before", torch.zeros(2, n_heads))
        self.register_buffer("weights", torch.full((n_heads,), 1 / n_heads))
        self.stage = BLEND

    def prepare(self, split: Split) -> None:
        self.held = held_out(split)

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        n = min(self.settings.copy_epochs, epochs // 3)
        last = Stage(BLEND, epochs - n, trains=("encoders", "heads", "head"))
        return (Stage(COPIES, n, trains=("copies",), keeps=LAST), last) if n else (last,)

    def forward(self, inputs: Inputs) -> Output:
        if self.stage != COPIES:
            return super().forward(inputs)
        logits, features = self._copied(inputs)
        return Output(logits.mean(-3), extra={"copies": logits}, representation=None if self.training else features)

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        if stage != COPIES:
            joint, alone = self.losses(output, target)
            return (self.weights * torch.cat([joint.unsqueeze(-1), alone], -1)).sum(-1)
        losses = sample_loss(self.task, output.extra["copies"], target.unsqueeze(-2))
        if self.samples is None:
            return losses.mean(-1).sum(-1)
        used = ~self.held.gather(-1, self.samples)
        return (losses.sum(-2) * used).sum(-1) / used.sum(-1).clamp(min=1)

    @torch.no_grad()
    def start_epoch(self, epoch: int, train: Feed) -> None:
        """Measures the copies before their first epoch and after their last."""
        if self.stage == COPIES and epoch == 1:
            self.before.copy_(self._measured(train))
        elif self.stage == BLEND and self.before.any():
            self.weights.copy_(blend_weights(self.before, self._measured(train)))
            self.before.zero_()

    def _copied(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Logits of the copies, joint first, (..., M + 1, B, C), and the joint copy's features."""
        head: Any = self.copies["head"]
        features = head.features(torch.cat(self.copies["together"](inputs), -1))
        alone = self.copies["heads"](torch.stack(self.copies["alone"](inputs), -3))
        return torch.cat([head[-1](features).unsqueeze(-3), alone], -3), features

    def _measured(self, train: Feed) -> Tensor:
        """Mean loss of each copy on samples that train it and on those held out: (..., 2, M + 1)."""
        logits = torch.cat([self._copied(inputs)[0] for inputs in train.blocks()], -2)
        losses = sample_loss(self.task, logits, train.target)
        shares = torch.stack([rows / rows.sum(-1, keepdim=True) for rows in (~self.held, self.held)], -2)
        return shares.to(losses.dtype) @ losses.transpose(-1, -2)


def blend_weights(before: Tensor, after: Tensor) -> Tensor:
    """w (..., K) of losses on samples that train (..., 0, K) and on those held out (..., 1, K)."""
    gain = (before - after)[..., 1, :]
    gap = (after - before).diff(dim=-2).squeeze(-2)
    least = LEAST_OVERFITTING * before[..., 1, :]
    weights = (gain.abs() / torch.maximum(gap.abs(), least).square()).clamp(min=1e-12)
    return weights / weights.sum(-1, keepdim=True)


def held_out(split: Split) -> Tensor:
    """(N,), true for the samples on which copies are judged: the same for every replica, never all of several.

    Groups in a random order, one or more of them, as many as come nearest to 8 % of the samples. Where there are no
    groups, or too few for that (it would be more than 20 %), samples in a random order: copies are then judged on
    groups that they also train on.
    """
    if len(set(split.groups)) > 1:
        held = _drawn(split.groups)
        if held.double().mean() <= MOST_HELD_OUT:
            return held
    return _drawn(range(len(split)))


def _drawn(names: Sequence[Hashable]) -> Tensor:
    """(N,), true for some of the names, all samples of each, as near to 8 % of the samples as their order allows."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    number = torch.tensor([numbers[name] for name in names])
    order = torch.randperm(len(numbers), generator=generator("gradient_blending", len(numbers)))
    shares = number.bincount()[order].cumsum(0) / len(names)
    n_held = int((shares - HELD_OUT).abs().argmin()) + 1
    return torch.isin(number, order[:n_held])
