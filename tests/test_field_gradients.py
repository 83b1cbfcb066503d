"""The field's methods that weigh losses or rewrite gradients: each rule by hand, and the bugs that public code has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.methods import METHODS, mlb, mmpareto, ogm_ge
from benchmarks.methods._heads import AdditiveHead, of_encoder, scores
from dmil import Budget, Replica, Task, fit, predict
from dmil.losses import task_loss
from dmil.method import Output
from dmil.nn import Noise, attach_noise
from dmil.stack import Stack, Streams
from tests.made_problems import Problem, made_problem, small_settings

NAMES = ("multi_loss", "ogm_ge", "mlb", "mmpareto", "gradient_blending")
F64 = torch.float64


class Ones(Noise):
    """Every draw is one: noise adds its own scale."""

    def normal(self, like: Tensor) -> Tensor:
        return torch.ones_like(like)


def stack_of(name: str, problem: Problem, *, n: int = 2, **settings: Any) -> Stack:
    """n replicas in training mode, in the last stage, in float64 and without dropout."""
    kind = METHODS[name]
    own = small_settings(kind, dropout=0.0, **settings)
    models = []
    for seed in range(n):
        torch.manual_seed(seed)
        models.append(kind(own, problem.train.dims, problem.task).double())
    stack = Stack(models, models[0].stages(1)[-1], [Streams.of(seed, "cpu") for seed in range(n)])
    stack.train_mode()
    return stack


def batch(stack: Stack, problem: Problem) -> tuple[Output, Tensor]:
    """Output and target of one batch a replica."""
    index = torch.arange(20 * len(stack.flat)).reshape(len(stack.flat), 20) % len(problem.train)
    return stack.module({m: x[index] for m, x in problem.train.inputs.items()}), problem.train.target[index]


def step(stack: Stack, problem: Problem) -> tuple[Output, Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Output, target, gradients of the loss and those after the method's own hook, on one batch a replica."""
    output, target = batch(stack, problem)
    loss = stack.module.loss(output, target, stack.stage.name)
    parameters = stack.parameters()
    before = gradients_of(loss, parameters)
    found = stack.module.gradients(loss, output, target, parameters)
    after = {name: g.clone() for name, g in zip(parameters, found, strict=True)}
    stack.module.adjust_gradients(after, output, target)
    return output, target, before, after


def gradients_of(loss: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = torch.autograd.grad(loss.sum(), list(parameters.values()), retain_graph=True, materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


def trained(name: str, problem: Problem, *, epochs: int, seed: int = 0, **settings: Any) -> Any:
    own = small_settings(METHODS[name], **settings)
    parts = (problem.train, problem.valid, problem.task)
    budget = Budget(epochs=epochs, patience=epochs)
    (result,) = fit(METHODS[name], *parts, replicas=[Replica(seed, own)], budget=budget, dtype=F64)
    assert result.status == "finished", result.error
    return result.method


def coefficients(name: str, stack: Stack, output: Output, target: Tensor) -> list[list[float]]:
    """k of each replica and modality, written once more without tensors."""
    assert output.components is not None
    alone, found = output.components.detach(), []
    for s in range(len(stack.flat)):
        q = [float(alone[s, m].softmax(-1)[range(20), target[s]].mean()) for m in range(alone.shape[1])]
        if name == "ogm_ge":
            ratios = [one / min(q) for one in q]
            found.append([1 - math.tanh(0.8 * rho) if rho > 1 else 1.0 for rho in ratios])
        else:
            ratios = [sum(q[:m] + q[m + 1 :]) / (len(q) - 1) / one for m, one in enumerate(q)]
            found.append([1 + (4.0 if rho > 1 else 1.0) * math.tanh(0.8 * (rho - 1)) for rho in ratios])
    return found


def test_slices_sum_to_the_head_of_joint() -> None:
    torch.manual_seed(3)
    head = AdditiveHead(3, 4, 2)
    torch.manual_seed(3)
    whole = torch.nn.Parameter(torch.empty(12, 2).uniform_(-1 / math.sqrt(12), 1 / math.sqrt(12)))
    z = torch.randn(3, 5, 4).unbind(0)
    slices = head(z)
    assert torch.equal(head.weight.flatten(0, 1), whole)
    assert torch.allclose(slices.sum(0), torch.cat(z, -1) @ whole + head.bias, atol=1e-6)
    assert torch.allclose(slices[1], z[1] @ head.weight[1] + head.bias / 3, atol=1e-6)


def test_ogm_ge_and_joint_start_from_the_same_numbers() -> None:
    problem = made_problem(3)
    start = {name: trained(name, problem, epochs=1, lr=0.0, weight_decay=0.0) for name in ("ogm_ge", "joint")}
    mine, its = (predict(model, problem.valid).logits for model in start.values())
    assert torch.allclose(mine, its, atol=1e-12)


def test_scores_by_hand() -> None:
    logits = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0]], [[0.0, math.log(4)], [math.log(4), 0.0]]])
    assert scores(Task(), logits, torch.tensor([1, 0])).tolist() == pytest.approx([(3 / 4 + 1 / 2) / 2, 4 / 5])
    errors = torch.tensor([[[1.0], [4.0]], [[2.0], [2.0]]])
    found = scores(Task("regression"), errors, torch.tensor([2.0, 1.0]))
    assert found.tolist() == pytest.approx([math.exp(-2.0), math.exp(-0.5)])


