"""DMIL and its published ablations, for two and more modalities.

Yang, Wei, Ni, Xu, Hu: "Information-Theoretic Decomposition for Multimodal Interaction Learning", CVPR 2026,
arXiv 2606.11614. Stages: encoders and level 1; level 2 on a frozen level 1; everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dmil.data import Inputs, Task
from dmil.decomposition import Consistency, GatedHeads, Intra, IntraModality, Synergy, UnimodalHeads, side_by_side
from dmil.encoders import Encoders, Sources
from dmil.losses import task_loss
from dmil.method import Method, Output, Stage
from dmil.settings import Settings, tunable

INTRA, DECOMPOSITION, JOINT = "intra", "decomposition", "joint"


@dataclass(frozen=True)
class DmilSettings(Settings):
    """Weights as in the authors' code where it states them; learning rate and ``variational`` are not published."""

    variational: float = tunable(0.01, low=1e-4, high=1.0, log=True)
    initial_logvar: float = tunable(0.0, low=-10.0, high=0.0, least=-50)
    reconstruction: float = tunable(0.1, low=0.01, high=1.0, log=True)
    reconstruction_joint: float = tunable(0.05, low=0.01, high=1.0, log=True)
    alignment: float = tunable(0.1, low=1e-3, high=10.0, log=True)
    component: float = tunable(0.5, low=0.1, high=1.0)
    component_joint: float = tunable(0.8, low=0.1, high=1.0)
    beta: float = tunable(1.0, low=0.1, high=3.0, log=True)
    gamma: float = tunable(1.0, low=0.1, high=3.0, log=True)
    latent: int = tunable(64, choices=(16, 32, 64, 128), least=1, per_replica=False)
    synergy_depth: int = tunable(0, choices=(0, 1, 2), per_replica=False)
    intra_epochs: int = tunable(10, choices=(5, 10, 20), per_replica=False)
    decomposition_epochs: int = tunable(5, choices=(5, 10), per_replica=False)


