"""Replicas that train together: their stack, its optimiser, one epoch at a time, and the best state of each so far."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from dmil.data import Task
from dmil.feed import Batch, Feed
from dmil.losses import task_loss
from dmil.method import PARTS, Method, Output, Stage
from dmil.optim import StackedAdamW
from dmil.parts import Parts
from dmil.seeds import following
from dmil.selection import Budget
from dmil.stack import Stack, Streams


class Trainer:
    """A stack in one stage. ``members``: for whom its rows stand."""

    def __init__(
        self, members: Sequence[int], models: Sequence[Method], stage: Stage, streams: Sequence[Streams], budget: Budget
    ) -> None:
        self.members, self.stage, self.budget = list(members), stage, budget
        self.stack = Stack(models, stage, streams)
        settings = self.stack.module.settings
        trained = self.stack.flat[:, : self.stack.n_trained]
        self.optimiser = StackedAdamW(trained, settings.lr, settings.weight_decay, n_decay=self.stack.n_decay)
        self.gradients = torch.empty_like(trained, memory_format=torch.contiguous_format)
        self.best = self.stack.flat.clone()
        self.best_buffers = {name: buffer.clone() for name, buffer in self.stack.buffers.items()}
        self.parts = Parts(self.stack) if stage.keeps == PARTS else None
        self.seconds = 0.0

    def epoch(self, number: int, train: Feed, valid: Feed, task: Task) -> list[list[float]]:
        """Trains one epoch; of each row training loss, validation score, validation loss, and 1 where every step was
        finite."""
        started = time.perf_counter()
        loss, healthy = self._train(number, train)
        score, valid_loss = self._validate(valid, task)
        columns = torch.stack([x.double() for x in (loss, score, valid_loss, healthy)])
        rows: list[list[float]] = columns.T.tolist()
        self.seconds = time.perf_counter() - started
        return rows

    def _train(self, number: int, train: Feed) -> tuple[Tensor, Tensor]:
        """Mean training loss (S,) and whether every step of a replica was finite (S,)."""
        stack = self.stack
        stack.module.eval()
        stack.module.start_epoch(number, train)
        stack.train_mode()
        total = torch.zeros_like(self.optimiser.lr.squeeze(-1))
        healthy = torch.ones_like(total, dtype=torch.bool)
        orders = train.orders([streams.order for streams in stack.noise.streams])
        with self._own_randomness(train.device):
            for batch in train.batches(orders, stack.module.settings.batch_size):
                loss = self._step(batch)
                norm = self.gradients.norm(dim=1)
                self.gradients.mul_((self.budget.max_grad_norm / (norm + 1e-6)).clamp(max=1).unsqueeze(-1))
                self.optimiser.step(self.gradients)
                total += loss * (batch.index.shape[1] / len(train))
                healthy &= loss.isfinite() & norm.isfinite()
        stack.module.samples = None
        return total, healthy

    def _step(self, batch: Batch) -> Tensor:
        """Fills ``gradients`` for one batch and returns the loss, (S,)."""
        module, parameters = self.stack.module, self.stack.parameters()
        n = batch.index.shape[1]
        total = torch.zeros_like(self.optimiser.lr.squeeze(-1))
        parts = list(batch.parts(self.budget.micro_batch))
        for part in parts:
            module.samples = part.index
            with self._precision(part.index.device):
                output = module(part.inputs)
            if self.budget.precision != "float32":
                output = output.to(self.stack.flat.dtype)
            loss = module.loss(output, part.target, self.stage.name)
            gradients = module.gradients(loss, output, part.target, parameters)
            rows = [gradient.reshape(len(self.members), -1) for gradient in gradients]
            share = part.index.shape[1] / n
            if len(parts) == 1:
                torch.cat(rows, 1, out=self.gradients)
                module.adjust_gradients(self.stack.views(self.gradients), output, part.target)
                return loss.detach()
            found = torch.cat(rows, 1)
            module.adjust_gradients(self.stack.views(found), output, part.target)
            self.gradients = found * share if part is parts[0] else self.gradients.add_(found, alpha=share)
            total += loss.detach() * share
        return total

    def _precision(self, device: torch.device) -> Any:
        if self.budget.precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, dtype=getattr(torch, self.budget.precision))

    def _own_randomness(self, device: torch.device) -> Any:
        """Layers that are not ours draw from torch's global generator: it follows the replica's stream meanwhile."""
        if not self.stack.alone:
            return nullcontext()
        return following(self.stack.noise.streams[0].order, device)

    def _validate(self, valid: Feed, task: Task) -> tuple[Tensor, Tensor]:
        """Score (higher is better: accuracy, or minus the absolute error) and task loss of each replica: (S,), (S,)."""
        with self._precision(valid.device):
            found = [
                (output.logits, output.extra[PARTS] if self.parts else None)
                for output in outputs(self.stack.module, valid)
            ]
        logits, of_parts = zip(*found, strict=True)
        if self.parts:
            self._keep_parts(self.parts, *self._judged(torch.cat(of_parts, -2), task, valid.target.unsqueeze(-2)))
        return self._judged(torch.cat(logits, -2), task, valid.target)

    def _judged(self, logits: Tensor, task: Task, target: Tensor) -> tuple[Tensor, Tensor]:
        """Score and task loss of predictions (..., N, C): (...), (...)."""
        logits = logits.to(self.stack.flat.dtype)
        loss = task_loss(task, logits, target)
        return -loss if task.kind == "regression" else (logits.argmax(-1) == target).double().mean(-1), loss

    def _keep_parts(self, parts: Parts, score: Tensor, loss: Tensor) -> None:
        """The state that parts have now is their best so far, where it is."""
        for row, part in parts.update(score, loss):
            self.best[row, parts.columns[part]] = self.stack.flat[row, parts.columns[part]]
            for name in parts.buffers[part]:
                self.best_buffers[name][row] = self.stack.buffers[name][row]

    def keep_best(self, row: int) -> None:
        """The state that a row has now is its best so far, but for parts, which are kept by themselves."""
        columns = self.parts.rest if self.parts else slice(None)
        self.best[row, columns] = self.stack.flat[row, columns]
        of_parts = {name for names in self.parts.buffers for name in names} if self.parts else set()
        for name in self.stack.buffers.keys() - of_parts:
            self.best_buffers[name][row] = self.stack.buffers[name][row]

    def write_back(self, row: int, model: Method) -> None:
        """Copies the best state of a row into a model of its own."""
        self.stack.write_back(self.best[row], {name: b[row] for name, b in self.best_buffers.items()}, model)

    def keep(self, rows: list[int]) -> None:
        """Drops every row but these, of which there is at least one."""
        self.members = [self.members[row] for row in rows]
        index = self.stack.keep(rows)
        self.optimiser.keep(self.stack.flat[:, : self.stack.n_trained], index)
        self.gradients = torch.empty_like(self.optimiser.direction)
        self.best = self.best[index]
        self.best_buffers = {name: buffer[index] for name, buffer in self.best_buffers.items()}
        if self.parts:
            self.parts.best = self.parts.best[index]

    def state(self) -> dict[str, Tensor]:
        """Everything that changes while it trains, but for the streams of its members."""
        state = {"flat": self.stack.flat, "best": self.best} | ({"parts": self.parts.best} if self.parts else {})
        state |= {f"buffer.{name}": buffer for name, buffer in self.stack.buffers.items()}
        state |= {f"best_buffer.{name}": buffer for name, buffer in self.best_buffers.items()}
        state |= {f"optimiser.{name}": value for name, value in self.optimiser.state().items()}
        return state | {f"drawn.{name}": numbers for name, numbers in self.stack.noise.state().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a ``state`` of the same members in the same stage."""
        self.stack.flat.copy_(state["flat"])
        self.best.copy_(state["best"])
        if self.parts:
            self.parts.best.copy_(state["parts"])
        for name, buffer in self.stack.buffers.items():
            buffer.copy_(state[f"buffer.{name}"])
            self.best_buffers[name].copy_(state[f"best_buffer.{name}"])
        self.optimiser.restore(below(state, "optimiser."))
        drawn = below(state, "drawn.")
        self.stack.noise.restore({name: numbers.to(self.stack.flat.device) for name, numbers in drawn.items()})


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries under a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


@torch.no_grad()
def outputs(module: Method, feed: Feed) -> Iterator[Output]:
    """Outputs in evaluation mode, block by block."""
    module.eval()
    for inputs in feed.blocks():
        yield module(inputs)
