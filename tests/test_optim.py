"""The stacked AdamW is torch's, replica by replica."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from dmil.optim import StackedAdamW
from dmil.seeds import generator

LR, DECAY = (1e-3, 0.1, 0.0, 3e-2), (0.0, 0.5, 0.1, 1.0)
P = 7


class Reference:
    """One ``torch.optim.AdamW`` per replica; the first n_decay numbers decay."""

    def __init__(self, start: Tensor, n_decay: int) -> None:
        self.parts = [[row[:n_decay].clone(), row[n_decay:].clone()] for row in start]
        self.optimisers = [
            torch.optim.AdamW([{"params": [a], "weight_decay": w}, {"params": [b], "weight_decay": 0.0}], lr=lr)
            for (a, b), lr, w in zip(self.parts, LR, DECAY, strict=True)
        ]

    def step(self, rows: Sequence[int], gradients: Tensor) -> Tensor:
        for row, gradient in zip(rows, gradients, strict=True):
            a, b = self.parts[row]
            a.grad, b.grad = gradient[: len(a)].clone(), gradient[len(a) :].clone()
            self.optimisers[row].step()
        return torch.stack([torch.cat(self.parts[row]) for row in rows])


@pytest.mark.parametrize("n_decay", [P, 4, 0])
def test_equals_torch_for_fifty_steps(n_decay: int) -> None:
    """Another learning rate and decay in each replica, a rate that halves on the way, replicas that leave."""
    rng = generator("test_optim", n_decay)
    start = torch.randn(4, P, generator=rng, dtype=torch.float64)
    reference, flat = Reference(start, n_decay), start.clone()
    lr, decay = (torch.tensor(values, dtype=torch.float64) for values in (LR, DECAY))
    optimiser = StackedAdamW(flat, lr, decay, n_decay=n_decay)
    rows = [0, 1, 2, 3]
    for step in range(50):
        if step == 20:
            optimiser.lr[1] *= 0.5
            reference.optimisers[1].param_groups[0]["lr"] *= 0.5
            reference.optimisers[1].param_groups[1]["lr"] *= 0.5
        if step in (30, 40):
            keep = [3, 1, 0] if step == 30 else [1]
            rows = [rows[i] for i in keep]
            flat = flat[keep]
            optimiser.keep(flat, torch.tensor(keep))
        scale = 10.0 ** torch.randint(-6, 3, (len(rows), 1), generator=rng)
        gradients = scale * torch.randn(len(rows), P, generator=rng, dtype=torch.float64)
        optimiser.step(gradients.clone())
        expected = reference.step(rows, gradients)
        assert torch.allclose(flat, expected, rtol=0, atol=1e-12), step
    assert rows == [1]


def test_updates_a_slice_of_a_wider_matrix_in_place() -> None:
    """The stack's matrix holds frozen parameters behind the trained ones."""
    flat = torch.ones(2, 5, dtype=torch.float64)
    optimiser = StackedAdamW(flat[:, :3], torch.tensor([0.1, 0.2]).double(), torch.zeros(2).double())
    optimiser.step(torch.ones(2, 3, dtype=torch.float64))
    expected = torch.tensor([[0.9] * 3 + [1.0] * 2, [0.8] * 3 + [1.0] * 2]).double()
    assert torch.allclose(flat, expected, rtol=0, atol=1e-6)
    assert torch.equal(flat[:, 3:], expected[:, 3:])


def test_a_replica_that_explodes_leaves_the_others_alone() -> None:
    rng = generator("explodes")
    start = torch.randn(3, P, generator=rng, dtype=torch.float64)
    lr = torch.tensor([1e-2, float("inf"), 1e-2], dtype=torch.float64)
    optimiser = StackedAdamW(start.clone(), lr, torch.full((3,), 0.1).double())
    calm = StackedAdamW(start[[0, 2]], lr[[0, 2]], torch.full((2,), 0.1).double())
    for _ in range(5):
        gradients = torch.randn(3, P, generator=rng, dtype=torch.float64)
        gradients[1] = float("nan")
        optimiser.step(gradients.clone())
        calm.step(gradients[[0, 2]])
    assert torch.equal(optimiser.parameters[[0, 2]], calm.parameters)
    assert not optimiser.parameters[1].isfinite().any()
