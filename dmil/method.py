"""The contract of a method: what it predicts, what it minimises, in which stages it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from dmil.data import Split, Task
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


@dataclass(frozen=True)
class Stage:
    """A phase of training. ``trains`` names the top-level children that learn, None meaning all of them; the
    others are frozen and in evaluation mode."""

    name: str
    epochs: int
    trains: tuple[str, ...] | None = None


class Method(nn.Module):
    """Base of every method. A sub-class writes ``__init__`` and ``forward``; the rest has a default.

    Its layers are those of ``dmil.nn``: ``fit`` gives every parameter a leading replica dimension, which
    ``torch.nn.Linear`` does not take. Parameters are what training changes and restores; a buffer is a constant
    of training. dims: feature width of each modality, in order.
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

    def __init__(self, settings: Any, dims: Mapping[str, int], task: Task) -> None:
        super().__init__()
        self.settings = settings
        self.modalities = tuple(dims)
        self.task = task
        self.stage = ""

    @property
    def component_names(self) -> tuple[str, ...]:
        return ()

    def prepare(self, split: Split) -> None:
        """Called once before training, with the training split."""

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        """How ``epochs`` epochs are spent."""
        return (Stage("train", epochs),)

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        """What training minimises, one value per replica: (...)."""
        return task_loss(self.task, output.logits, target)

    def adjust_gradients(self, gradients: Mapping[str, Tensor], output: Output, target: Tensor) -> None:
        """Hook between backward and step, for methods that rewrite gradients in place. Keyed by parameter name."""
