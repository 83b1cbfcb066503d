"""MCR and QMF: each rule by hand, and the bugs that public code has."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.methods import METHODS, mcr, qmf
from dmil import Budget, Replica, Task, accuracy, fit, predict
from dmil.losses import task_loss
from dmil.nn import Noise, attach_noise
from dmil.stack import Stack
from tests.made_problems import made_problem, small_settings, xor_problem
from tests.made_stacks import assert_same_gradients, batch_of, gradients_of, stack_of

F64 = torch.float64


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "depth"),
    [("agm", 1), ("pmr", 1), ("mcr", 1), ("agm", 0), ("pmr", 0), ("mcr", 0), ("qmf", None)],
)
def test_a_hidden_layer_in_the_joint_head_is_what_xor_needs(name: str, depth: int | None) -> None:
    problem = xor_problem()
    own: dict[str, Any] = {} if depth is None else {"head_depth": depth}
    own |= {"permutations": 4} if name == "mcr" else {}
    settings = small_settings(METHODS[name], lr=1e-2, batch_size=64, width=16, dropout=0.0, **own)
    parts = (problem.train, problem.valid, problem.task)
    (result,) = fit(METHODS[name], *parts, replicas=[Replica(0, settings)], budget=Budget(epochs=30))
    right = accuracy(predict(result.method, problem.valid).logits, problem.valid.target)
    assert right > 0.9 if depth else right < 0.8


# ---- MCR


class Fixed(Noise):
    """The same numbers at every draw."""

    def uniform(self, like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=torch.Generator().manual_seed(5), dtype=like.dtype)


def divergence_by_hand(a: Tensor, b: Tensor) -> Tensor:
    """Of logits (B, C), the mean over the batch."""
    p, q = a.softmax(-1), b.softmax(-1)
    mean = (p + q) / 2
    return ((p * (p / mean).log()).sum(-1) + (q * (q / mean).log()).sum(-1)).mean() / 2


def head_by_hand(stack: Stack, s: int, branches: list[Tensor]) -> Tensor:
    """What the joint head of replica s makes of its first product with each z_m."""
    linear: list[Any] = [layer for layer in stack.module.get_submodule("head").children() if hasattr(layer, "weight")]
    x: Tensor = torch.stack(branches).sum(0) + linear[0].bias[s]
    for layer in linear[1:]:
        x = x.relu() @ layer.weight[s] + layer.bias[s]
    return x


def game_by_hand(stack: Stack, s: int, z: list[Tensor], orders: Tensor, *, is_regression: bool) -> Tensor:
    """Every D_m^(i) a pass of its own, with everybody else's branch detached; one permutation after the other."""
    own, n = stack.module.settings, len(z)
    weight = stack.module.get_parameter("head.0.weight")[s].unflatten(0, (n, -1))
    free = [z[m] @ weight[m] for m in range(n)]
    usual = head_by_hand(stack, s, free)
    usual = usual if own.has_target_gradient else usual.detach()
    total = torch.zeros((), dtype=F64)
    for order in orders:
        for m in range(n):
            for player in range(n):
                if own.strategy == "independent" and player != m:
                    continue
                if own.strategy == "collaborative" and player > 0:
                    continue
                seen = [b if own.strategy == "collaborative" or i == player else b.detach() for i, b in enumerate(free)]
                found = head_by_hand(stack, s, [b[order] if i == m else b for i, b in enumerate(seen)])
                d = (found - usual).square().mean() if is_regression else divergence_by_hand(found, usual)
                total = total + (d if own.strategy == "greedy" and player != m else -d) / len(orders)
    return total


CASES = [("greedy", 2, 0), ("greedy", 2, 1), ("greedy", 3, 1), ("independent", 3, 1), ("collaborative", 3, 0)]


@pytest.mark.parametrize("has_target_gradient", [True, False])
@pytest.mark.parametrize(("strategy", "n_modalities", "depth"), CASES)
@pytest.mark.parametrize("is_regression", [False, True], ids=["classification", "regression"])
def test_the_game_is_the_sum_of_what_every_player_wants(
    strategy: str, n_modalities: int, depth: int, *, is_regression: bool, has_target_gradient: bool
) -> None:
    """Without dropout, so that both passes through the encoders agree."""
    problem = made_problem(n_modalities, is_regression=is_regression)
    own: dict[str, Any] = {"strategy": strategy, "head_depth": depth, "has_target_gradient": has_target_gradient}
    stack = stack_of("mcr", problem, permutations=4, **own)
    attach_noise(stack.module, Fixed())
    batch, parameters = batch_of(stack, problem, size=7), stack.parameters()
    game = stack.module(batch.inputs).extra["game"]
    orders = Fixed().uniform(torch.zeros(2, 4, 7, dtype=F64)).argsort(-1)
    encode: Any = stack.module.encoders
    z = encode(batch.inputs)
    by_hand = [game_by_hand(stack, s, [one[s] for one in z], orders[s], is_regression=is_regression) for s in range(2)]
    expected = torch.stack(by_hand)
    torch.testing.assert_close(game, expected)
    found = gradients_of(game, parameters)
    assert_same_gradients(found, gradients_of(expected, parameters))
    assert all(found[f"encoders.each.{m}.0.weight"].abs().max() > 1e-6 for m in range(n_modalities))
    if (strategy, n_modalities) == ("greedy", 2):
        assert game.abs().max() < 1e-12