class Dmil(Method):
    """The full model: components R, U_1..U_M and S, weighed per sample by a gate."""

    Settings: ClassVar[type[Settings]] = DmilSettings
    variational: ClassVar[bool] = True
    has_intra: ClassVar[bool] = True
    has_consistency: ClassVar[bool] = True
    has_clear_residuals: ClassVar[bool] = False
    settings: DmilSettings

    def __init__(self, settings: DmilSettings, sources: Sources, task: Task) -> None:
        if len(sources) < 2:
            raise ValueError(f"DMIL needs two or more modalities, but got {len(sources)}: {', '.join(sources)}")
        super().__init__(settings, sources, task)
        n, d, k, out = len(sources), settings.width, settings.latent, task.n_outputs
        self.encoders = Encoders(sources, width=d, depth=settings.depth, dropout=settings.dropout)
        variational, logvar = self.variational, settings.initial_logvar
        self.intra: IntraModality | UnimodalHeads
        if self.has_intra:
            starts = (logvar, self._residual_logvar())
            self.intra = IntraModality(n, d, k, out, variational=variational, initial_logvar=starts)
            self.synergy = Synergy(
                n, k, depth=settings.synergy_depth, dropout=settings.dropout, normalise=self.has_clear_residuals
            )
        else:
            self.intra = UnimodalHeads(n, d, out)
        if self.has_consistency:
            width = k if self.has_intra else d
            self.consistency = Consistency(n, width, k, variational=variational, initial_logvar=logvar)
        self.heads = self._gated_heads()
        self.stage = JOINT

    @property
    def component_names(self) -> tuple[str, ...]:
        """R, U_<modality>.., S; without level 2 the predictive parts M_<modality> take the place of R and U."""
        if self.has_consistency:
            single = ("R", *(f"U_{m}" for m in self.modalities))
        else:
            single = tuple(f"M_{m}" for m in self.modalities)
        return (*single, "S") if self.has_intra else single

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        first = min(self.settings.intra_epochs, epochs // 3)
        second = min(self.settings.decomposition_epochs, epochs // 3)
        stages = (
            Stage(INTRA, first, trains=("encoders", "intra")),
            Stage(DECOMPOSITION, second, trains=("synergy", "consistency", "heads")),
            Stage(JOINT, epochs - first - second),
        )
        return tuple(stage for stage in stages if stage.epochs > 0)

    def forward(self, inputs: Inputs) -> Output:
        z = torch.stack(self.encoders(inputs), -3)
        parts = self.intra(z)
        extra = {"unimodal": parts.logits}
        if self.training and self.stage != DECOMPOSITION:
            extra |= self.intra.terms(z, parts)
        if self.stage == INTRA:
            return self._first_output(parts, extra)
        if self.has_consistency:
            r, u, terms = self.consistency(parts.predictive.mean)
            single = [r.unsqueeze(-3), u]
            extra |= terms
        else:
            single = [parts.predictive.sample]
        if parts.residual is not None:
            single.append(self.synergy(parts.residual.sample).unsqueeze(-3))
        components = torch.cat(single, -3)
        logits, component_logits, gate = self.heads(components, self._evidence(parts, components))
        return Output(logits, component_logits, gate, extra, None if self.training else side_by_side(components))

    def _residual_logvar(self) -> float:
        """Where the log variances of N_m start."""
        return self.settings.initial_logvar

    def _gated_heads(self) -> GatedHeads:
        n, k = len(self.component_names), self.settings.latent
        return GatedHeads(n, k, self.task.n_outputs, n_evidence=n * k)

    def _evidence(self, parts: Intra, components: Tensor) -> Tensor:
        """What the gate reads: (..., B, e)."""
        return side_by_side(components)

    def _first_output(self, parts: Intra, extra: dict[str, Tensor]) -> Output:
        """Stage 1: the mean of what each modality says alone."""
        read = None if self.training else side_by_side(parts.predictive.sample)
        return Output(parts.logits.mean(-3), extra=extra, representation=read)

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        """L1, L2 or L3, by stage, of an output in training mode. Reconstruction targets carry gradient."""
        if stage == INTRA:
            return self._intra_loss(output, target, self.settings.reconstruction)
        if stage == DECOMPOSITION:
            return self._decomposition_loss(output, target, self.settings.reconstruction, self.settings.component)
        again = self._decomposition_loss(
            output, target, self.settings.reconstruction_joint, self.settings.component_joint
        )
        first = self._intra_loss(output, target, self.settings.reconstruction_joint)
        return task_loss(self.task, output.logits, target) + self.settings.beta * first + self.settings.gamma * again

    def _intra_loss(self, output: Output, target: Tensor, reconstruction: float) -> Tensor:
        """L1: task(h_m(M_m)) + variational terms, summed over modalities."""
        terms = output.extra
        task = task_loss(self.task, terms["unimodal"], target.unsqueeze(-2)).sum(-1)
        variational = terms["intra_kl"] + reconstruction * terms["intra_reconstruction"]
        return task + self.settings.variational * variational

    def _decomposition_loss(self, output: Output, target: Tensor, reconstruction: float, component: float) -> Tensor:
        """L2: task(y) + weighted component tasks + variational terms + alignment."""
        assert output.components is not None
        terms = output.extra
        loss = task_loss(self.task, output.logits, target)
        loss = loss + component * task_loss(self.task, output.components, target.unsqueeze(-2)).sum(-1)
        if not self.has_consistency:
            return loss
        variational = terms["kl"] + reconstruction * terms["reconstruction"]
        return loss + self.settings.variational * variational + self.settings.alignment * terms["alignment"]


class DmilFc(Dmil):
    """Every variational map a plain linear one, no KL term; alignment is half the mean squared distance."""

    variational = False
    unused = ("initial_logvar",)


class DmilId(Dmil):
    """Level 1 only: components M_1..M_M and S, gated (the paper's form for three modalities)."""

    has_consistency = False
    unused = ("alignment",)


class DmilCd(Dmil):
    """Level 2 only: z_m stands in for M_m; components R, U_1..U_M, gated, no synergy.

    What is left of L1, in stages 1 and 3, is the task loss of a linear head on each z_m.
    """

    has_intra = False
    unused = ("synergy_depth",)
