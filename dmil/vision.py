"""A small convolutional encoder of images (..., B, C, H, W) that trains every replica of a stack at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dmil.nn import Conv2d, Dropout, GroupNorm, Linear

if TYPE_CHECKING:
    from dmil.encoders import Source

FIRST_GRID = 25
GROUP = 8


class Cnn(nn.Module):
    """A first convolution down to a grid of about 25x25, ``depth`` of 3x3 and stride 2, then a linear map of the grid.

    After each convolution group norm and ReLU. Pixels are standardised per channel with training statistics. The grid
    is flattened, not pooled: where something is can matter as much as what it is. A linear map to z, as a hidden layer
    there made questions about a scene five times slower to learn. channels: of every convolution, a multiple of 8.
    stride: of the first convolution, whose window is two pixels wider; 0 lets the size of the image decide.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, source: Source, *, width: int, depth: int, dropout: float, channels: int = 32, stride: int = 0
    ) -> None:
        super().__init__()
        if channels < 1 or channels % GROUP:
            raise ValueError(f"a CNN's channels must be a multiple of {GROUP}, but got {channels}")
        n_in, *sides = source.shape
        stride = stride or max(1, round(max(sides) / FIRST_GRID))
        if stride > min(sides):
            raise ValueError(f"images of {sides[0]}x{sides[1]} are smaller than a first convolution of stride {stride}")
        for name, values in (("mean", source.mean or (0.0,) * n_in), ("std", source.std or (1.0,) * n_in)):
            self.register_buffer(name, torch.tensor(values), persistent=False)
        layers: list[nn.Module] = []
        for number in range(depth + 1):
            kernel, step = (stride + 2, stride) if number == 0 else (3, 2)
            layers += [Conv2d(n_in, channels, kernel, stride=step, padding=1), GroupNorm(channels // GROUP, channels)]
            layers.append(nn.ReLU())
            sides = [(side + 2 - kernel) // step + 1 for side in sides]
            n_in = channels
        self.layers, self.dropout = nn.Sequential(*layers), Dropout(dropout)
        self.out = Linear(channels * sides[0] * sides[1], width)

    def forward(self, x: Tensor) -> Tensor:
        mean, std = (one.unsqueeze(-2) if one.dim() > 1 else one for one in (self.mean, self.std))
        x = (x - mean[..., None, None]) / std[..., None, None]
        return self.out(self.dropout(self.layers(x).flatten(-3)))
