"""What several of the field's methods have in common: encoders and heads, per-modality scores, gradients by modality.

The key of a run covers the files of a method's bases: whoever uses a function of this file has a base from here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmil.data import Inputs, Task
from dmil.encoders import Encoders, Sources
from dmil.feed import Feed
from dmil.losses import sample_loss, task_loss
from dmil.method import Method, Output, Stage
from dmil.nn import MLP, Linear
from dmil.settings import Settings, tunable

LEAST_SCORE = 1e-8
UNTIL = "modulated until epoch "  # the name of a stage begins so


class Multimodal(Method):
    """Base of the methods for two or more modalities; ``encoders`` gives z_m of each."""

    def __init__(self, settings: Any, sources: Sources, task: Task) -> None:
        if why := self.unfit(sources, task):
            raise ValueError(why)
        super().__init__(settings, sources, task)
        self.encoders = Encoders(sources, width=settings.width, depth=settings.depth, dropout=settings.dropout)

    @classmethod
    def unfit(cls, sources: Sources, task: Task) -> str | None:
        """Why it cannot take such modalities or such a task; None if it can."""
        if len(sources) > 1:
            return None
        return f"{cls.__module__.split('.')[-1]} needs two or more modalities, but got only {', '.join(sources)}"

    @property
    def component_names(self) -> tuple[str, ...]:
        return tuple(f"M_{m}" for m in self.modalities)


class Modulated(Multimodal):
    """Base of the methods whose rule holds in the first epochs alone: ``modulated_share`` of the budget's, rounded."""

    epoch = 0

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        # Of a run's length its stage's name alone reaches every replica, however they train and after a kill too.
        return (Stage(f"{UNTIL}{int(self.settings.modulated_share * epochs + 0.5)}", epochs),)

    def start_epoch(self, epoch: int, train: Feed) -> None:
        self.epoch = epoch

    def is_modulated(self, stage: str) -> bool:
        """Whether the rule holds in this epoch of the stage so named."""
        return self.epoch <= int(stage.removeprefix(UNTIL))


class AdditiveHead(nn.Module):
    """Linear head on [z_1, .., z_M], cut into one slice per modality: l_m = W_m z_m + b / M, and their sum is l.

    weight: (..., M, d, C); bias: (..., C), shared. It starts from the same numbers as ``Joint``'s head.
    """

    def __init__(self, n_modalities: int, width: int, n_outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_modalities * width)
        self.weight = nn.Parameter(torch.empty(n_modalities, width, n_outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_outputs).uniform_(-bound, bound))

    def forward(self, z: Sequence[Tensor]) -> Tensor:
        """z_m (..., B, d) to l_m (..., M, B, C)."""
        return torch.stack(list(z), -3) @ self.weight + self.bias[..., None, None, :] / len(z)


class Additive(Multimodal):
    """``Joint`` whose head can be read by modality; the slices are its components. It cannot represent XOR."""

    def __init__(self, settings: Any, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        self.head = AdditiveHead(len(sources), settings.width, task.n_outputs)

    def forward(self, inputs: Inputs) -> Output:
        z = self.encoders(inputs)
        slices = self.head(z)
        return Output(slices.sum(-3), slices, representation=None if self.training else torch.cat(z, -1))


@dataclass(frozen=True)
class MultiHeadSettings(Settings):
    """head_depth: hidden layers of the joint head; none is additive over modalities, one can represent XOR."""

    head_depth: int = tunable(0, choices=(0, 1), per_replica=False)


class MultiHead(Multimodal):
    """A joint head on [z_1, .., z_M], which predicts, and a linear head on each z_m, its components."""

    Settings: ClassVar[type[Settings]] = MultiHeadSettings

    def __init__(self, settings: Any, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        n, d = len(sources), settings.width
        self.head = MLP(n * d, task.n_outputs, hidden=d, depth=settings.head_depth, dropout=settings.dropout)
        self.heads = Linear(d, task.n_outputs, groups=(n,))

    def forward(self, inputs: Inputs) -> Output:
        z = self.encoders(inputs)
        features = self.head.features(torch.cat(z, -1))
        alone = self.heads(torch.stack(z, -3))
        return Output(self.head[-1](features), alone, representation=None if self.training else features)

    def losses(self, output: Output, target: Tensor) -> tuple[Tensor, Tensor]:
        """J (...) and J_m (..., M)."""
        assert output.components is not None
        return task_loss(self.task, precise(output.logits), target), losses_alone(self.task, output.components, target)


def losses_alone(task: Task, logits: Tensor, target: Tensor) -> Tensor:
    """Task loss of each of K predictions: logits (..., K, B, C) and target (..., B) to (..., K)."""
    return task_loss(task, precise(logits), target.unsqueeze(-2))


def scores(task: Task, logits: Tensor, target: Tensor) -> Tensor:
    """How well each modality does alone: logits (..., M, B, C) and target (..., B) to q (..., M), in (0, 1].

    Classification: mean probability of the true class. Regression, for which nobody gives a score: exp(-mean |error|).
    """
    losses = sample_loss(task, precise(logits), target.unsqueeze(-2))
    q = (-losses.mean(-1)).exp() if task.kind == "regression" else (-losses).exp().mean(-1)
    return q.clamp(min=LEAST_SCORE)


def precise(logits: Tensor) -> Tensor:
    """At least float32: hooks see what was computed in mixed precision, but are called outside of it."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def of_encoder(named: Mapping[str, Tensor], modality: int) -> dict[str, Tensor]:
    """The tensors, by parameter name, that belong to the encoder of a modality."""
    prefix = f"encoders.each.{modality}."
    return {name: tensor for name, tensor in named.items() if name.startswith(prefix)}


def beside(factor: Tensor, tensor: Tensor) -> Tensor:
    """One number per replica, (S,), in as many dimensions as ``tensor`` (S, ..)."""
    return factor.reshape(*factor.shape, *(1,) * (tensor.dim() - factor.dim()))


def paced(x: Tensor, pace: Tensor | float) -> Tensor:
    """``x``, through which ``pace`` times the gradient flows."""
    still = x.detach()
    return still + pace * (x - still)
