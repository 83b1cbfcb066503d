"""AGM: logits split into one part for each modality, whose gradients are paced by who is ahead of its usual place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.methods._heads import LEAST_SCORE, MultiHeadSettings, Multimodal, beside, paced
from dmil.data import Inputs, Shared, Task
from dmil.encoders import Sources, told
from dmil.losses import sample_loss, task_loss
from dmil.method import Output
from dmil.nn import MLP
from dmil.settings import Settings, tunable

MOST = -math.log(LEAST_SCORE)  # of a score, where the probability of the true class is floored
MOST_GAIN = 10.0


@dataclass(frozen=True)
class AgmSettings(MultiHeadSettings):
    """alpha: degree of modulation, 1 by default and 2.5 in the authors' AV-MNIST example."""

    alpha: float = tunable(1.0, low=0.1, high=3.0, log=True)


class Agm(Multimodal):
    """Li, Li, Hu, Lei, Li, Zhou: "Boosting Multi-modal Model Performance with Adaptive Gradient Modulation", ICCV 2023.

    With l_S the logits when every modality outside S is zero at the input, phi_m is the Shapley value of m, so that
    sum_m phi_m = l, the prediction: for two modalities phi_1 = (l_12 - l_2 + l_1) / 2. s_m is the mean of
    -log softmax(phi_m)[y], r_m = exp(M / (M - 1) (mean_j s_j - s_m)), tau_m the same of the mean of s_m over all
    batches before, and kappa_m = exp(alpha min(tau_m - r_m, 10)) multiplies the gradient that enters phi_m: who is
    further ahead than usual is slowed down. Incomplete inputs are read in evaluation mode, with gradient. When an entry
    of the gradient of a head's weight exceeds 1, all gradients are clipped to norm 1.

    A known reimplementation scales the encoders' gradients with the opposite sign, which speeds up who is ahead. Ours:
    a sample of zeros is encoded once, as in evaluation mode its encoding is the same for every sample; a regression has
    s_m = mean |phi_m - y|, and no exponent above that of a classification; a hidden layer in the head is searched, as
    the rule holds for any head. Whether s_m then still means what it does for classes is uncertain. Extra cost: no
    parameters; in training alone, a second pass through the encoders, forward and backward, and 2^M - 2 through the
    head.
    """

    Settings: ClassVar[type[Settings]] = AgmSettings
    settings: AgmSettings
    usual: Tensor
    n_batches: Tensor

    def __init__(self, settings: AgmSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        n, d = len(sources), settings.width
        self.head = MLP(n * d, task.n_outputs, hidden=d, depth=settings.head_depth, dropout=settings.dropout)
        self.shapes = {name: source.shape for name, source in told(sources).items()}
        self.register_buffer("usual", torch.zeros(n), persistent=False)
        self.register_buffer("n_batches", torch.zeros(()), persistent=False)

    @property
    def component_names(self) -> tuple[str, ...]:
        return ()

    def forward(self, inputs: Inputs) -> Output:
        features = self.head.features(torch.cat(self.encoders(inputs), -1))
        logits = self.head[-1](features)
        if not self.training:
            return Output(logits, representation=features)
        return Output(logits, extra={"phi": self._shapley(logits, inputs)})

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        """Of an output in training mode: the prediction's task loss, whose gradient each part takes at its pace."""
        phi = output.extra["phi"]
        kappa = pace(self._scores(phi, target), self.usual, torch.as_tensor(self.settings.alpha))
        return task_loss(self.task, paced(phi, kappa[..., None, None]).sum(-3), target)

    @torch.no_grad()
    def adjust_gradients(self, gradients: Mapping[str, Tensor], output: Output, target: Tensor) -> None:
        self.n_batches.add_(1)
        self.usual.add_((self._scores(output.extra["phi"], target) - self.usual) / self.n_batches.unsqueeze(-1))
        weights = [g for name, g in gradients.items() if name.startswith("head.") and name.endswith("weight")]
        largest = torch.stack([g.flatten(1).abs().amax(1) for g in weights]).amax(0)
        norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0).sqrt()
        factor = torch.where(largest > 1, (1 / norm).clamp(max=1), 1.0)
        for gradient in gradients.values():
            gradient.mul_(beside(factor, gradient))

    def _shapley(self, logits: Tensor, inputs: Inputs) -> Tensor:
        """phi (..., M, B, C), given the logits of the full input (..., B, C)."""
        n = len(self.modalities)
        subsets = [subset for size in range(1, n) for subset in combinations(range(n), size)]
        self.encoders.eval()
        self.head.eval()
        seen = self.encoders(inputs)
        blank = self.encoders({name: _zeros(inputs[name], shape) for name, shape in self.shapes.items()})
        pairs = [(z, zero.expand_as(z)) for z, zero in zip(seen, blank, strict=True)]
        rows = [torch.cat([pair[m not in subset] for m, pair in enumerate(pairs)], -1) for subset in subsets]
        partial = self.head(torch.cat(rows, -2)).unflatten(-2, (len(subsets), -1))
        self.encoders.train()
        self.head.train()
        every = torch.cat([partial, logits.unsqueeze(-3)], -3)
        weights = shapley_weights([*subsets, tuple(range(n))], n).to(every)
        return (weights @ every.flatten(-2)).unflatten(-1, logits.shape[-2:])

    @torch.no_grad()
    def _scores(self, phi: Tensor, target: Tensor) -> Tensor:
        """s (..., M), small for who predicts well."""
        losses = sample_loss(self.task, phi, target.unsqueeze(-2))
        return (losses if self.task.kind == "regression" else losses.clamp(max=MOST)).mean(-1)


def shapley_weights(subsets: Sequence[tuple[int, ...]], n: int) -> Tensor:
    """What the logits of each non-empty subset weigh in each of n Shapley values: (n, K)."""
    ways = [math.factorial(k) * math.factorial(n - k - 1) / math.factorial(n) for k in range(n)] + [0.0]
    return torch.tensor([[ways[len(s) - 1] if m in s else -ways[len(s)] for s in subsets] for m in range(n)])


def lead(s: Tensor) -> Tensor:
    """r of scores (..., M): above 1 for who is ahead of the mean."""
    n = s.shape[-1]
    return (n / (n - 1) * (s.mean(-1, keepdim=True) - s)).clamp(max=MOST).exp()


def pace(s: Tensor, usual: Tensor, alpha: Tensor) -> Tensor:
    """kappa of scores and of their means so far (..., M) with alpha (...)."""
    return (alpha.unsqueeze(-1) * (lead(usual) - lead(s)).clamp(max=MOST_GAIN)).exp()


def _zeros(x: Tensor | Shared, shape: tuple[int, ...]) -> Tensor:
    """One sample of zeros; of words and steps, padding alone."""
    return (x.values if isinstance(x, Shared) else x).new_zeros(1, *shape)
