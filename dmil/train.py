"""Training: S replicas at once, in stages, selected on validation. It never sees test data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dmil.data import Split, Task
from dmil.encoders import Source, is_alone, sources_of
from dmil.feed import Feed
from dmil.loop import FitResult, OnEpoch, Prune, Replica, Run, StageRun
from dmil.method import Method, Output
from dmil.resume import Keeper, keep, restored
from dmil.seeds import initialising
from dmil.selection import Budget
from dmil.settings import shared_settings
from dmil.stack import Streams
from dmil.trainer import outputs

__all__ = ["FitResult", "OnEpoch", "Prune", "Replica", "fit", "predict"]


def fit(
    method: type[Method],
    train: Split,
    valid: Split,
    task: Task,
    *,
    encoders: Mapping[str, Mapping[str, Any]] | None = None,
    replicas: Sequence[Replica] = (Replica(),),
    budget: Budget | None = None,
    on_epoch: OnEpoch | None = None,
    prune: Prune | None = None,
    keeper: Keeper | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[FitResult]:
    """Trains every replica and returns them in the given order, each at its best validation epoch.

    encoders: modality -> ``{"name": .., option: value}`` (``dmil.encoders``), the default of its kind where nothing is
    said. Replicas train as one stack, or, where an encoder's layers cannot be stacked, each by itself but epoch by
    epoch together.

    A replica's numbers depend on its own settings and seed alone. One whose loss or gradient is not finite ends
    as failed; the others go on. ``on_epoch(epoch, {replica index: metrics})`` is called after every epoch.
    ``prune(epoch, stage, {replica index: its selection in this stage})`` is called before that, with the replicas that
    trained in this epoch and did not fail; those it returns end here as pruned, at the best epoch they had, and leave
    the stack smaller. ``keeper`` is given the state after every epoch; where it has one from a call with the same
    arguments, training goes on from there and ends with the same numbers (``prune`` must not remember anything then).

    Raises:
        ValueError: no replica, replicas that differ in a setting which a stack must share, settings of another
            method, encoders that do not fit the data, or targets that do not fit the task.
    """
    budget = budget or Budget()
    _check(method, train, valid, task, replicas)
    sources = sources_of(train, encoders)
    models = [_build(method, replica, sources, train, task) for replica in replicas]
    shared = [shared_settings(model.settings) for model in models]
    if any(other != shared[0] for other in shared):
        differing = sorted(name for name in shared[0] if len({str(s[name]) for s in shared}) > 1)
        raise ValueError(f"replicas of one stack must share {', '.join(differing)}; train them in separate calls")
    results = [FitResult(replica, model.to(device, dtype)) for replica, model in zip(replicas, models, strict=True)]
    feeds = [Feed(split, device, dtype) for split in (train, valid)]
    streams = [Streams.of(replica.seed, device) for replica in replicas]
    run = Run(feeds[0], feeds[1], task, budget, results, streams, is_alone(models[0]), on_epoch, prune)
    stages = models[0].stages(budget.epochs)
    begun = None
    if keeper:
        run.after_epoch = partial(keep, keeper)
        begun = restored(keeper, run, stages)
    while run.stage < len(stages):
        alive = [i for i, result in enumerate(results) if result.status == "finished"]
        if begun or alive:
            (begun or StageRun.of(run, stages[run.stage], alive)).go()
        begun = None
        run.stage += 1
    for result in results:
        result.method.to("cpu").eval()
    return results


def predict(method: Method, split: Split, *, representation: bool = False) -> Output:
    """Output of one trained model on every row of a split, in order; tensors on the CPU without gradient.

    ``extra`` stays behind, and so does the representation where it is not asked for.
    """
    parameter = next(method.parameters(), torch.zeros(()))
    feed = Feed(split, parameter.device, parameter.dtype)
    wanted = ("logits", "components", "gate", *(("representation",) if representation else ()))
    parts: dict[str, list[Tensor]] = {}
    for output in outputs(method, feed):
        for name in wanted:
            if (value := getattr(output, name)) is not None:
                parts.setdefault(name, []).append(value.cpu())
    joined: dict[str, Any] = {name: torch.cat(values, -2) for name, values in parts.items()}
    return Output(**joined)


def _check(method: type[Method], train: Split, valid: Split, task: Task, replicas: Sequence[Replica]) -> None:
    if not replicas:
        raise ValueError("fit needs one replica or more, but got none")
    for replica in replicas:
        if replica.settings is not None and not isinstance(replica.settings, method.Settings):
            given, wanted = type(replica.settings).__name__, method.Settings.__name__
            raise ValueError(f"{method.__name__} takes {wanted}, but got {given}")
    for name, split in (("training", train), ("validation", valid)):
        if split.shapes != train.shapes:
            raise ValueError(f"training data has {train.shapes}, but {name} data {split.shapes}")
        for modality, x in split.inputs.items():
            if x.dtype == torch.int64 and len(x) and int(x.max()) > int(train.inputs[modality].max()):
                raise ValueError(f"{name} data has words of {modality!r} that are not in training data")
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


def _build(method: type[Method], replica: Replica, sources: Mapping[str, Source], train: Split, task: Task) -> Method:
    settings = method.Settings() if replica.settings is None else replica.settings
    with initialising("init", replica.seed):
        model = method(settings, sources, task)
    model.prepare(train)
    return model
