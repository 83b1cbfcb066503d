"""A control, not a competitor: training labels that say nothing about their samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.methods.joint import JointMlp
from dmil.data import Inputs, Shared, Split, Task
from dmil.encoders import Sources, told
from dmil.losses import task_loss
from dmil.method import Output, Stage
from dmil.settings import Settings

STEEPNESS = 100.0  # how often the projection's unit is wrapped: far more than the projection is smooth


class LabelShuffle(JointMlp):
    """``joint_mlp`` trained on labels in random order; it must end at chance, or something tells it test labels.

    A sample's content draws its label: the fraction of a random projection of its content, of every replica another,
    points at one of the sorted training labels. So a sample keeps its label through all epochs, every class keeps its
    share, and no true label takes part but for how many there are. (Shuffling within a batch of B would not do: a
    sample meets its own label 1 / B more often than it should, which can be learned.)

    Nor does a validation label: stages of one epoch leave nothing to select. Picked by true validation labels, the
    epoch that is right by accident is right on test data too. Half of the epochs, about where others are stopped.
    """

    labels: Tensor
    direction: Tensor

    def __init__(self, settings: Settings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        # Drawn after the weights, which are therefore those of ``joint_mlp`` with the same seed.
        self.shapes = [one.shape for one in told(sources).values()]
        self.register_buffer("direction", torch.randn(sum(map(math.prod, self.shapes)), 1), persistent=False)
        first = torch.zeros(1) if task.kind == "regression" else torch.arange(task.n_classes)
        self.register_buffer("labels", first, persistent=False)

    def prepare(self, split: Split) -> None:
        """Takes the labels without their samples."""
        self.labels = split.target.sort().values

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        return (Stage("train", 1),) * max(1, epochs // 2)

    def forward(self, inputs: Inputs) -> Output:
        output = super().forward(inputs)
        if self.training:
            directions = self.direction.split([math.prod(shape) for shape in self.shapes], -2)
            seen = [inputs[name] for name in self.modalities]
            projections = [_project(*one) for one in zip(seen, directions, self.shapes, strict=True)]
            output.extra["drawn"] = (STEEPNESS * torch.stack(projections).sum(0)).remainder(1)
        return output

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        """Task loss on the drawn labels; ``target`` is not looked at."""
        n = self.labels.shape[-1]
        index = (n * output.extra["drawn"]).long().clamp(max=n - 1)
        return task_loss(self.task, output.logits, self.labels.gather(-1, index))


def _project(x: Tensor | Shared, direction: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(..., B, *shape) times (..., prod(shape), 1): (..., B)."""
    if isinstance(x, Shared):
        return _project(x.values, direction, shape).gather(-1, x.index)
    return (x.flatten(x.dim() - len(shape)).to(direction.dtype) @ direction).squeeze(-1)
