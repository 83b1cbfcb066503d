"""Layers, noise and Gaussian maps against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from dmil.bottleneck import Gaussian, GaussianMap
from dmil.data import Task
from dmil.encoders import Encoders
from dmil.losses import reconstruction_error, task_loss
from dmil.nn import MLP, Dropout, Linear, Noise, attach_noise
from dmil.seeds import generator
from dmil.stack import ReplicaNoise, Streams

RNG = generator("test_nn")


def rand(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=RNG, dtype=torch.float64)


def stacked(layer: Linear, s: int) -> Linear:
    """The layer with different weights for s replicas, as ``dmil.stack`` leaves it."""
    for parameter in layer.parameters():
        parameter.data = rand(s, *parameter.shape)
    return layer


def test_linear_is_torchs_linear() -> None:
    layer, x = Linear(4, 3).double(), rand(5, 4)
    assert torch.allclose(layer(x), F.linear(x, layer.weight.T, layer.bias), rtol=0, atol=1e-14)
    x = rand(2, 5, 4)
    assert torch.allclose(layer(x), F.linear(x, layer.weight.T, layer.bias), rtol=0, atol=1e-14)


@pytest.mark.parametrize("x", [rand(2, 5, 4), rand(5, 4), rand(2, 1, 4)], ids=["own input", "same input", "one row"])
def test_stacked_linear_is_one_torch_linear_per_replica(x: Tensor) -> None:
    layer = stacked(Linear(4, 3), 2)
    out = layer(x)
    assert out.shape == (2, x.shape[-2], 3)
    for s in range(2):
        alone = F.linear(x[s] if x.dim() == 3 else x, layer.weight[s].T, layer.bias[s])
        assert torch.allclose(out[s], alone, rtol=0, atol=1e-14)


def test_grouped_linear_is_one_torch_linear_per_group_and_replica() -> None:
    layer, x = Linear(4, 3, groups=(3,)).double(), rand(3, 5, 4)
    for m in range(3):
        assert torch.allclose(layer(x)[m], F.linear(x[m], layer.weight[m].T, layer.bias[m]), rtol=0, atol=1e-14)
    layer, x = stacked(layer, 2), rand(2, 3, 5, 4)
    out = layer(x)
    assert out.shape == (2, 3, 5, 3)
    for s in range(2):
        for m in range(3):
            alone = F.linear(x[s, m], layer.weight[s, m].T, layer.bias[s, m])
            assert torch.allclose(out[s, m], alone, rtol=0, atol=1e-14)


def test_gradients_of_a_stacked_linear_are_those_of_each_replica() -> None:
    layer, x = stacked(Linear(4, 3, groups=(3,)), 2), rand(5, 4)
    weight, bias = layer.weight.detach().clone().requires_grad_(), layer.bias.detach().clone().requires_grad_()
    layer(x).square().sum().backward()
    (torch.einsum("bi,smio->smbo", x, weight) + bias.unsqueeze(-2)).square().sum().backward()
    assert torch.allclose(layer.weight.grad, weight.grad, rtol=0, atol=1e-12)  # type: ignore[arg-type]
    assert torch.allclose(layer.bias.grad, bias.grad, rtol=0, atol=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("groups", [(), (2,)])
def test_linear_starts_like_torchs(groups: tuple[int, ...]) -> None:
    """Both are uniform on +-1/sqrt(n_in), weight and bias."""
    n_in, n_out = 25, 4000
    ours, theirs = Linear(n_in, n_out, groups=groups), torch.nn.Linear(n_in, n_out)
    for name in ("weight", "bias"):
        for values in (getattr(ours, name), getattr(theirs, name)):
            assert 0.19 < values.abs().max() <= 0.2
            assert values.std().item() == pytest.approx(0.2 / math.sqrt(3), rel=0.04)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_mlp_has_as_many_hidden_layers_as_it_says(depth: int) -> None:
    mlp, x = MLP(4, 3, hidden=6, depth=depth, dropout=0.5).double().eval(), rand(5, 4)
    maps = [layer for layer in mlp if isinstance(layer, Linear)]
    assert [tuple(layer.weight.shape) for layer in maps] == [[(4, 3)], [(4, 6), (6, 3)], [(4, 6), (6, 6), (6, 3)]][
        depth
    ]
    out = x
    for layer in maps[:-1]:
        out = (out @ layer.weight + layer.bias).relu()
    assert torch.allclose(mlp(x), out @ maps[-1].weight + maps[-1].bias, rtol=0, atol=1e-14)


def test_encoders_pick_their_modality_by_name() -> None:
    encoders = Encoders({"a": 2, "b": 3}, width=4, depth=1, dropout=0.0).double()
    inputs = {"b": rand(5, 3), "ignored": rand(5, 9), "a": rand(5, 2)}
    first, second = encoders(inputs)
    assert torch.equal(first, encoders.each[0](inputs["a"]))
    assert torch.equal(second, encoders.each[1](inputs["b"]))


def test_dropout_keeps_the_expectation_with_a_rate_per_replica() -> None:
    layer, rates = Dropout(0.0), torch.tensor([0.0, 0.25, 0.8])
    layer.rate = rates
    attach_noise(layer, ReplicaNoise([Streams.of(seed, "cpu") for seed in range(3)]))
    out = layer(torch.full((3, 1000, 100), 2.0))
    assert out.mean((1, 2)).tolist() == pytest.approx([2.0] * 3, abs=0.03)
    assert (out == 0).double().mean((1, 2)).tolist() == pytest.approx(rates.tolist(), abs=5e-3)
    for s, rate in enumerate(rates.tolist()):
        assert out[s].max().item() == pytest.approx(2 / (1 - rate))


def test_dropout_is_off_at_evaluation() -> None:
    layer, x = Dropout(0.9).eval(), rand(5, 4)
    assert layer(x) is x


class Fixed(Noise):
    """Always the same number."""

    def normal(self, like: Tensor) -> Tensor:
        return torch.full_like(like, 0.3)


def made_gaussian(*shape: int) -> Gaussian:
    mean, logvar = rand(*shape), rand(*shape)
    return Gaussian(mean, logvar, mean)


def as_torch(q: Gaussian) -> Normal:
    assert q.logvar is not None
    return Normal(q.mean, (q.logvar / 2).exp())


def test_divergences_have_their_closed_form() -> None:
    """Mean over batch and dimensions, one value for each leading index."""
    q, p = made_gaussian(2, 3, 5, 4), made_gaussian(2, 3, 5, 4)
    expected = kl_divergence(as_torch(q), Normal(torch.zeros(4).double(), 1.0)).mean((-2, -1))
    assert torch.allclose(q.kl_to_standard(), expected, rtol=0, atol=1e-14)
    expected = kl_divergence(as_torch(q), as_torch(p)).mean((-2, -1))
    assert expected.shape == (2, 3)
    assert torch.allclose(q.kl_to(p), expected, rtol=0, atol=1e-13)
    assert torch.allclose(q.kl_to(q), torch.zeros(2, 3).double(), atol=1e-15)


def test_one_gaussian_against_several() -> None:
    shared, each = made_gaussian(2, 1, 5, 4), made_gaussian(2, 3, 5, 4)
    for m in range(3):
        own = [Gaussian(t.mean[:, i], t.logvar[:, i], t.mean[:, i]) for t, i in ((shared, 0), (each, m))]  # type: ignore[index]
        assert torch.allclose(shared.kl_to(each)[:, m], own[0].kl_to(own[1]), rtol=0, atol=1e-14)


def test_points_have_no_compactness_and_half_the_squared_distance() -> None:
    (p,), (q,) = (GaussianMap(4, 3, variational=False).double()(rand(2, 5, 4)) for _ in range(2))
    assert p.sample is p.mean
    assert torch.equal(p.kl_to_standard(), torch.zeros(2).double())
    unit = [Normal(g.mean, 1.0) for g in (p, q)]
    assert torch.allclose(p.kl_to(q), kl_divergence(*unit).mean((-2, -1)), rtol=0, atol=1e-14)


def test_gaussian_map_samples_while_training_alone() -> None:
    layer, x = GaussianMap(4, 3, n_parts=2, groups=(2,)).double(), rand(2, 5, 4)
    attach_noise(layer, Fixed())
    columns = (x @ layer.map.weight + layer.map.bias.unsqueeze(-2)).split(3, -1)
    for part, mean, logvar in zip(layer(x), columns[:2], columns[2:], strict=True):
        assert torch.allclose(part.mean, mean, rtol=0, atol=1e-14)
        assert torch.allclose(part.sample, mean + 0.3 * (logvar / 2).exp(), rtol=0, atol=1e-14)
    for part in layer.eval()(x):
        assert torch.equal(part.sample, part.mean)


def test_gaussian_map_samples_have_its_mean_and_variance() -> None:
    layer = GaussianMap(1, 2)
    layer.map.weight.data.zero_()
    layer.map.bias.data = torch.tensor([1.0, -2.0, math.log(0.25), math.log(9.0)])
    attach_noise(layer, ReplicaNoise([Streams.of(0, "cpu")]))
    (part,) = layer(torch.ones(1, 100_000, 1))
    assert part.sample.mean((0, 1)).tolist() == pytest.approx([1.0, -2.0], abs=0.04)
    assert part.sample.std((0, 1)).tolist() == pytest.approx([0.5, 3.0], rel=0.01)
    assert torch.corrcoef(part.sample[0].T)[0, 1].abs() < 0.02


def test_samples_follow_the_seed() -> None:
    layer = GaussianMap(4, 3)
    x = torch.ones(2, 5, 4)

    def draw(*seeds: int) -> Tensor:
        attach_noise(layer, ReplicaNoise([Streams.of(seed, "cpu") for seed in seeds]))
        return layer(x)[0].sample

    assert torch.equal(draw(1, 2), draw(1, 2))
    assert torch.equal(draw(1, 2)[0], draw(1, 3)[0])
    assert not torch.equal(draw(1, 2)[1], draw(1, 3)[1])


def test_task_losses_reduce_over_the_batch_alone() -> None:
    logits, target = rand(2, 3, 5, 4), torch.arange(10).reshape(2, 5) % 4
    loss = task_loss(Task(n_classes=4), logits, target.unsqueeze(-2))
    assert loss.shape == (2, 3)
    for s in range(2):
        for m in range(3):
            assert loss[s, m].item() == pytest.approx(F.cross_entropy(logits[s, m], target[s]).item(), abs=1e-14)
    same = task_loss(Task(n_classes=4), logits, target[0])
    assert same[1, 2].item() == pytest.approx(F.cross_entropy(logits[1, 2], target[0]).item(), abs=1e-14)
    value = rand(5)
    loss = task_loss(Task("regression"), logits[..., :1], value)
    assert torch.allclose(loss, (logits[..., 0] - value).abs().mean(-1), rtol=0, atol=1e-14)


def test_reconstruction_error_is_a_mean_over_batch_and_dimensions() -> None:
    estimate, original = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    assert reconstruction_error(estimate, original).item() == (0 + 4 + 9 + 0) / 4
    assert reconstruction_error(rand(2, 3, 5, 4), rand(2, 3, 5, 4)).shape == (2, 3)
