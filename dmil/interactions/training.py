"""What the neural estimators share: features of one scale, and S networks trained as one stack of batched products."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from dmil.optim import StackedAdamW
from dmil.seeds import generator, initialising

Module = TypeVar("Module", bound=nn.Module)
OnEpoch = Callable[[str, int], None]


@dataclass(frozen=True)
class Schedule:
    """Adam in epochs over shuffled batches; the learning rate falls to a tenth after epoch ``step``."""

    epochs: int
    batch_size: int
    lr: float = 1e-3
    step: int | None = None
    drop_last: bool = False


@dataclass(frozen=True)
class Features:
    """Standardisation, or a projection to whitened principal components, learned on training data.

    mean (..., 1, d), matrix (..., d, k).
    """

    mean: Tensor
    matrix: Tensor

    @classmethod
    def of(cls, x: Tensor, n_components: int | None = None) -> Features:
        """x (..., N, d). None: every column to mean 0 and deviation 1, constant ones to 0. Else the first
        ``n_components`` principal components of the standardised columns, each with deviation 1."""
        std, mean = torch.std_mean(x, -2, correction=0, keepdim=True)
        scale = torch.where(std > 1e-6 * (1 + mean.abs()), 1 / std, 0.0).squeeze(-2)
        if n_components is None:
            return cls(mean, torch.diag_embed(scale))
        z = (x - mean) * scale.unsqueeze(-2)
        values, vectors = torch.linalg.eigh((z.mT @ z / x.shape[-2]).double())
        values, vectors = values[..., -n_components:], vectors[..., -n_components:]
        width = torch.where(values > 1e-6 * values[..., -1:], values.clamp(min=1e-12).rsqrt(), 0.0)
        return cls(mean, scale.unsqueeze(-1) * (vectors * width.unsqueeze(-2)).to(x.dtype))

    def __call__(self, x: Tensor) -> Tensor:
        """(..., N, d) -> (..., N, k)."""
        return (x - self.mean) @ self.matrix


def rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows of each replica's own data: x (S, N, ...), index (S, B) -> (S, B, ...)."""
    return x[torch.arange(len(index), device=x.device).unsqueeze(1), index]


def train_stack(
    name: str,
    build: Callable[[], Module],
    loss: Callable[[Module, Tensor], Tensor],
    n: int,
    *,
    seeds: Sequence[int],
    schedule: Schedule,
    device: torch.device | str = "cpu",
    on_epoch: OnEpoch | None = None,
) -> Module:
    """One network for each seed, as one module whose parameters have a leading dimension of seeds, frozen.

    ``loss(module, index)``: index (S, B) of rows -> (S,). A network's numbers depend on ``name`` and its own seed
    alone. Gradients are computed anew in every step (released code of LSMI lets those of KNIFE pile up).

    Raises:
        ValueError: fewer than a batch of rows where incomplete batches are dropped.
    """
    if schedule.drop_last and n < schedule.batch_size:
        raise ValueError(f"{n} rows are fewer than one batch of {schedule.batch_size}; give a smaller batch_size")
    models = []
    for seed in seeds:
        with initialising(name, "init", seed):
            models.append(build())
    module, flat, parameters = _stack(models, device)
    zeros = flat.new_zeros(len(seeds))
    optimiser = StackedAdamW(flat, zeros + schedule.lr, zeros)
    orders = [generator(name, "order", seed) for seed in seeds]
    for epoch in range(1, schedule.epochs + 1):
        shuffled = torch.stack([torch.randperm(n, generator=order) for order in orders]).to(device)
        for index in shuffled.split(schedule.batch_size, 1):
            if schedule.drop_last and index.shape[1] < schedule.batch_size:
                break
            with torch.enable_grad():
                parts = torch.autograd.grad(loss(module, index).sum(), parameters)
            optimiser.step(torch.cat([part.flatten(1) for part in parts], 1))
        if epoch == schedule.step:
            optimiser.lr.mul_(0.1)
        if on_epoch:
            on_epoch(name, epoch)
    return module.requires_grad_(False)


def _stack(models: Sequence[Module], device: torch.device | str) -> tuple[Module, Tensor, list[nn.Parameter]]:
    """The models as one, all its parameters (S, P), and these as the module's own parameters (S, *shape)."""
    module = copy.deepcopy(models[0]).to(device).eval()
    flat = torch.stack([torch.cat([p.detach().reshape(-1) for p in model.parameters()]) for model in models]).to(device)
    parameters, start = list(module.parameters()), 0
    for parameter in parameters:
        shape = parameter.shape
        parameter.data = flat[:, start : start + shape.numel()].unflatten(-1, shape)
        start += shape.numel()
    return module, flat, parameters


def stacked(x1: Tensor, x2: Tensor, y: Tensor, n_classes: int, n_seeds: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same samples for each seed, unless there are some for each already: (S, N, d1), (S, N, d2), (S, N).

    Raises:
        ValueError: shapes or classes that do not fit, or no seed.
    """
    if not n_seeds:
        raise ValueError("an estimator needs one seed or more, but got none")
    lead = y.shape
    is_fit = y.dim() in (1, 2) and x1.shape[:-1] == lead and x2.shape[:-1] == lead and lead.numel() > 0
    if not is_fit or (y.dim() == 2 and len(y) != n_seeds):
        shapes = [[*part.shape] for part in (x1, x2, y)]
        raise ValueError(f"x1 (N, d1), x2 (N, d2), y (N,), or {n_seeds} of each, are needed, but got {shapes}")
    if y.is_floating_point() or int(y.min()) < 0 or int(y.max()) >= n_classes:
        raise ValueError(f"labels must be classes 0..{n_classes - 1}, but got {y.dtype} {y.min()}..{y.max()}")
    if y.dim() == 1:
        x1, x2, y = (part.expand(n_seeds, *part.shape) for part in (x1, x2, y))
    return x1, x2, y
