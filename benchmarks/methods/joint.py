"""Joint learning: one network on the concatenated encodings, one loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from dmil.data import Task
from dmil.method import Method, Output
from dmil.nn import MLP, Encoders
from dmil.settings import Settings


class Joint(Method):
    """Linear head on [z_1, .., z_M], the literature's baseline. Additive over modalities: it cannot learn XOR."""

    head_depth: ClassVar[int] = 0

    def __init__(self, settings: Settings, dims: Mapping[str, int], task: Task) -> None:
        super().__init__(settings, dims, task)
        width = settings.width
        self.encoders = Encoders(dims, width=width, depth=settings.depth, dropout=settings.dropout)
        self.head = MLP(
            len(dims) * width, task.n_outputs, hidden=width, depth=self.head_depth, dropout=settings.dropout
        )

    def forward(self, inputs: Mapping[str, Tensor]) -> Output:
        features = self.head.features(torch.cat(self.encoders(inputs), -1))
        return Output(self.head[-1](features), representation=None if self.training else features)


class JointMlp(Joint):
    """One hidden layer in the head: the joint baseline that can learn synergy."""

    head_depth = 1
