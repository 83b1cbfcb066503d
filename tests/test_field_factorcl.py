"""FactorCL: bounds by hand, whose gradient is whose, and what its head is told."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.methods import FIELD, METHODS, factorcl
from benchmarks.methods.factorcl import Critic, label_scores
from benchmarks.registry import load_dataset
from dmil import Task
from dmil.losses import task_loss
from sweeps.plan import check, plan_studies
from tests.made_problems import made_problem, small_settings
from tests.made_search import smallest_search
from tests.test_field_experts import batch, stack_in
from tests.test_field_gradients import gradients_of, trained


def nce_by_hand(scores: Tensor) -> Tensor:
    """Minus the bound, sample by sample; scores[i, j] is of the j-th of the first and the i-th of the second."""
    n = len(scores)
    each = [scores[i, i] - (scores[i].exp().sum() / n).log() for i in range(n)]
    return -torch.stack(each).mean()


def club_by_hand(scores: Tensor) -> Tensor:
    n = len(scores)
    everything = torch.stack([scores[i, j] for i in range(n) for j in range(n)])
    return torch.stack([scores[i, i] for i in range(n)]).sum() / n - everything.sum() / n**2


def judged(critic: Any, s: int, a: Tensor, b: Tensor) -> Tensor:
    """Scores of one replica's critic, pair by pair on the concatenation."""
    (w1, b1), (w2, b2) = [(layer.weight[s], layer.bias[s]) for layer in (critic.first, critic.second)]
    rows = [[(torch.cat([x, y]) @ w1 + b1).relu() for x in a] for y in b]
    return torch.stack([torch.stack([((h @ w2 + b2).relu() @ critic.last[s]).squeeze() for h in row]) for row in rows])


def test_bounds_by_hand() -> None:
    scores = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    logs = [math.log((math.exp(2) + 1) / 2), math.log((math.exp(1) + math.exp(3)) / 2)]
    assert float(factorcl.nce(scores)) == pytest.approx(sum(logs) / 2 - 2.5)
    assert float(factorcl.club(scores)) == pytest.approx(2.5 - 1.5)
    assert float(factorcl.nce(torch.zeros(1, 1))) == 0
    many = torch.randn(3, 5, 5)
    for bound in (factorcl.nce, factorcl.club):
        assert bound(many).shape == (3,)
        assert torch.allclose(bound(many[:, :2]) + bound(many[:, 2:], 2), bound(many), atol=1e-6)


def test_a_critic_judges_every_pair() -> None:
    critic = Critic(3, 2, 6)
    a, b = torch.randn(4, 3), torch.randn(4, 2)
    found = critic(a, b)
    for i in range(4):
        for j in range(4):
            first = (torch.cat([a[j], b[i]]) @ critic.first.weight + critic.first.bias).relu()
            second = (first @ critic.second.weight + critic.second.bias).relu()
            assert torch.allclose(found[i, j], second @ critic.last, atol=1e-6)


def test_a_label_that_many_samples_have_is_judged_once() -> None:
    critic = Critic(3, 1, 6)
    for n in (2, 3, 8):
        view, target = torch.randn(2, n, 3), torch.arange(2 * n).reshape(2, n) % 3
        found = label_scores(critic, view, target, 3)
        assert torch.allclose(found, critic(view, target.float().unsqueeze(-1)), atol=1e-6)


