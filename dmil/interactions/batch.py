"""The batch estimator of the BROJA decomposition, from samples: Liang et al., "Quantifying & Modeling Multimodal
Interactions: An Information Decomposition Framework", NeurIPS 2023.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dmil.interactions.atoms import Decomposition
from dmil.interactions.training import Features, OnEpoch, Schedule, rows, stacked, train_stack
from dmil.nn import MLP

MAX_SCALINGS = 500
MARGIN_ERROR = 0.01
TINY = 1e-30


@dataclass(frozen=True)
class BatchSettings:
    """Networks have ``depth`` hidden layers of ``hidden``; a class of a sample is embedded in ``embedding`` numbers."""

    hidden: int = 32
    depth: int = 4
    embedding: int = 10
    classifiers: Schedule = field(default_factory=lambda: Schedule(epochs=40, batch_size=256))
    coupling: Schedule = field(default_factory=lambda: Schedule(epochs=10, batch_size=256, drop_last=True))


class Classifier(nn.Module):
    """log p(class | x): (..., B, d) -> (..., B, C)."""

    def __init__(self, dim: int, n_classes: int, settings: BatchSettings) -> None:
        super().__init__()
        self.net = MLP(dim, n_classes, hidden=settings.hidden, depth=settings.depth)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).log_softmax(-1)


class Coupling(nn.Module):
    """q(x1, x2 | y) on a batch, by the similarity of learned embeddings, with the margins of the classifiers."""

    def __init__(self, dims: tuple[int, int], n_classes: int, settings: BatchSettings) -> None:
        super().__init__()
        out = n_classes * settings.embedding
        self.nets = nn.ModuleList(MLP(d, out, hidden=settings.hidden, depth=settings.depth) for d in dims)
        self.n_classes = n_classes

    def forward(self, x1: Tensor, x2: Tensor, p1: Tensor, p2: Tensor) -> Tensor:
        """log A, the unnormalised q of every pair and class, (..., C, B, B), of x1 (..., B, d1), x2 (..., B, d2) and
        p_m = log p(y | x_m) (..., B, C)."""
        e1, e2 = (self._embed(net(x)) for net, x in zip(self.nets, (x1, x2), strict=True))
        similarity = e1 @ e2.mT / math.sqrt(e1.shape[-1])
        u, v = sinkhorn(similarity.exp(), p1.mT.exp(), p2.mT.exp())
        return similarity + u.log().unsqueeze(-1) + v.log().unsqueeze(-2)

    def _embed(self, out: Tensor) -> Tensor:
        """(..., B, C * E) -> (..., C, B, E), mean 0 and deviation 1 over the E numbers."""
        parts = out.unflatten(-1, (self.n_classes, -1)).transpose(-2, -3)
        std, mean = torch.std_mean(parts, -1, keepdim=True)
        return (parts - mean) / (std + 1e-8)


def sinkhorn(kernel: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """u and v so that diag(u) kernel diag(v) has these totals: kernel (..., C, B, B), the others (..., C, B), positive.

    Rows come last. It stops where no column total is off by more than ``MARGIN_ERROR``, or all of one class by the
    same factor: then the totals of rows and columns disagree, and more steps change nothing but that factor. Each
    leading entry stops for itself. The gradient flows through all steps.
    """
    u, v = torch.ones_like(rows), torch.ones_like(columns)
    is_moving = torch.ones(rows.shape[:-2], dtype=torch.bool, device=rows.device)[..., None, None]
    rows, columns = rows.clamp(min=TINY), columns.clamp(min=TINY)
    for _ in range(MAX_SCALINGS):
        v = torch.where(is_moving, columns / (kernel.mT @ u.unsqueeze(-1)).squeeze(-1), v)
        u = torch.where(is_moving, rows / (kernel @ v.unsqueeze(-1)).squeeze(-1), u)
        with torch.no_grad():
            there = v * (kernel.mT @ u.unsqueeze(-1)).squeeze(-1)
            factor = there / columns
            is_off = (there - columns).abs().amax((-2, -1), keepdim=True) > MARGIN_ERROR
            is_uneven = (factor.amax(-1, keepdim=True) / factor.amin(-1, keepdim=True)).amax(-2, keepdim=True) > 1.001
            is_moving = is_moving & is_off & is_uneven
            if not is_moving.any():
                break
    return u, v


def conditional_information(log_a: Tensor, p1: Tensor) -> Tensor:
    """I_q(X2;Y|X1) of a coupling in nats: log A (..., C, B, B), p1 = log p(y | x1) (..., B, C) -> (...).

    mean_i sum_jy p(y | x1_i) q(j | i, y) log [ q(j | i, y) / sum_y' q(j | i, y') p(y' | x1_i) ].
    """
    log_q = log_a.log_softmax(-1)
    log_joint = log_q + p1.mT.unsqueeze(-1)  # of y and j given i
    mixture = log_joint.logsumexp(-3, keepdim=True)
    return (log_joint.exp() * (log_q - mixture)).sum((-3, -1)).mean(-1)


def solve_coupling(p1: Tensor, p2: Tensor, n_steps: int) -> Tensor:
    """The smallest I_q(X2;Y|X1) in nats of couplings of a batch: p_m = log p(y | x_m) (..., B, C) -> (...).

    Mirror descent on -H_q(Y|X1,X2), convex and smooth with constant one relative to the negative entropy, so that
    every step of length one lowers it (Bauschke, Bolte, Teboulle, Math. Oper. Res. 2017). Such a step is
    q_y <- diag(u_y) q(x1, x2) diag(v_y), u and v restoring the margins; 100 steps come within 0.003 nat of the limit.
    Columns are scaled to the totals of the rows, so that both can be met. Needs B x B numbers, not C x B x B.
    """
    rows, columns = p1.mT.exp().clamp(min=TINY), p2.mT.exp().clamp(min=TINY)
    columns = columns * (rows.sum(-1, keepdim=True) / columns.sum(-1, keepdim=True))
    joint = torch.ones_like(rows.mT @ columns) / rows.shape[-1]
    u, v = torch.ones_like(rows), torch.ones_like(columns)
    for step in range(n_steps):
        joint = joint * (u.mT @ v) if step else joint
        for _ in range(2):
            v = columns / (u @ joint)
            u = rows / (v @ joint.mT)
    mixture = u.mT @ v  # q(y | x1, x2) is u_y v_y / mixture
    cells = (joint * mixture * mixture.clamp(min=TINY).log()).sum((-2, -1))
    value = torch.xlogy(rows, u).sum((-2, -1)) + torch.xlogy(columns, v).sum((-2, -1)) - cells
    return (value - (rows * p1.mT).sum((-2, -1))) / rows.shape[-1]


@dataclass(frozen=True)
class Batch:
    """What ``fit_batch`` learned, one of each for every seed."""

    features: tuple[Features, Features]
    classifiers: tuple[Classifier, Classifier, Classifier]
    coupling: Coupling
    log_prior: Tensor
    batch_size: int

    @torch.no_grad()
    def estimate(
        self, x1: Tensor, x2: Tensor, *, batch_size: int | None = None, n_steps: int = 0
    ) -> list[Decomposition]:
        """The decomposition on held-out samples x1 (N, d1), x2 (N, d2), or (S, N, ...): one for each seed, raw.

        Mean over batches in the order of the samples, an incomplete last one left out. batch_size: that of training,
        or another; in a larger batch q has more support. n_steps: 0 takes the learned coupling, the published
        estimator; otherwise the best coupling of each batch is computed by as many steps of ``solve_coupling``.

        Raises:
            ValueError: fewer samples than a batch.
        """
        z1, z2 = (feature(x) for feature, x in zip(self.features, (x1, x2), strict=True))
        size = batch_size or self.batch_size
        n = z1.shape[-2] // size * size
        if not n:
            raise ValueError(f"{z1.shape[-2]} samples are fewer than one batch of {size}")
        both = torch.cat([z1, z2], -1)[..., :n, :]
        p1, p2, p12 = (net(x[..., :n, :]) for net, x in zip(self.classifiers, (z1, z2, both), strict=True))
        first, second, total = (self._information(p) for p in (p1, p2, p12))
        unique2 = []
        for part in torch.arange(n, device=z1.device).split(size):
            z, p = [each[..., part, :] for each in (z1, z2)], [each[..., part, :] for each in (p1, p2)]
            found = (
                solve_coupling(p[0], p[1], n_steps) if n_steps else conditional_information(self.coupling(*z, *p), p[0])
            )
            unique2.append(found)
        union = torch.stack(unique2).mean(0) + first
        terms = (first + second - union, union - second, union - first, total - union, total)
        return [Decomposition(*values) for values in torch.stack(terms).double().T.tolist()]

    def _information(self, p: Tensor) -> Tensor:
        """Mean KL(p(y|x) || p(y)): (S, N, C) -> (S,)."""
        return (p.exp() * (p - self.log_prior.unsqueeze(-2))).sum(-1).mean(-1)


def fit_batch(
    x1: Tensor,
    x2: Tensor,
    y: Tensor,
    n_classes: int,
    *,
    seeds: Sequence[int] = (0,),
    settings: BatchSettings | None = None,
    on_epoch: OnEpoch | None = None,
) -> Batch:
    """Trains three classifiers, freezes them, and trains the coupling that minimises I_q(X1,X2;Y).

    x1 (N, d1), x2 (N, d2), y (N,), or (S, N, ...), some for each seed; columns are standardised. The estimates
    describe a data set, not a sample, and batches bound the support of q.

    Raises:
        ValueError: shapes or classes that do not fit, no seed, or fewer samples than a batch.
    """
    settings = settings or BatchSettings()
    x1, x2, y = stacked(x1, x2, y, n_classes, len(seeds))
    features = (Features.of(x1), Features.of(x2))
    z1, z2 = features[0](x1), features[1](x2)
    train = partial(train_stack, seeds=seeds, device=x1.device, on_epoch=on_epoch)

    def classifier(name: str, z: Tensor) -> Classifier:
        def cross_entropy(net: Classifier, index: Tensor) -> Tensor:
            return -net(rows(z, index)).gather(-1, rows(y, index).unsqueeze(-1)).mean((-2, -1))

        return train(
            f"batch-classifier-{name}",
            lambda: Classifier(z.shape[-1], n_classes, settings),
            cross_entropy,
            y.shape[1],
            schedule=settings.classifiers,
        )

    both = torch.cat([z1, z2], -1)
    classifiers = (classifier("1", z1), classifier("2", z2), classifier("12", both))
    with torch.no_grad():
        p1, p2 = classifiers[0](z1), classifiers[1](z2)

    def information(coupling: Coupling, index: Tensor) -> Tensor:
        parts = [rows(each, index) for each in (z1, z2, p1, p2)]
        return conditional_information(coupling(*parts), parts[2])

    coupling = train(
        "batch-coupling",
        lambda: Coupling((z1.shape[-1], z2.shape[-1]), n_classes, settings),
        information,
        y.shape[1],
        schedule=settings.coupling,
    )
    log_prior = (F.one_hot(y, n_classes).sum(1) / y.shape[1]).clamp(min=0.5 / y.shape[1]).log()
    return Batch(features, classifiers, coupling, log_prior, settings.coupling.batch_size)
