"""Standardising the inputs of all splits with the mean and deviation of the training rows alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

CLIP = 5.0  # standard deviations
CONSTANT = 1e-7  # a column whose deviation is below this share of the widest column's is rounding noise
AT_ONCE = 256  # rows of a sequence or of images: in float64 they take twice their room


def standardised(parts: Mapping[str, Tensor], *, n_blocks: int | None = None) -> dict[str, Tensor]:
    """One modality of every split (one of them ``train``), scaled by what its rank and type say it is; float32.

    Features (N, d): every column to mean 0 and deviation 1 over the training rows, then clipped to +-5; columns that
    are constant in training become 0 everywhere. Sequences (N, T, d + 1): every feature likewise, over the training
    steps that exist; padding stays 0. Floating images and clips (.., C, H, W): every channel likewise. Integers
    (tokens, 8-bit images) stay as they are.

    n_blocks: the features of a sequence come in so many blocks of equal size, such as the axes of a sensor, and all of
    a block are divided by one deviation: what hardly moves is not blown up. By default every feature has its own.
    """
    train = parts["train"]
    if not train.is_floating_point():
        return dict(parts)
    if train.dim() == 2:
        rows = train.double()
        mean, scale = rows.mean(0), _scale(rows.std(0, correction=0))
        return {name: ((x.double() - mean) * scale).clamp(-CLIP, CLIP).float() for name, x in parts.items()}
    mean, variance = _moments(train)
    if n_blocks is not None:
        variance = variance.view(n_blocks, -1).mean(1).repeat_interleave(len(mean) // n_blocks)
    scale = _scale(variance.sqrt())
    return {name: _applied(x, mean, scale) for name, x in parts.items()}


def _scale(std: Tensor) -> Tensor:
    return torch.where(std <= CONSTANT * std.max(), 0.0, 1 / std)


def _moments(train: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of every feature of a sequence or channel of an image, some rows at a time, in two passes."""
    n = sum(len(block) for block in _observations(train))
    mean = torch.stack([block.sum(0) for block in _observations(train)]).sum(0) / n
    variance = torch.stack([(block - mean).square().sum(0) for block in _observations(train)]).sum(0) / n
    return mean, variance


def _observations(x: Tensor) -> Iterator[Tensor]:
    """Blocks (n, d) of existing steps, or (n, C) of pixels, float64."""
    for block in x.split(AT_ONCE):
        if x.dim() == 3:
            yield block[block[..., -1] > 0][:, :-1].double()
        else:
            yield block.movedim(-3, -1).flatten(0, -2).double()


def _applied(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    out = torch.empty(x.shape, dtype=torch.float32)
    for done, block in zip(out.split(AT_ONCE), x.split(AT_ONCE), strict=True):
        if x.dim() == 3:
            exists = block[..., -1:]
            done[..., :-1] = ((block[..., :-1].double() - mean) * scale).clamp(-CLIP, CLIP) * exists
            done[..., -1:] = exists
        else:
            done[:] = ((block.double().movedim(-3, -1) - mean) * scale).clamp(-CLIP, CLIP).movedim(-1, -3)
    return out
