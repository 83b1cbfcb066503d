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
from tests.test_field_experts import reached, stack_in
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


def grouped(*sizes: int) -> Split:
    """Samples of one group after the other."""
    groups = tuple(f"video {i}" for i, n in enumerate(sizes) for _ in range(n))
    return Split({"a": torch.zeros(len(groups), 1)}, torch.zeros(len(groups)).long(), groups=groups)


def held_of_each_group(split: Split) -> list[tuple[int, int]]:
    """How many samples of each group are held out, and of how many."""
    found: dict[str, list[bool]] = {}
    for name, is_held in zip(split.groups, held_out(split).tolist(), strict=True):
        found.setdefault(name, []).append(is_held)
    return [(sum(rows), len(rows)) for rows in found.values()]


@pytest.mark.parametrize(
    ("sizes", "n_held"),
    [((5,) * 20, 10), ((2,) * 50, 8), ((20,) * 5, 20), ((7,) * 15, 7)],
    ids=["of 20", "of 50", "of five", "of fifteen"],
)
def test_whole_groups_are_held_out_as_near_to_8_percent_as_may_be(sizes: tuple[int, ...], n_held: int) -> None:
    """Of 20 groups two are nearer to it than one, of 15 one is nearer than two."""
    held = held_of_each_group(grouped(*sizes))
    assert sum(n for n, _ in held) == n_held
    assert {n for n, _ in held} == {0, sizes[0]}


@pytest.mark.parametrize("sizes", [(300,), (150,) * 2, (100,) * 3, (75,) * 4])
def test_samples_of_every_group_are_held_out_where_groups_are_few(sizes: tuple[int, ...]) -> None:
    """One of three would be a third of the samples."""
    held = held_of_each_group(grouped(*sizes))
    assert sum(n for n, _ in held) == 24
    assert all(0 < n < size for n, size in held)


def test_of_two_unlike_groups_one_is_left_to_train_on() -> None:
    """Whichever comes first: the small one is less than 8 %, but both are everything; the large one is too large."""
    assert sorted(int(held_out(grouped(*sizes)).sum()) for sizes in ((6, 294), (294, 6))) == [6, 24]


def test_held_out_samples_without_groups_are_drawn() -> None:
    held = held_out(Split({"a": torch.zeros(100, 1)}, torch.zeros(100).long()))
    assert int(held.sum()) == 8
    assert held.nonzero().flatten().tolist() != list(range(8))
    assert all(held_out(Split({"a": torch.zeros(n, 1)}, torch.zeros(n).long())).sum() == 1 for n in (2, 3, 12))


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


def test_copies_do_not_see_what_is_held_out() -> None:
    problem = made_problem()
    held = held_out(problem.train)
    other = torch.where(held, 2 - problem.train.target, problem.train.target)
    changed = Problem(Split(problem.train.inputs, other), problem.valid, problem.task)
    one, relabelled = (trained("gradient_blending", p, epochs=3) for p in (problem, changed))
    for name, value in one.copies.state_dict().items():
        assert torch.equal(value, relabelled.copies.state_dict()[name]), name
    assert not torch.allclose(one.weights, relabelled.weights)


def test_validation_has_no_part_in_the_weights() -> None:
    """Nor in how long copies train: judged by wrong labels, the best of five epochs would be another than the last."""
    problem = made_problem()
    wrong = Problem(problem.train, Split(problem.valid.inputs, 2 - problem.valid.target), problem.task)
    one, other = (trained("gradient_blending", judge, epochs=15, lr=1e-2) for judge in (problem, wrong))
    assert torch.equal(one.weights, other.weights)
    assert one.weights.std() > 0.01
    for name, value in one.copies.state_dict().items():
        assert torch.equal(value, other.copies.state_dict()[name]), name


def test_copies_overfit_as_long_as_they_are_told_to() -> None:
    """The kept copies are those that the plain optimiser ends with, whatever validation thinks of them."""
    problem = made_problem()
    lasts = {n: trained("gradient_blending", problem, epochs=30, lr=3e-2, copy_epochs=n) for n in (5, 10)}
    losses = []
    for model in lasts.values():
        model.stage = "copies"
        logits = model.eval()(problem.train.inputs).extra["copies"]
        losses.append(float(task_loss(problem.task, logits[0], problem.train.target).detach()))
    assert losses[1] < losses[0]


def test_copies_share_neither_encoders_nor_heads() -> None:
    problem = made_problem(3)
    stack = stack_in("gradient_blending", problem, 0)
    logits = batch(stack, problem)[0].extra["copies"]
    of_joint = reached(logits[:, 0].square().sum(), stack)
    assert of_joint == {name for name in stack.shapes if name.startswith(("copies.together.", "copies.head."))}
    for m in range(3):
        found = gradients_of(logits[:, 1 + m].square().sum(), stack.parameters())
        encoder = {name for name in stack.shapes if name.startswith(f"copies.alone.each.{m}.")}
        assert {name for name, g in found.items() if g.any()} == encoder | {"copies.heads.weight", "copies.heads.bias"}
        assert [bool(g.any()) for g in found["copies.heads.weight"].unbind(1)] == [i == m for i in range(3)]


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
