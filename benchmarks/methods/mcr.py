"""MCR: modalities play a game over how far permuting each of them changes the prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.methods._heads import MultiHead, MultiHeadSettings, paced
from dmil.data import Inputs, Task
from dmil.encoders import Sources
from dmil.method import Output
from dmil.nn import Linear, RandomLayer
from dmil.settings import Settings, tunable

STRATEGIES = GREEDY, INDEPENDENT, COLLABORATIVE = "greedy", "independent", "collaborative"
CONTRAST_TEMPERATURE = 0.5
NOBODY = -1e4  # logit of a pair that does not count


@dataclass(frozen=True)
class McrSettings(MultiHeadSettings):
    """game, alone, contrast, compression: weights of the four terms beside J; the authors' on CREMA-D with Conformers.
    With ResNets, pre-trained on each modality, alone is 0.01 and compression 0, which can be set but is not searched;
    on AVE game is 0.01. strategy: what a modality wants. permutations: of each batch. has_target_gradient: whether the
    unpermuted prediction is moved too."""

    game: float = tunable(0.1, low=1e-3, high=1.0, log=True)
    alone: float = tunable(1.0, low=0.01, high=10.0, log=True)
    contrast: float = tunable(1.0, low=0.01, high=10.0, log=True)
    compression: float = tunable(1.0, low=0.01, high=10.0, log=True)
    strategy: str = tunable(GREEDY, choices=STRATEGIES, per_replica=False)
    permutations: int = tunable(32, choices=(4, 8, 16, 32), least=1, per_replica=False)
    has_target_gradient: bool = tunable(True, choices=(False, True), per_replica=False)


class Mcr(MultiHead):
    """Kontras, Strypsteen, Chatzichristos, Liang, Blaschko, De Vos: "Balancing Multimodal Training Through
    Game-Theoretic Regularization" (Multimodal Competition Regularizer), NeurIPS 2025.

    D_m is the Jensen-Shannon divergence (regression: squared error) between the prediction and that with z_m permuted
    over the batch (eq. 8), a mean over permutations; D_m^(i) is D_m with gradient in the branch of i alone, its encoder
    and slice of the head. The game is the sum over m of -D_m^(m), each for itself; greedy, of that and D_m^(i) for all
    i != m; or collaborative, of -D_m (eqs. 12, 13). What is no branch (bias, deeper layers, the unpermuted side) has
    every player's gradient. Loss J + alone sum_m J_m + game (that) + contrast C + compression E. C draws encodings of a
    class together over samples and modalities (eq. 9), in a regression those of one sample over its modalities; E (eq.
    11) is the mean squared error of [z_1, .., z_M] against a small network of the prediction, which has no gradient
    from there.

    The public classification code computes these terms and returns the loss without them. A greedy game of two is worth
    zero whatever they do; its gradient is not zero. Ours: z for the game is encoded once more, in evaluation mode as in
    the code, but for both sides of D and with a head without dropout; with three or more modalities each is permuted by
    itself, where the authors go through pairs; a regression has no classes, so that C sets a sample against all others,
    however near their targets. The unimodal pre-training that the authors advise is left out. Extra cost: M linear
    heads and a network from C to M width numbers; in training alone, a second pass through the encoders, forward and
    backward, and M passes through the head, behind its first product, for each permutation.
    """

    Settings: ClassVar[type[Settings]] = McrSettings
    revision: ClassVar[int] = 2
    settings: McrSettings

    def __init__(self, settings: McrSettings, sources: Sources, task: Task) -> None:
        if settings.strategy not in STRATEGIES:
            raise ValueError(f"`strategy` must be one of {', '.join(STRATEGIES)}, but got {settings.strategy!r}")
        super().__init__(settings, sources, task)
        self.back = Back(task.n_outputs, settings.width, len(sources) * settings.width)
        self.chance = RandomLayer()

    def forward(self, inputs: Inputs) -> Output:
        if not self.training:
            return super().forward(inputs)
        z = self.encoders(inputs)
        joined = torch.cat(z, -1)
        each = torch.stack(z, -3)
        logits = self.head(joined)
        compression = (joined - self.back(logits.detach())).square().mean((-2, -1))
        self.encoders.eval()
        clean = torch.stack(self.encoders(inputs), -3)
        self.encoders.train()
        extra = {"z": each, "compression": compression, "game": self._game(clean)}
        return Output(logits, self.heads(each), extra=extra)

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        """Of an output in training mode."""
        own, extra = self.settings, output.extra
        joint, alone = self.losses(output, target)
        label = torch.arange(target.shape[-1], device=target.device) if self.task.kind == "regression" else target
        regular = own.contrast * contrast(extra["z"], label.expand_as(target)) + own.compression * extra["compression"]
        return joint + own.alone * alone.sum(-1) + own.game * extra["game"] + regular

    def _game(self, z: Tensor) -> Tensor:
        """What the players together minimise, of z (..., M, B, d): (...)."""
        n = len(self.modalities)
        first, *deeper = [layer for layer in self.head if isinstance(layer, Linear)]
        branches = z @ first.weight.unflatten(-2, (n, -1))
        of_player, of_all = paces(self.settings.strategy, n)
        whole = paced(branches.sum(-3), of_all)
        usual = _finish(whole, first.bias, deeper, of_all)
        if not self.settings.has_target_gradient:
            usual = usual.detach()
        order = self._orders(z)
        total = torch.zeros_like(usual[..., 0, 0])
        for m in range(n):
            seen = [paced(branch, of_player[m][i]) for i, branch in enumerate(branches.unbind(-3))]
            moved = _permuted(seen.pop(m), order)
            mixed = (moved + torch.stack(seen).sum(0).unsqueeze(-3)).flatten(-3, -2)
            found = _finish(mixed, first.bias, deeper, of_all).unflatten(-2, order.shape[-2:])
            total = total + self._distance(found, usual.unsqueeze(-3))
        return total + (of_all - 1) * total.detach()

    def _orders(self, z: Tensor) -> Tensor:
        """Random permutations of the batch, of each replica's own: (..., n, B)."""
        like = z.new_empty(*z.shape[:-3], self.settings.permutations, z.shape[-2])
        return self.chance.noise.uniform(like).argsort(-1)

    def _distance(self, found: Tensor, usual: Tensor) -> Tensor:
        """D of logits (..., n, B, C) and (..., 1, B, C): (...)."""
        each = (found - usual).square().squeeze(-1) if self.task.kind == "regression" else divergence(found, usual)
        return each.mean((-2, -1))


