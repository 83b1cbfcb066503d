"""Layers that train one model or S models at once: parameters may carry leading replica dimensions.

Every tensor is (..., B, d): features last, the batch before them, leading dimensions free. A layer built as
usual works on (B, d); after ``dmil.stack`` has given its parameters a leading replica dimension the same code
works on (S, B, d), one batched product for all replicas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """x W + b with weight (..., *groups, in, out), initialised like ``torch.nn.Linear``.

    ``groups`` adds dimensions of independent maps: input (..., *groups, B, in), output (..., *groups, B, out).
    """

    def __init__(self, n_in: int, n_out: int, *, groups: tuple[int, ...] = ()) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_in)
        self.weight = nn.Parameter(torch.empty(*groups, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(*groups, n_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias.unsqueeze(-2)
        if weight.dim() == 2:
            return torch.matmul(x, weight) + bias if x.dim() > 2 else torch.addmm(bias, x, weight)
        lead = weight.shape[:-2]
        x = x.expand(*lead, *x.shape[-2:])
        last = len(lead) - 1
        out = torch.baddbmm(bias.flatten(0, last), x.flatten(0, last), weight.flatten(0, last))
        return out.unflatten(0, lead)


class Noise:
    """Source of the random numbers that layers draw while training; this one uses torch's global generator."""

    def normal(self, like: Tensor) -> Tensor:
        return torch.randn_like(like)

    def uniform(self, like: Tensor) -> Tensor:
        return torch.rand_like(like)


class RandomLayer(nn.Module):
    """A layer that draws random numbers; ``attach_noise`` tells it from where."""

    def __init__(self) -> None:
        super().__init__()
        self.noise = Noise()


def attach_noise(module: nn.Module, noise: Noise) -> None:
    """Lets every random layer below ``module`` draw from ``noise``."""
    for layer in module.modules():
        if isinstance(layer, RandomLayer):
            layer.noise = noise


class Dropout(RandomLayer):
    """Inverted dropout; the rate is a buffer, so that stacked replicas may have different ones."""

    rate: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.register_buffer("rate", torch.tensor(rate), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        rate = self.rate.reshape(self.rate.shape + (1,) * (x.dim() - self.rate.dim()))
        return x * ((self.noise.uniform(x) >= rate) / (1 - rate))


class MLP(nn.Sequential):
    """``depth`` hidden layers (linear, ReLU, dropout) and a linear output; depth 0 is a linear map."""

    def __init__(self, n_in: int, n_out: int, *, hidden: int, depth: int = 1, dropout: float = 0.0) -> None:
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [Linear(n_in, hidden), nn.ReLU(), Dropout(dropout)]
            n_in = hidden
        super().__init__(*layers, Linear(n_in, n_out))

    def features(self, x: Tensor) -> Tensor:
        """What the output layer ``self[-1]`` reads: the last hidden layer, at depth 0 the input itself."""
        for layer in list(self)[:-1]:
            x = layer(x)
        return x


class Encoders(nn.Module):
    """One MLP per modality, x_m (..., B, d_m) to z_m (..., B, width), all of the same width."""

    def __init__(self, dims: Mapping[str, int], *, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.modalities = tuple(dims)
        self.mlps = nn.ModuleList(MLP(d, width, hidden=width, depth=depth, dropout=dropout) for d in dims.values())

    def forward(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        return [mlp(inputs[name]) for name, mlp in zip(self.modalities, self.mlps, strict=True)]
