"""DMIL whose gate learns the composition: ``dmil_pid`` and its ablations. This suite's, not the paper's.

The theorem of Yang et al. (CVPR 2026), I(Z;Y) >= E_c[I(Z;Y|c)] - H(C|Z) + I(Y;C), asks for a representation that does
well under every composition c and that lets one read c. Nothing in the published losses lowers H(C|Z): the gate
follows the task loss alone, and settles on one component. What is different here, and why, with what was tried:
docs/dmil-notes.md.

1. Composition loss: the composition of a training sample is the largest part of the pointwise information that the
   model's own heads assign to its label, and the cross-entropy of the gate to it bounds H(C|Z) from above.
2. Specialists: half of a component's task loss counts only samples of its own composition, for E_c[I(Z;Y|c)].
3. The gate is linear in [M_1..M_M, N_1..N_M], where composition is easy to read: it can't follow single odd samples.
4. S learns from the first stage on, from what no modality says alone; encoders that first learn what single
   modalities say have nothing left to build synergy from.
5. Residuals N_m start nearly without noise and are normalised before they are multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from dmil.data import Split, Task
from dmil.decomposition import GatedHeads, Intra, side_by_side
from dmil.encoders import Sources
from dmil.losses import sample_loss
from dmil.method import Output, Stage
from dmil.model import INTRA, Dmil, DmilSettings
from dmil.settings import Settings, tunable

LEAST_GATE = 1e-8


@dataclass(frozen=True)
class DmilPidSettings(DmilSettings):
    """composition: weight of the gate's cross-entropy. specialise: share of a component's task loss that counts only
    samples of its own composition. residual_logvar: ``initial_logvar`` of N_m."""

    composition: float = tunable(1.0, low=0.1, high=10.0, log=True)
    specialise: float = tunable(0.5, low=0.0, high=1.0)
    residual_logvar: float = tunable(-8.0, low=-10.0, high=0.0, least=-50)


class DmilPid(Dmil):
    """Gate supervised by pointwise partial information, synergy learned from the first stage on."""

    Settings: ClassVar[type[Settings]] = DmilPidSettings
    has_composition_loss: ClassVar[bool] = True
    has_specialists: ClassVar[bool] = True
    has_linear_gate: ClassVar[bool] = True
    has_early_synergy: ClassVar[bool] = True
    has_clear_residuals: ClassVar[bool] = True
    settings: DmilPidSettings
    reference: Tensor

    def __init__(self, settings: DmilPidSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        self.register_buffer("reference", torch.zeros(max(task.n_outputs, 2)))

    def prepare(self, split: Split) -> None:
        """Keeps what is known of the target without inputs, see ``log_likelihood``."""
        if self.task.kind == "regression":
            median = split.target.median()
            scale = (split.target - median).abs().mean().clamp(min=1e-12)
            self.reference.copy_(torch.stack([median, scale]))
        else:
            counts = torch.bincount(split.target, minlength=self.task.n_classes).to(self.reference) + 1
            self.reference.copy_((counts / counts.sum()).log())

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        stages = super().stages(epochs)
        if not self.has_early_synergy:
            return stages
        early = ("encoders", "intra", "synergy", "heads")
        return tuple(replace(stage, trains=early) if stage.name == INTRA else stage for stage in stages)

    def log_likelihood(self, logits: Tensor, target: Tensor) -> Tensor:
        """log p(y | logits) in nats: (..., B, C) and (..., B) to (..., B).

        Regression: of a Laplace distribution around the prediction, up to a constant, its scale the mean absolute
        deviation of the training targets from their median.
        """
        loss = sample_loss(self.task, logits, target)
        if self.task.kind == "classification":
            return -loss
        lead = self.reference.shape[:-1]
        return -loss / self.reference[..., 1].reshape(*lead, *(1,) * (loss.dim() - len(lead)))

    def _prior(self, target: Tensor) -> Tensor:
        """log p(y) in nats by the training frequencies, or around the median: (..., B)."""
        if self.task.kind == "regression":
            median, scale = self.reference.unsqueeze(-2).unbind(-1)
            return -(target - median).abs() / scale
        return self.reference.expand(*target.shape[:-1], -1).gather(-1, target)

    def composition(self, output: Output, target: Tensor) -> tuple[Tensor, Tensor]:
        """Component that explains most of each training sample (..., B), and whether any explains something (..., B).

        With i_m = log p(y|x_m) - log p(y) of the unimodal heads, cut off at zero, and i of the head of S: R holds what
        two modalities say or more, the second largest i_m; U_m what one says beyond, i_m - R; S what
        the combination says beyond the best of them, i - max i_m. For two modalities this is the pointwise
        decomposition with the minimum as redundancy.
        """
        assert output.components is not None
        prior = self._prior(target)
        alone = self.log_likelihood(output.extra["unimodal"], target.unsqueeze(-2)) - prior.unsqueeze(-2)
        together = self.log_likelihood(output.components[..., -1, :, :], target) - prior
        alone = alone.clamp(min=0)
        best, shared = alone.topk(2, -2).values.unbind(-2)
        unique = (alone - shared.unsqueeze(-2)).clamp(min=0)
        synergy = (together - best).clamp(min=0)
        most = torch.cat([shared.unsqueeze(-2), unique, synergy.unsqueeze(-2)], -2).max(-2)
        return most.indices, most.values > 0

    def _residual_logvar(self) -> float:
        return self.settings.residual_logvar if self.has_clear_residuals else self.settings.initial_logvar

    def _gated_heads(self) -> GatedHeads:
        if not self.has_linear_gate:
            return super()._gated_heads()
        n, k = len(self.component_names), self.settings.latent
        return GatedHeads(n, k, self.task.n_outputs, n_evidence=2 * len(self.modalities) * k, gate_depth=0)

    def _evidence(self, parts: Intra, components: Tensor) -> Tensor:
        if not self.has_linear_gate:
            return super()._evidence(parts, components)
        assert parts.residual is not None
        return side_by_side(torch.cat([parts.predictive.mean, parts.residual.mean], -3))

    def _first_output(self, parts: Intra, extra: dict[str, Tensor]) -> Output:
        if self.training and self.has_early_synergy:
            assert parts.residual is not None
            extra = extra | {"synergy": self.heads.last(self.synergy(parts.residual.sample))}
        return super()._first_output(parts, extra)

    def _intra_loss(self, output: Output, target: Tensor, reconstruction: float) -> Tensor:
        """L1, and in stage 1 the task of S: a sample counts by the share that its best modality leaves open."""
        loss = super()._intra_loss(output, target, reconstruction)
        if "synergy" not in output.extra:
            return loss
        known = self.log_likelihood(output.extra["unimodal"].detach(), target.unsqueeze(-2)).exp().amax(-2)
        weight = (1 - known) / (1 - known).sum(-1, keepdim=True).clamp(min=LEAST_GATE)
        return loss - (weight * self.log_likelihood(output.extra["synergy"], target)).sum(-1)

    def _decomposition_loss(self, output: Output, target: Tensor, reconstruction: float, component: float) -> Tensor:
        """L2; the bound on H(C|Z), cross-entropy of the gate to the composition; and E_c[I(Z;Y|c)], which lets a
        component learn more from samples of its own composition. Both where something is known of a sample."""
        loss = super()._decomposition_loss(output, target, reconstruction, component)
        assert output.gate is not None
        assert output.components is not None
        with torch.no_grad():
            index, is_known = self.composition(output, target)
        if self.has_composition_loss:
            read = output.gate.gather(-1, index.unsqueeze(-1)).squeeze(-1).clamp(min=LEAST_GATE)
            loss = loss - self.settings.composition * (is_known * read.log()).mean(-1)
        if self.has_specialists:
            each = sample_loss(self.task, output.components, target.unsqueeze(-2))
            own = each.gather(-2, index.unsqueeze(-2)).squeeze(-2)
            shift = (is_known * (each.shape[-2] * own - each.sum(-2))).mean(-1)
            loss = loss + component * self.settings.specialise * shift
        return loss


class DmilPidFree(DmilPid):
    """Without the composition loss: the gate follows the task alone."""

    has_composition_loss = False
    unused = ("composition",)


class DmilPidEven(DmilPid):
    """Every component learns from every sample alike."""

    has_specialists = False
    unused = ("specialise",)


class DmilPidMlpGate(DmilPid):
    """The paper's gate: an MLP of the components R, U and S."""

    has_linear_gate = False


class DmilPidLate(DmilPid):
    """The paper's schedule: S learns from the second stage on."""

    has_early_synergy = False


class DmilPidNoisy(DmilPid):
    """The paper's residuals: noise from the start, products not normalised."""

    has_clear_residuals = False
    unused = ("residual_logvar",)
