"""QMF: late fusion weighed by each modality's energy, which is ranked against how hard a sample was so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.methods._heads import Multimodal
from dmil.data import Inputs, Split, Task
from dmil.encoders import Sources
from dmil.losses import sample_loss, task_loss
from dmil.method import Output
from dmil.nn import Linear
from dmil.settings import Settings, tunable

TEMPERATURE = 10.0


@dataclass(frozen=True)
class QmfSettings(Settings):
    """ranking: 1 in the authors' text-image code (Adam at 5e-5), 0.1 in their RGB-D code (at 1e-4).
    has_weight_gradient: whether the loss of the fused prediction reaches the confidences, as in the latter. has_margin:
    whether the difference of two histories is required of the confidences, as the text reads, or allowed to them, as in
    both codes."""

    ranking: float = tunable(1.0, low=0.01, high=10.0, log=True)
    has_weight_gradient: bool = tunable(False, choices=(False, True), per_replica=False)
    has_margin: bool = tunable(False, choices=(False, True), per_replica=False)


class Qmf(Multimodal):
    """Zhang, Wu, Zhang, Hu, Fu, Zhou, Peng: "Provable Dynamic Fusion for Low-Quality Multimodal Data", ICML 2023.

    A linear head for each modality gives l_m, its energy the confidence c_m = logsumexp(l_m) / 10, and
    l = sum_m c_m l_m predicts; weights need not be positive nor sum to one. Loss J + sum_m J_m + ranking sum_m R_m.
    The history h_m[i] adds up the cross-entropy of sample i at every visit, this one included, and is scaled to 0..1
    over the training split. Samples i and j that follow each other in the batch, the last and the first too, add
    max(0, sign(h_i - h_j) (c_i - c_j) - |h_i - h_j|) to R_m, a mean: who was harder should not be surer. In both public
    codes the difference thus works as slack. Where samples share objects, neighbours mostly see the same one, whose
    confidence has nothing to be ranked against: there i and j are half a batch apart.

    Where all histories are equal the code divides zero by zero; here R_m is then zero. A sum of functions of one
    modality each: it cannot represent XOR. A regression has no energy. Extra cost: M heads in place of one and a buffer
    of N M numbers while it trains; one forward, one backward pass.
    """

    Settings: ClassVar[type[Settings]] = QmfSettings
    settings: QmfSettings
    history: Tensor
    has_shared = False

    def __init__(self, settings: QmfSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        self.heads = Linear(settings.width, task.n_outputs, groups=(len(sources),))
        self.register_buffer("history", torch.zeros(0, len(sources)), persistent=False)

    @classmethod
    def unfit(cls, sources: Sources, task: Task) -> str | None:
        if task.kind == "regression":
            return "qmf needs classes, but the task is a regression"
        return super().unfit(sources, task)

    def prepare(self, split: Split) -> None:
        self.history = torch.zeros(len(split), len(self.modalities))
        self.has_shared = bool(split.rows)

    def forward(self, inputs: Inputs) -> Output:
        z = self.encoders(inputs)
        alone = self.heads(torch.stack(z, -3))
        confidence = alone.logsumexp(-1) / TEMPERATURE
        weight = confidence if self.settings.has_weight_gradient else confidence.detach()
        logits = (weight.unsqueeze(-1) * alone).sum(-3)
        return Output(logits, alone, extra={"confidence": confidence}, representation=self._read(z))

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        assert output.components is not None
        losses = sample_loss(self.task, output.components, target.unsqueeze(-2))
        loss = task_loss(self.task, output.logits, target) + losses.mean(-1).sum(-1)
        if self.samples is None:
            return loss
        hardness = self._visit(losses.detach())
        apart = target.shape[-1] // 2 if self.has_shared else 1
        ranks = ranking_loss(output.extra["confidence"], hardness, has_margin=self.settings.has_margin, apart=apart)
        return loss + self.settings.ranking * ranks.sum(-1)

    def _read(self, z: list[Tensor]) -> Tensor | None:
        return None if self.training else torch.cat(z, -1)

    @torch.no_grad()
    def _visit(self, losses: Tensor) -> Tensor:
        """Adds a batch's losses (..., M, B) to the history; what that is now, scaled: (..., M, B)."""
        assert self.samples is not None
        losses = losses.transpose(-1, -2).to(self.history)
        rows = self.samples.unsqueeze(-1).expand(losses.shape)
        self.history.scatter_add_(-2, rows, losses)
        least, most = self.history.aminmax(dim=-2, keepdim=True)
        found = (self.history.gather(-2, rows) - least) / torch.where(most > least, most - least, 1.0)
        return found.transpose(-1, -2)


def ranking_loss(confidence: Tensor, hardness: Tensor, *, has_margin: bool, apart: int = 1) -> Tensor:
    """R of confidences and scaled histories (..., B): (...). apart: how far two samples of a pair stand."""
    gap = hardness - hardness.roll(-apart, -1)
    margin = gap.abs() if has_margin else -gap.abs()
    return (gap.sign() * (confidence - confidence.roll(-apart, -1)) + margin).clamp(min=0).mean(-1)
