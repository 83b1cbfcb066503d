"""One stage of training: epoch by epoch, every replica judged on validation, dropped when it is over or fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from dmil.data import Task
from dmil.feed import Feed
from dmil.method import LAST, Method, Stage
from dmil.selection import Budget, Selection
from dmil.settings import Settings
from dmil.stack import Streams
from dmil.trainer import Trainer

OnEpoch = Callable[[int, Mapping[int, Mapping[str, float]]], None]
Prune = Callable[[int, Stage, Mapping[int, Selection]], Collection[int]]


@dataclass(frozen=True)
class Replica:
    """One member of a stack; ``settings`` None means the method's defaults."""

    seed: int = 0
    settings: Settings | None = None


@dataclass
class FitResult:
    """One trained replica.

    method: the model, by itself and on the CPU, at its best validation epoch. status: "finished", "pruned" or
    "failed", the last with its reason in ``error``. best: validation metrics of the kept epoch. history: one dict
    per epoch. seconds: this replica's share of the stack's wall time.
    """

    replica: Replica
    method: Method
    status: str = "finished"
    error: str | None = None
    best_epoch: int = 0
    best: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def n_params(self) -> int:
        return sum(p.numel() for p in self.method.parameters())


@dataclass
class Run:
    """What the stages of one call to ``fit`` have in common.

    is_alone: whether every replica trains by itself. stage, epoch: the stage's number and the epochs before it.
    """

    train: Feed
    valid: Feed
    task: Task
    budget: Budget
    results: list[FitResult]
    streams: list[Streams]
    is_alone: bool
    on_epoch: OnEpoch | None = None
    prune: Prune | None = None
    after_epoch: Callable[[StageRun, int], None] | None = None
    stage: int = 0
    epoch: int = 0

    def trainer(self, stage: Stage, members: list[int]) -> Trainer:
        models = [self.results[i].method for i in members]
        return Trainer(members, models, stage, [self.streams[i] for i in members], self.budget)


class StageRun:
    """One stage: a fresh optimiser, stacks that shrink as replicas stop or fail, best states written back.

    done: epochs of this stage that are behind it.
    """

    def __init__(self, run: Run, stage: Stage, members: list[list[int]], *, done: int = 0) -> None:
        self.run, self.stage, self.done = run, stage, done
        self.trainers = [run.trainer(stage, each) for each in members]
        self.selections = {i: Selection(run.budget) for each in members for i in each}

    @classmethod
    def of(cls, run: Run, stage: Stage, members: list[int]) -> StageRun:
        return cls(run, stage, [[i] for i in members] if run.is_alone else [members])

    def go(self) -> None:
        first = self.run.epoch
        for epoch in range(first + self.done + 1, first + self.stage.epochs + 1):
            if not self.trainers:
                break
            report: dict[int, dict[str, float]] = {}
            fate: dict[int, bool] = {}
            for trainer in self.trainers:
                rows = trainer.epoch(epoch, self.run.train, self.run.valid, self.run.task)
                fate |= self._judge(trainer, epoch, rows, report)
            self._drop(epoch, fate)
            if self.run.on_epoch:
                self.run.on_epoch(epoch, report)
            if self.run.after_epoch:
                self.run.after_epoch(self, epoch - first)
        self.run.epoch = first + self.stage.epochs
        for trainer in self.trainers:
            self._finish(trainer, trainer.members)

    def _judge(
        self, trainer: Trainer, epoch: int, rows: list[list[float]], report: dict[int, dict[str, float]]
    ) -> dict[int, bool]:
        """Records the epoch of each member and keeps its best state; of those that did not fail, whether they stay."""
        fate: dict[int, bool] = {}
        score_name = "valid/mae" if self.run.task.kind == "regression" else "valid/acc"
        for row, (member, (loss, score, valid_loss, healthy)) in enumerate(zip(trainer.members, rows, strict=True)):
            result, selection = self.run.results[member], self.selections[member]
            metrics = {"train/loss": loss, "valid/loss": valid_loss, score_name: abs(score)}
            report[member] = metrics
            result.history.append({"epoch": epoch, "stage": self.stage.name, **metrics})
            result.seconds += trainer.seconds / len(trainer.members)
            if not healthy or not math.isfinite(valid_loss):
                what = "validation loss" if healthy else "training loss or gradient"
                result.status, result.error = "failed", f"{what} not finite in epoch {epoch}, stage {self.stage.name}"
                continue
            if selection.update(epoch, score, metrics, is_last=self.stage.keeps == LAST):
                trainer.keep_best(row)
            if selection.is_plateau:
                trainer.optimiser.lr[row] *= self.run.budget.lr_factor
            fate[member] = not selection.is_over
        return fate

    def _drop(self, epoch: int, fate: Mapping[int, bool]) -> None:
        """Lets go of who failed, is over or is pruned."""
        pruned = self._prune(epoch, list(fate))
        for trainer in list(self.trainers):
            over = [i for i in trainer.members if i in fate and (not fate[i] or i in pruned)]
            self._finish(trainer, over)
            stay = [row for row, i in enumerate(trainer.members) if fate.get(i) and i not in pruned]
            if not stay:
                self.trainers.remove(trainer)
            elif len(stay) < len(trainer.members):
                trainer.keep(stay)

    def _prune(self, epoch: int, members: list[int]) -> set[int]:
        """Asks which of the replicas that trained in this epoch are dropped."""
        if self.run.prune is None:
            return set()
        dropped = set(self.run.prune(epoch, self.stage, {member: self.selections[member] for member in members}))
        for member in dropped:
            if self.run.results[member].status == "finished":
                self.run.results[member].status = "pruned"
        return dropped & set(members)

    def _finish(self, trainer: Trainer, members: list[int]) -> None:
        """Writes the best state of these members back into their models."""
        for member in members:
            result, selection = self.run.results[member], self.selections[member]
            trainer.write_back(trainer.members.index(member), result.method)
            result.method.stage = self.stage.name
            result.best_epoch, result.best = selection.epoch, selection.metrics
