"""Gradient-Blending: weights from what copies gained and how far they overfitted; and who can represent synergy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from benchmarks.methods import METHODS
from benchmarks.methods.gradient_blending import blend_weights, held_out
from dmil import Method, Split, Task, accuracy, predict
from dmil.losses import task_loss
from tests.made_problems import Problem, made_problem, xor_problem
from tests.test_field_gradients import F64, batch, gradients_of, stack_of, trained


def test_blend_weights_are_of_differences() -> None:
    """By hand, (train, held out) per head. End values alone would rank the heads the other way round."""
    before = torch.tensor([[1.0, 2.0], [1.2, 2.5]], dtype=F64)
    after = torch.tensor([[0.5, 1.4], [0.8, 2.2]], dtype=F64)
    raw = [0.4 / 0.1**2, 0.3 / 0.3**2]
    assert blend_weights(before, after).tolist() == pytest.approx([one / sum(raw) for one in raw])
    by_end = [0.8 / 0.3**2, 2.2 / 0.8**2]
    assert by_end[0] / sum(by_end) != pytest.approx(raw[0] / sum(raw), abs=0.05)


def test_blend_weights_survive_copies_that_neither_overfit_nor_learn() -> None:
    before = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    after = torch.tensor([[0.5, 0.8], [0.5, 0.9]])
    raw = [0.5 / 0.01**2, 0.1 / 0.1**2]
    assert blend_weights(before, after).tolist() == pytest.approx([one / sum(raw) for one in raw])
    assert blend_weights(before, before).tolist() == [0.5, 0.5]


def test_whole_groups_are_held_out() -> None:
    inputs = {"a": torch.zeros(100, 1)}
    groups = tuple(f"video {i // 5}" for i in range(100))
    held = held_out(Split(inputs, torch.zeros(100).long(), groups=groups))
    assert int(held.sum()) == 10
    assert {name for name, is_held in zip(groups, held, strict=True) if is_held}.isdisjoint(
        {name for name, is_held in zip(groups, held, strict=True) if not is_held}
    )
    alone = held_out(Split(inputs, torch.zeros(100).long()))
    assert int(alone.sum()) == 8
    assert alone.nonzero().flatten().tolist() != list(range(8))
    assert int(held_out(Split(inputs, torch.zeros(100).long(), groups=("one",) * 100)).sum()) == 8


@pytest.mark.parametrize("is_regression", [False, True], ids=["classification", "regression"])
def test_blend_weights_come_from_the_copies(*, is_regression: bool) -> None:
    """Measured again, one copy at a time, without dropout, on the trained copies and on the untrained ones."""
    problem = made_problem(3, is_regression=is_regression)
    model = trained("gradient_blending", problem, epochs=9, lr=2e-2, dropout=0.4)
    start = untrained(problem)
    held, train = held_out(problem.train), problem.train
    assert torch.equal(model.held, held)
    assert 0 < int(held.sum()) < 10
    means = []
    for one in (start, model):
        one.stage = "copies"
        with torch.no_grad():
            predictions = one.eval()(train.inputs).extra["copies"]
        rows = [[task_loss(problem.task, x[k], train.target[k]) for x in predictions] for k in (~held, held)]
        means.append(torch.tensor(rows))
    assert torch.allclose(model.weights, blend_weights(*means), atol=1e-9)
    assert model.weights.std() > 0.01
    assert not model.before.any()


def untrained(problem: Problem) -> Any:
    """As seed 0 begins: a copy of the model for each head, from the same numbers as the model itself."""
    model = trained("gradient_blending", problem, epochs=1, lr=0.0, weight_decay=0.0, dropout=0.4)
    assert model.weights.tolist() == pytest.approx([1 / 4] * 4)
    for name, value in model.copies.named_parameters():
        own = name.replace("alone.", "encoders.").replace("together.", "encoders.")
        assert torch.equal(value, model.get_parameter(own)), name
    return model


def test_copies_do_not_see_what_is_held_out_and_validation_has_no_part() -> None:
    problem = made_problem()
    held = held_out(problem.train)
    other = torch.where(held, 2 - problem.train.target, problem.train.target)
    changed = Problem(Split(problem.train.inputs, other), problem.valid, problem.task)
    shuffled = Problem(problem.train, Split(problem.valid.inputs, problem.valid.target.flip(0)), problem.task)
    one, relabelled, judged = (trained("gradient_blending", p, epochs=3) for p in (problem, changed, shuffled))
    for name, value in one.copies.state_dict().items():
        assert torch.equal(value, relabelled.copies.state_dict()[name]), name
    assert not torch.allclose(one.weights, relabelled.weights)
    assert torch.equal(one.weights, judged.weights)


def test_the_blend_is_the_weighted_loss_of_all_heads() -> None:
    problem = made_problem()
    stack = stack_of("gradient_blending", problem)
    stack.module.get_buffer("weights").copy_(torch.tensor([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]]))
    output, target = batch(stack, problem)
    assert output.components is not None
    heads = (output.logits, *output.components.unbind(-3))
    parts = [task_loss(problem.task, x.detach(), target) for x in heads]
    loss = stack.module.loss(output, target, "blend")
    found = gradients_of(loss, stack.parameters())
    assert float(loss.detach()[0]) == pytest.approx(float(0.7 * parts[0][0] + 0.2 * parts[1][0] + 0.1 * parts[2][0]))
    assert float(loss.detach()[1]) == pytest.approx(float(parts[1][1]))
    assert not any(name.startswith("copies") for name in found)
    assert not found["head.0.weight"][1].any()


def test_copies_come_out_of_the_budget() -> None:
    kind = METHODS["gradient_blending"]
    spent = {n: kind(kind.Settings(), {"a": 2, "b": 2}, Task()).stages(n) for n in (1, 6, 60)}
    assert [[(stage.name, stage.epochs) for stage in spent[n]] for n in spent] == [
        [("blend", 1)],
        [("copies", 2), ("blend", 4)],
        [("copies", 10), ("blend", 50)],
    ]


@pytest.mark.parametrize(
    ("name", "settings", "can"),
    [
        ("ogm_ge", {}, False),
        ("mlb", {}, False),
        ("multi_loss", {"head_depth": 0}, False),
        ("multi_loss", {"head_depth": 1}, True),
        pytest.param("mmpareto", {"head_depth": 0}, False, marks=pytest.mark.slow),
        ("mmpareto", {"head_depth": 1}, True),
        pytest.param("gradient_blending", {"head_depth": 0}, False, marks=pytest.mark.slow),
        ("gradient_blending", {}, True),
    ],
)
def test_xor_needs_a_joint_head_that_is_not_a_sum(name: str, settings: Mapping[str, Any], *, can: bool) -> None:
    problem = xor_problem()
    model: Method = trained(name, problem, epochs=30, lr=1e-2, batch_size=64, width=16, dropout=0.0, **settings)
    right = accuracy(predict(model, problem.valid).logits, problem.valid.target)
    assert right > 0.9 if can else right < 0.8
