"""One modality by itself: encoder and linear head."""

from __future__ import annotations

from dmil.data import Inputs, Task
from dmil.encoders import Encoders, Sources
from dmil.method import Method, Output
from dmil.nn import Linear
from dmil.settings import Settings


class Unimodal(Method):
    """The same encoder as every multimodal method uses, trained on its own; member of the ensemble."""

    def __init__(self, settings: Settings, sources: Sources, task: Task) -> None:
        if len(sources) != 1:
            raise ValueError(f"a unimodal model sees one modality, but got {len(sources)}: {', '.join(sources)}")
        super().__init__(settings, sources, task)
        self.encoders = Encoders(sources, width=settings.width, depth=settings.depth, dropout=settings.dropout)
        self.head = Linear(settings.width, task.n_outputs)

    def forward(self, inputs: Inputs) -> Output:
        (z,) = self.encoders(inputs)
        return Output(self.head(z), representation=None if self.training else z)
