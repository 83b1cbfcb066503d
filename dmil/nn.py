"""Layers that train one model or S models at once: parameters may carry leading replica dimensions.

Every tensor is (..., B, d): features last, the batch before them, leading dimensions free. A layer built as
usual works on (B, d); after ``dmil.stack`` has given its parameters a leading replica dimension the same code
works on (S, B, d), one batched product for all replicas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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

    def of_objects(self, counts: Sequence[int]) -> AbstractContextManager[None]:
        """While it lasts, layers see objects that samples share (``dmil.data.Shared``)."""
        return nullcontext()

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


class LayerNorm(nn.Module):
    """Normalises the last dimension, (..., B, .., d); weight and bias (..., d)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(n)), nn.Parameter(torch.zeros(n))

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x, x.shape[-1:])
        return x * _spread(self.weight, x) + _spread(self.bias, x)


class Embedding(nn.Module):
    """Rows of a table (..., V, d), looked up by indices (..., B, T): (..., B, T, d). Row 0, padding, is zero."""

    def __init__(self, vocabulary: int, n: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocabulary, n) / math.sqrt(n))

    def forward(self, index: Tensor) -> Tensor:
        weight, lead = self.weight, self.weight.shape[:-2]
        if lead:
            index = index.expand(*lead, *index.shape[-2:])
            first = torch.arange(lead.numel(), device=index.device) * weight.shape[-2]
            found = F.embedding(index + first.view(*lead, 1, 1), weight.flatten(0, -2))
        else:
            found = F.embedding(index, weight)
        return found * (index != 0).unsqueeze(-1)


class Conv2d(nn.Module):
    """Convolution of images, (..., B, in, H, W) to (..., B, out, H', W'), initialised like ``torch.nn.Conv2d``.

    weight: (..., out, in, k, k). Replicas are convolved one after another, channels last: on a processor that was
    twice as fast as one convolution with a group for each.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_in * kernel * kernel)
        self.weight = nn.Parameter(torch.empty(n_out, n_in, kernel, kernel).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_out).uniform_(-bound, bound))
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 4:
            return self._convolve(x, self.weight, self.bias)
        images = x if x.dim() == 5 else x.expand(len(self.weight), *x.shape)
        return torch.stack([self._convolve(*one) for one in zip(images, self.weight, self.bias, strict=True)])

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight, bias, self.stride, self.padding)


class GroupNorm(nn.Module):
    """Group normalisation of images (Wu and He, ECCV 2018); weight and bias (..., channels).

    It knows nothing of other samples of a batch, so that replicas need no running statistics.
    """

    def __init__(self, n_groups: int, n_channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(n_channels)), nn.Parameter(torch.zeros(n_channels))
        self.n_groups = n_groups

    def forward(self, x: Tensor) -> Tensor:
        shape = x.shape
        x = F.group_norm(x.reshape(-1, *shape[-3:]), self.n_groups).view(shape)
        weight, bias = (p.unsqueeze(-2)[..., None, None] for p in (self.weight, self.bias))
        return x * weight + bias


def steps(layer: nn.Module, x: Tensor) -> Tensor:
    """Applies a layer for (..., B, d) to every step of sequences (..., B, T, d)."""
    found: Tensor = layer(x.flatten(-3, -2))
    return found.unflatten(-2, x.shape[-3:-1])


def _spread(parameter: Tensor, x: Tensor) -> Tensor:
    """(S, d) beside (S, .., d); (d,) as it is."""
    return parameter.reshape(*parameter.shape[:-1], *(1,) * (x.dim() - parameter.dim()), parameter.shape[-1])
