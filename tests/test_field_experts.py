"""I2M2, UMT and MMML: products, teachers and heads, each rule by hand, and the bugs that public code has."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.methods import METHODS
from benchmarks.methods.i2m2 import product
from dmil import Budget, Method, Replica, Split, Task, accuracy, fit, predict
from dmil.losses import task_loss
from dmil.method import PARTS, Output
from dmil.nn import Dropout
from dmil.seeds import generator
from dmil.settings import override
from dmil.stack import Stack, Streams
from tests.made_problems import Problem, assert_close, made_problem, plain_fit, small_settings, xor_problem
from tests.test_field_gradients import F64, gradients_of, trained

TWO = {"a": 3, "b": 4}
XOR: dict[str, Any] = {"lr": 1e-2, "batch_size": 64, "width": 16, "dropout": 0.0}


def stack_in(name: str, problem: Problem, stage: int, **settings: Any) -> Stack:
    """Two replicas in training mode, in one of the method's stages, in float64."""
    kind = METHODS[name]
    own, models = small_settings(kind, **({"dropout": 0.0} | settings)), []
    for seed in range(2):
        torch.manual_seed(seed)
        models.append(kind(own, problem.train.dims, problem.task).double())
    stack = Stack(models, models[0].stages(9)[stage], [Streams.of(seed, "cpu") for seed in range(2)])
    stack.train_mode()
    return stack


def batch(stack: Stack, problem: Problem) -> tuple[Output, Tensor]:
    index = torch.arange(40).reshape(2, 20)
    return stack.module({m: x[index] for m, x in problem.train.inputs.items()}), problem.train.target[index]


def reached(value: Tensor, stack: Stack) -> set[str]:
    """Parameters that a number depends on."""
    return {name for name, gradient in gradients_of(value, stack.parameters()).items() if gradient.any()}


def test_the_product_of_experts_by_hand() -> None:
    experts = (
        torch.tensor([[[0.6, 0.4]], [[0.9, 0.1]], [[0.5, 0.5]]]).log() + torch.tensor([2.0, -7.0, 0.0])[:, None, None]
    )
    found = product(Task(), experts).exp()
    assert found.tolist() == [pytest.approx([0.54 / 0.58, 0.04 / 0.58])]
    assert product(Task("regression"), torch.tensor([[[1.0]], [[2.0]], [[6.0]]])).tolist() == [[3.0]]


@pytest.mark.parametrize("is_regression", [False, True], ids=["classification", "regression"])
def test_the_loss_of_i2m2_is_the_products_and_before_that_each_experts_own(*, is_regression: bool) -> None:
    problem = made_problem(3, is_regression=is_regression)
    for stage in (0, 1):
        stack = stack_in("i2m2", problem, stage)
        output, target = batch(stack, problem)
        assert output.components is not None
        parts = output.components.detach()
        for s in range(2):
            own = [task_loss(problem.task, parts[s, k], target[s]) for k in range(4)]
            if is_regression:
                whole = (parts[s].mean(0).squeeze(-1) - target[s]).abs().mean()
            else:
                likely = parts[s].softmax(-1).prod(0)
                whole = -(likely[range(20), target[s]] / likely.sum(-1)).log().mean()
            wanted = whole if stage else sum(own)
            loss = stack.module.loss(output, target, stack.stage.name)
            assert float(loss[s].detach()) == pytest.approx(float(wanted))


def test_experts_share_no_parameter_and_see_what_they_should() -> None:
    """Encoders that inter and intra experts had in common would show up twice."""
    problem = made_problem(3)
    stack = stack_in("i2m2", problem, 0)
    output, _ = batch(stack, problem)
    assert output.components is not None
    per_expert = [reached(output.components[:, k].square().sum(), stack) for k in range(4)]
    assert per_expert[0] == {n for n in stack.shapes if n.startswith(("encoders.", "head."))}
    for m in range(3):
        assert per_expert[1 + m] == {n for n in stack.shapes if n.startswith((f"intra.each.{m}.", f"heads.{m}."))}
    for part, own in zip(stack.module.judged_parts, per_expert, strict=True):
        assert own == {n for n in stack.shapes if n.startswith(part)}
    assert stack.module.component_names == ("inter", "M_text", "M_audio", "M_video")