def test_the_tenth_encoder_is_not_a_part_of_the_first() -> None:
    names = ("encoders.each.1.0.weight", "encoders.each.10.0.weight", "copies.encoders.each.1.0.weight")
    assert list(of_encoder(dict.fromkeys(names, torch.zeros(1)), 1)) == ["encoders.each.1.0.weight"]


def test_ogm_coefficients_by_hand() -> None:
    """The argument of tanh is the ratio, not the ratio minus one."""
    q = torch.tensor([[0.6, 0.3], [0.2, 0.5]])
    k = ogm_ge.coefficients(q, torch.tensor([0.8, 0.1]))
    assert k[0].tolist() == pytest.approx([1 - math.tanh(1.6), 1.0])
    assert k[1].tolist() == pytest.approx([1.0, 1 - math.tanh(0.25)])
    k = ogm_ge.coefficients(torch.tensor([0.4, 0.2, 0.3]), torch.tensor(0.5))
    assert k.tolist() == pytest.approx([1 - math.tanh(1.0), 1.0, 1 - math.tanh(0.75)])


@pytest.mark.parametrize("n_modalities", [2, 3])
def test_ogm_ge_changes_the_weights_of_every_encoder_and_nothing_else(n_modalities: int) -> None:
    """The authors' code asks for rank 4: with these encoders it would change nothing at all."""
    problem = made_problem(n_modalities)
    stack = stack_of("ogm_ge", problem)
    attach_noise(stack.module, Ones())
    output, target, before, after = step(stack, problem)
    k = coefficients("ogm_ge", stack, output, target)
    assert any(one < 1 for row in k for one in row)
    n_changed = 0
    for name, plain in before.items():
        is_scaled = name.startswith("encoders") and name.endswith("weight")
        n_changed += is_scaled
        for s in range(2):
            expected = plain[s]
            if is_scaled:
                m = int(name.split(".")[2])
                expected = k[s][m] * plain[s] + plain[s].std() + 1e-8
            assert torch.allclose(after[name][s], expected, rtol=0, atol=1e-12), name
    assert n_changed == 2 * n_modalities


def test_ogm_ge_rests_after_its_share_of_the_epochs() -> None:
    problem = made_problem()
    stack = stack_of("ogm_ge", problem, modulated_share=0.25)
    (stage,) = stack.module.stages(60)
    stack.module.stage = stage.name
    for epoch, is_active in ((15, True), (16, False)):
        stack.module.start_epoch(epoch, None)  # type: ignore[arg-type]
        _, _, before, after = step(stack, problem)
        assert torch.equal(before["encoders.each.0.0.weight"], after["encoders.each.0.0.weight"]) != is_active


def test_noise_of_a_tensor_of_one_number_is_finite() -> None:
    assert ogm_ge.spread(torch.ones(2, 1, 1)).tolist() == pytest.approx([1e-8] * 2)


def test_mlb_coefficients_by_hand() -> None:
    rho = torch.tensor([[2.0, 0.5], [2.0, 0.5], [1.0, 1.0]])
    k = mlb.coefficients(rho, torch.tensor([0.8, 0.8, 0.8]), torch.tensor([2.0, 10.0, 10.0]))
    assert k[0].tolist() == pytest.approx([1 + math.tanh(0.8), 1 - math.tanh(0.4)])
    assert k[1].tolist() == pytest.approx([1 + 9 * math.tanh(0.8), 1 - math.tanh(0.4)])
    assert k[2].tolist() == [1.0, 1.0]
    assert mlb.mean_of_others(torch.tensor([1.0, 2.0, 6.0])).tolist() == [4.0, 3.5, 1.5]


@pytest.mark.parametrize("n_modalities", [2, 3])
def test_mlb_scales_encoder_head_and_slice_of_each_modality(n_modalities: int) -> None:
    """Who is behind learns faster; the joint bias, which belongs to nobody, is left alone."""
    problem = made_problem(n_modalities)
    stack = stack_of("mlb", problem, beta=5.0)
    output, target, before, after = step(stack, problem)
    k = torch.tensor(coefficients("mlb", stack, output, target), dtype=F64)
    assert (k > 1).any()
    assert (k < 1).any()
    for name, plain in before.items():
        if name.startswith("encoders"):
            factor = k[:, int(name.split(".")[2])]
        else:
            factor = torch.ones(2, dtype=F64) if name == "head.bias" else k
        factor = factor.reshape(*factor.shape, *(1,) * (plain.dim() - factor.dim()))
        assert torch.allclose(after[name], factor * plain, rtol=0, atol=1e-12), name


