"""FactorCL: what modalities share with the label and what one alone does, from bounds of mutual information."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.methods._heads import Multimodal
from dmil.data import Inputs, Task
from dmil.decomposition import side_by_side
from dmil.encoders import Sources
from dmil.losses import task_loss
from dmil.method import Output, Stage
from dmil.nn import Linear
from dmil.settings import Settings, tunable

CONTRAST, HEAD = "contrast", "head"
N_VIEWS = 5
N_PAIRS = 1024  # that a processor judges at a time

Bound = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class FactorClSettings(Settings):
    """critic: width of the critics' hidden layers, 512 in the authors' code; as every pair of a batch is judged, that
    is more than 40 times the work. contrast_epochs: of the first stage, at most two thirds of all; theirs are 50, with
    Adam at 1e-4."""

    critic: int = tunable(64, choices=(32, 64, 128), least=1, per_replica=False)
    contrast_epochs: int = tunable(40, choices=(20, 30, 40), least=1, per_replica=False)


class FactorCl(Multimodal):
    """Liang, Deng, Ma et al.: "Factorized Contrastive Learning: Going Beyond Multi-view Redundancy", NeurIPS 2023.
    That the comparison's "FCL" means this method is a guess, and nothing confirms it.

    First stage, the supervised form: NCE(1,2) + CLUB(1,2) + NCE(1,y) + NCE(2,y) + NCE(1+y,2+y) + CLUB(1+y,2+y). NCE is
    minus a lower bound of mutual information (eqs. 10, 13) and trains its critic too, CLUB an upper bound (eqs. 11, 14)
    whose critic is held fixed and learns by NCE, on features that are held fixed. Each term has views of its own, a
    network of one hidden layer on each z_m; y is a number in NCE(m,y), where the order of classes means nothing, and
    one-hot where it joins a view. Second stage: logistic regression on all ten views; nothing else learns. Linear in
    views of one modality each, it cannot represent XOR.

    Ours: CLUB's critics learn in the same step as all else, the authors' right after it with an optimiser of their own;
    in the first stage, too, the head learns, on detached views, as the kept epoch is the one whose head is best on
    validation. Both stages come out of the same budget; one of a single epoch is all second stage. Two modalities and
    classes only; labels stand where the self-supervised form, left out, has augmentations. Batches that are computed
    in parts contrast within a part.

    Extra cost: ten networks of one hidden layer and six critics, which do not predict; per step 4 B^2 + 2 B C passes
    through critics, of which CLUB's 2 B^2 go back twice. In the second stage a forward pass of ``joint`` and a backward
    pass of its head.
    """

    Settings: ClassVar[type[Settings]] = FactorClSettings
    settings: FactorClSettings

    def __init__(self, settings: FactorClSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        d, c, h = settings.width, settings.width + task.n_outputs, settings.critic
        groups = (2, N_VIEWS)
        self.views = nn.Sequential(Linear(d, d, groups=groups), nn.ReLU(), Linear(d, d, groups=groups))
        self.lower: Any = nn.ModuleList(Critic(n, n, h) for n in (d, c))
        self.upper: Any = nn.ModuleList(Critic(n, n, h) for n in (d, c))
        self.label: Any = nn.ModuleList(Critic(d, 1, h) for _ in range(2))
        self.head = Linear(2 * N_VIEWS * d, task.n_outputs)
        self.stage = HEAD

    @classmethod
    def unfit(cls, sources: Sources, task: Task) -> str | None:
        if len(sources) != 2:
            return f"factorcl factorises two modalities, but here are {len(sources)}"
        return None if task.kind == "classification" else f"factorcl needs classes, but the task is a {task.kind}"

    @property
    def component_names(self) -> tuple[str, ...]:
        return ()

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        n = min(self.settings.contrast_epochs, 2 * epochs // 3)
        last = Stage(HEAD, epochs - n, trains=("head",))
        return (Stage(CONTRAST, n), last) if n else (last,)

    def forward(self, inputs: Inputs) -> Output:
        views = self.views(torch.stack(self.encoders(inputs), -3).unsqueeze(-3))
        read = side_by_side(views.flatten(-4, -3)).detach()
        return Output(self.head(read), extra={"views": views}, representation=None if self.training else read)

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        loss = task_loss(self.task, output.logits, target)
        if stage == HEAD:
            return loss
        pairs = self._pairs(output.extra["views"], target)
        for critic, (a, b) in zip(self.lower, pairs[0::3], strict=True):
            loss = loss + in_rows(critic, [nce], critic.learned(a, b))
        for critic, (a, b) in zip(self.upper, pairs[1::3], strict=True):
            reached = [*critic.sides(a, b, is_fixed=True), *critic.learned(a.detach(), b.detach())]
            loss = loss + in_rows(critic, [club, nce], reached)
        for critic, view in zip(self.label, pairs[2], strict=True):
            loss = loss + nce(label_scores(critic, view, target, self.task.n_classes))
        return loss

    def _pairs(self, views: Tensor, target: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The views of both modalities for each term: views (..., 2, 5, B, d), target (..., B)."""
        label = F.one_hot(target, self.task.n_classes).to(views.dtype)
        first, second = (each.unbind(-3) for each in views.unbind(-4))
        pairs = list(zip(first, second, strict=True))
        return pairs[:3] + [(torch.cat([a, label], -1), torch.cat([b, label], -1)) for a, b in pairs[3:]]


