"""LMF: tensor fusion with weights of low rank, so that the tensor itself is never built."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import ClassVar

import torch
from torch import nn

from benchmarks.methods._heads import Multimodal
from dmil.data import Inputs, Task
from dmil.encoders import Sources
from dmil.method import Output
from dmil.nn import Linear
from dmil.settings import Settings, tunable


@dataclass(frozen=True)
class LmfSettings(Settings):
    """rank: 4 in MMSA; the authors search 1 to 16, MultiBench has 40. Public code decays weights by 5e-3."""

    rank: int = tunable(4, choices=(1, 4, 8, 16, 40), least=1, per_replica=False)


class Lmf(Multimodal):
    """Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency: "Efficient Low-rank Multimodal Fusion with
    Modality-Specific Factors", ACL 2018; MultiBench calls it LRTF.

    o = sum_r w_r prod_m [1, z_m] F_m^(r) + b (eq. 8; w_r and b are the code's): a linear map of TFN's outer product
    whose weights have rank R (eq. 4). The row of F for the constant 1 is the bias of a linear layer here. Products of
    two modalities represent XOR.

    In MultiBench's module the factors stand in a plain list, where no optimiser finds them; the authors' script for
    IEMOCAP hands the factors to its optimiser, but neither w nor b. Here all are parameters, and trained. Each matrix F
    and w start by Xavier's rule; torch's function on the stack of all F, as in the authors' code, takes classes for
    positions and starts many classes near zero. Extra cost: R M (d + 1) C + R + C parameters, which replace the head;
    one forward, one backward pass.
    """

    Settings: ClassVar[type[Settings]] = LmfSettings
    settings: LmfSettings

    def __init__(self, settings: LmfSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        d, c, r = settings.width, task.n_outputs, settings.rank
        self.factors = Linear(d, r * c, groups=(len(sources),))
        for factor in self.factors.parameters():
            nn.init.normal_(factor, std=(2 / (d + 1 + c)) ** 0.5)
        self.weights = nn.Parameter(torch.empty(r).normal_(std=(2 / (r + 1)) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(c))

    @property
    def component_names(self) -> tuple[str, ...]:
        return ()

    def forward(self, inputs: Inputs) -> Output:
        each = self.factors(torch.stack(self.encoders(inputs), -3))
        # (..., B, R, C): the ranks of every modality, multiplied.
        fused = reduce(mul, each.unbind(-3)).unflatten(-1, (self.settings.rank, -1))
        logits = (fused * self.weights[..., None, :, None]).sum(-2) + self.bias.unsqueeze(-2)
        return Output(logits, representation=None if self.training else fused.flatten(-2))
