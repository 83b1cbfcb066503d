"""Stacks of the field's methods by themselves, outside the training loop, so that a rule can be checked by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks.methods import METHODS
from dmil.encoders import sources_of
from dmil.feed import Batch, Feed
from dmil.stack import Stack, Streams
from tests.made_problems import Problem, small_settings


def stack_of(name: str, problem: Problem, *, n: int = 2, **settings: Any) -> Stack:
    """n replicas of different seeds, prepared, in training mode, in float64."""
    kind, own = METHODS[name], small_settings(METHODS[name], **({"dropout": 0.0} | settings))
    models = []
    for seed in range(n):
        torch.manual_seed(seed)
        model = kind(own, sources_of(problem.train), problem.task)
        model.prepare(problem.train)
        models.append(model.double())
    stack = Stack(models, models[0].stages(9)[-1], [Streams.of(seed, "cpu") for seed in range(n)])
    stack.train_mode()
    return stack


def feed_of(problem: Problem) -> Feed:
    return Feed(problem.train, "cpu", torch.float64)


def batch_of(stack: Stack, problem: Problem, *, size: int = 20) -> Batch:
    """Other samples for each replica; the first batch of an epoch."""
    orders = feed_of(problem).orders([torch.Generator().manual_seed(seed) for seed in range(len(stack.flat))])
    return next(feed_of(problem).batches(orders, size))


def gradients_of(loss: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the sum over replicas; the graph stays."""
    found = torch.autograd.grad(loss.sum(), list(parameters.values()), retain_graph=True, materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


def assert_same_gradients(mine: Mapping[str, Tensor], its: Mapping[str, Tensor]) -> None:
    assert mine.keys() == its.keys()
    for name, gradient in mine.items():
        assert torch.allclose(gradient, its[name], rtol=1e-9, atol=1e-12), name
