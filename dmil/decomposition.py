"""The parts of DMIL: what one modality says alone, what modalities share, what only their combination says.

Yang, Wei, Ni, Xu, Hu: "Information-Theoretic Decomposition for Multimodal Interaction Learning", CVPR 2026.
The maps of all M modalities are grouped into one product: their tensors are (..., M, B, d).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dmil.bottleneck import Gaussian, GaussianMap
from dmil.losses import reconstruction_error
from dmil.nn import MLP, Linear


def side_by_side(x: Tensor) -> Tensor:
    """(..., M, B, d) to (..., B, M d): the modalities' features next to each other."""
    return x.transpose(-3, -2).flatten(-2)


class Decoder(nn.Module):
    """Two parts of width k side by side to what they came from: linear 2k -> k/2, ReLU, linear -> n_out."""

    def __init__(self, latent: int, n_out: int, *, groups: tuple[int, ...]) -> None:
        super().__init__()
        self.hidden = Linear(2 * latent, max(latent // 2, 1), groups=groups)
        self.out = Linear(max(latent // 2, 1), n_out, groups=groups)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.out(self.hidden(torch.cat([first, second], -1)).relu())


@dataclass
class Intra:
    """Level 1 of a batch. predictive: M_m; residual: N_m (absent in ``dmil_cd``); logits: (..., M, B, C)."""

    predictive: Gaussian
    residual: Gaussian | None
    logits: Tensor


class IntraModality(nn.Module):
    """Level 1: z_m splits into M_m, what the modality predicts by itself, and N_m, kept to build synergy.

    gaussian: ``variational`` and ``initial_logvar`` of its Gaussian maps.
    """

    def __init__(self, n_modalities: int, width: int, latent: int, n_outputs: int, **gaussian: Any) -> None:
        super().__init__()
        groups = (n_modalities,)
        self.bottleneck = GaussianMap(width, latent, n_parts=2, groups=groups, **gaussian)
        self.decoder = Decoder(latent, width, groups=groups)
        self.head = Linear(latent, n_outputs, groups=groups)

    def forward(self, z: Tensor) -> Intra:
        predictive, residual = self.bottleneck(z)
        return Intra(predictive, residual, self.head(predictive.sample))

    def terms(self, z: Tensor, parts: Intra) -> dict[str, Tensor]:
        """Compactness and reconstruction, each summed over modalities: (...)."""
        assert parts.residual is not None
        compactness = parts.predictive.kl_to_standard() + parts.residual.kl_to_standard()
        rebuilt = self.decoder(parts.predictive.sample, parts.residual.sample)
        return {"intra_kl": compactness.sum(-1), "intra_reconstruction": reconstruction_error(rebuilt, z).sum(-1)}


class UnimodalHeads(nn.Module):
    """Level 1 of ``dmil_cd``: z_m stands in for M_m, nothing is split off."""

    def __init__(self, n_modalities: int, width: int, n_outputs: int) -> None:
        super().__init__()
        self.head = Linear(width, n_outputs, groups=(n_modalities,))

    def forward(self, z: Tensor) -> Intra:
        return Intra(Gaussian(z, None, z), None, self.head(z))

    def terms(self, z: Tensor, parts: Intra) -> dict[str, Tensor]:
        zero = z.new_zeros(z.shape[:-3])
        return {"intra_kl": zero, "intra_reconstruction": zero}


class Consistency(nn.Module):
    """Level 2: the means of M_m split into R, which every modality alone already says, and U_m, which one says.

    gaussian: ``variational`` and ``initial_logvar`` of its Gaussian maps.
    """

    def __init__(self, n_modalities: int, width: int, latent: int, **gaussian: Any) -> None:
        super().__init__()
        groups = (n_modalities,)
        self.shared = GaussianMap(n_modalities * width, latent, **gaussian)
        self.alone = GaussianMap(width, latent, n_parts=2, groups=groups, **gaussian)
        self.decoder = Decoder(latent, width, groups=groups)

    def forward(self, means: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """means (..., M, B, d) to R (..., B, d), U (..., M, B, d) and, while training, the loss terms (...)."""
        (redundant,) = self.shared(side_by_side(means))
        posterior, unique = self.alone(means)
        r, u = redundant.sample, unique.sample
        if not self.training:
            return r, u, {}
        rebuilt = self.decoder(r.unsqueeze(-3).expand_as(u), u)
        terms = {
            "alignment": redundant.unsqueeze(-3).kl_to(posterior).sum(-1),
            "kl": redundant.kl_to_standard() + unique.kl_to_standard().sum(-1),
            "reconstruction": reconstruction_error(rebuilt, means).sum(-1),
        }
        return r, u, terms


class Synergy(nn.Module):
    """S from all residuals N_m and all their pairwise products; the product makes XOR linearly separable.

    normalise: each residual is first brought to mean zero and variance one over its features, so that products of
    small residuals are not smaller still.
    """

    def __init__(self, n_modalities: int, width: int, *, depth: int, dropout: float, normalise: bool = False) -> None:
        super().__init__()
        self.normalise = normalise
        self.pairs = list(combinations(range(n_modalities), 2))
        n_parts = n_modalities + len(self.pairs)
        self.fusion = MLP(n_parts * width, width, hidden=width, depth=depth, dropout=dropout)

    def forward(self, residuals: Tensor) -> Tensor:
        """(..., M, B, d) to (..., B, d)."""
        if self.normalise:
            residuals = F.layer_norm(residuals, residuals.shape[-1:])
        parts: Sequence[Tensor] = residuals.unbind(-3)
        products = [parts[i] * parts[j] for i, j in self.pairs]
        return self.fusion(torch.cat([*parts, *products], -1))


class GatedHeads(nn.Module):
    """One linear head per component and a gate over them: y = sum_c g_c y_c, g = softmax(MLP(evidence)).

    n_evidence, gate_depth: width of what the gate reads, and its hidden layers.
    """

    def __init__(self, n_components: int, width: int, n_outputs: int, *, n_evidence: int, gate_depth: int = 1) -> None:
        super().__init__()
        self.head = Linear(width, n_outputs, groups=(n_components,))
        self.gate = MLP(n_evidence, n_components, hidden=width, depth=gate_depth)

    def forward(self, components: Tensor, evidence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Components (..., K, B, d) and evidence (..., B, e) to prediction (..., B, C), component logits
        (..., K, B, C) and gate (..., B, K)."""
        logits = self.head(components)
        gate = self.gate(evidence).softmax(-1)
        weighted = logits * gate.transpose(-1, -2).unsqueeze(-1)
        return weighted.sum(-3), logits, gate

    def last(self, component: Tensor) -> Tensor:
        """Logits (..., B, C) of the last component (..., B, d) alone."""
        return component @ self.head.weight[..., -1, :, :] + self.head.bias[..., -1, None, :]
