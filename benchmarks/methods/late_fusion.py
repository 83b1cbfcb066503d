"""Late fusion trained jointly: per-modality heads, one loss on their combination."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dmil.data import Inputs, Task
from dmil.encoders import Encoders, Sources
from dmil.method import Method, Output
from dmil.nn import MLP
from dmil.settings import Settings


class LateFusion(Method):
    """Mean of per-modality logits. The heads have a hidden layer: with linear ones this would be ``Joint``."""

    def __init__(self, settings: Settings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        width, dropout = settings.width, settings.dropout
        self.encoders = Encoders(sources, width=width, depth=settings.depth, dropout=dropout)
        self.heads = nn.ModuleList(
            MLP(width, task.n_outputs, hidden=width, depth=1, dropout=dropout) for _ in self.modalities
        )

    @property
    def component_names(self) -> tuple[str, ...]:
        return tuple(f"M_{m}" for m in self.modalities)

    def forward(self, inputs: Inputs) -> Output:
        heads: list[Any] = list(self.heads)
        features = [head.features(z) for head, z in zip(heads, self.encoders(inputs), strict=True)]
        components = torch.stack([head[-1](x) for head, x in zip(heads, features, strict=True)], -3)
        read = None if self.training else torch.cat(features, -1)
        return Output(self.combine(components), components, representation=read)

    def combine(self, components: Tensor) -> Tensor:
        """(..., M, B, C) to (..., B, C)."""
        return components.mean(-3)


class LateFusionLearned(LateFusion):
    """Weights softmax(a), a in R^M starting at zero and free of weight decay."""

    no_decay = ("weights",)

    def __init__(self, settings: Settings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        self.weights = nn.Parameter(torch.zeros(len(sources)))

    def combine(self, components: Tensor) -> Tensor:
        return (components * self.weights.softmax(-1)[..., None, None]).sum(-3)
