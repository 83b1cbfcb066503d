"""What a linear model is shown of a modality: one flat row per sample, whatever the modality is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dmil.data import Split
from dmil.encoders import CLIP, FEATURES, IMAGE, SEQUENCE, TOKENS, kind_of

N_WORDS = 300
GRID = 8
BLOCK = 256  # objects at a time: a split may be larger than memory
HOW = {
    FEATURES: "",
    SEQUENCE: "the mean over its steps",
    TOKENS: f"which of its {N_WORDS} most frequent words are there",
    IMAGE: f"means over a grid of {GRID}x{GRID}",
    CLIP: f"means over a grid of {GRID}x{GRID} and over its frames",
}

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """How the samples of one modality become rows. words: numbers of the tokens that are looked for, else empty."""

    modality: str
    kind: str
    words: Tensor

    @classmethod
    def of(cls, train: Split, modality: str) -> Pool:
        """Words are those of training, the most frequent first."""
        x = train.inputs[modality]
        kind = kind_of(x)
        if kind != TOKENS:
            return cls(modality, kind, torch.empty(0))
        counts = train.expanded(modality).flatten().bincount()
        counts[0] = 0  # padding
        n_words = min(N_WORDS, max(1, int((counts > 0).sum())))
        return cls(modality, kind, counts.argsort(descending=True, stable=True)[:n_words])

    @property
    def how(self) -> str:
        """What is shown instead of the sample itself, empty where that is what is shown."""
        return HOW[self.kind]

    def rows(self, split: Split, chosen: Ints) -> Floats:
        """(n, d) of the samples at the positions ``chosen``; an object that several of them share is read once."""
        objects = split.rows[self.modality].numpy()[chosen] if self.modality in split.rows else chosen
        unique, back = np.unique(objects, return_inverse=True)
        x = split.inputs[self.modality]
        index = torch.from_numpy(unique)
        found: Floats = torch.cat([self._flat(x[part]) for part in index.split(BLOCK)]).numpy()[back]
        return found

    def _flat(self, x: Tensor) -> Tensor:
        """(n, *shape) -> (n, d), float64."""
        if self.kind == TOKENS:
            return (x.unsqueeze(2) == self.words).any(1).double()
        if self.kind == SEQUENCE:
            exists = x[..., -1:].double()
            return (x[..., :-1].double() * exists).sum(1) / exists.sum(1).clamp(min=1)
        if self.kind == CLIP:
            grids = F.adaptive_avg_pool2d(x.flatten(0, 1).float(), GRID)
            return grids.unflatten(0, x.shape[:2]).mean(1).flatten(1).double()
        return F.adaptive_avg_pool2d(x.float(), GRID).flatten(1).double() if self.kind == IMAGE else x.double()


def columns(split: Split, modality: str, *, step: int = 1) -> Iterator[Floats]:
    """Rows (n, d) of a modality whose columns mean something, block by block: features of each sample, or steps of each
    sequence; nothing of tokens, images and clips. step: every how many samples."""
    x = split.inputs[modality]
    kind = kind_of(x)
    if kind in (FEATURES, SEQUENCE):
        for start in range(0, len(x), BLOCK * step):
            part = x[start : start + BLOCK * step : step]
            yield (part if kind == FEATURES else part[part[..., -1] > 0][:, :-1]).double().numpy()
