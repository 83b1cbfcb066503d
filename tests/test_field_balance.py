"""AGM and PMR: each rule by hand, the bugs that public code has, and until when PMR and OGM-GE modulate."""

from __future__ import annotations

import copy
import itertools
import math
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.methods import METHODS, agm, pmr
from dmil import Budget, Replica, fit
from dmil.data import Inputs, Shared, Split
from dmil.encoders import ENCODERS, READS, Alone
from dmil.losses import task_loss
from dmil.resume import State
from dmil.stack import Stack
from tests.made_kinds import made_kinds
from tests.made_problems import Problem, made_problem, small_settings
from tests.made_stacks import assert_same_gradients, batch_of, feed_of, gradients_of, stack_of

F64 = torch.float64


# ---- AGM


def zeroed(inputs: Inputs, names: set[str]) -> Inputs:
    """The batch with some modalities zero, of the same shape."""

    def zero(x: Tensor | Shared) -> Tensor | Shared:
        return Shared(torch.zeros_like(x.values), x.index) if isinstance(x, Shared) else torch.zeros_like(x)

    return {name: zero(x) if name in names else x for name, x in inputs.items()}


def shapley_by_orders(stack: Stack, inputs: Inputs, whole: Tensor) -> Tensor:
    """The mean over all orders of what a modality adds to those before it, each set of modalities a pass of its own."""
    names = list(inputs)
    stack.module.eval()
    known = {frozenset[str](): torch.zeros_like(whole), frozenset(names): whole}
    for size in range(1, len(names)):
        for some in itertools.combinations(names, size):
            known[frozenset(some)] = stack.module(zeroed(inputs, set(names) - set(some))).logits
    stack.train_mode()
    orders = list(itertools.permutations(names))
    found = []
    for name in names:
        before = [frozenset(order[: order.index(name)]) for order in orders]
        found.append(torch.stack([known[some | {name}] - known[some] for some in before]).mean(0))
    return torch.stack(found, -3)


@pytest.mark.parametrize(
    "problem",
    [made_problem(2), made_problem(3), made_kinds("features", "sequence", "tokens"), made_kinds("image", "clip")],
    ids=["two", "three", "steps", "pixels"],
)
def test_parts_of_the_logits_are_shapley_values(problem: Problem) -> None:
    """Every kind of modality is zero at the input, not at its encoding; dropout acts on the whole input alone."""
    stack = stack_of("agm", problem, dropout=0.4, head_depth=1)
    batch = batch_of(stack, problem, size=9)
    output = stack.module(batch.inputs)
    phi = output.extra["phi"]
    torch.testing.assert_close(phi, shapley_by_orders(stack, batch.inputs, output.logits))
    torch.testing.assert_close(phi.sum(-3), output.logits)
    assert stack.module.training
    assert all(part.training for part in stack.module.modules())


def test_weights_of_two_modalities() -> None:
    assert agm.shapley_weights([(0,), (1,), (0, 1)], 2).tolist() == [[0.5, -0.5, 0.5], [-0.5, 0.5, 0.5]]


def test_who_is_further_ahead_than_usual_is_slowed_down() -> None:
    """A known reimplementation has the sign the other way round."""
    s, usual = torch.tensor([[0.2, 1.0], [0.8, 0.8]]), torch.tensor([[0.5, 0.7], [0.5, 0.7]])
    kappa = agm.pace(s, usual, torch.tensor([1.0, 2.0]))
    ahead, behind = math.exp(2 * (0.6 - 0.2)), math.exp(2 * (0.6 - 1.0))
    hoped = [math.exp(2 * 0.1), math.exp(-2 * 0.1)]
    assert kappa[0].tolist() == pytest.approx([math.exp(hoped[0] - ahead), math.exp(hoped[1] - behind)])
    assert kappa[1].tolist() == pytest.approx([math.exp(2 * (hoped[0] - 1)), math.exp(2 * (hoped[1] - 1))])
    assert kappa[0, 0] < 1 < kappa[0, 1]
    assert agm.lead(torch.tensor([1.0, 2.0, 6.0])).tolist() == pytest.approx([math.exp(1.5 * x) for x in (2, 1, -3)])


def test_no_score_makes_a_pace_infinite() -> None:
    far = agm.pace(torch.tensor([0.0, 1e6]), torch.tensor([1e6, 0.0]), torch.tensor(1.0))
    assert far.tolist() == pytest.approx([0.0, math.exp(10)])