@pytest.mark.parametrize("term", ["game", "alone", "contrast", "compression"])
def test_every_term_changes_what_is_learned(term: str) -> None:
    """The public code for classification computes them and returns the loss without them."""
    problem = made_problem(2)
    found = []
    for value in (0.0, 0.5):
        changed: dict[str, Any] = {term: value}
        stack = stack_of("mcr", problem, permutations=4, **changed)
        attach_noise(stack.module, Fixed())
        batch = batch_of(stack, problem)
        loss = stack.module.loss(stack.module(batch.inputs), batch.target, "train")
        found.append(gradients_of(loss, stack.parameters())["encoders.each.0.0.weight"])
    assert (found[0] - found[1]).abs().max() > 1e-5


def test_the_loss_is_the_sum_of_its_terms() -> None:
    problem = made_problem(3)
    stack = stack_of("mcr", problem, game=0.2, alone=0.3, contrast=0.4, compression=0.6, permutations=4)
    batch = batch_of(stack, problem)
    output = stack.module(batch.inputs)
    encode: Any = stack.module.encoders
    z = torch.stack(encode(batch.inputs), 1)
    assert output.components is not None
    alone = sum(task_loss(problem.task, output.components[:, m], batch.target) for m in range(3))
    guess = output.logits @ stack.module.get_parameter("back.first")
    guess = guess.relu() @ stack.module.get_parameter("back.second")
    compression = (torch.cat(z.unbind(1), -1) - guess).square().mean((1, 2))
    expected = task_loss(problem.task, output.logits, batch.target) + 0.2 * output.extra["game"] + 0.3 * alone
    expected = expected + 0.4 * mcr.contrast(z, batch.target) + 0.6 * compression
    torch.testing.assert_close(stack.module.loss(output, batch.target, "train"), expected)
    of_head = gradients_of(output.extra["compression"], stack.parameters())["head.0.weight"]
    assert not of_head.any()


def test_an_unknown_strategy_is_refused() -> None:
    settings = small_settings(METHODS["mcr"], strategy="gready")
    with pytest.raises(
        ValueError, match="`strategy` must be one of greedy, independent, collaborative, but got 'gready'"
    ):
        METHODS["mcr"](settings, {"a": 3, "b": 4}, Task())


def test_divergence_of_what_agrees_and_of_what_does_not() -> None:
    a, b = torch.tensor([[0.0, 0.0], [50.0, -50.0]]), torch.tensor([[1.0, 1.0], [-50.0, 50.0]])
    assert mcr.divergence(a, b).tolist() == pytest.approx([0.0, math.log(2)], abs=1e-6)
    assert float(mcr.divergence(a, b.flip(0)).mean()) == pytest.approx(float(divergence_by_hand(a, b.flip(0))))


def test_contrast_by_hand() -> None:
    """Other positives stand in no denominator; the same sample in two modalities is a pair."""
    z = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1), dtype=F64)
    target = torch.tensor([0, 1, 0, 2])
    pool, label = F.normalize(z, dim=-1).reshape(8, 3), target.repeat(2)
    terms = []
    for i, j in itertools.permutations(range(8), 2):
        if label[i] == label[j]:
            against = sum(math.exp(float(pool[i] @ pool[k]) / 0.5) for k in range(8) if label[k] != label[i])
            near = math.exp(float(pool[i] @ pool[j]) / 0.5)
            terms.append(-math.log(near / (near + against)))
    assert float(mcr.contrast(z, target)) == pytest.approx(sum(terms) / len(terms))
    same = mcr.contrast(z.requires_grad_(), torch.zeros(4))
    assert float(same.detach()) == 0.0
    assert torch.autograd.grad(same, z)[0].isfinite().all()


