"""MMIB: a variational bottleneck on each modality and on what they are fused to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.methods._heads import Multimodal, losses_alone
from dmil.bottleneck import Gaussian
from dmil.data import Inputs, Task
from dmil.encoders import Sources
from dmil.losses import task_loss
from dmil.method import Output
from dmil.nn import Linear, RandomLayer
from dmil.settings import Settings, tunable

LINEAR = -15.0
COMPLETE, EARLY, LATE = "complete", "early", "late"


@dataclass(frozen=True)
class MmibSettings(Settings):
    """The authors' defaults. beta: weight of the KL terms, means over ``latent`` dimensions and so dependent on them.
    fused_weight: of the fused prediction's loss. form: complete (C-MIB), early (E-MIB) or late (L-MIB)."""

    beta: float = tunable(1e-3, low=1e-5, high=0.1, log=True)
    fused_weight: float = tunable(2.0, low=0.5, high=4.0, log=True)
    latent: int = tunable(50, choices=(16, 50, 100), least=1, per_replica=False)
    hidden: int = tunable(1024, choices=(128, 512, 1024), least=1, per_replica=False)
    form: str = tunable(COMPLETE, choices=(COMPLETE, EARLY, LATE), per_replica=False)


class Mmib(Multimodal):
    """Mai, Zeng, Hu: "Multimodal Information Bottleneck: Learning Minimal Sufficient Unimodal and Multimodal
    Representations", IEEE Transactions on Multimedia 2022. That "MMIB" means this method is likely, not certain.

    A bottleneck is h = ReLU(W x), mu = W_mu h, sigma = softplus(W_sigma h - 5), b = mu + sigma e with e ~ N(0, I). On
    each z_m it gives b_m and a linear prediction; f = ReLU(W_f [b_1, .., b_M]) has one of its own, whose linear
    prediction is the method's. Loss sum_m (J_m + beta KL_m) + (J + beta KL) + J: the code counts the fused J twice,
    hence ``fused_weight`` 2. E-MIB leaves out the bottlenecks of the modalities, L-MIB that of f. All represent XOR.

    The authors also sample when they test; here mu is used, so that a prediction is one. Their optimiser, Adam at 2e-5
    and 1e-5 for BERT, steps inside ``forward``; batches are of 32. Of their ways to fuse, here is concatenation, that
    of their C-MIB. Extra cost: at default settings about 1,024 (M d + 100 M + 150) parameters; one forward, one
    backward pass.
    """

    Settings: ClassVar[type[Settings]] = MmibSettings
    settings: MmibSettings

    def __init__(self, settings: MmibSettings, sources: Sources, task: Task) -> None:
        if settings.form not in (COMPLETE, EARLY, LATE):
            raise ValueError(f"`form` must be {COMPLETE}, {EARLY} or {LATE}, but got {settings.form!r}")
        super().__init__(settings, sources, task)
        n, d, k = len(sources), settings.width, settings.latent
        self.has_parts, self.has_whole = settings.form != EARLY, settings.form != LATE
        if self.has_parts:
            # A list: weights in one group would be copied at every step of a stack.
            self.parts = nn.ModuleList(Bottleneck(d, k, hidden=settings.hidden) for _ in sources)
            self.heads = Linear(k, task.n_outputs, groups=(n,))
        self.fuse = Linear(n * (k if self.has_parts else d), k)
        if self.has_whole:
            self.whole = Bottleneck(k, k, hidden=settings.hidden)
        self.head = Linear(k, task.n_outputs)

    @property
    def component_names(self) -> tuple[str, ...]:
        return super().component_names if self.has_parts else ()

    def forward(self, inputs: Inputs) -> Output:
        z, components = self.encoders(inputs), None
        extra: dict[str, Tensor] = {}
        if self.has_parts:
            parts = [part(x) for part, x in zip(self.parts, z, strict=True)]
            z = [part.sample for part in parts]
            components = self.heads(torch.stack(z, -3))
            extra["kl_parts"] = torch.stack([part.kl_to_standard() for part in parts]).sum(0)
        b = self.fuse(torch.cat(z, -1)).relu()
        if self.has_whole:
            whole = self.whole(b)
            b = whole.sample
            extra["kl_whole"] = whole.kl_to_standard()
        return Output(self.head(b), components, extra=extra, representation=None if self.training else b)

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        loss = self.settings.fused_weight * task_loss(self.task, output.logits, target)
        if output.components is not None:
            loss = loss + losses_alone(self.task, output.components, target).sum(-1)
        return loss + self.settings.beta * torch.stack(list(output.extra.values())).sum(0)


class Bottleneck(RandomLayer):
    """x (..., B, n_in) to a Gaussian of ``n_out`` dimensions: a sample while training, else the mean."""

    def __init__(self, n_in: int, n_out: int, *, hidden: int) -> None:
        super().__init__()
        self.hidden, self.out = Linear(n_in, hidden), Linear(hidden, 2 * n_out)

    def forward(self, x: Tensor) -> Gaussian:
        mean, raw = self.out(self.hidden(x).relu()).chunk(2, -1)
        raw = raw - 5
        sigma = F.softplus(raw)
        # Far down softplus is exp and underflows; its logarithm, which the KL term needs, is then raw itself.
        log_sigma = torch.where(raw > LINEAR, F.softplus(raw.clamp(min=LINEAR)).log(), raw)
        sample = mean + sigma * self.noise.normal(mean) if self.training else mean
        return Gaussian(mean, 2 * log_sigma, sample)
