"""The field's methods that fuse by gates, bottlenecks and products: each rule by hand, and known bugs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product as every
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.methods import METHODS, mmib, tfn
from dmil import Budget, Method, Replica, accuracy, fit, predict
from dmil.losses import task_loss
from dmil.method import Output
from dmil.nn import Noise, attach_noise
from dmil.stack import Stack, Streams
from tests.made_problems import Problem, made_problem, small_settings, xor_problem

NAMES = ("mmtm", "mmib", "tfn", "lmf", "misa")
F64 = torch.float64


class Ones(Noise):
    """Every draw is one: a sample lies one standard deviation above its mean."""

    def normal(self, like: Tensor) -> Tensor:
        return torch.ones_like(like)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(F64)


def made(name: str, problem: Problem, *, seed: int = 0, **settings: Any) -> Any:
    """An untrained model in evaluation mode, in float64 and without dropout."""
    torch.manual_seed(seed)
    own = small_settings(METHODS[name], **({"dropout": 0.0} | settings))
    return METHODS[name](own, problem.train.dims, problem.task).double().eval()


def encoded(model: Any, problem: Problem) -> list[Tensor]:
    found: list[Tensor] = model.encoders(problem.train.inputs)
    return found


def step(model: Method, problem: Problem) -> tuple[Output, Tensor]:
    """Output in training mode and loss of one batch, the whole training split."""
    output = model.train()(problem.train.inputs)
    return output, model.loss(output, problem.train.target, "train")


def stack_of(name: str, problem: Problem, **settings: Any) -> Stack:
    models = [made(name, problem, seed=seed, **settings) for seed in range(2)]
    stack = Stack(models, models[0].stages(1)[-1], [Streams.of(seed, "cpu") for seed in range(2)])
    stack.train_mode()
    return stack


def gradients(stack: Stack, problem: Problem, rows: int = 20) -> dict[str, Tensor]:
    """By name, (2, *shape): of the method's loss on a batch of each of two replicas."""
    index = torch.arange(2 * rows).reshape(2, rows)
    output = stack.module({m: x[index] for m, x in problem.train.inputs.items()})
    loss = stack.module.loss(output, problem.train.target[index], stack.stage.name)
    parameters = stack.parameters()
    found = stack.module.gradients(loss, output, problem.train.target[index], parameters)
    return dict(zip(parameters, found, strict=True))


