"""Which epoch of a replica is kept, when its learning rate drops and when it stops; on validation alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Budget:
    """What every method of a table is given.

    epochs: in all stages together. patience: epochs without improvement after which a stage of a replica ends.
    lr_patience, lr_factor: a plateau of that many epochs multiplies the learning rate. max_grad_norm: gradient
    clipping, per replica. micro_batch: samples that are computed at once, where a whole batch would not fit in memory;
    0 for all. Gradients add up to those of the batch for losses that are means over samples. precision: float32, or
    bfloat16 for mixed precision in training: torch's autocast inside the network and in validation; parameters, the
    loss of its outputs and what is reported of the kept model stay float32.
    """

    epochs: int = 60
    patience: int = 20
    lr_patience: int = 8
    lr_factor: float = 0.5
    max_grad_norm: float = 1.0
    micro_batch: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "lr_patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name} >= 1` must hold, but got {name}={getattr(self, name)}")
        for name in ("lr_factor", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name} > 0` must hold, but got {name}={getattr(self, name)}")
        if self.micro_batch < 0:
            raise ValueError(f"`micro_batch >= 0` must hold, but got micro_batch={self.micro_batch}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be {' or '.join(PRECISIONS)}, but got {self.precision!r}")


@dataclass
class Selection:
    """Best epoch of one stage: highest validation score, ties by lower validation loss, further ties the earliest."""

    budget: Budget
    score: float = -math.inf
    loss: float = math.inf
    epoch: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    waited: int = 0

    def update(self, epoch: int, score: float, metrics: dict[str, float], *, is_last: bool = False) -> bool:
        """Whether this epoch is the one to keep so far: the best, or, where the last is asked for, whichever it is."""
        if is_last or (score, -metrics["valid/loss"]) > (self.score, -self.loss):
            self.score, self.loss, self.epoch, self.metrics = score, metrics["valid/loss"], epoch, metrics
            self.waited = 0
            return True
        self.waited += 1
        return False

    @property
    def is_plateau(self) -> bool:
        return self.waited > 0 and self.waited % self.budget.lr_patience == 0

    @property
    def is_over(self) -> bool:
        return self.waited >= self.budget.patience
