"""Joint learning: one network on the concatenated encodings, one loss."""

from __future__ import annotations

from typing import ClassVar

import torch

from dmil.data import Inputs, Task
from dmil.encoders import Encoders, Sources
from dmil.method import Method, Output
from dmil.nn import MLP
from dmil.settings import Settings


class Joint(Method):
    """Linear head on [z_1, .., z_M], the literature's baseline. Additive over modalities: it cannot learn XOR."""

    head_depth: ClassVar[int] = 0

    def __init__(self, settings: Settings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        width = settings.width
        self.encoders = Encoders(sources, width=width, depth=settings.depth, dropout=settings.dropout)
        self.head = MLP(
            len(sources) * width, task.n_outputs, hidden=width, depth=self.head_depth, dropout=settings.dropout
        )

    def forward(self, inputs: Inputs) -> Output:
        features = self.head.features(torch.cat(self.encoders(inputs), -1))
        return Output(self.head[-1](features), representation=None if self.training else features)


class JointMlp(Joint):
    """One hidden layer in the head: the joint baseline that can learn synergy."""

    head_depth = 1
