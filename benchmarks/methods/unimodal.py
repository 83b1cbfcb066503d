"""One modality by itself: encoder and linear head."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dmil.data import Task
from dmil.method import Method, Output
from dmil.nn import Encoders, Linear
from dmil.settings import Settings


class Unimodal(Method):
    """The same encoder as every multimodal method uses, trained on its own; member of the ensemble."""

    def __init__(self, settings: Settings, dims: Mapping[str, int], task: Task) -> None:
        if len(dims) != 1:
            raise ValueError(f"a unimodal model sees one modality, but got {len(dims)}: {', '.join(dims)}")
        super().__init__(settings, dims, task)
        self.encoders = Encoders(dims, width=settings.width, depth=settings.depth, dropout=settings.dropout)
        self.head = Linear(settings.width, task.n_outputs)

    def forward(self, inputs: Mapping[str, Tensor]) -> Output:
        (z,) = self.encoders(inputs)
        return Output(self.head(z), representation=None if self.training else z)
