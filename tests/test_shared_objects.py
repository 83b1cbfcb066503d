"""Objects that samples share, unevenly: how many a neighbour has in its batch is none of a replica's affair."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dmil.data import Shared
from dmil.feed import Feed
from dmil.seeds import generator
from dmil.selection import Budget
from dmil.stack import ReplicaNoise, Streams
from tests.made_keeper import Memory
from tests.made_kinds import N_IMAGES, fitted, made_kinds, same
from tests.made_problems import PlainNoise, Problem
from tests.made_stacks import stack_of

PER_OBJECT = [5, 1, 3, 1, 6, 2, 4, 1, 3, 5, 1, 4]


def made_uneven(kind: str) -> Problem:
    """``made_kinds`` of 36 samples, which share 12 objects of the kind: some one sample, some six."""
    problem = made_kinds(kind, "features")
    parts = []
    for split in (problem.train, problem.valid):
        rows = torch.arange(N_IMAGES).repeat_interleave(torch.tensor(PER_OBJECT))
        objects = split.inputs[kind] if kind == "image" else split.inputs[kind][::3]
        of_object = split.target[::3]
        parts.append(replace(split, inputs=split.inputs | {kind: objects}, target=of_object[rows], rows={kind: rows}))
    return Problem(parts[0], parts[1], problem.task)


def test_batches_say_how_many_objects_are_a_replicas_own() -> None:
    feed = Feed(made_uneven("image").train, "cpu", torch.float64)
    orders = feed.orders([generator("order", seed) for seed in range(3)])
    n_uneven = 0
    for whole in feed.batches(orders, 9):
        for batch in (whole, *whole.parts(4)):
            shared = batch.inputs["image"]
            assert isinstance(shared, Shared)
            assert shared.counts == tuple(len(rows.unique()) for rows in feed.split.rows["image"][batch.index])
            assert shared.values.shape[1] == max(shared.counts)
            assert all(int(index.max()) < n for index, n in zip(shared.index, shared.counts, strict=True))
            n_uneven += len(set(shared.counts)) > 1
    assert n_uneven > 3


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_a_row_draws_for_its_own_objects_alone(kind: str) -> None:
    """Small draws, draws beyond a block, a neighbour that leaves, and a state that was kept and taken up again."""
    seeds = [5, 6, 7]
    noise = ReplicaNoise([Streams.of(seed, "cpu") for seed in seeds], block=16)
    plain = {seed: PlainNoise(seed, block=16) for seed in seeds}
    steps: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((3,), ()),
        ((4, 2), (4, 4, 4)),
        ((4, 2), (1, 4, 2)),
        ((5,), ()),
        ((6, 2, 2), (6, 6, 3)),
        ((2, 3), (2, 1)),
        ((7,), ()),
        ((3, 9), (3, 2)),
        ((1,), ()),
    ]
    for step, (shape, counts) in enumerate(steps):
        if step == 5:
            noise.keep([2, 0])
            seeds = [7, 5]
        if step == 7:
            noise, old = ReplicaNoise(noise.streams, block=16), noise
            noise.restore(old.state())
        with noise.of_objects(counts):
            drawn: Tensor = getattr(noise, kind)(torch.empty(len(seeds), *shape))
        assert drawn.shape == (len(seeds), *shape)
        for row, seed, n in zip(drawn, seeds, counts or [shape[0]] * len(seeds), strict=True):
            assert torch.equal(row[:n], getattr(plain[seed], kind)(torch.empty(n, *shape[1:])))
            assert not row[n:].any()


def test_in_mixed_precision_a_row_draws_what_it_draws_alone() -> None:
    """Layers of both precisions draw from one block."""
    together, alone = (ReplicaNoise([Streams.of(seed, "cpu") for seed in seeds], block=64) for seeds in ((5, 6), (5,)))
    for dtype, counts in ((torch.float32, (2, 3)), (torch.bfloat16, (3, 1)), (torch.bfloat16, ()), (torch.float32, ())):
        n = counts[0] if counts else 4
        with together.of_objects(counts):
            drawn = together.uniform(torch.empty(2, max(counts, default=4), 5, dtype=dtype))
        own = alone.uniform(torch.empty(1, n, 5, dtype=dtype))
        assert drawn.dtype == own.dtype == torch.float32
        assert torch.equal(drawn[0, :n], own[0])


@pytest.mark.parametrize("kind", ["image", "sequence", "tokens"])
@pytest.mark.parametrize("micro_batch", [0, 4])
def test_replicas_that_share_unevenly_do_not_meet(kind: str, micro_batch: int) -> None:
    problem, budget = made_uneven(kind), Budget(epochs=6, patience=3, micro_batch=micro_batch)
    together = fitted("joint_mlp", problem, (0, 1, 2), budget=budget)
    for result in together:
        (alone,) = fitted("joint_mlp", problem, (result.replica.seed,), budget=budget)
        same(result, alone)
    assert together[0].best["valid/acc"] > 0.6


@pytest.mark.parametrize("name", ["mcr", "dmil_pid"])
def test_draws_behind_the_encoders_follow(name: str) -> None:
    problem = made_uneven("image")
    together = fitted(name, problem, (0, 1))
    (alone,) = fitted(name, problem, (1,))
    same(together[1], alone)


def test_qmf_ranks_samples_of_different_objects() -> None:
    """Half a batch apart; neighbours see the same object."""
    problem = made_uneven("image")
    stack = stack_of("qmf", problem, ranking=0.5, has_margin=True)
    feed = Feed(problem.train, "cpu", torch.float64)
    orders = feed.orders([generator("order", seed) for seed in range(2)])
    batch = next(iter(feed.batches(orders, 18)))
    rows = problem.train.rows["image"][batch.index]
    assert (rows == rows.roll(-1, -1)).double().mean() > 0.5
    assert not (rows == rows.roll(-9, -1)).any()
    history = stack.module.get_buffer("history")
    history.copy_(torch.rand(history.shape, generator=generator("history")))
    output = stack.module(batch.inputs)
    plain = stack.module.loss(output, batch.target, "train")
    stack.module.samples = batch.index
    loss = stack.module.loss(output, batch.target, "train")
    least, most = history.aminmax(dim=1, keepdim=True)
    scaled = (history - least) / (most - least)
    ranks = torch.zeros(2, dtype=torch.float64)
    for s, m, i in itertools.product(range(2), range(2), range(18)):
        j = (i + 9) % 18
        hard = [scaled[s, batch.index[s, k], m] for k in (i, j)]
        sure = [output.extra["confidence"][s, m, k] for k in (i, j)]
        missing = (hard[0] - hard[1]).sign() * (sure[0] - sure[1]) + (hard[0] - hard[1]).abs()
        ranks[s] += missing.clamp(min=0) / 18
    assert (ranks > 0).all()
    torch.testing.assert_close(loss, plain + 0.5 * ranks)


def test_interrupted_it_goes_on_to_the_same_end() -> None:
    problem, memory = made_uneven("image"), Memory(3)
    undisturbed = fitted("joint_mlp", problem, (0, 1, 2))
    with pytest.raises(KeyboardInterrupt):
        fitted("joint_mlp", problem, (0, 1, 2), keeper=memory)
    for one, other in zip(
        fitted("joint_mlp", problem, (0, 1, 2), keeper=Memory(state=memory.state)), undisturbed, strict=True
    ):
        same(one, other)