def lopsided_problem(n: int = 240) -> Problem:
    """One modality gives the label away; the other says it in eight noisy features."""
    rng, parts = generator("lopsided_problem"), []
    for _ in range(2):
        target = torch.arange(n) % 2
        sign = (2.0 * target - 1).unsqueeze(1)
        inputs = {"loud": 4 * sign.repeat(1, 2), "quiet": 0.4 * sign + torch.randn(n, 8, generator=rng)}
        parts.append(Split({m: x.double() for m, x in inputs.items()}, target))
    return Problem(parts[0], parts[1], Task())


def test_an_expert_that_begins_behind_is_starved_unless_it_is_trained_first() -> None:
    problem, losses = lopsided_problem(), {}
    own: dict[str, Any] = {"lr": 1e-2, "dropout": 0.0, "weight_decay": 0.0, "batch_size": 40}
    for share in (0.0, 0.5):
        each = []
        for seed in range(3):
            model = trained("i2m2", problem, epochs=12, seed=seed, expert_share=share, **own)
            output = predict(model, problem.valid)
            assert output.components is not None
            assert accuracy(output.logits, problem.valid.target) == 1
            each.append(float(task_loss(problem.task, output.components[2], problem.valid.target)))
        losses[share] = sum(each) / 3
    assert losses[0.5] < 0.35 < 0.45 < losses[0.0]


def test_teachers_are_frozen_and_in_evaluation_mode() -> None:
    """By hand, with dropout for the teachers alone: left in training mode they would hand over something else."""
    problem = made_problem(3)
    stack = stack_in("umt", problem, 1, dropout=0.5, distance=3.0)
    module: Any = stack.module
    for part in (module.encoders, module.head):
        for layer in part.modules():
            if isinstance(layer, Dropout):
                layer.rate.zero_()
    assert not any(name.startswith("teachers") for name in stack.trained)
    output, target = batch(stack, problem)
    inputs = {m: x[torch.arange(40).reshape(2, 20)] for m, x in problem.train.inputs.items()}
    taught, students = module.teachers["encoders"](inputs), module.encoders(inputs)
    assert all(torch.equal(z, again) for z, again in zip(taught, module.teachers["encoders"](inputs), strict=True))
    module.teachers.train()
    assert not torch.allclose(taught[0], module.teachers["encoders"](inputs)[0])
    distance = sum((z - t).square().mean((1, 2)) for z, t in zip(students, taught, strict=True))
    wanted = task_loss(problem.task, output.logits, target) + 3.0 * distance
    assert torch.allclose(module.loss(output, target, stack.stage.name), wanted, atol=1e-12)


def test_teachers_learn_alone_and_then_stay_as_they_are() -> None:
    problem = made_problem(3)
    stack = stack_in("umt", problem, 0)
    output, target = batch(stack, problem)
    logits = output.extra[PARTS]
    for m, part in enumerate(stack.module.judged_parts):
        assert reached(logits[:, m].square().sum(), stack) == {n for n in stack.shapes if n.startswith(part)}
        assert part == (f"teachers.encoders.each.{m}.", f"teachers.heads.{m}.")
    alone = [task_loss(problem.task, logits[:, m], target) for m in range(3)]
    assert torch.allclose(stack.module.loss(output, target, "teachers"), sum(alone, torch.zeros(2)))
    near, far = (trained("umt", problem, epochs=4, distance=distance) for distance in (100.0, 0.1))
    for name, value in near.teachers.state_dict().items():
        assert torch.equal(value, far.teachers.state_dict()[name]), name
    with torch.no_grad():
        gaps = [
            sum(
                float((z - t).square().mean())
                for z, t in zip(one.encoders(x), one.teachers["encoders"](x), strict=True)
            )
            for one, x in ((near, problem.valid.inputs), (far, problem.valid.inputs))
        ]
    assert gaps[0] < gaps[1]