@pytest.mark.parametrize("n_modalities", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns_from_every_replica(name: str, n_modalities: int) -> None:
    """Fails where a part of the network is cut off from the loss."""
    problem = made_problem(n_modalities)
    found = gradients(stack_of(name, problem), problem)
    for own, gradient in found.items():
        assert gradient.isfinite().all(), own
        assert gradient.flatten(1).any(1).all(), own


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_sample_has_finite_gradients(name: str) -> None:
    """Codes centred over such a batch are zero, and so are the differences of their moments."""
    problem = made_problem()
    found = gradients(stack_of(name, problem), problem, rows=1)
    assert all(gradient.isfinite().all() for gradient in found.values())


XOR: dict[str, dict[str, Any]] = {
    "mmib": {"hidden": 64},
    "misa": {"has_target_gradient": False, "difference": 0.003, "similarity": 0.03, "width": 32, "lr": 3e-3},
}


@pytest.mark.parametrize(
    ("name", "settings"),
    [*((name, {}) for name in NAMES), ("mmib", {"form": "early"}), ("mmib", {"form": "late"})],
)
def test_they_represent_xor(name: str, settings: dict[str, Any]) -> None:
    problem = xor_problem()
    values = {"lr": 1e-2, "dropout": 0.0, "batch_size": 32, "width": 16} | XOR.get(name, {}) | settings
    parts = (problem.train, problem.valid, problem.task)
    replicas = [Replica(0, small_settings(METHODS[name], **values))]
    (result,) = fit(METHODS[name], *parts, replicas=replicas, budget=Budget(epochs=10))
    assert result.status == "finished", result.error
    assert accuracy(predict(result.method, problem.valid).logits, problem.valid.target) > 0.9


@pytest.mark.parametrize("n_modalities", [2, 3])
def test_gates_of_mmtm_by_hand(n_modalities: int) -> None:
    """One squeeze of all modalities, one gate for each channel of each, without a factor of two."""
    problem = made_problem(n_modalities)
    model = made("mmtm", problem)
    output, z = model(problem.train.inputs), encoded(model, problem)
    e = F.relu(torch.cat(z, 1) @ model.squeeze.weight + model.squeeze.bias)
    assert e.shape[1] == 2 * 8 * n_modalities / 4
    branches, read = [], []
    for m, own in enumerate(z):
        channels = slice(8 * m, 8 * m + 8)
        gate = torch.sigmoid(e @ model.excite.weight[:, channels] + model.excite.bias[channels])
        read.append(own * gate)
        branches.append(read[-1] @ model.heads.weight[m] + model.heads.bias[m])
    assert torch.allclose(output.logits, sum(branches, torch.zeros(1)) / n_modalities)
    assert torch.allclose(output.representation, torch.cat(read, 1))


def test_open_gates_of_mmtm_leave_late_fusion() -> None:
    problem = made_problem()
    model = made("mmtm", problem)
    with torch.no_grad():
        model.excite.weight.zero_()
        model.excite.bias.fill_(50.0)
    heads = zip(encoded(model, problem), model.heads.weight, model.heads.bias, strict=True)
    expected = torch.stack([z @ weight + bias for z, weight, bias in heads]).mean(0)
    assert torch.allclose(model(problem.train.inputs).logits, expected)


def test_losses_of_mmtm() -> None:
    problem = made_problem(3)
    for own in (0, 1):
        output, loss = step(made("mmtm", problem, branch_losses=own), problem)
        branches = [task_loss(problem.task, x, problem.train.target) for x in output.extra["branches"]]
        joint = task_loss(problem.task, output.logits, problem.train.target)
        assert torch.allclose(loss, sum(branches, torch.zeros(())) if own else joint)


def test_a_bottleneck_by_hand() -> None:
    """A sample is mu + sigma e while training and mu afterwards, unlike in the authors' code; KL is a mean."""
    layer = mmib.Bottleneck(3, 2, hidden=4).double()
    attach_noise(layer, Ones())
    x = random(5, 3)
    both = layer.out(F.relu(x @ layer.hidden.weight + layer.hidden.bias)).detach()
    mu, sigma = both[:, :2], torch.log1p(torch.exp(both[:, 2:] - 5))
    found = layer.train()(x)
    assert torch.allclose(found.sample, mu + sigma)
    expected = sum(
        0.5 * (float(m) ** 2 + float(s) ** 2 - 2 * math.log(float(s)) - 1)
        for m, s in zip(mu.flatten(), sigma.flatten(), strict=True)
    )
    assert found.kl_to_standard().item() == pytest.approx(expected / 10)
    assert torch.equal(layer.eval()(x).sample, mu)


@pytest.mark.parametrize(
    ("raw", "log_sigma"), [(5.0, math.log(math.log(2))), (-9.0, -14.0), (-11.0, -16.0), (-200.0, -205.0)]
)
def test_a_bottleneck_that_is_all_but_certain_keeps_its_gradient(raw: float, log_sigma: float) -> None:
    """softplus(-205) is 0 in 32 bits, its logarithm -inf; that of the bottleneck pulls sigma up again."""
    layer = mmib.Bottleneck(1, 1, hidden=1)
    with torch.no_grad():
        layer.out.weight.zero_()
        layer.out.bias.copy_(torch.tensor([0.0, raw]))
    found = layer(torch.ones(1, 1)).logvar / 2
    found.sum().backward()
    assert found.item() == pytest.approx(log_sigma, rel=1e-6)
    assert layer.out.bias.grad is not None
    assert layer.out.bias.grad[1].item() == pytest.approx(1 if raw < 0 else 0.5 / math.log(2), rel=1e-4)


@pytest.mark.parametrize(("form", "n_parts", "n_kl"), [("complete", 2, 2), ("early", 0, 1), ("late", 2, 1)])
def test_the_loss_of_mmib_counts_the_fused_prediction_twice(form: str, n_parts: int, n_kl: int) -> None:
    problem = made_problem()
    model = made("mmib", problem, form=form, hidden=16, beta=0.3)
    output, loss = step(model, problem)
    losses = [2 * task_loss(problem.task, output.logits, problem.train.target)]
    if output.components is not None:
        losses += [task_loss(problem.task, x, problem.train.target) for x in output.components]
    assert len(losses) == 1 + n_parts == 1 + len(model.component_names)
    assert len(output.extra) == n_kl
    losses += [0.3 * kl for kl in output.extra.values()]
    assert torch.allclose(loss, torch.stack(losses).sum())


def test_the_fused_prediction_of_mmib_is_made_from_the_bottlenecks() -> None:
    problem = made_problem(3)
    model = made("mmib", problem, hidden=16)
    output = model(problem.train.inputs)
    gaussians = [part(z) for part, z in zip(model.parts, encoded(model, problem), strict=True)]
    parts = [gaussian.mean for gaussian in gaussians]
    assert torch.allclose(output.extra["kl_parts"], torch.stack([one.kl_to_standard() for one in gaussians]).sum())
    b = model.whole(F.relu(torch.cat(parts, 1) @ model.fuse.weight + model.fuse.bias)).mean
    assert torch.allclose(output.logits, b @ model.head.weight + model.head.bias)
    assert torch.allclose(output.components[1], parts[1] @ model.heads.weight[1] + model.heads.bias[1])


def test_an_unknown_form_of_mmib() -> None:
    with pytest.raises(ValueError, match="`form` must be complete, early or late, but got 'both'"):
        made("mmib", made_problem(), form="both")


def outer(vectors: Sequence[Tensor]) -> Tensor:
    """Product of [1, v] of every vector, number by number."""
    longer = [torch.cat([torch.ones(1, dtype=F64), v]).tolist() for v in vectors]
    return torch.tensor([math.prod(numbers) for numbers in every(*longer)], dtype=F64)


@pytest.mark.parametrize("n_modalities", [2, 3, 4])
def test_the_product_of_tfn_by_hand(n_modalities: int) -> None:
    z = random(n_modalities, 5, 2)
    found = tfn.product(z)
    assert torch.allclose(found, torch.stack([outer(list(z[:, i])) for i in range(5)]))
    assert torch.equal(tfn.product(torch.stack([z, 2 * z]))[0], found)


def test_products_of_tfn_stay_bounded() -> None:
    assert [tfn.bounded(32, n) for n in (2, 3, 4, 6, 12)] == [32, 15, 7, 3, 1]
    assert [tfn.bounded(8, n) for n in (2, 3, 4)] == [8, 8, 7]
    sizes = [made("tfn", made_problem(n), projection=32).head[0].weight.shape for n in (2, 3)]
    assert sizes == [(33**2, 64), (16**3, 64)]


@pytest.mark.parametrize("name", ["tfn", "lmf"])
def test_a_regression_is_not_squashed(name: str) -> None:
    """Public code maps what it predicts into (-3, 3)."""
    problem = made_problem(is_regression=True)
    model = made(name, problem)
    with torch.no_grad():
        (model.head[-1].bias if name == "tfn" else model.bias).fill_(40.0)
    assert (model(problem.train.inputs).logits > 30).all()


@pytest.mark.parametrize("n_modalities", [2, 3])
def test_lmf_is_a_map_of_low_rank_of_the_whole_product(n_modalities: int) -> None:
    problem = made_problem(n_modalities)
    model = made("lmf", problem, rank=4)
    z, b, w = encoded(model, problem), random(3), model.weights
    with torch.no_grad():
        model.bias.copy_(b)
    factors = torch.cat([model.factors.bias.unsqueeze(1), model.factors.weight], 1).unflatten(-1, (4, 3))
    logits = model(problem.train.inputs).logits
    for i in range(3):
        whole = outer([x[i] for x in z])
        for c in range(3):
            terms = [w[r] * outer_of([f[:, r, c] for f in factors]) for r in range(4)]
            assert logits[i, c].item() == pytest.approx((whole @ torch.stack(terms).sum(0) + b[c]).item())


def outer_of(vectors: Sequence[Tensor]) -> Tensor:
    return torch.tensor([math.prod(numbers) for numbers in every(*(v.tolist() for v in vectors))], dtype=F64)


def test_factors_of_lmf_are_parameters() -> None:
    """Public code keeps them in a plain list, where no optimiser finds them."""
    own = {n: tuple(p.shape) for n, p in made("lmf", made_problem(), rank=4).named_parameters() if "encoders" not in n}
    d, rank, n_classes = 8, 4, 3
    n_values = sum(math.prod(shape) for shape in own.values())
    assert n_values == 2 * (d + 1) * rank * n_classes + rank + n_classes
    assert set(own) == {"factors.weight", "factors.bias", "weights", "bias"}


def test_factors_of_lmf_start_by_xaviers_rule_for_each_of_them() -> None:
    problem = made_problem()
    model = made("lmf", problem, width=64, rank=40)
    for factor in (model.factors.weight, model.factors.bias):
        assert factor.std().item() == pytest.approx(math.sqrt(2 / (65 + 3)), rel=0.1)
    assert not model.bias.any()
