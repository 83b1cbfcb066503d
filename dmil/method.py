"""The contract of a method: what it predicts, what it minimises, in which stages it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmil.data import Split, Task
from dmil.encoders import Sources
from dmil.feed import Feed
from dmil.losses import task_loss
from dmil.settings import Settings


@dataclass
class Output:
    """What a method says about a batch.

    logits: (..., B, C), or (..., B, 1) for regression. components: (..., K, B, C), what each of the method's
    ``component_names`` predicts. gate: (..., B, K), their weights, non-negative with sum one.
    extra: whatever else the method's own loss needs. representation: (..., B, D), the features that the prediction
    is read from; in evaluation mode only, None from a method that learns none.
    """

    logits: Tensor
    components: Tensor | None = None
    gate: Tensor | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)
    representation: Tensor | None = None

    def to(self, dtype: torch.dtype) -> Output:
        """The same with every floating number in ``dtype``."""
        parts = {name: _cast(getattr(self, name), dtype) for name in ("logits", "components", "gate", "representation")}
        return Output(**parts, extra={name: _cast(value, dtype) for name, value in self.extra.items()})


def _cast(x: Any, dtype: torch.dtype) -> Any:
    return x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x


BEST, LAST, PARTS = "best", "last", "parts"


@dataclass(frozen=True)
class Stage:
    """A phase of training. ``trains`` names the top-level children that learn, None meaning all of them; the
    others are frozen and in evaluation mode.

    keeps: how a replica leaves it. ``BEST``: as it was at its best validation epoch. ``LAST``: as it is; validation
    then neither ends the stage nor lowers the learning rate. ``PARTS``: as ``BEST``, but each of
    ``Method.judged_parts`` as it was at the epoch at which its own prediction was best, that is ``extra[PARTS]``,
    (..., K, B, C), in evaluation mode.
    """

    name: str
    epochs: int
    trains: tuple[str, ...] | None = None
    keeps: str = BEST


class Method(nn.Module):
    """Base of every method. A sub-class writes ``__init__`` and ``forward``; the rest has a default.

    Its layers are those of ``dmil.nn``: ``fit`` gives every parameter a leading replica dimension, which
    ``torch.nn.Linear`` does not take. Parameters are what training changes and restores; a buffer is a constant
    of training. sources: what each modality is and how it is
    encoded, in order; a number stands for that many features. While it
    trains, ``samples`` (..., B) says which samples of the training split a batch holds.
    """

    Settings: ClassVar[type[Settings]] = Settings
    revision: ClassVar[int] = 1
    """Raised by hand when a change to the method, or to what it is built from, makes settings that were tuned before
    unfit for it; the bench then refuses them. Sub-classes that do not say their own are raised with it."""
    no_decay: ClassVar[tuple[str, ...]] = ()
    """Names of parameters that weight decay leaves alone."""
    unused: ClassVar[tuple[str, ...]] = ()
    """Settings that an ablation inherits but does without; a search leaves them out."""
    has_representation: ClassVar[bool] = True
    """Whether its outputs in evaluation mode hold a representation."""

    def __init__(self, settings: Any, sources: Sources, task: Task) -> None:
        super().__init__()
        self.settings = settings
        self.modalities = tuple(sources)
        self.task = task
        self.stage = ""
        self.samples: Tensor | None = None

    @classmethod
    def unfit(cls, sources: Sources, task: Task) -> str | None:
        """Why it cannot take such modalities or such a task, None if it can; a table then leaves it out and says so."""
        return None

    @property
    def component_names(self) -> tuple[str, ...]:
        return ()

    @property
    def judged_parts(self) -> tuple[tuple[str, ...], ...]:
        """Of each of K parts that learn by themselves, how the names of its parameters and buffers begin."""
        return ()

    def prepare(self, split: Split) -> None:
        """Called once before training, with the training split."""

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        """How ``epochs`` epochs are spent."""
        return (Stage("train", epochs),)

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        """What training minimises, one value per replica: (...)."""
        return task_loss(self.task, output.logits, target)

    def start_epoch(self, epoch: int, train: Feed) -> None:
        """Hook before every epoch, in evaluation mode, for methods that look at the training split as a whole."""

    def gradients(
        self, loss: Tensor, output: Output, target: Tensor, parameters: Mapping[str, Tensor]
    ) -> Sequence[Tensor]:
        """Gradient of ``loss`` for each of ``parameters``, zero where it does not depend on one. A method that joins
        the gradients of several losses does so here, while the graph of ``output`` is there."""
        return torch.autograd.grad(loss.sum(), list(parameters.values()), materialize_grads=True)

    def adjust_gradients(self, gradients: Mapping[str, Tensor], output: Output, target: Tensor) -> None:
        """Hook between backward and step, for methods that rewrite gradients in place. Keyed by parameter name."""