@pytest.mark.parametrize("n_pairs", [1, 60, 10**6])
def test_the_contrastive_loss_term_by_term(n_pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each term on views of its own; the label a number beside one modality, one-hot beside two. However many of the 20
    rows of scores are made at a time: one, three or all."""
    monkeypatch.setattr(factorcl, "N_PAIRS", n_pairs)
    problem = made_problem()
    stack = stack_in("factorcl", problem, 0, critic=5)
    module: Any = stack.module
    output, target = batch(stack, problem)
    views = output.extra["views"]
    assert views.shape == (2, 2, 5, 20, 8)
    loss = module.loss(output, target, "contrast")
    for s in range(2):
        (shared, apart, label, both, both_apart), (shared2, apart2, label2, both2, both_apart2) = views[s]
        number, hot = target[s].double().unsqueeze(1), torch.eye(3, dtype=torch.float64)[target[s]]
        given = [torch.cat([x, hot], 1) for x in (both, both2, both_apart, both_apart2)]
        low, up, one = module.lower, module.upper, module.label
        wanted = task_loss(problem.task, output.logits[s], target[s])
        for k, (a, b) in enumerate([(shared, shared2), (given[0], given[1])]):
            wanted += nce_by_hand(judged(low[k], s, a, b))
        for k, (a, b) in enumerate([(apart, apart2), (given[2], given[3])]):
            wanted += club_by_hand(judged(up[k], s, a, b)) + nce_by_hand(judged(up[k], s, a, b))
        for k, view in enumerate([label, label2]):
            wanted += nce_by_hand(judged(one[k], s, view, number))
        assert float(loss[s].detach()) == pytest.approx(float(wanted.detach()))


def contrast_gradients() -> tuple[dict[str, Tensor], ...]:
    """Gradients of the whole loss; of CLUB's bounds and of what its critics learn by, with nothing held fixed; and of
    all other terms, each in one piece."""
    problem = made_problem()
    stack = stack_in("factorcl", problem, 0, critic=5)
    module: Any = stack.module
    output, target = batch(stack, problem)
    pairs = module._pairs(output.extra["views"], target)
    scores = [critic(a, b) for critic, (a, b) in zip(module.upper, pairs[1::3], strict=True)]
    others = [critic(a, b) for critic, (a, b) in zip(module.lower, pairs[0::3], strict=True)]
    others += [critic(view, target.double().unsqueeze(-1)) for critic, view in zip(module.label, pairs[2], strict=True)]
    rest = task_loss(problem.task, output.logits, target) + sum(factorcl.nce(x) for x in others)
    values = (
        module.loss(output, target, "contrast"),
        sum(factorcl.club(x) for x in scores),
        sum(factorcl.nce(x) for x in scores),
        rest,
    )
    return tuple(gradients_of(torch.as_tensor(value), stack.parameters()) for value in values)


@pytest.mark.parametrize("n_pairs", [1, 60, 10**6])
def test_clubs_critics_learn_by_nce_alone_and_features_follow_the_bound_alone(
    n_pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one loss for both, critics would lower the bound instead of keeping it one, and features raise it again."""
    monkeypatch.setattr(factorcl, "N_PAIRS", n_pairs)
    whole, bound, learning, rest = contrast_gradients()
    for name, found in whole.items():
        own = learning if name.startswith("upper.") else bound
        assert torch.allclose(found, own[name] + rest[name], atol=1e-12), name
    assert max(float(found.abs().max()) for name, found in bound.items() if name.startswith("upper.")) > 1e-3
    for name in ("views.0.weight", "views.2.weight"):
        for view in (1, 4):  # those that CLUB alone judges
            assert learning[name][:, :, view].any()
            assert not rest[name][:, :, view].any()


def test_the_head_learns_beside_the_views_and_does_not_move_them() -> None:
    problem = made_problem()
    stack = stack_in("factorcl", problem, 0, critic=5)
    output, target = batch(stack, problem)
    probe = gradients_of(F.cross_entropy(output.logits.flatten(0, 1), target.flatten()), stack.parameters())
    assert {name for name, gradient in probe.items() if gradient.any()} == {"head.weight", "head.bias"}
    last = stack_in("factorcl", problem, 1, critic=5)
    assert set(last.trained) == {"head.weight", "head.bias"}
    output, target = batch(last, problem)
    assert torch.equal(last.module.loss(output, target, "head"), task_loss(problem.task, output.logits, target))


def test_views_learn_the_label_without_a_loss_of_their_own() -> None:
    """In nats, on validation: information that the first modality's view has of the label, by its critic."""
    problem, bounds = made_problem(n=120, n_classes=2), []
    for lr in (1e-2, 0.0):
        model = trained("factorcl", problem, epochs=18, lr=lr, batch_size=40, critic=16)
        with torch.no_grad():
            view = model(problem.valid.inputs).extra["views"][0, 2]
            bounds.append(-float(factorcl.nce(model.label[0](view, problem.valid.target.double().unsqueeze(1)))))
    assert bounds[0] > 0.05 > bounds[1]


def test_both_stages_come_out_of_the_budget() -> None:
    kind = METHODS["factorcl"]
    model = kind(small_settings(kind), {"a": 3, "b": 4}, Task())
    assert [[(stage.name, stage.epochs) for stage in model.stages(n)] for n in (1, 6, 60)] == [
        [("head", 1)],
        [("contrast", 4), ("head", 2)],
        [("contrast", 40), ("head", 20)],
    ]


def test_three_modalities_are_refused() -> None:
    with pytest.raises(ValueError, match="factorcl factorises two modalities, but here are 3"):
        METHODS["factorcl"](small_settings(METHODS["factorcl"]), {"a": 3, "b": 4, "c": 5}, Task())


def test_a_sweep_over_three_modalities_leaves_it_out_and_plans_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """Planning raises for any method whose default lies outside its search range."""
    options = smallest_search("interactions-mixed-3m", FIELD)
    splits = load_dataset("interactions-mixed-3m")
    names = {study.row.name for study in plan_studies(options, check(options), splits, device="cpu")}
    assert names >= set(FIELD) - {"factorcl"}
    assert "factorcl" not in names
    assert "factorcl factorises two modalities, but here are 3" in capsys.readouterr().err
