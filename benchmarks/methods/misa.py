"""MISA: what modalities share and what is each one's own, in subspaces held alike and apart by three losses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, combinations, repeat
from operator import mul
from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmarks.methods._heads import Multimodal
from dmil.data import Inputs, Task
from dmil.encoders import Sources
from dmil.losses import reconstruction_error, task_loss
from dmil.method import Output
from dmil.nn import MLP, LayerNorm, Linear, steps
from dmil.sequences import TransformerLayer
from dmil.settings import Settings, tunable

N_MOMENTS = 5
HEADS = 2
INNER_DROPOUT = 0.1  # in the Transformer layer, as in the authors' code
LEAST_LENGTH = 1e-3  # of a centred code, whose entries are less than one


@dataclass(frozen=True)
class MisaSettings(Settings):
    """Weights of the authors' code, which trains with Adam at 1e-4, dropout 0.5 and gradients clipped to 1 by value;
    MMSA has 0.1, 0.3 and 1 on MOSI. has_target_gradient: whether u_m, which is to be rebuilt, also learns to be easy to
    rebuild, as in theirs. Subspaces are as wide as ``width``, an even number."""

    difference: float = tunable(0.3, low=3e-3, high=3.0, log=True)
    similarity: float = tunable(1.0, low=0.03, high=3.0, log=True)
    reconstruction: float = tunable(1.0, low=0.03, high=3.0, log=True)
    has_target_gradient: bool = tunable(True, choices=(False, True), per_replica=False)


class Misa(Multimodal):
    """Hazarika, Zimmermann, Poria: "MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment
    Analysis", ACM Multimedia 2020.

    u_m = LN(ReLU(A_m z_m)); private codes sigmoid(P_m u_m), shared codes sigmoid(S u_m) with one S for all; R_m
    rebuilds u_m from their sum. The 2 M codes of a sample are the tokens of a Transformer layer of two heads; its
    outputs, normalised and side by side, are read by an MLP. Loss: task + 0.3 difference (which grows with the square
    of batch size over width) + similarity (central moment discrepancy) + reconstruction.

    It can represent XOR, but where modalities say nothing alone the three losses are least when codes no longer depend
    on the sample, and at the authors' settings they get there first. XOR was learned with a fixed target of the
    reconstruction and small weights, all of which a search may choose.

    Attention is among the codes of one sample; with samples where torch's layer expects tokens, the batch is mixed. The
    norm of equal moments has gradient zero here; the square root of public code has none. Codes that are equal but for
    1e-3 have no direction here; public code divides what is left of them, in the end rounding errors, by their length,
    and two trainings that differ by rounding come apart in a few steps. Ours: the suite's task loss, where theirs for a
    regression is the squared error; a layer that normalises before each part and at the end, not after each, of inner
    width 2 d and not 2,048; a hidden layer of M d. Their discriminator of shared and private codes is in no loss and
    left out. Extra cost: about (2 M^2 + 3 M + 9) d^2 parameters; one forward, one backward pass.
    """

    Settings: ClassVar[type[Settings]] = MisaSettings
    settings: MisaSettings

    def __init__(self, settings: MisaSettings, sources: Sources, task: Task) -> None:
        if settings.width % HEADS:
            raise ValueError(f"`width` must be a multiple of {HEADS}, the heads of misa, but got {settings.width}")
        super().__init__(settings, sources, task)
        n, d = len(sources), settings.width
        self.project = Linear(d, d, groups=(n,))
        self.norms = nn.ModuleList(LayerNorm(d) for _ in sources)
        self.private, self.rebuild = Linear(d, d, groups=(n,)), Linear(d, d, groups=(n,))
        self.shared = Linear(d, d)
        self.layer, self.norm = TransformerLayer(d, HEADS, min(settings.dropout, INNER_DROPOUT)), LayerNorm(d)
        self.head = MLP(2 * n * d, task.n_outputs, hidden=n * d, depth=1, dropout=settings.dropout)

    @property
    def component_names(self) -> tuple[str, ...]:
        return ()

    def forward(self, inputs: Inputs) -> Output:
        u = self.project(torch.stack(self.encoders(inputs), -3)).relu()
        u = torch.stack([norm(x) for norm, x in zip(self.norms, u.unbind(-3), strict=True)], -3)
        private, shared = self.private(u).sigmoid(), steps(self.shared, u).sigmoid()
        tokens = torch.cat([private, shared], -3).transpose(-3, -2)
        mixed = self.layer(tokens, torch.ones_like(tokens[..., 0], dtype=torch.bool))
        features = self.head.features(self.norm(mixed).flatten(-2))
        if not self.training:
            return Output(self.head[-1](features), representation=features)
        extra = {"difference": difference(private, shared), "similarity": similarity(shared)}
        original = u if self.settings.has_target_gradient else u.detach()
        extra["reconstruction"] = reconstruction_error(self.rebuild(private + shared), original).mean(-1)
        return Output(self.head[-1](features), extra=extra)

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        terms, own = output.extra, self.settings
        loss = task_loss(self.task, output.logits, target) + own.difference * terms["difference"]
        return loss + own.similarity * terms["similarity"] + own.reconstruction * terms["reconstruction"]


def difference(private: Tensor, shared: Tensor) -> Tensor:
    """How much codes (..., M, B, d) overlap, (...): each private one with its shared one and with the other private
    ones, summed; of two codes, centred over the batch and of length one by sample, the mean square of X^T Y."""
    own, common = (_directions(codes) for codes in (private, shared))
    n, d = own.shape[-2:]
    if n < d:  # The squares of X^T Y sum up to the product of X X^T and Y Y^T, which are smaller then.
        own, common = (x @ x.transpose(-2, -1) for x in (own, common))
    pairs = [*zip(own.unbind(-3), common.unbind(-3), strict=True), *combinations(own.unbind(-3), 2)]
    products = (x * y if n < d else (x.transpose(-2, -1) @ y).square() for x, y in pairs)
    return _stacked(product.sum((-2, -1)) for product in products).sum(-1) / d**2


def similarity(shared: Tensor) -> Tensor:
    """Central moment discrepancy (Zellinger et al., ICLR 2017) of codes (..., M, B, d), mean over pairs: (...)."""
    mean = shared.mean(-2, keepdim=True)
    _, *powers = accumulate(repeat(shared - mean, N_MOMENTS), mul)
    moments = torch.stack([mean.squeeze(-2), *(power.mean(-2) for power in powers)], -2)
    # The gradient of torch's norm is zero at zero; that of a square root of a sum of squares is not a number.
    return _stacked((x - y).norm(dim=-1).sum(-1) for x, y in combinations(moments.unbind(-3), 2)).mean(-1)


def _directions(codes: Tensor) -> Tensor:
    centred = codes - codes.mean(-2, keepdim=True)
    length = centred.detach().norm(dim=-1, keepdim=True)
    return centred * ((length > LEAST_LENGTH) / (length + 1e-6))


def _stacked(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms), -1)
