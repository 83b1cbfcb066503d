"""The floor of every table: what can be had without looking at the input."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from dmil.data import Inputs, Shared, Split, Task
from dmil.encoders import Sources, told
from dmil.method import Method, Output, Stage


class Constant(Method):
    """The best answer that ignores the input: the class frequencies of the split it is judged on (no-information
    rate; regression: the median).

    A bound, not a competitor: it knows the label frequencies of the split, so that no method looks good for
    beating a majority class that changed between training and test.
    """

    has_representation: ClassVar[bool] = False
    answer: Tensor

    def __init__(self, settings: Any, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        self.n_dims = len(told(sources)[self.modalities[0]].shape)
        self.register_buffer("answer", torch.zeros(task.n_outputs))

    def prepare(self, split: Split) -> None:
        """Takes the frequencies of any split; evaluation calls it again with the split to be judged on."""
        if self.task.kind == "regression":
            self.answer = split.target.median().reshape(1).to(self.answer.dtype)
        else:
            counts = torch.bincount(split.target, minlength=self.task.n_classes).to(self.answer.dtype)
            self.answer = (counts / counts.sum()).clamp(min=torch.finfo(counts.dtype).tiny).log()

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        return ()

    def forward(self, inputs: Inputs) -> Output:
        x = inputs[self.modalities[0]]
        shape = x.index.shape if isinstance(x, Shared) else x.shape[: x.dim() - self.n_dims]
        return Output(self.answer.unsqueeze(-2).expand(*shape, -1))
