"""TFN: the products of all features of all modalities, of every order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.methods._heads import Multimodal
from dmil.data import Inputs, Task
from dmil.encoders import Sources
from dmil.method import Output
from dmil.nn import MLP, Dropout, Linear
from dmil.settings import Settings, tunable

LARGEST = 4096  # numbers in a product


@dataclass(frozen=True)
class TfnSettings(Settings):
    """projection: features of each modality in the product, fewer where it would be too large; the authors' least is
    32. post: width of the two layers behind it, 64 in MMSA (on MOSI with a learning rate of 1e-3 and dropout
    of 0.3 and 0.5) and 128 in the paper."""

    projection: int = tunable(32, choices=(8, 16, 32), least=1, per_replica=False)
    post: int = tunable(64, choices=(32, 64, 128), least=1, per_replica=False)


class Tfn(Multimodal):
    """Zadeh, Chen, Poria, Cambria, Morency: "Tensor Fusion Network for Multimodal Sentiment Analysis", EMNLP 2017.

    T is the outer product over modalities of [1, ReLU(P_m z_m)]: with the ones, features alone, by pairs, and so on.
    Flattened, dropout, two layers with ReLU, a linear output. Products of two modalities represent XOR.

    T has (k + 1)^M numbers. k is ``projection`` for two modalities; for more it is cut so that T keeps within 4,096: 15
    for three, 7 for four. The authors, with three, have 33 x 33 x 129. Their regression ends in a sigmoid stretched to
    (-3, 3), the range of sentiment; here the output is free. Extra cost: about M d k + (k + 1)^M post parameters; one
    forward, one backward pass.
    """

    Settings: ClassVar[type[Settings]] = TfnSettings
    settings: TfnSettings

    def __init__(self, settings: TfnSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        n = len(sources)
        k = bounded(settings.projection, n)
        self.project = Linear(settings.width, k, groups=(n,))
        self.dropout = Dropout(settings.dropout)
        self.head = MLP((k + 1) ** n, task.n_outputs, hidden=settings.post, depth=2)

    @property
    def component_names(self) -> tuple[str, ...]:
        return ()

    def forward(self, inputs: Inputs) -> Output:
        z = self.project(torch.stack(self.encoders(inputs), -3)).relu()
        features = self.head.features(self.dropout(product(z)))
        return Output(self.head[-1](features), representation=None if self.training else features)


def bounded(k: int, n: int) -> int:
    """The largest number of features up to ``k``, one at least, that keeps a product over n modalities in bounds."""
    while k > 1 and (k + 1) ** n > LARGEST:
        k -= 1
    return k


def product(z: Tensor) -> Tensor:
    """Outer product of [1, z_m] over modalities, the last one fastest: (..., M, B, k) to (..., B, (k + 1)^M)."""
    found, *others = F.pad(z, (1, 0), value=1.0).unbind(-3)
    for x in others:
        found = (found.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)
    return found
