"""Diagonal Gaussian maps: the variational building block of both decomposition levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dmil.nn import Linear, RandomLayer


@dataclass
class Gaussian:
    """Diagonal normal distribution; mean and logvar (..., B, d). ``logvar`` None: a point, no distribution."""

    mean: Tensor
    logvar: Tensor | None
    sample: Tensor

    def unsqueeze(self, dim: int) -> Gaussian:
        """The same distribution with a dimension of size one added to its tensors."""
        logvar = None if self.logvar is None else self.logvar.unsqueeze(dim)
        return Gaussian(self.mean.unsqueeze(dim), logvar, self.sample.unsqueeze(dim))

    def kl_to_standard(self) -> Tensor:
        """KL(self || N(0, I)) in nats, mean over batch and dimensions: (...). Zero for a point."""
        if self.logvar is None:
            return self.mean.new_zeros(self.mean.shape[:-2])
        return 0.5 * (self.mean.square() + self.logvar.exp() - self.logvar - 1).mean((-2, -1))

    def kl_to(self, other: Gaussian) -> Tensor:
        """KL(self || other) in nats, mean over batch and dimensions: (...).

        Points count as normals of unit variance, so theirs is half the squared distance.
        """
        squared = (self.mean - other.mean).square()
        if self.logvar is None or other.logvar is None:
            return 0.5 * squared.mean((-2, -1))
        ratio = self.logvar - other.logvar
        return 0.5 * (ratio.exp() + squared * (-other.logvar).exp() - ratio - 1).mean((-2, -1))


class GaussianMap(RandomLayer):
    """One linear map from x (..., B, n_in) to the parameters of ``n_parts`` Gaussians of width ``n_out``.

    While training ``sample`` is mean + exp(logvar / 2) * eps, at evaluation the mean. ``variational=False``
    gives points: a plain linear map (variant ``dmil_fc``). ``initial_logvar`` is where the log variances start, one
    number or one per part: at zero the sample is nearly all noise until training has raised the means.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        n_parts: int = 1,
        groups: tuple[int, ...] = (),
        variational: bool = True,
        initial_logvar: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__()
        self.n_parts, self.variational = n_parts, variational
        self.map = Linear(n_in, n_parts * n_out * (2 if variational else 1), groups=groups)
        if variational:
            starts = torch.as_tensor(initial_logvar).expand(n_parts).repeat_interleave(n_out)
            self.map.bias.data[..., n_parts * n_out :] += starts

    def forward(self, x: Tensor) -> list[Gaussian]:
        if not self.variational:
            return [Gaussian(point, None, point) for point in self.map(x).chunk(self.n_parts, -1)]
        mean, logvar = self.map(x).chunk(2, -1)
        sample = mean + (0.5 * logvar).exp() * self.noise.normal(mean) if self.training else mean
        parts = zip(*(t.chunk(self.n_parts, -1) for t in (mean, logvar, sample)), strict=True)
        return [Gaussian(*part) for part in parts]
