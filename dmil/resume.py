"""Going on with a training that was interrupted: everything that changes while ``fit`` works, as tensors and plain
values, after every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

import torch
from torch import Tensor

from dmil.loop import Run, StageRun
from dmil.method import Stage
from dmil.selection import Selection
from dmil.trainer import below

State = tuple[dict[str, Tensor], dict[str, Any]]


class Keeper(Protocol):
    """Where the state of a training is kept; the one who makes it knows to which training it belongs."""

    def is_due(self) -> bool:
        """Whether the state is wanted now; asked after every epoch."""

    def save(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """record: plain values, fit for JSON."""

    def load(self) -> State | None:
        """What was last saved, None where nothing was."""


def keep(keeper: Keeper, stage_run: StageRun, done: int) -> None:
    """Hands the state to ``keeper`` if it is due; done: epochs of the stage so far."""
    if keeper.is_due():
        keeper.save(*_state(stage_run, done))


def _state(stage_run: StageRun, done: int) -> State:
    run = stage_run.run
    tensors = {
        f"model.{i}.{name}": value
        for i, result in enumerate(run.results)
        for name, value in (*result.method.named_parameters(), *result.method.named_buffers())
    }
    for i, streams in enumerate(run.streams):
        tensors |= {f"streams.{i}.{kind}": value for kind, value in streams.state().items()}
    for number, trainer in enumerate(stage_run.trainers):
        tensors |= {f"trainer.{number}.{name}": value for name, value in trainer.state().items()}
    results = [
        {name: getattr(result, name) for name in KEPT} | {"stage": result.method.stage} for result in run.results
    ]
    selections = {str(i): asdict(one) | {"budget": None} for i, one in stage_run.selections.items()}
    record = {
        "stage": run.stage,
        "epoch": run.epoch,
        "done": done,
        "members": [trainer.members for trainer in stage_run.trainers],
        "results": results,
        "selections": selections,
    }
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}, record


KEPT = ("status", "error", "best_epoch", "best", "history", "seconds")


def restored(keeper: Keeper, run: Run, stages: Sequence[Stage]) -> StageRun | None:
    """The stage that was interrupted, as it was; ``run`` and its results follow. None where nothing was kept."""
    state = keeper.load()
    if state is None:
        return None
    tensors, record = state
    run.stage, run.epoch = record["stage"], record["epoch"]
    with torch.no_grad():
        for i, (result, values) in enumerate(zip(run.results, record["results"], strict=True)):
            for name in KEPT:
                setattr(result, name, values[name])
            result.method.stage = values["stage"]
            own = below(tensors, f"model.{i}.")
            for name, value in (*result.method.named_parameters(), *result.method.named_buffers()):
                value.copy_(own[name])
    stage_run = StageRun(run, stages[run.stage], record["members"], done=record["done"])
    for i, values in record["selections"].items():
        stage_run.selections[int(i)] = Selection(**values | {"budget": run.budget})
    for i, streams in enumerate(run.streams):
        streams.restore(below(tensors, f"streams.{i}."))
    for number, trainer in enumerate(stage_run.trainers):
        trainer.restore(below(tensors, f"trainer.{number}."))
    return stage_run
