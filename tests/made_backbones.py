"""Backbones as the tests build them, and images for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.backbones import BACKBONES
from dmil.encoders import IMAGE, TOKENS, Source
from dmil.seeds import generator, initialising

WIDTH = 6


def build(name: str, *shape: int, depth: int = 1, seed: int = 0, **options: Any) -> Any:
    """An encoder without dropout: the backbone at [0], its projection at [1]."""
    kind = TOKENS if len(shape) == 1 else IMAGE
    source = Source(shape, kind, vocabulary=30522 if kind == TOKENS else 0, encoder=name, options=options)
    with initialising("init", seed):
        return BACKBONES[name](source, width=WIDTH, depth=depth, dropout=0.0, **options)


def images(n: int, *shape: int) -> Tensor:
    return torch.rand(n, *shape, generator=generator("images", *shape))
