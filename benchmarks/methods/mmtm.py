"""MMTM: what all modalities say together opens and closes the channels of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.methods._heads import Multimodal, losses_alone
from dmil.data import Inputs, Task
from dmil.decomposition import side_by_side
from dmil.encoders import Sources
from dmil.method import Output
from dmil.nn import Linear
from dmil.settings import Settings, tunable


@dataclass(frozen=True)
class MmtmSettings(Settings):
    """ratio: e is 2 / ratio times as wide as all channels together; 4 in the code. branch_losses: 1 for the sum of the
    branches' own losses, on which a co-author's code trains, 0 for the loss of their mean prediction."""

    ratio: int = tunable(4, choices=(2, 4, 8), least=1, per_replica=False)
    branch_losses: int = tunable(0, choices=(0, 1), per_replica=False)


class Mmtm(Multimodal):
    """Joze, Shaban, Iuzzolino, Koishida: "MMTM: Multimodal Transfer Module for CNN Fusion", CVPR 2020.

    Squeeze s = [z_1, .., z_M], e = ReLU(W s) of width 2 M d / ratio; excitation: gates sigmoid(W_m e) multiply the
    channels of z_m. A linear head on each gated z_m; their mean predicts. Gates see every modality, so a branch is no
    unimodal component, and products of two modalities can represent XOR.

    The paper puts modules behind several stages of convolutional networks. The suite's encoders expose no stages, hence
    one module on z_m, of which the average over positions is z_m itself: this is the rule at its last place, not the
    published network. It starts untrained (a co-author's code, for two modalities, starts from unimodal networks and
    alternates two updates a batch, each with a forward pass of its own, with Adam at 1e-4, a tenth of it after epochs 5
    and 20, and weight decay 1e-4). The paper may double the gates, which we did not check; the code does not. Extra
    cost: (M d)^2 parameters at ratio 4 and M heads; one forward, one backward pass.
    """

    Settings: ClassVar[type[Settings]] = MmtmSettings
    settings: MmtmSettings

    def __init__(self, settings: MmtmSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        n, d = len(sources), settings.width
        squeezed = max(1, 2 * n * d // settings.ratio)
        self.squeeze, self.excite = Linear(n * d, squeezed), Linear(squeezed, n * d)
        self.heads = Linear(d, task.n_outputs, groups=(n,))

    @property
    def component_names(self) -> tuple[str, ...]:
        return ()

    def forward(self, inputs: Inputs) -> Output:
        z = torch.stack(self.encoders(inputs), -3)
        gated = z * self.gates(z)
        branches = self.heads(gated)
        read = None if self.training else side_by_side(gated)
        return Output(branches.mean(-3), extra={"branches": branches}, representation=read)

    def gates(self, z: Tensor) -> Tensor:
        """Between 0 and 1, for each channel of z (..., M, B, d)."""
        gates = torch.sigmoid(self.excite(self.squeeze(side_by_side(z)).relu()))
        return gates.unflatten(-1, (z.shape[-3], z.shape[-1])).transpose(-3, -2)

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        if self.settings.branch_losses:
            return losses_alone(self.task, output.extra["branches"], target).sum(-1)
        return super().loss(output, target, stage)
