"""Small encoders of images (..., B, C, H, W) that train every replica of a stack at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dmil.nn import Conv2d, Dropout, GroupNorm, Linear

if TYPE_CHECKING:
    from dmil.encoders import Source

FIRST_GRID = 25
GROUP = 8
# How large places, responses and amounts are beside one another, so that a linear map learns from all of them at once.
PLACE, RESPONSE, AMOUNT = 5.0, 3.0, 6.0


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
        x = _standardised(x, self.mean, self.std)
        return self.out(self.dropout(self.layers(x).flatten(-3)))


class Palette(nn.Module):
    """For drawn scenes: what a convolution sees, and where, averaged over the places of each colour of a palette.

    Every cell of a grid of about 25x25 belongs to the colour nearest to the pixel in its middle. For every colour
    a linear map reads its amount, the mean response of ``depth`` convolutions and the mean row and column.
    This is the pooling of NetVLAD (Arandjelovic et al., CVPR 2016) with fixed colours in place of learned words: a
    plain CNN needs many times as long to tell the objects of a scene apart. The colours are those of some training
    images that lie furthest apart. channels: of the convolutions, a multiple of 4.
    """

    mean: Tensor
    std: Tensor
    palette: Tensor
    place: Tensor

    def __init__(
        self, source: Source, *, width: int, depth: int, dropout: float, channels: int = 12, colours: int = 8
    ) -> None:
        super().__init__()
        n_in, *sides = source.shape
        if channels < 1 or channels % 4:
            raise ValueError(f"a palette's channels must be a multiple of 4, but got {channels}")
        self.stride = max(1, round(max(sides) / FIRST_GRID))
        if min(sides) < self.stride:
            raise ValueError(
                f"images of {sides[0]}x{sides[1]} are too narrow for a grid of cells of {self.stride} pixels"
            )
        for name, values in (("mean", source.mean), ("std", source.std), ("palette", source.palette)):
            self.register_buffer(name, torch.tensor(values), persistent=False)
        layers: list[nn.Module] = []
        for number in range(depth):
            kernel, step = (self.stride + 2, self.stride) if number == 0 else (3, 1)
            layers += [Conv2d(n_in, channels, kernel, stride=step, padding=1), GroupNorm(channels // 4, channels)]
            layers.append(nn.ReLU())
            n_in = channels
        self.layers, self.dropout = nn.Sequential(*layers), Dropout(dropout)
        axes = [torch.linspace(-PLACE, PLACE, side // self.stride) for side in sides]
        self.register_buffer("place", torch.cartesian_prod(*axes), persistent=False)
        self.out = Linear(len(source.palette) * (channels + 3), width)

    def forward(self, x: Tensor) -> Tensor:
        x = _standardised(x, self.mean, self.std)
        belongs = self.belongs(x)
        n = belongs.sum(-1, keepdim=True)
        seen = RESPONSE * (belongs @ self.layers(x).flatten(-2).transpose(-1, -2))
        means = torch.cat([seen, belongs @ self.place.unsqueeze(-3)], -1) / (n + 0.5)
        amount = AMOUNT * (n * (belongs.shape[-2] / belongs.shape[-1]) + 1e-6).sqrt()
        return self.out(self.dropout(torch.cat([means, amount], -1).flatten(-2)))

    @torch.no_grad()
    def belongs(self, x: Tensor) -> Tensor:
        """Standardised pixels (..., B, C, H, W) to 1 where a cell belongs to a colour, else 0: (..., B, K, cells)."""
        rows, columns = (slice(self.stride // 2, side - side % self.stride, self.stride) for side in x.shape[-2:])
        palette = self.palette.unsqueeze(-3)
        near = palette @ x[..., rows, columns].flatten(-2) - palette.square().sum(-1, keepdim=True) / 2
        return (near == near.amax(-2, keepdim=True)).to(x.dtype)


def furthest_colours(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...], n: int) -> Tensor:
    """Of standardised pixels of images (N, C, H, W) one after another the one furthest from those before it: (n, C)."""
    shift, scale = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
    some = x.float() / (255 if x.dtype == torch.uint8 else 1)
    pixels = ((some - shift) / scale).movedim(-3, -1).flatten(0, -2)
    apart, found = pixels.square().sum(1), []
    for _ in range(n):
        found.append(pixels[apart.argmax()])
        apart = torch.minimum(apart, (pixels - found[-1]).square().sum(1))
    return torch.stack(found)


def _standardised(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(..., B, C, H, W) with statistics (C,), or (S, C) of a stack."""
    mean, scale = (one.unsqueeze(-2) if one.dim() > 1 else one for one in (mean, 1 / std))
    return torch.addcmul((-mean * scale)[..., None, None], x, scale[..., None, None])