def test_mlb_of_a_regression_compares_squared_errors() -> None:
    problem = made_problem(is_regression=True)
    stack = stack_of("mlb", problem, n=1)
    output, target, before, after = step(stack, problem)
    assert output.components is not None
    first, second = (output.components.detach()[0, :, :, 0] - target).square().mean(-1).tolist()
    rho = first / second
    ratio = after["heads.bias"][0, 0] / before["heads.bias"][0, 0]
    assert float(ratio) == pytest.approx(1 + math.tanh(0.8 * (rho - 1)))


@pytest.mark.parametrize("name", ["multi_loss", "mlb", "mmpareto"])
@pytest.mark.parametrize("is_regression", [False, True], ids=["classification", "regression"])
def test_the_loss_is_that_of_every_head(name: str, *, is_regression: bool) -> None:
    problem = made_problem(3, is_regression=is_regression)
    extra: dict[str, Any] = {"alone": 0.3} if name == "multi_loss" else {}
    stack = stack_of(name, problem, **extra)
    output, target, _, _ = step(stack, problem)
    assert output.components is not None
    parts = [task_loss(problem.task, output.components[:, m], target) for m in range(3)]
    whole = task_loss(problem.task, output.logits, target) + extra.get("alone", 1.0) * sum(parts)
    assert torch.allclose(stack.module.loss(output, target, "train"), whole)


def test_multi_loss_is_not_joint() -> None:
    problem = made_problem()
    models = [trained(name, problem, epochs=3, seed=1) for name in ("joint", "multi_loss")]
    mine, its = (predict(model, problem.valid).logits for model in models)
    assert not torch.allclose(mine, its, atol=1e-3)


def test_weights_of_the_shortest_gradient() -> None:
    """By hand: agreeing, opposite, orthogonal, conflicting of unequal length, one of them zero, both zero."""
    g = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [4.0, 0.0], [0.0, 0.0], [3.0, 0.0], [0.0, 0.0]])
    u = torch.tensor([[9.0, 1.0], [-3.0, 0.0], [0.0, 2.0], [-1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    weights = mmpareto.joint_weight(g, u)
    assert weights.tolist() == pytest.approx([0.5, 12 / 16, 4 / 5, 6 / 26, 0.999, 0.001, 0.999])
    grid = torch.linspace(0, 1, 2001).unsqueeze(-1)
    for row in (1, 2, 3):
        lengths = (grid * g[row] + (1 - grid) * u[row]).norm(dim=1)
        assert float(weights[row]) == pytest.approx(float(grid[lengths.argmin()]), abs=1e-3)


def test_a_joined_gradient_is_no_shorter_than_the_sum() -> None:
    g, u = torch.tensor([[4.0, 0.0], [4.0, 0.0], [1.0, 2.0]]), torch.tensor([[-1.0, 1.0], [-4.0, 0.0], [1.0, 0.0]])
    h = mmpareto.joined(g, u, torch.tensor([6 / 26, 0.5, 0.5]), torch.tensor([1.5, 1.5, 2.0]))
    direction = torch.tensor([4.0 * 6 - 20, 20.0]) / 13
    assert direction.norm() < math.sqrt(10)
    assert h[0].tolist() == pytest.approx((1.5 * math.sqrt(10) * direction / direction.norm()).tolist())
    assert h[1].tolist() == [0.0, 0.0]
    assert h[2].tolist() == [4.0, 4.0]


@pytest.mark.parametrize("n_modalities", [2, 3])
def test_mmpareto_joins_two_different_gradients(n_modalities: int) -> None:
    """One loss and one replica after the other, by hand. Where gradients pile up from one backward pass to the next,
    g equals u, no encoder is ever in conflict, and what is left is multi_loss."""
    problem = made_problem(n_modalities)
    stack = stack_of("mmpareto", problem, n=3)
    _, _, plain, found = step(stack, problem)
    output, target = batch(stack, problem)
    assert output.components is not None
    parameters = stack.parameters()
    losses = [task_loss(problem.task, x, target) for x in (output.logits, *output.components.unbind(-3))]
    each = [gradients_of(loss, parameters) for loss in losses]
    seen = set()
    for s in range(3):
        for m in range(n_modalities):
            names = [name for name in parameters if name.startswith(f"encoders.each.{m}.")]
            g, u = (torch.cat([each[i][name][s].flatten() for name in names]) for i in (0, 1 + m))
            is_agreed = bool(torch.nn.functional.cosine_similarity(g, u, 0) > 0)
            seen.add(is_agreed)
            w = 0.5 if is_agreed else float((u @ u - g @ u) / (g - u).square().sum())
            for name in names:
                a, b = each[0][name][s], each[1 + m][name][s]
                h = 2 * w * a + 2 * (1 - w) * b
                h = 1.5 * h * max(1.0, float((a + b).norm() / h.norm()))
                assert torch.allclose(found[name][s], h, rtol=1e-9, atol=1e-14), name
    assert seen == {False, True}
    for name in parameters:
        if not name.startswith("encoders"):
            assert torch.allclose(found[name], plain[name], rtol=0, atol=1e-14), name
