"""LSMI: how much redundant, unique and synergistic information each single sample has. Two modalities, class labels.

Yang, Wang, Hu: "Efficient Quantification of Multimodal Interaction at Sample Level", ICML 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dmil.interactions.knife import Knife
from dmil.interactions.pointwise import Pointwise, pointwise
from dmil.interactions.training import Features, OnEpoch, Schedule, rows, stacked, train_stack
from dmil.nn import MLP


@dataclass(frozen=True)
class LsmiSettings:
    """n_components: None standardises the columns of each modality, and reduces both to the principal components of
    the narrower one where their widths differ; a number reduces both to as many. ``n_kernels``: K of KNIFE."""

    n_components: int | None = None
    hidden: int = 64
    n_kernels: int = 5
    discriminators: Schedule = field(default_factory=lambda: Schedule(epochs=30, batch_size=32, step=15))
    densities: Schedule = field(default_factory=lambda: Schedule(epochs=30, batch_size=32, step=20))


class Discriminators(nn.Module):
    """Classifiers of x1, of x2 and of both side by side: each in -> hidden -> hidden -> C with ReLU."""

    def __init__(self, dims: Sequence[int], n_classes: int, hidden: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(MLP(d, n_classes, hidden=hidden, depth=2) for d in (*dims, sum(dims)))

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """x1 (..., B, d1), x2 (..., B, d2) -> log probabilities (3, ..., B, C)."""
        logits = [net(x) for net, x in zip(self.nets, (x1, x2, torch.cat([x1, x2], -1)), strict=True)]
        return torch.stack(logits).log_softmax(-1)


@dataclass(frozen=True)
class Lsmi:
    """What ``fit_lsmi`` learned, one of each for every seed (leading dimension S)."""

    features: tuple[Features, Features]
    discriminators: Discriminators
    densities: tuple[Knife, Knife]
    log_prior: Tensor

    @torch.no_grad()
    def log_prob(self, x1: Tensor, x2: Tensor) -> Tensor:
        """log p(class) by x1, x2 and both, (3, S, N, C), for x1 (N, d1) or (S, N, d1) and x2 likewise."""
        return self.discriminators(*self._features(x1, x2))

    @torch.no_grad()
    def estimate(self, x1: Tensor, x2: Tensor, y: Tensor) -> Pointwise:
        """Terms of each sample, (S, N) in nats, before and after the mean adjustment over these samples.

        x1 (N, d1), x2 (N, d2), y (N,): held-out samples, or (S, N, ...) with some for each seed.
        """
        z = self._features(x1, x2)
        y = y.expand(z[0].shape[:-1])
        h1, h2 = (density(part) for density, part in zip(self.densities, z, strict=True))
        given = self.discriminators(*z).gather(-1, y.expand(3, *y.shape).unsqueeze(-1)).squeeze(-1)
        i1, i2, i12 = given - self.log_prior.gather(-1, y)
        return pointwise(h1=h1, h2=h2, i1=i1, i2=i2, i12=i12)

    def _features(self, x1: Tensor, x2: Tensor) -> list[Tensor]:
        return [feature(x) for feature, x in zip(self.features, (x1, x2), strict=True)]


def fit_lsmi(
    x1: Tensor,
    x2: Tensor,
    y: Tensor,
    n_classes: int,
    *,
    seeds: Sequence[int] = (0,),
    settings: LsmiSettings | None = None,
    on_epoch: OnEpoch | None = None,
) -> Lsmi:
    """Trains discriminators and densities on x1 (N, d1), x2 (N, d2), y (N,), or on (S, N, ...), some for each seed.

    Estimate on samples that were not trained on: what a discriminator has learned by heart counts as information.

    Raises:
        ValueError: shapes or classes that do not fit, no seed, or more components than features.
    """
    settings = settings or LsmiSettings()
    x1, x2, y = stacked(x1, x2, y, n_classes, len(seeds))
    n = y.shape[1]
    narrow, wide = sorted((x1.shape[-1], x2.shape[-1]))
    n_components = settings.n_components if settings.n_components is not None or narrow == wide else narrow
    if n_components is not None and not 1 <= n_components <= narrow:
        raise ValueError(f"`1 <= n_components <= {narrow}` (the narrower modality) must hold, but got {n_components}")
    features = (Features.of(x1, n_components), Features.of(x2, n_components))
    z1, z2 = features[0](x1), features[1](x2)
    dims = (z1.shape[-1], z2.shape[-1])

    def cross_entropies(nets: Discriminators, index: Tensor) -> Tensor:
        log_prob = nets(rows(z1, index), rows(z2, index))
        target = rows(y, index).expand(3, *index.shape).unsqueeze(-1)
        return -log_prob.gather(-1, target).mean((0, 2, 3)) * 3

    train = partial(train_stack, seeds=seeds, device=x1.device, on_epoch=on_epoch)
    nets = train(
        "lsmi-discriminators",
        lambda: Discriminators(dims, n_classes, settings.hidden),
        cross_entropies,
        n,
        schedule=settings.discriminators,
    )

    def density(z: Tensor) -> Knife:
        def likelihood(knife: Knife, index: Tensor) -> Tensor:
            return knife(rows(z, index)).mean(-1)

        # Both have the same name, so the same start and order: what they err by together leaves h1 - h2 alone.
        return train(
            "lsmi-density", lambda: Knife(z.shape[-1], settings.n_kernels), likelihood, n, schedule=settings.densities
        )

    counts = F.one_hot(y, n_classes).sum(1).to(x1.dtype)
    log_prior = (counts / n).clamp(min=1 / (2 * n)).log()
    return Lsmi(features, nets, (density(z1), density(z2)), log_prior)