def test_mmml_adds_a_loss_for_every_modality_to_that_of_a_deep_head() -> None:
    problem = made_problem(3)
    stack = stack_in("mmml", problem, 0, alone=0.3)
    output, target = batch(stack, problem)
    assert output.components is not None
    joint, *alone = [task_loss(problem.task, x, target) for x in (output.logits, *output.components.unbind(-3))]
    assert torch.allclose(stack.module.loss(output, target, "train"), joint + 0.3 * sum(alone), atol=1e-12)
    shapes = [tuple(shape) for name, shape in stack.shapes.items() if name.startswith("fused") and len(shape) == 2]
    assert shapes == [(24, 8), (8, 8), (8, 8), (8, 3)]


def test_one_optimiser_serves_all_of_mmmls_epochs() -> None:
    """The plain loop has one AdamW from first to last; one that is made anew every epoch ends elsewhere."""
    problem, kind = made_problem(), METHODS["mmml"]
    settings, budget = small_settings(kind, lr=1e-2), Budget(epochs=4)
    parts = (problem.train, problem.valid, problem.task)
    (mine,) = fit(kind, *parts, replicas=[Replica(5, settings)], budget=budget, dtype=F64)
    plain = plain_fit(kind, problem, 5, settings, budget)
    for own, its in zip(mine.history, plain.history, strict=True):
        assert_close({name: own[name] for name in its}, its, 1e-9)
    assert [stage.epochs for stage in kind(settings, problem.train.dims, problem.task).stages(60)] == [60]


def test_what_is_trained_first_comes_out_of_the_budget() -> None:
    spent = {}
    for name, first in (("i2m2", {"expert_share": 0.9}), ("i2m2", {"expert_share": 0.0}), ("umt", {})):
        kind = METHODS[name]
        model = kind(override(kind.Settings(), first), TWO, Task())
        spent[name, *first.values()] = [[(s.name, s.epochs) for s in model.stages(n)] for n in (1, 7, 60)]
    assert spent == {
        ("i2m2", 0.9): [[("product", 1)], [("experts", 3), ("product", 4)], [("experts", 30), ("product", 30)]],
        ("i2m2", 0.0): [[("product", 1)], [("product", 7)], [("product", 60)]],
        ("umt",): [
            [("distillation", 1)],
            [("teachers", 2), ("distillation", 5)],
            [("teachers", 20), ("distillation", 40)],
        ],
    }


@pytest.mark.parametrize(
    ("name", "settings", "can"),
    [
        ("i2m2", {}, True),
        pytest.param("i2m2", {"expert_share": 0.0}, True, marks=pytest.mark.slow),
        pytest.param("umt", {}, False, marks=pytest.mark.slow),
        ("umt", {"head_depth": 1}, True),
        ("mmml", {}, True),
        pytest.param("factorcl", {"critic": 16, "batch_size": 32}, False, marks=pytest.mark.slow),
    ],
)
def test_xor_needs_a_part_that_is_not_a_sum(name: str, settings: dict[str, Any], *, can: bool) -> None:
    problem = xor_problem()
    model: Method = trained(name, problem, epochs=30, **(XOR | settings))
    right = accuracy(predict(model, problem.valid).logits, problem.valid.target)
    assert right > 0.9 if can else right < 0.8


@pytest.mark.parametrize("name", ["umt", "factorcl"])
def test_a_linear_head_is_a_sum_over_modalities(name: str) -> None:
    """Of four corners the first and the last say what the others say: no sum represents XOR."""
    model = METHODS[name](small_settings(METHODS[name]), TWO, Task()).eval()
    a, b = torch.randn(2, 7, 3), torch.randn(2, 7, 4)
    corners = [[model({"a": x, "b": y}).logits for y in b] for x in a]
    assert torch.allclose(corners[0][0] + corners[1][1], corners[0][1] + corners[1][0], atol=1e-5)
    assert not torch.allclose(corners[0][0], corners[0][1], atol=1e-3)


def test_the_log_of_the_product_is_a_distribution() -> None:
    logits = predict(trained("i2m2", made_problem(), epochs=2), made_problem().valid).logits
    assert logits.exp().sum(-1).tolist() == pytest.approx([1.0] * len(logits))
    assert math.isfinite(float(logits.sum()))