def test_the_gradient_of_each_part_is_paced() -> None:
    """For two modalities by hand: the whole input has (k1 + k2) / 2 of the gradient, each half +-(k1 - k2) / 2."""
    problem = made_problem(2)
    stack = stack_of("agm", problem, alpha=2.5, head_depth=1)
    stack.module.get_buffer("usual").copy_(torch.tensor([[0.9, 1.4], [1.3, 0.7]]))
    batch, parameters = batch_of(stack, problem), stack.parameters()
    output = stack.module(batch.inputs)
    found = gradients_of(stack.module.loss(output, batch.target, "train"), parameters)
    first, second = (stack.module(zeroed(batch.inputs, {name})).logits for name in ("audio", "text"))
    g = (output.logits.softmax(-1) - F.one_hot(batch.target, 3)).detach() / 20
    probability = output.extra["phi"].softmax(-1).gather(-1, batch.target[:, None, :, None].expand(-1, 2, -1, 1))
    s = -probability.squeeze(-1).log().mean(-1).detach()
    k = agm.pace(s, stack.module.get_buffer("usual"), torch.tensor(2.5, dtype=F64))[..., None, None]
    assert ((k - 1).abs() > 0.01).all()
    whole = (k[:, 0] + k[:, 1]) / 2 * g * output.logits
    halves = (k[:, 0] - k[:, 1]) / 2 * g * (first - second)
    assert_same_gradients(found, gradients_of(whole + halves, parameters))
    torch.testing.assert_close(
        stack.module.loss(output, batch.target, "train"), task_loss(problem.task, output.logits, batch.target)
    )


def test_what_is_usual_is_the_mean_of_all_batches_before() -> None:
    problem = made_problem(2, is_regression=True)
    stack = stack_of("agm", problem)
    orders = torch.arange(60).repeat(2, 1)
    seen = []
    for batch in feed_of(problem).batches(orders, 20):
        output = stack.module(batch.inputs)
        stack.module.adjust_gradients({"head.0.weight": torch.zeros(2, 1, 1)}, output, batch.target)
        seen.append((output.extra["phi"].squeeze(-1) - batch.target.unsqueeze(1)).abs().mean(-1))
    torch.testing.assert_close(stack.module.get_buffer("usual"), torch.stack(seen).mean(0))


def test_gradients_are_clipped_where_the_head_has_a_large_one() -> None:
    problem = made_problem(2)
    stack = stack_of("agm", problem)
    batch = batch_of(stack, problem)
    output = stack.module(batch.inputs)
    weight, bias = torch.tensor([[[0.9]], [[-3.0]]]), torch.tensor([[8.0], [4.0]])
    stack.module.adjust_gradients({"head.0.weight": weight, "head.0.bias": bias}, output, batch.target)
    assert weight.flatten().tolist() == pytest.approx([0.9, -0.6])
    assert bias.flatten().tolist() == pytest.approx([8.0, 0.8])


# ---- PMR


def test_nearness_is_the_length_and_has_a_gradient_on_a_prototype() -> None:
    z = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]], requires_grad=True)
    near = pmr.nearness(z, torch.tensor([[[0.0, 0.0], [3.0, 0.0]]]))
    assert near.tolist() == [[[-5.0, -4.0], [0.0, -3.0]]]
    (gradient,) = torch.autograd.grad(near.sum(), z)
    assert gradient.flatten().tolist() == pytest.approx([-0.6, -1.8, 1.0, 0.0])


