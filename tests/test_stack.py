"""What a replica computes is its own affair: whoever shares its stack, in whatever order, must not change a number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.methods import FIELD, METHODS
from benchmarks.methods.factorcl import FactorCl
from dmil.data import Task
from dmil.method import Method, Stage
from dmil.nn import Linear
from dmil.seeds import generator
from dmil.selection import Budget
from dmil.settings import Settings
from dmil.stack import ReplicaNoise, Stack, Streams
from dmil.train import FitResult, Replica, fit
from tests.made_problems import NAMES, PlainNoise, Problem, assert_close, made_problem, small_settings

STACKABLE = [name for name in METHODS if name != "ensemble"]
# The ablations of dmil_pid differ from it by a flag each; what they share is tested on it in every run. Of the field's
# methods every run tests that replicas do not meet, with two modalities; the rest is slow.
SLOW = [name for name in STACKABLE if name.startswith("dmil_pid_") or name in FIELD]
SAMPLED = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in STACKABLE]
MET = [
    pytest.param(name, n, marks=[pytest.mark.slow] * (name.startswith("dmil_pid_") or (name in FIELD and n == 3)))
    for name in STACKABLE
    for n in (2, 3)
]
TOLERANCE = 1e-10
# A bound does not see a shift of all scores: where a critic's unit is never off, the gradient of its bias is made of
# rounding errors, which Adam takes for a direction.
TOLERANCE_OF_CRITICS = 1e-7
# Patience short enough for replicas to stop at different epochs, a learning rate high enough for that to happen.
BUDGET = Budget(epochs=15, patience=3, lr_patience=2)
SMALL: dict[str, Any] = {"lr": 2e-2, "dropout": 0.2}
POISON = 1e30  # the largest learning rates pass as settings; the weights overflow


def problem_for(name: str, n_modalities: int, *, is_regression: bool = False) -> Problem:
    problem = made_problem(n_modalities, is_regression=is_regression)
    return problem.only(NAMES[0]) if name == "unimodal" else problem


def small(name: str, **values: Any) -> Settings:
    return small_settings(METHODS[name], **(SMALL | values))


def train(name: str, problem: Problem, replicas: Sequence[Replica]) -> list[FitResult]:
    return fit(
        METHODS[name],
        problem.train,
        problem.valid,
        problem.task,
        replicas=replicas,
        budget=BUDGET,
        dtype=torch.float64,
    )


def assert_same(one: FitResult, other: FitResult) -> None:
    tolerance = TOLERANCE_OF_CRITICS if isinstance(one.method, FactorCl) else TOLERANCE
    assert one.replica == other.replica
    assert (one.status, one.best_epoch, len(one.history)) == (other.status, other.best_epoch, len(other.history))
    for mine, its in zip([*one.history, one.best], [*other.history, other.best], strict=True):
        assert_close(mine, its, tolerance)
    states = other.method.state_dict()
    assert one.method.state_dict().keys() == states.keys()
    for key, value in one.method.state_dict().items():
        assert torch.allclose(value, states[key], rtol=0, atol=tolerance), key


@pytest.mark.parametrize(("name", "n_modalities"), MET)
def test_a_replica_depends_on_itself_alone(name: str, n_modalities: int) -> None:
    """Alone, among five, in another order, and beside neighbours that explode at once, later, or stop early."""
    problem, settings = problem_for(name, n_modalities), small(name)
    if METHODS[name].unfit(problem.train.dims, problem.task):
        return
    replicas = [Replica(seed, settings) for seed in range(5)]
    together = train(name, problem, replicas)
    for seed in (0, 3):
        (alone,) = train(name, problem, [replicas[seed]])
        assert_same(together[seed], alone)
    for seed, result in zip((4, 2, 0, 3, 1), train(name, problem, [replicas[i] for i in (4, 2, 0, 3, 1)]), strict=True):
        assert_same(result, together[seed])
    bad = [Replica(7, replace(settings, lr=value)) for value in (POISON, 1e6)]
    beside = train(name, problem, [bad[0], replicas[3], bad[1], replicas[0]])
    assert_same(beside[1], together[3])
    assert_same(beside[3], together[0])
    if name != "constant":
        assert beside[0].status == "failed"
    if name not in ("constant", "label_shuffle") and not name.startswith("dmil_pid_"):
        assert len({len(result.history) for result in together}) > 1, "nobody stopped earlier than another"


@pytest.mark.parametrize("name", [one for one in SAMPLED if one.values != ("constant",)])
def test_every_setting_that_may_differ_is_each_replicas_own(name: str) -> None:
    """Each replica has one setting of its own; every one must equal the same replica trained alone."""
    problem, settings = problem_for(name, 2), small(name)
    own = [f.name for f in fields(settings) if f.metadata["per_replica"]]
    assert {"lr", "weight_decay", "dropout"} <= set(own)
    changes: dict[str, Any] = {
        setting: 0.7 if setting == "dropout" else 3 * getattr(settings, setting) for setting in own
    }
    replicas = [Replica(1, settings), *(Replica(1, replace(settings, **{k: v})) for k, v in changes.items())]
    together = train(name, problem, replicas)
    for result in together:
        (alone,) = train(name, problem, [result.replica])
        assert_same(result, alone)
    plain = together[0].history
    same = {setting for setting, result in zip(own, together[1:], strict=True) if result.history == plain}
    assert same == set(METHODS[name].unused) & set(own)


def test_each_replica_starts_with_its_own_log_variances() -> None:
    """Nothing is learned at a learning rate of zero, so that the models end as they began."""
    problem, values = made_problem(), (-8.0, -1.0, 0.5)
    results = train("dmil", problem, [Replica(0, small("dmil", lr=0.0, initial_logvar=value)) for value in values])
    biases = [result.method.get_parameter("intra.bottleneck.map.bias") for result in results]
    means, log_variances = zip(*(bias.chunk(2, -1) for bias in biases), strict=True)
    assert torch.equal(means[0], means[1])
    assert torch.equal(means[0], means[2])
    for value, start in zip(values, log_variances, strict=True):
        assert torch.allclose(start - value, log_variances[0] - values[0], rtol=0, atol=1e-6)
        assert (start - value).abs().max() <= 1 / math.sqrt(8)  # a bias starts within 1 / sqrt(width)
    assert len({result.history[0]["train/loss"] for result in results}) == 3


@pytest.mark.parametrize("name", SAMPLED)
def test_regression_is_independent_too(name: str) -> None:
    problem, settings = problem_for(name, 2, is_regression=True), small(name)
    if METHODS[name].unfit(problem.train.dims, problem.task):
        return
    replicas = [Replica(seed, settings) for seed in range(3)]
    together = train(name, problem, replicas)
    (alone,) = train(name, problem, [replicas[2]])
    assert_same(together[2], alone)


@pytest.mark.parametrize("stage", ["first", "last"])
@pytest.mark.parametrize("name", [name for name in STACKABLE if name != "constant"])
def test_a_loss_is_one_number_per_replica(name: str, stage: str) -> None:
    problem, settings = problem_for(name, 2), small(name)
    models = [METHODS[name](settings, problem.train.dims, problem.task).double() for _ in range(3)]
    stages = models[0].stages(9)
    stack = Stack(models, stages[0 if stage == "first" else -1], [Streams.of(seed, "cpu") for seed in range(3)])
    stack.train_mode()
    index = torch.arange(48).reshape(3, 16)
    output = stack.module({m: x[index] for m, x in problem.train.inputs.items()})
    assert stack.module.loss(output, problem.train.target[index], stack.stage.name).shape == (3,)
    assert output.logits.shape == (3, 16, 3)


class Tiny(Method):
    """A frozen part, a decaying and a decay-free parameter, and a buffer."""

    no_decay = ("bias",)

    def __init__(self, settings: Settings, dims: Mapping[str, int], task: Task) -> None:
        super().__init__(settings, dims, task)
        self.frozen = Linear(2, 2)
        self.bias = torch.nn.Parameter(torch.rand(3))
        self.learned = Linear(2, 3)
        self.register_buffer("scale", torch.rand(()))


def tiny_stack(n: int = 3) -> tuple[Stack, list[Method]]:
    models: list[Method] = [Tiny(Settings(lr=s / 10), {"a": 2}, Task(n_classes=3)) for s in range(1, n + 1)]
    stage = Stage("half", 1, trains=("learned", "bias"))
    return Stack(models, stage, [Streams.of(seed, "cpu") for seed in range(n)]), models


def test_columns_are_ordered_decaying_then_trained_then_frozen() -> None:
    stack, models = tiny_stack()
    assert list(stack.shapes) == ["learned.weight", "learned.bias", "bias", "frozen.weight", "frozen.bias"]
    assert (stack.n_decay, stack.n_trained, stack.flat.shape) == (9, 12, (3, 18))
    for name, view in stack.views(stack.flat).items():
        assert torch.equal(view, torch.stack([model.get_parameter(name) for model in models]))
    assert list(stack.views(stack.flat[:, :12])) == ["learned.weight", "learned.bias", "bias"]


def test_the_modules_parameters_are_views_of_the_matrix() -> None:
    stack, models = tiny_stack()
    stack.flat[1] += 1
    for name, parameter in stack.module.named_parameters():
        own = torch.stack([model.get_parameter(name) for model in models])
        assert torch.equal(parameter[1], own[1] + 1)
        assert torch.equal(parameter[0], own[0])
        assert parameter.requires_grad == (not name.startswith("frozen"))
    assert torch.equal(stack.module.get_buffer("scale"), torch.stack([model.get_buffer("scale") for model in models]))


def test_keep_goes_on_with_the_rows_it_is_given() -> None:
    stack, models = tiny_stack()
    assert stack.keep([2, 0]).tolist() == [2, 0]
    for name, parameter in stack.module.named_parameters():
        assert torch.equal(parameter, torch.stack([models[i].get_parameter(name) for i in (2, 0)]))
    assert stack.module.settings.lr.tolist() == pytest.approx([0.3, 0.1])
    assert torch.equal(stack.module.get_buffer("scale"), torch.stack([models[i].get_buffer("scale") for i in (2, 0)]))
    stack.flat.zero_()
    assert not any(parameter.any() for parameter in stack.module.parameters())


def test_write_back_copies_one_row_into_a_model() -> None:
    stack, models = tiny_stack()
    stack.write_back(torch.arange(18.0), {"scale": torch.tensor(7.0)}, models[1])
    assert torch.equal(models[1].get_parameter("learned.weight").flatten(), torch.arange(6.0))
    assert torch.equal(models[1].get_parameter("frozen.bias"), torch.tensor([16.0, 17.0]))


def test_the_models_of_a_stack_do_not_feel_its_training() -> None:
    stack, models = tiny_stack()
    before = [model.get_parameter("bias").clone() for model in models]
    stack.flat += 1
    assert all(torch.equal(model.get_parameter("bias"), b) for model, b in zip(models, before, strict=True))


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_noise_of_a_row_is_that_of_its_seed(kind: str) -> None:
    """Through small draws, draws beyond a block, and a neighbour that leaves."""
    shapes = [(2, 3), (5,), (40,), (3, 3), (1,), (20,)]
    noise = ReplicaNoise([Streams.of(seed, "cpu") for seed in (5, 6, 7)], block=16)
    plain = {seed: PlainNoise(seed, block=16) for seed in (5, 6, 7)}
    seeds = [5, 6, 7]
    for step, shape in enumerate(shapes):
        if step == 3:
            noise.keep([2, 0])
            seeds = [7, 5]
        drawn: Tensor = getattr(noise, kind)(torch.empty(len(seeds), *shape))
        for row, seed in zip(drawn, seeds, strict=True):
            assert torch.equal(row, getattr(plain[seed], kind)(torch.empty(shape)))


def test_streams_of_one_seed_are_three_different_ones() -> None:
    streams = Streams.of(3, "cpu")
    assert len({g.initial_seed() for g in (streams.order, streams.normal, streams.uniform)}) == 3
    assert torch.equal(torch.rand(4, generator=streams.normal), torch.rand(4, generator=generator("normal", 3)))