class Critic(nn.Module):
    """f(a, b) of all pairs, two hidden layers on [a, b]: (..., B, n_a) and (..., R, n_b) to (..., R, B), where row i
    has b_i beside every a_j. Without an output bias, which no bound would notice."""

    def __init__(self, n_a: int, n_b: int, hidden: int) -> None:
        super().__init__()
        self.sizes = [n_a, n_b]
        self.first, self.second = Linear(n_a + n_b, hidden), Linear(hidden, hidden)
        bound = 1 / math.sqrt(hidden)
        self.last = nn.Parameter(torch.empty(hidden, 1).uniform_(-bound, bound))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.scores(*self.sides(a, b))

    def sides(self, a: Tensor, b: Tensor, *, is_fixed: bool = False) -> list[Tensor]:
        """What the first layer makes of a and of b; it is a sum of both: B products each instead of B^2."""
        weight, bias = (x.detach() if is_fixed else x for x in (self.first.weight, self.first.bias))
        of_a, of_b = weight.split(self.sizes, -2)
        return [a @ of_a, b @ of_b + bias.unsqueeze(-2)]

    def learned(self, a: Tensor, b: Tensor) -> list[Tensor]:
        """Both sides and all behind them that learns."""
        return [*self.sides(a, b), *self.second.parameters(), self.last]

    def scores(self, a: Tensor, b: Tensor) -> Tensor:
        """Of both sides."""
        pairs = (a.unsqueeze(-3) + b.unsqueeze(-2)).relu_()
        hidden = pairs.flatten(-3, -2) @ self.second.weight
        hidden = hidden.add_(self.second.bias.unsqueeze(-2)).relu_()
        # A product with a matrix of one column is slower.
        return (hidden * self.last.transpose(-2, -1)).sum(-1).unflatten(-1, pairs.shape[-3:-1])


def in_rows(critic: Critic, bounds: Sequence[Bound], reached: Sequence[Tensor]) -> Tensor:
    """The sum of bounds on the scores of all pairs, (...). reached: where their gradients go, of CLUB's both sides, of
    NCE's both sides and all behind them; sides have the same values both times. A few rows of scores are made at a time
    and differentiated at once: nothing of B^2 pairs waits for the backward pass, and processors have it in the cache.
    """
    a, b = (side.detach().requires_grad_() for side in reached[:2])
    inner, n, lead = [a, b, *critic.second.parameters(), critic.last], a.shape[-2], a.dim() - 2
    size = n if a.is_cuda else max(1, N_PAIRS // n)
    total, slopes = a.new_zeros(a.shape[:lead]), [torch.zeros_like(x) for x in reached]
    with torch.enable_grad():
        for start in range(0, n, size):
            scores = critic.scores(a, b[..., start : start + size, :])
            found: list[Tensor] = []
            for bound in bounds:
                value = bound(scores, start)
                total += value.detach()
                to = inner[:2] if bound is club else inner
                found += torch.autograd.grad(value.sum(), to, retain_graph=bound is club)
            slopes = [x + y for x, y in zip(slopes, found, strict=True)]
    known = zip(reached, slopes, strict=True)
    return sum((((x - x.detach()) * slope).flatten(lead).sum(-1) for x, slope in known), total)


def label_scores(critic: Critic, view: Tensor, target: Tensor, n_classes: int) -> Tensor:
    """Of a view (..., B, d) beside the label as a number, (..., B, B); each class is judged once where they are few."""
    if n_classes >= target.shape[-1]:
        return critic(view, target.to(view.dtype).unsqueeze(-1))
    classes = torch.arange(n_classes, dtype=view.dtype, device=view.device)
    scores: Tensor = critic(view, classes.unsqueeze(-1))
    return scores.gather(-2, target.unsqueeze(-1).expand(*target.shape, target.shape[-1]))


def nce(scores: Tensor, first: int = 0) -> Tensor:
    """Minus InfoNCE, mean_i [log mean_j exp f(a_j, b_i) - f(a_i, b_i)], of all rows (..., B, B); of some, (..., R, B)
    from row ``first`` on, their part of it."""
    paired, n = scores.diagonal(first, -2, -1), scores.shape[-1]
    return (scores.logsumexp(-1) - paired - math.log(n)).sum(-1) / n


def club(scores: Tensor, first: int = 0) -> Tensor:
    """CLUB, mean_i f(a_i, b_i) - mean_ij f(a_j, b_i), likewise."""
    n = scores.shape[-1]
    return scores.diagonal(first, -2, -1).sum(-1) / n - scores.sum((-2, -1)) / n**2
