"""MMML: a deep head on the concatenation and a head for each modality, all losses together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.methods._heads import Multimodal, losses_alone
from dmil.data import Inputs, Task
from dmil.encoders import Sources
from dmil.losses import task_loss
from dmil.method import Output
from dmil.nn import MLP, Dropout, Linear
from dmil.settings import Settings, tunable


@dataclass(frozen=True)
class MmmlSettings(Settings):
    """alone: weight of the unimodal losses; the authors' are 1. They train with AdamW at 5e-6, batches of 8, dropout
    0.3, for 20 epochs at most; ours are those of every method."""

    alone: float = tunable(1.0, low=0.1, high=10.0, log=True)


class Mmml(Multimodal):
    """Wu, Gong, Koo, Hirschberg: "Multimodal Multi-Loss Fusion Network for Sentiment Analysis", NAACL 2024. That
    "MMML" means this method is likely, not certain.

    The ``cc`` form: three hidden layers on [z_1, .., z_M], which predict, and a linear head for each modality, dropout
    before each of them; loss J + alone * sum_m J_m, absolute error in regression. The authors' hidden widths are d, d
    and 512, here d three times. Any number of modalities; any task.

    Left out: the ``cme`` form, in which two token sequences attend to each other in LXMERT-style layers. It needs the
    tokens of both modalities, and an encoder of this suite hands over one vector, as most of its data have no tokens;
    nor does it serve more than two modalities. Also the windows of neighbouring utterances, which would mix samples,
    and the pre-trained text and audio networks: encoders are those of every method. The public code makes a new AdamW
    every epoch, which forgets its moments; here one serves the whole training.

    Beside ``multi_loss`` with a hidden layer in the head, two more of them make the difference. Extra cost: M linear
    heads and three hidden layers of the head; one forward, one backward pass.
    """

    Settings: ClassVar[type[Settings]] = MmmlSettings
    settings: MmmlSettings

    def __init__(self, settings: MmmlSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        n, d, out = len(sources), settings.width, task.n_outputs
        self.dropout = Dropout(settings.dropout)
        self.fused = MLP(n * d, out, hidden=d, depth=3)
        self.heads = Linear(d, out, groups=(n,))

    def forward(self, inputs: Inputs) -> Output:
        z = self.encoders(inputs)
        features = self.fused.features(self.dropout(torch.cat(z, -1)))
        alone = self.heads(self.dropout(torch.stack(z, -3)))
        return Output(self.fused[-1](features), alone, representation=None if self.training else features)

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        assert output.components is not None
        alone = losses_alone(self.task, output.components, target).sum(-1)
        return task_loss(self.task, output.logits, target) + self.settings.alone * alone