def test_contrast_of_a_regression_draws_a_sample_to_itself_alone() -> None:
    """Equal targets make no pair: nearly equal ones would be as far apart as any."""
    problem = made_problem(3, is_regression=True)
    stack = stack_of("mcr", problem, game=0.0, alone=0.0, compression=0.0, permutations=4)
    output = stack.module(batch_of(stack, problem).inputs)
    pool = F.normalize(output.extra["z"], dim=-1).flatten(1, 2)
    near = (pool @ pool.mT / 0.5).exp()
    sample, terms = torch.arange(20).repeat(3), []
    for i, j in itertools.permutations(range(60), 2):
        if sample[i] == sample[j]:
            against = near[:, i, sample != sample[i]].sum(-1)
            terms.append(-(near[:, i, j] / (near[:, i, j] + against)).log())
    for values in (torch.arange(20), torch.arange(20) // 7):
        target = values.double().expand(2, 20)
        found = stack.module.loss(output, target, "train") - task_loss(problem.task, output.logits, target)
        torch.testing.assert_close(found, torch.stack(terms).mean(0))


def test_permutations_are_of_the_batch_and_of_each_replica() -> None:
    stack = stack_of("mcr", made_problem(2), permutations=8)
    module: Any = stack.module
    orders = module._orders(torch.zeros(2, 2, 20, 8, dtype=F64))
    assert orders.shape == (2, 8, 20)
    assert (orders.sort(-1).values == torch.arange(20)).all()
    assert len(orders.flatten(0, 1).unique(dim=0)) == 16
    x = torch.arange(40.0).reshape(2, 20, 1)
    assert torch.equal(mcr._permuted(x, orders)[1, 3, :, 0], x[1, orders[1, 3], 0])


# ---- QMF


def test_ranking_by_hand() -> None:
    """Slack, as both codes have it: a pair may be wrong by as much as their histories differ."""
    confidence, hardness = torch.tensor([0.9, 0.1, 0.5]), torch.tensor([0.6, 0.5, 0.5])
    slack = qmf.ranking_loss(confidence, hardness, has_margin=False)
    assert float(slack) == pytest.approx(((0.8 - 0.1) + 0 + (0.4 - 0.1)) / 3)
    required = qmf.ranking_loss(confidence, hardness, has_margin=True)
    assert float(required) == pytest.approx(((0.8 + 0.1) + 0 + (0.4 + 0.1)) / 3)
    assert float(qmf.ranking_loss(1 - confidence, hardness, has_margin=False)) == 0.0


@pytest.mark.parametrize("has_weight_gradient", [False, True])
def test_energies_weigh_the_heads(*, has_weight_gradient: bool) -> None:
    problem = made_problem(3)
    stack = stack_of("qmf", problem, has_weight_gradient=has_weight_gradient)
    batch, parameters = batch_of(stack, problem), stack.parameters()
    output = stack.module(batch.inputs)
    assert output.components is not None
    energy = output.components.exp().sum(-1).log() / 10
    torch.testing.assert_close(output.extra["confidence"], energy)
    weight = (energy if has_weight_gradient else energy.detach()).unsqueeze(-1)
    logits = sum(weight[:, m] * output.components[:, m] for m in range(3))
    torch.testing.assert_close(output.logits, logits)
    mine, its = (gradients_of(task_loss(problem.task, x, batch.target), parameters) for x in (output.logits, logits))
    assert_same_gradients(mine, its)


@pytest.mark.parametrize("has_margin", [False, True])
def test_a_history_is_that_of_its_sample_and_scaled_between_the_least_and_the_most(*, has_margin: bool) -> None:
    """It starts above zero, as it is once every sample was seen. Histories differ by more than confidences do: as a
    slack, their scale would not be seen."""
    problem = made_problem(2)
    stack = stack_of("qmf", problem, ranking=0.5, has_margin=has_margin)
    history = stack.module.get_buffer("history")
    assert history.shape == (2, 60, 2)
    assert not history.any()
    expected = 1 + torch.rand(2, 60, 2, generator=torch.Generator().manual_seed(0)).to(F64)
    history.copy_(expected)
    for index in (torch.tensor([[3, 7, 5], [59, 0, 7]]), torch.tensor([[7, 1, 3], [2, 59, 4]])):
        target = problem.train.target[index]
        output = stack.module({m: x[index] for m, x in problem.train.inputs.items()})
        assert output.components is not None
        stack.module.samples = None
        plain = stack.module.loss(output, target, "train")
        stack.module.samples = index
        loss = stack.module.loss(output, target, "train")
        ranks = torch.zeros(2, dtype=F64)
        for s, m in itertools.product(range(2), range(2)):
            expected[s, index[s], m] += F.cross_entropy(output.components[s, m], target[s], reduction="none").detach()
            own = expected[s, :, m]
            scaled = (own - own.min()) / (own.max() - own.min())
            confidence = output.extra["confidence"][s, m]
            ranks[s] += qmf.ranking_loss(confidence, scaled[index[s]], has_margin=has_margin)
        torch.testing.assert_close(history, expected)
        torch.testing.assert_close(loss, plain + 0.5 * ranks)
    assert not torch.equal(history[0], history[1])


def test_equal_histories_rank_nobody() -> None:
    """Zero divided by zero in the authors' code."""
    problem = made_problem(2)
    stack = stack_of("qmf", problem)
    stack.module.get_buffer("history").fill_(3.0)
    stack.module.samples = torch.zeros(2, 1, dtype=torch.long)
    losses = torch.zeros(2, 2, 1, dtype=F64)
    module: Any = stack.module
    assert module._visit(losses).tolist() == [[[0.0], [0.0]]] * 2
