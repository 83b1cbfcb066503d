"""Encoders of sequences (..., B, T, d + 1), whose last feature says whether a step exists, and of tokens (..., B, T).

Both read every replica of a stack at once; a step that does not exist changes nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dmil.nn import Dropout, Embedding, LayerNorm, Linear, steps

if TYPE_CHECKING:
    from dmil.encoders import Source

POSITION_SCALE = 0.2


class Steps(nn.Module):
    """Steps of a sequence, or words, as vectors (..., B, T, width), and whether each exists, (..., B, T)."""

    def __init__(self, source: Source, width: int) -> None:
        super().__init__()
        self.words = Embedding(source.vocabulary, width) if source.vocabulary else None
        self.read = None if source.vocabulary else Linear(source.shape[-1] - 1, width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.words is not None:
            return self.words(x), x != 0
        assert self.read is not None
        return steps(self.read, x[..., :-1]), x[..., -1] > 0


def pooled(x: Tensor, exists: Tensor, parts: int = 1) -> Tensor:
    """Means over ``parts`` equal parts of the steps that exist, side by side: (..., B, T, d), (..., B, T) to
    (..., B, parts * d); zero for a part without a step."""
    number = exists.long().cumsum(-1)
    n = number[..., -1:].clamp_min(1)
    part = ((number - 1) * parts).div(n, rounding_mode="floor")
    member = (part.unsqueeze(-1) == torch.arange(parts, device=x.device)) & exists.unsqueeze(-1)
    weight = member.to(x.dtype)
    return (weight.transpose(-2, -1) @ x / weight.sum(-2).clamp_min(1).unsqueeze(-1)).flatten(-2)


class Gru(nn.Module):
    """Gated recurrent units (Cho et al., EMNLP 2014), ``depth`` layers; the mean of the states is read out.

    Each layer reads normalised states and adds to them, as those of ``Transformer`` do; ``inner`` and ``parts`` are the
    same.
    """

    def __init__(
        self, source: Source, *, width: int, depth: int, dropout: float, inner: float = 0.1, parts: int = 1
    ) -> None:
        super().__init__()
        self.steps = Steps(source, width)
        self.norms = nn.ModuleList(LayerNorm(width) for _ in range(depth))
        self.layers = nn.ModuleList(GruLayer(width) for _ in range(depth))
        self.inner, self.dropout = Dropout(min(dropout, inner)), Dropout(dropout)
        self.parts = _checked_parts(parts)
        self.norm, self.out = LayerNorm(width), Linear(parts * width, width)

    def forward(self, x: Tensor) -> Tensor:
        h, exists = self.steps(x)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            h = h + self.inner(layer(norm(h), exists))
        return self.out(self.dropout(pooled(self.norm(h), exists, self.parts)))


class GruLayer(nn.Module):
    """One layer: (..., B, T, width), (..., B, T) to the states (..., B, T, width), starting from zero.

    A step that does not exist leaves the state as it is. The reset gate acts after the recurrent product, as in
    ``torch.nn.GRU``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read, self.again = Linear(width, 3 * width), Linear(width, 3 * width)

    def forward(self, x: Tensor, exists: Tensor) -> Tensor:
        seen = steps(self.read, x)
        keep = exists.to(x.dtype).unsqueeze(-1)
        width = x.shape[-1]
        h = torch.zeros_like(x[..., 0, :])
        states: list[Tensor] = []
        for t in range(x.shape[-2]):
            recurrent = self.again(h)
            reset, update = torch.sigmoid(seen[..., t, : 2 * width] + recurrent[..., : 2 * width]).chunk(2, -1)
            fresh = torch.tanh(seen[..., t, 2 * width :] + reset * recurrent[..., 2 * width :])
            h = h + (1 - update) * keep[..., t, :] * (fresh - h)
            states.append(h)
        return torch.stack(states, -2)


class Transformer(nn.Module):
    """Transformer encoder (Vaswani et al., NeurIPS 2017) with normalisation before each part; the mean is read out.

    depth: layers. heads: must divide the width. Positions are sines and cosines, small beside the input, which they
    would drown otherwise. dropout acts on what is read out, and inside the layers as far as ``inner`` allows: at 0.5
    there, nothing was learned from a few hundred sequences. parts: of the sequence, each with a mean of its own, for
    what depends on when something happens.
    """

    def __init__(
        self,
        source: Source,
        *,
        width: int,
        depth: int,
        dropout: float,
        heads: int = 4,
        inner: float = 0.1,
        parts: int = 1,
    ) -> None:
        super().__init__()
        if heads < 1 or width % heads or width % 2:
            raise ValueError(f"`width` must be even and a multiple of `heads`, but got ({width=}, {heads=})")
        self.steps = Steps(source, width)
        self.register_buffer("positions", POSITION_SCALE * sinusoids(source.shape[0], width), persistent=False)
        self.layers = nn.ModuleList(TransformerLayer(width, heads, min(dropout, inner)) for _ in range(depth))
        self.parts = _checked_parts(parts)
        self.norm, self.out = LayerNorm(width), Linear(parts * width, width)
        self.dropout = Dropout(dropout)

    positions: Tensor

    def forward(self, x: Tensor) -> Tensor:
        h, exists = self.steps(x)
        where = self.positions
        h = h + (where if where.dim() == 2 else where.unsqueeze(1))
        for layer in self.layers:
            h = layer(h, exists)
        return self.out(self.dropout(pooled(self.norm(h), exists, self.parts)))


class TransformerLayer(nn.Module):
    """Self-attention over the steps that exist, then a network of one hidden layer on each of them."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = LayerNorm(width), LayerNorm(width)
        self.project, self.merge = Linear(width, 3 * width), Linear(width, width)
        self.up, self.down = Linear(width, 2 * width), Linear(2 * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, exists: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
            for part in steps(self.project, self.first(x)).chunk(3, -1)
        )
        # Whoever has no step at all looks at the first one: a softmax over nothing is not a number.
        none = ~exists.any(-1, keepdim=True)
        seen = exists | (none & (torch.arange(exists.shape[-1], device=exists.device) == 0))
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~seen[..., None, None, :], -math.inf).softmax(-1)
        found = (weights @ v).transpose(-3, -2).flatten(-2)
        x = x + self.dropout(steps(self.merge, found))
        return x + self.dropout(steps(self.down, F.relu(steps(self.up, self.second(x)))))


def _checked_parts(parts: int) -> int:
    if parts < 1:
        raise ValueError(f"`parts >= 1` must hold, but got parts={parts}")
    return parts


def sinusoids(length: int, width: int) -> Tensor:
    """(length, width): sines in the first half of the columns, cosines in the second."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = torch.arange(length).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], 1)