class Back(nn.Module):
    """From logits to encodings: two linear maps without bias and a ReLU between them."""

    def __init__(self, n_in: int, hidden: int, n_out: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.empty(n_in, hidden).uniform_(-1, 1) / math.sqrt(n_in))
        self.second = nn.Parameter(torch.empty(hidden, n_out).uniform_(-1, 1) / math.sqrt(hidden))

    def forward(self, logits: Tensor) -> Tensor:
        return (logits @ self.first).relu() @ self.second


def paces(strategy: str, n: int) -> tuple[list[list[float]], float]:
    """By how much D_m of each m moves each player's branch, [m][player], and what belongs to no player."""
    if strategy == COLLABORATIVE:
        return [[-1.0] * n] * n, -1.0
    other = 1.0 if strategy == GREEDY else 0.0
    return [[-1.0 if i == m else other for i in range(n)] for m in range(n)], (n - 1) * other - 1


def divergence(a: Tensor, b: Tensor) -> Tensor:
    """Jensen-Shannon divergence in nats of two predictions by logits (..., C): (...)."""
    p, q = a.log_softmax(-1), b.log_softmax(-1)
    mean = torch.logaddexp(p, q) - math.log(2)
    return 0.5 * (p.exp() * (p - mean) + q.exp() * (q - mean)).sum(-1)


def contrast(z: Tensor, label: Tensor) -> Tensor:
    """Supervised NT-Xent over all z (..., M, B, d) with labels (..., B): (...). A pair of one label against whatever
    has another, the mean of all pairs."""
    n = z.shape[-3]
    pool = F.normalize(z, dim=-1).flatten(-3, -2)
    label = label.unsqueeze(-2).expand(*label.shape[:-1], n, label.shape[-1]).flatten(-2)
    alike = label.unsqueeze(-1) == label.unsqueeze(-2)
    nearness = pool @ pool.transpose(-1, -2) / CONTRAST_TEMPERATURE
    against = nearness.masked_fill(alike, NOBODY).logsumexp(-1, keepdim=True)
    pairs = alike & ~torch.eye(label.shape[-1], dtype=torch.bool, device=label.device)
    return (F.softplus(against - nearness) * pairs).sum((-2, -1)) / pairs.sum((-2, -1))


def _finish(x: Tensor, bias: Tensor, deeper: Sequence[Linear], pace: float) -> Tensor:
    """The rest of a head after its first product, (..., B, h) to (..., B, C), without dropout."""
    x = x + paced(bias, pace).unsqueeze(-2)
    for layer in deeper:
        x = x.relu() @ paced(layer.weight, pace) + paced(layer.bias, pace).unsqueeze(-2)
    return x


def _permuted(x: Tensor, order: Tensor) -> Tensor:
    """Rows of x (..., B, h) in each of the orders (..., n, B): (..., n, B, h)."""
    index = order.flatten(-2).unsqueeze(-1)
    return x.gather(-2, index.expand(*index.shape[:-1], x.shape[-1])).unflatten(-2, order.shape[-2:])
