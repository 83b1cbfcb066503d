"""The only training loop: S replicas at once, in stages, selected on validation. It never sees test data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dmil.data import Split, Task
from dmil.losses import task_loss
from dmil.method import Method, Output, Stage
from dmil.optim import StackedAdamW
from dmil.seeds import initialising
from dmil.selection import Budget, Selection
from dmil.settings import Settings, shared_settings
from dmil.stack import Stack, Streams

EVALUATION_ROWS = 4096
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


def fit(
    method: type[Method],
    train: Split,
    valid: Split,
    task: Task,
    *,
    replicas: Sequence[Replica] = (Replica(),),
    budget: Budget | None = None,
    on_epoch: OnEpoch | None = None,
    prune: Prune | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[FitResult]:
    """Trains every replica and returns them in the given order, each at its best validation epoch.

    A replica's numbers depend on its own settings and seed alone. One whose loss or gradient is not finite ends
    as failed; the others go on. ``on_epoch(epoch, {replica index: metrics})`` is called after every epoch.
    ``prune(epoch, stage, {replica index: its selection in this stage})`` is called before that, with the replicas that
    trained in this epoch and did not fail; those it returns end here as pruned, at the best epoch they had, and leave
    the stack smaller.

    Raises:
        ValueError: no replica, replicas that differ in a setting which a stack must share, settings of another
            method, or targets that do not fit the task.
    """
    budget = budget or Budget()
    _check(method, train, valid, task, replicas)
    models = [_build(method, replica, train, task) for replica in replicas]
    shared = [shared_settings(model.settings) for model in models]
    if any(other != shared[0] for other in shared):
        differing = sorted(name for name in shared[0] if len({str(s[name]) for s in shared}) > 1)
        raise ValueError(f"replicas of one stack must share {', '.join(differing)}; train them in separate calls")
    results = [FitResult(replica, model.to(device, dtype)) for replica, model in zip(replicas, models, strict=True)]
    run = _Run(train.to(device, dtype), valid.to(device, dtype), task, budget, results, on_epoch, prune)
    streams = [Streams.of(replica.seed, device) for replica in replicas]
    for stage in models[0].stages(budget.epochs):
        alive = [i for i, result in enumerate(results) if result.status == "finished"]
        if alive:
            _StageRun(run, stage, alive, [streams[i] for i in alive]).go()
    for result in results:
        result.method.to("cpu").eval()
    return results


def predict(method: Method, split: Split, *, representation: bool = False) -> Output:
    """Output of one trained model on every row of a split, in order; tensors on the CPU without gradient.

    ``extra`` stays behind, and so does the representation where it is not asked for.
    """
    parameter = next(method.parameters(), None)
    if parameter is not None:
        split = split.to(parameter.device, parameter.dtype)
    wanted = ("logits", "components", "gate", *(("representation",) if representation else ()))
    parts = [{name: getattr(output, name) for name in wanted} for output in _outputs(method, split)]
    present = [name for name in wanted if parts[0][name] is not None]
    joined: dict[str, Any] = {name: torch.cat([part[name] for part in parts], -2).cpu() for name in present}
    return Output(**joined)


def _check(method: type[Method], train: Split, valid: Split, task: Task, replicas: Sequence[Replica]) -> None:
    if not replicas:
        raise ValueError("fit needs one replica or more, but got none")
    for replica in replicas:
        if replica.settings is not None and not isinstance(replica.settings, method.Settings):
            given, wanted = type(replica.settings).__name__, method.Settings.__name__
            raise ValueError(f"{method.__name__} takes {wanted}, but got {given}")
    for name, split in (("training", train), ("validation", valid)):
        if split.dims != train.dims:
            raise ValueError(f"training data has {train.dims}, but {name} data {split.dims}")
        if len(split) == 0:
            raise ValueError(f"the {name} split is empty")
        target = split.target
        if task.kind == "classification":
            if target.is_floating_point():
                raise ValueError(f"{name} targets must be class indices (int64), but got {target.dtype}")
            low, high = int(target.min()), int(target.max())
            if low < 0 or high >= task.n_classes:
                raise ValueError(f"{name} targets must lie in 0..{task.n_classes - 1}, but got {low}..{high}")
        elif not target.is_floating_point():
            raise ValueError(f"{name} targets of a regression must be floating point, but got {target.dtype}")


def _build(method: type[Method], replica: Replica, train: Split, task: Task) -> Method:
    settings = method.Settings() if replica.settings is None else replica.settings
    with initialising("init", replica.seed):
        model = method(settings, train.dims, task)
    model.prepare(train)
    return model


@torch.no_grad()
def _outputs(module: Method, split: Split) -> Any:
    """Outputs in evaluation mode, block by block."""
    module.eval()
    for start in range(0, len(split), EVALUATION_ROWS):
        yield module({name: x[start : start + EVALUATION_ROWS] for name, x in split.inputs.items()})


def _validation(module: Method, valid: Split, task: Task) -> tuple[Tensor, Tensor]:
    """Score (higher is better: accuracy, or minus the absolute error) and task loss of each replica: (S,), (S,)."""
    logits = torch.cat([output.logits for output in _outputs(module, valid)], -2)
    loss = task_loss(task, logits, valid.target)
    score = -loss if task.kind == "regression" else (logits.argmax(-1) == valid.target).double().mean(-1)
    return score, loss


@dataclass
class _Run:
    """What the stages of one call to ``fit`` have in common."""

    train: Split
    valid: Split
    task: Task
    budget: Budget
    results: list[FitResult]
    on_epoch: OnEpoch | None
    prune: Prune | None
    epoch: int = 0


class _StageRun:
    """One stage: a fresh optimiser, a stack that shrinks as replicas stop or fail, best states written back."""

    def __init__(self, run: _Run, stage: Stage, members: list[int], streams: list[Streams]) -> None:
        self.run, self.stage, self.members = run, stage, members
        self.stack = Stack([run.results[i].method for i in members], stage, streams)
        settings = self.stack.module.settings
        trained = self.stack.flat[:, : self.stack.n_trained]
        self.optimiser = StackedAdamW(trained, settings.lr, settings.weight_decay, n_decay=self.stack.n_decay)
        self.gradients = torch.empty_like(self.optimiser.direction)
        self.selections = {i: Selection(run.budget) for i in members}
        self.best = self.stack.flat.clone()

    def go(self) -> None:
        first = self.run.epoch
        for epoch in range(first + 1, first + self.stage.epochs + 1):
            if not self.members:
                break
            started = time.perf_counter()
            loss, healthy = self._train_epoch()
            score, valid_loss = _validation(self.stack.module, self.run.valid, self.run.task)
            rows = torch.stack([loss.double(), score.double(), valid_loss.double(), healthy.double()]).T.tolist()
            self._judge(epoch, rows, time.perf_counter() - started)
        self.run.epoch = first + self.stage.epochs
        self._finish(range(len(self.members)))

    def _train_epoch(self) -> tuple[Tensor, Tensor]:
        """Mean training loss (S,) and whether every step of a replica was finite (S,)."""
        stack, train = self.stack, self.run.train
        stack.train_mode()
        parameters = stack.parameters()
        order = torch.stack([torch.randperm(len(train), generator=s.order) for s in stack.noise.streams])
        order = order.to(train.target.device)
        total = torch.zeros_like(self.optimiser.lr.squeeze(-1))
        healthy = torch.ones_like(total, dtype=torch.bool)
        for index in order.split(stack.module.settings.batch_size, 1):
            target = train.target[index]
            output = stack.module({name: x[index] for name, x in train.inputs.items()})
            loss = stack.module.loss(output, target, self.stage.name)
            parts = torch.autograd.grad(loss.sum(), parameters, materialize_grads=True)
            torch.cat([part.flatten(1) for part in parts], 1, out=self.gradients)
            stack.module.adjust_gradients(stack.views(self.gradients), output, target)
            norm = self.gradients.norm(dim=1)
            self.gradients.mul_((self.run.budget.max_grad_norm / (norm + 1e-6)).clamp(max=1).unsqueeze(-1))
            self.optimiser.step(self.gradients)
            total += loss.detach() * (index.shape[1] / len(train))
            healthy &= loss.isfinite() & norm.isfinite()
        return total, healthy

    def _judge(self, epoch: int, rows: list[list[float]], seconds: float) -> None:
        """Records the epoch of each member, keeps its best state, and drops who failed or is over."""
        report: dict[int, dict[str, float]] = {}
        stay: list[int] = []
        over: list[int] = []
        score_name = "valid/mae" if self.run.task.kind == "regression" else "valid/acc"
        for row, (member, (loss, score, valid_loss, healthy)) in enumerate(zip(self.members, rows, strict=True)):
            result, selection = self.run.results[member], self.selections[member]
            metrics = {"train/loss": loss, "valid/loss": valid_loss, score_name: abs(score)}
            report[member] = metrics
            result.history.append({"epoch": epoch, "stage": self.stage.name, **metrics})
            result.seconds += seconds / len(self.members)
            if not healthy or not math.isfinite(valid_loss):
                what = "validation loss" if healthy else "training loss or gradient"
                result.status, result.error = "failed", f"{what} not finite in epoch {epoch}, stage {self.stage.name}"
                continue
            if selection.update(epoch, score, metrics):
                self.best[row] = self.stack.flat[row]
            if selection.is_plateau:
                self.optimiser.lr[row] *= self.run.budget.lr_factor
            (over if selection.is_over else stay).append(row)
        dropped = self._prune(epoch, [*stay, *over])
        self._finish([*over, *(row for row in stay if row in dropped)])
        stay = [row for row in stay if row not in dropped]
        if len(stay) < len(self.members):
            self._keep(stay)
        if self.run.on_epoch:
            self.run.on_epoch(epoch, report)

    def _prune(self, epoch: int, rows: list[int]) -> set[int]:
        """Asks which of the replicas that trained in this epoch are dropped; returns their rows."""
        if self.run.prune is None:
            return set()
        members = [self.members[row] for row in rows]
        dropped = set(self.run.prune(epoch, self.stage, {member: self.selections[member] for member in members}))
        for member in dropped:
            if self.run.results[member].status == "finished":
                self.run.results[member].status = "pruned"
        return {row for row in rows if self.members[row] in dropped}

    def _finish(self, rows: Sequence[int]) -> None:
        """Writes the best state of these rows back into their models."""
        for row in rows:
            result, selection = self.run.results[self.members[row]], self.selections[self.members[row]]
            self.stack.write_back(self.best[row], result.method)
            result.method.stage = self.stage.name
            result.best_epoch, result.best = selection.epoch, selection.metrics

    def _keep(self, rows: list[int]) -> None:
        self.members = [self.members[row] for row in rows]
        if rows:
            index = self.stack.keep(rows)
            self.optimiser.keep(self.stack.flat[:, : self.stack.n_trained], index)
            self.gradients = torch.empty_like(self.optimiser.direction)
            self.best = self.best[index]
