"""MISA: its losses by hand, and the bugs that public code has."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.methods import misa
from dmil.losses import task_loss
from tests.made_problems import made_problem
from tests.test_field_fusion import F64, encoded, made, random, step


def test_the_difference_of_misa_by_hand() -> None:
    """Both private codes point the same way in every sample; the shared ones are orthogonal to them."""
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=F64)
    private = torch.zeros(2, 4, 3, dtype=F64)
    private[:, :, 0] = 0.2 + torch.tensor([[0.1], [5.0]], dtype=F64) * signs
    shared = torch.zeros(2, 4, 3, dtype=F64)
    shared[:, :, 1] = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=F64)
    # X^T Y of the private pair: 4 in one of nine entries.
    assert float(misa.difference(private, shared)) == pytest.approx(16 / 9, rel=1e-4)
    assert float(misa.difference(private, private)) == pytest.approx(3 * 16 / 9, rel=1e-4)
    three = torch.cat([private, private[:1]])
    assert float(misa.difference(three, three)) == pytest.approx(6 * 16 / 9, rel=1e-4)


def test_the_difference_of_misa_does_not_move_lengths() -> None:
    """Its gradient by hand, with lengths that are held fixed, as in the authors' code."""
    private, shared = random(1, 5, 3).requires_grad_(), random(1, 5, 3, seed=1)
    x, y = (codes[0].detach() - codes[0].detach().mean(0) for codes in (private, shared))
    size = x.norm(dim=1, keepdim=True) + 1e-6
    x, y = x / size, y / (y.norm(dim=1, keepdim=True) + 1e-6)
    by_direction = 2 / 9 * y @ y.T @ x / size
    (found,) = torch.autograd.grad(misa.difference(private, shared), private)
    assert torch.allclose(found[0], by_direction - by_direction.mean(0), atol=1e-12)


@pytest.mark.parametrize(("n", "d"), [(4, 9), (9, 4), (5, 8), (6, 8)])
def test_the_difference_of_misa_is_the_same_through_products_of_samples(n: int, d: int) -> None:
    """Of two ways to the same sum the cheaper one is taken."""
    private, shared = random(3, n, d), random(3, n, d, seed=1)
    own, common = (
        [(x - x.mean(0)) / ((x - x.mean(0)).norm(dim=1, keepdim=True) + 1e-6) for x in codes]
        for codes in (private, shared)
    )
    pairs = [*zip(own, common, strict=True), (own[0], own[1]), (own[0], own[2]), (own[1], own[2])]
    expected = sum(float((x.T @ y).square().mean()) for x, y in pairs)
    assert float(misa.difference(private, shared)) == pytest.approx(expected, rel=1e-12)
    both = torch.stack([torch.stack([private, shared]), torch.stack([shared, private])])
    assert torch.allclose(misa.difference(*both)[0], misa.difference(private, shared))


def test_codes_that_are_equal_but_for_rounding_have_no_direction() -> None:
    """Divided by their length, as in public code, errors of rounding would count as much as any code."""
    noise = 1e-7 * random(2, 8, 3)
    codes = (0.5 + noise).requires_grad_()
    term = misa.difference(codes, random(2, 8, 3, seed=1))
    (gradient,) = torch.autograd.grad(term, codes)
    assert term.item() == 0
    assert not gradient.any()
    assert misa.difference(0.5 + 1e6 * noise, random(2, 8, 3, seed=1)).item() > 0.1


def test_the_moments_of_misa_by_hand() -> None:
    codes = torch.tensor([[[0.0], [1.0]], [[0.25], [0.75]], [[0.0], [1.0]]], dtype=F64)
    apart = 0 + (1 / 4 - 1 / 16) + 0 + (1 / 16 - 1 / 256) + 0
    assert float(misa.similarity(codes[:2])) == pytest.approx(apart)
    assert float(misa.similarity(codes)) == pytest.approx(2 / 3 * apart)
    moved = torch.stack([codes[0].repeat(1, 2), codes[0].repeat(1, 2) + torch.tensor([3.0, 4.0])])
    assert float(misa.similarity(moved)) == pytest.approx(5.0)
    # Mirror images: means and the third and fifth moments differ, which are 3/16 * 1/2 and 1/4 * (3^5 - 3) / 4^5.
    skewed = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=F64).unsqueeze(1)
    mirrored = torch.stack([skewed, 1 - skewed])
    assert float(misa.similarity(mirrored)) == pytest.approx(1 / 2 + 2 * 3 / 32 + 2 * 240 / 4096)


def test_equal_moments_have_a_gradient() -> None:
    """The square root of public code gives NaN here."""
    codes = random(1, 6, 3).expand(2, 6, 3).clone().requires_grad_()
    misa.similarity(codes).backward()
    assert codes.grad is not None
    assert not codes.grad.any()


def test_attention_of_misa_is_among_the_codes_of_a_sample() -> None:
    problem = made_problem(3)
    model = made("misa", problem)
    seen: list[Tensor] = []
    model.layer.register_forward_hook(lambda layer, given, found: seen.extend([given[0], found]))
    model(problem.train.inputs)
    codes, mixed = seen
    assert codes.shape == mixed.shape == (60, 6, 8)
    exists = torch.ones(60, 6, dtype=torch.bool)
    moved = codes.clone()
    moved[7, 2] *= torch.arange(8)
    changed = (model.layer(moved, exists) - mixed).abs().amax(-1) > 1e-9
    assert changed[7].all()
    assert changed.sum() == 6


def test_the_loss_of_misa_by_hand() -> None:
    problem = made_problem(3)
    model = made("misa", problem, difference=0.2, similarity=0.5, reconstruction=0.7)
    output, loss = step(model, problem)
    u = [
        F.layer_norm(F.relu(z @ weight + bias), (8,))
        for z, weight, bias in zip(encoded(model, problem), model.project.weight, model.project.bias, strict=True)
    ]
    private = [torch.sigmoid(x @ model.private.weight[m] + model.private.bias[m]) for m, x in enumerate(u)]
    shared = [torch.sigmoid(x @ model.shared.weight + model.shared.bias) for x in u]
    rebuilt = [(private[m] + shared[m]) @ model.rebuild.weight[m] + model.rebuild.bias[m] for m in range(3)]
    apart = misa.difference(torch.stack(private), torch.stack(shared))
    expected = task_loss(problem.task, output.logits, problem.train.target) + 0.2 * apart
    expected = expected + 0.5 * misa.similarity(torch.stack(shared))
    expected = expected + 0.7 * torch.stack([F.mse_loss(x, y) for x, y in zip(rebuilt, u, strict=True)]).mean()
    assert torch.allclose(loss, expected)


def test_the_target_of_the_reconstruction_may_be_fixed() -> None:
    problem = made_problem()
    found = []
    for has_target_gradient in (True, False):
        model = made("misa", problem, has_target_gradient=has_target_gradient)
        reconstruction = step(model, problem)[0].extra["reconstruction"]
        names = ("project.weight", "rebuild.weight")
        found.append(torch.autograd.grad(reconstruction, [model.get_parameter(name) for name in names]))
    assert not torch.allclose(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_subspaces_of_misa_have_an_even_width() -> None:
    with pytest.raises(ValueError, match="`width` must be a multiple of 2, the heads of misa, but got 7"):
        made("misa", made_problem(), width=7)