def test_weights_of_who_is_behind() -> None:
    q = torch.tensor([[0.6, 0.5, 0.2], [0.4, 0.4, 0.4]])
    assert pmr.lag(q, is_graded=False).tolist() == [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert pmr.lag(q, is_graded=True).tolist() == [pytest.approx([0.0, 0.2, 1.0]), [0.0, 0.0, 0.0]]


def test_a_tenth_of_every_class_is_drawn() -> None:
    """The first tenth of the batches would lack the classes that stand behind, and give prototypes of 0 / 0."""
    target = torch.tensor([0] * 50 + [1] * 21 + [2])
    parts = [pmr.drawn(target, epoch) for epoch in (1, 2, 1)]
    for part in parts:
        assert target[part].bincount().tolist() == [5, 3, 1]
        assert len(part.unique()) == 9
    assert torch.equal(parts[0], parts[2])
    assert not torch.equal(parts[0], parts[1])


@pytest.mark.parametrize("names", [(), ("image", "tokens")], ids=["features", "shared"])
def test_prototypes_are_class_means_that_move_slowly(names: tuple[str, ...]) -> None:
    problem = made_kinds(*names) if names else made_problem(3)
    stack = stack_of("pmr", problem, momentum=0.3, dropout=0.5)
    stack.module.eval()
    old = torch.zeros(())
    for epoch in (1, 2):
        stack.module.start_epoch(epoch, feed_of(problem))
        index = pmr.drawn(problem.train.target, epoch)
        z: Any = stack.module.encoders
        with torch.no_grad():
            found = torch.stack(z({name: problem.train.expanded(name)[index] for name in problem.train.inputs}), 1)
        target = problem.train.target[index]
        means = torch.stack([found[:, :, target == k].mean(2) for k in range(problem.task.n_classes)], 2)
        expected = means if epoch == 1 else 0.7 * means + 0.3 * old
        torch.testing.assert_close(stack.module.get_buffer("prototypes"), expected)
        old = expected


def test_a_class_that_training_lacks_keeps_its_prototype() -> None:
    problem = made_problem(2)
    some = problem.train.target < 2
    train = Split({m: x[some] for m, x in problem.train.inputs.items()}, problem.train.target[some])
    stack = stack_of("pmr", problem)
    stack.module.get_buffer("prototypes").fill_(7.0)
    stack.module.eval()
    stack.module.start_epoch(1, feed_of(Problem(train, problem.valid, problem.task)))
    assert (stack.module.get_buffer("prototypes")[:, :, 2] == 7).all()
    assert stack.module.get_buffer("prototypes").isfinite().all()


@pytest.mark.parametrize("is_graded", [False, True])
@pytest.mark.parametrize("n_modalities", [2, 3])
def test_who_is_behind_has_a_loss_of_its_own(n_modalities: int, *, is_graded: bool) -> None:
    problem = made_problem(n_modalities)
    stack = stack_of("pmr", problem, is_graded=is_graded, alpha=0.6)
    (stage,) = stack.module.stages(150)
    stack.module.eval()
    stack.module.start_epoch(1, feed_of(problem))
    stack.train_mode()
    batch, parameters = batch_of(stack, problem), stack.parameters()
    output = stack.module(batch.inputs)
    assert output.components is not None
    joint = task_loss(problem.task, output.logits, batch.target)
    expected = joint.clone()
    n_behind = 0
    for s in range(2):
        near = output.components[s]
        q = [float(x.softmax(-1)[range(20), batch.target[s]].mean()) for x in near.detach()]
        for m, own in enumerate(q):
            weight = min(max(q) / own - 1, 1.0) if is_graded else float(own == min(q))
            n_behind += weight > 0
            expected[s] = expected[s] + 0.6 * weight * F.cross_entropy(near[m], batch.target[s])
    assert n_behind >= 2
    loss = stack.module.loss(output, batch.target, stage.name)
    assert_same_gradients(gradients_of(loss, parameters), gradients_of(expected, parameters))
    for epoch, wanted in ((100, expected), (101, joint)):
        stack.module.start_epoch(epoch, feed_of(problem))
        torch.testing.assert_close(stack.module.loss(output, batch.target, stage.name), wanted)


# ---- until when PMR and OGM-GE modulate


class Kept:
    """The state after the last epoch, in memory."""

    state: State | None = None

    def is_due(self) -> bool:
        return True

    def save(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        self.state = tensors, copy.deepcopy(record)

    def load(self) -> State | None:
        return self.state


@pytest.fixture
def modulated(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[int, int]]:
    """Trains two replicas and says in which epochs how many steps were modulated."""
    monkeypatch.setitem(ENCODERS, "foreign", lambda source, **_: Alone(torch.nn.Linear(source.shape[0], 8), 1))
    monkeypatch.setitem(READS, "foreign", ("features",))

    def train(rule: str, epochs: int, **more: Any) -> dict[int, int]:
        kind, problem, seen, now = METHODS[rule.split(".")[0]], made_problem(2), Counter[int](), [0]
        start, own = kind.start_epoch, resolve_name(f"benchmarks.methods.{rule}")

        def start_epoch(self: Any, epoch: int, train: Any) -> None:
            now[0] = epoch
            start(self, epoch, train)

        def noted(*args: Any, **kwargs: Any) -> Any:
            seen[now[0]] += 1
            return own(*args, **kwargs)

        replicas = [Replica(seed, small_settings(kind)) for seed in (0, 1)]
        parts = (problem.train, problem.valid, problem.task)
        with monkeypatch.context() as patch, suppress(InterruptedError):
            patch.setattr(kind, "start_epoch", start_epoch)
            patch.setattr(f"benchmarks.methods.{rule}", noted)
            fit(kind, *parts, replicas=replicas, budget=Budget(epochs=epochs), dtype=F64, **more)
        return dict(seen)

    return train


HALF, TWO_THIRDS = {1: 1, 6: 3, 9: 5}, {1: 1, 6: 4, 9: 6}


@pytest.mark.parametrize(("rule", "lasts"), [("ogm_ge.coefficients", HALF), ("pmr.lag", TWO_THIRDS)])
def test_modulation_ends_at_a_share_of_the_epochs(
    rule: str, lasts: dict[int, int], modulated: Callable[..., dict[int, int]]
) -> None:
    """In a stack, where replicas train one by one, and after a kill where the first, which alone is asked for its
    stages, had been dropped."""
    for epochs, last in lasts.items():
        assert modulated(rule, epochs) == dict.fromkeys(range(1, last + 1), 4)
    assert modulated(rule, 6, encoders={"text": {"name": "foreign"}}) == dict.fromkeys(range(1, lasts[6] + 1), 8)

    def die(epoch: int, report: Any) -> None:
        if epoch == 3:
            raise InterruptedError

    dropped: dict[str, Any] = {"keeper": Kept(), "prune": lambda epoch, stage, selections: [0]}
    assert modulated(rule, 9, on_epoch=die, **dropped) == {1: 4, 2: 4, 3: 4}
    assert modulated(rule, 9, **dropped) == dict.fromkeys(range(3, lasts[9] + 1), 4)
