"""FactorCL: what modalities share with the label and what one alone does, from bounds of mutual information."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
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

Pairs = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class FactorClSettings(Settings):
    """critic: width of the critics' hidden layers, 512 in the authors' code; as every pair of a batch is judged, that
    is more than 40 times the work. contrast_epochs: of the first stage, at most two thirds of all; theirs are 50."""

    critic: int = tunable(64, choices=(32, 64, 128), least=1, per_replica=False)
    contrast_epochs: int = tunable(40, choices=(20, 30, 40), least=1, per_replica=False)


class FactorCl(Multimodal):
    """Liang, Deng, Ma et al.: "Factorized Contrastive Learning: Going Beyond Multi-view Redundancy", NeurIPS 2023.
    That the comparison's "FCL" means this method is a guess, and nothing confirms it.

    First stage, the supervised form: NCE(1,2) + CLUB(1,2) + NCE(1,y) + NCE(2,y) + NCE(1+y,2+y) + CLUB(1+y,2+y). NCE is
    minus a lower bound of mutual information and trains its critic too, CLUB an upper bound whose critic is held fixed
    and learns by NCE, on features that are held fixed. Each term has views of its own, a network of one hidden layer
    on each z_m; y is a number in NCE(m,y), where the order of classes means nothing, and one-hot where it joins a view.
    Second stage: logistic regression on all ten views; nothing else learns. Linear in views of one modality each, it
    cannot represent XOR.

    Ours: CLUB's critics learn in the same step as all else, the authors' right after it with an optimiser of their own;
    in the first stage, too, the head learns, on detached views, as the kept epoch is the one whose head is best on
    validation. Both stages come out of the same budget; one of a single epoch is all second stage. Two modalities and
    classes only; labels stand where the self-supervised form, left out, has augmentations. Batches that are computed
    in parts contrast within a part.

    Extra cost: ten networks of one hidden layer and six critics, which do not predict; per step 8 B^2 passes through
    critics, those of CLUB twice. In the second stage a forward pass of ``joint`` and a backward pass of its head.
    """

    Settings: ClassVar[type[Settings]] = FactorClSettings
    settings: FactorClSettings

    def __init__(self, settings: FactorClSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        d, c, h = settings.width, settings.width + task.n_outputs, settings.critic
        groups = (2, N_VIEWS)
        self.views = nn.Sequential(Linear(d, d, groups=groups), nn.ReLU(), Linear(d, d, groups=groups))
        self.lower = nn.ModuleList(Critic(*n, h) for n in ((d, d), (d, 1), (d, 1), (c, c)))
        self.upper = nn.ModuleList(Critic(*n, h) for n in ((d, d), (c, c)))
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
        lower, upper = self._pairs(output.extra["views"], target)
        for critic, (a, b) in zip(self.lower, lower, strict=True):
            loss = loss - lower_bound(critic(a, b))
        for critic, (a, b) in zip(self.upper, upper, strict=True):
            fixed = {name: parameter.detach() for name, parameter in critic.named_parameters()}
            loss = loss + upper_bound(functional_call(critic, fixed, (a, b)))
            loss = loss - lower_bound(critic(a.detach(), b.detach()))
        return loss

    def _pairs(self, views: Tensor, target: Tensor) -> tuple[Pairs, Pairs]:
        """What the critics of lower and of upper bounds compare: views (..., 2, 5, B, d), target (..., B)."""
        number = target.to(views.dtype).unsqueeze(-1)
        label = F.one_hot(target, self.task.n_classes).to(views.dtype)
        first, second = (each.unbind(-3) for each in views.unbind(-4))
        pairs = list(zip(first, second, strict=True))
        given = [(torch.cat([a, label], -1), torch.cat([b, label], -1)) for a, b in pairs[3:]]
        return [pairs[0], (first[2], number), (second[2], number), given[0]], [pairs[1], given[1]]


class Critic(nn.Module):
    """f(a, b) of all pairs, two hidden layers on [a, b]: (..., B, n_a) and (..., B, n_b) to (..., B, B), where row i
    has b_i beside every a_j. Without an output bias, which no bound would notice."""

    def __init__(self, n_a: int, n_b: int, hidden: int) -> None:
        super().__init__()
        self.sizes = [n_a, n_b]
        self.first, self.second = Linear(n_a + n_b, hidden), Linear(hidden, hidden)
        bound = 1 / math.sqrt(hidden)
        self.last = nn.Parameter(torch.empty(hidden, 1).uniform_(-bound, bound))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        # The first layer is a sum of one part that knows a and one that knows b: B products each instead of B^2.
        of_a, of_b = self.first.weight.split(self.sizes, -2)
        pairs = (a @ of_a).unsqueeze(-3) + (b @ of_b + self.first.bias.unsqueeze(-2)).unsqueeze(-2)
        hidden: Tensor = self.second(pairs.relu().flatten(-3, -2))
        return (hidden.relu() @ self.last).squeeze(-1).unflatten(-1, pairs.shape[-3:-1])


def lower_bound(scores: Tensor) -> Tensor:
    """InfoNCE, (..., B, B) to (...): mean_i [f(a_i, b_i) - log mean_j exp f(a_j, b_i)]."""
    paired = scores.diagonal(dim1=-2, dim2=-1)
    return (paired - scores.logsumexp(-1)).mean(-1) + math.log(scores.shape[-1])


def upper_bound(scores: Tensor) -> Tensor:
    """CLUB, (..., B, B) to (...): mean_i f(a_i, b_i) - mean_ij f(a_j, b_i)."""
    return scores.diagonal(dim1=-2, dim2=-1).mean(-1) - scores.mean((-2, -1))
