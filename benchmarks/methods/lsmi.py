"""Not a competitor but an instrument: the information that each sample holds, estimated by LSMI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from dmil.data import Inputs, Split, Task
from dmil.encoders import FEATURES, Sources, sources_of, told
from dmil.interactions import lsmi
from dmil.interactions.knife import Knife
from dmil.interactions.training import Features, Schedule
from dmil.method import Method, Output
from dmil.settings import Settings, tunable
from dmil.train import OnEpoch


@dataclass(frozen=True)
class EstimatorSettings(Settings):
    """Those of LSMI's authors. n_components: principal components of each modality, 0 for the columns as they are (of
    modalities of unlike width, as many components as the narrower one has columns). ``width`` is that of the
    discriminators; dropout, weight decay and depth are not used."""

    batch_size: int = tunable(32, choices=(32, 64, 128, 256), least=1, per_replica=False)
    width: int = tunable(64, choices=(32, 64, 128, 256), least=1, per_replica=False)
    n_components: int = tunable(0, per_replica=False)
    n_kernels: int = tunable(5, choices=(5, 10, 20, 30), least=1, per_replica=False)
    epochs: int = tunable(30, choices=(10, 30, 60), least=1, per_replica=False)


class Lsmi(Method):
    """LSMI, an estimator: its predictions are those of the discriminator that sees both modalities.

    Two modalities and classes. ``fit_lsmi`` trains its networks, a stack of all seeds, on the training split for a
    fixed number of epochs; nothing is selected on validation.
    """

    Settings = EstimatorSettings
    has_representation: ClassVar[bool] = False
    log_prior: Tensor

    def __init__(self, settings: EstimatorSettings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        if why := self.unfit(sources, task):
            raise ValueError(why)
        widths = tuple(source.shape[0] for source in told(sources).values())
        n = settings.n_components or min(widths)
        self.discriminators = lsmi.Discriminators((n, n), task.n_classes, settings.width)
        self.densities = torch.nn.ModuleList(Knife(n, settings.n_kernels) for _ in widths)
        self.register_buffer("log_prior", torch.zeros(1, task.n_classes))
        for m, width in enumerate(widths, 1):
            self.register_buffer(f"mean{m}", torch.zeros(1, 1, width))
            self.register_buffer(f"matrix{m}", torch.zeros(1, width, n))

    @classmethod
    def unfit(cls, sources: Sources, task: Task) -> str | None:
        """Why LSMI cannot take such a task; None if it can."""
        if len(sources) != 2:
            return f"lsmi compares two modalities, but here are {len(sources)}"
        for name, source in told(sources).items():
            if source.kind != FEATURES:
                return f"lsmi compares features, but {name} is {source.kind}"
        return None if task.kind == "classification" else f"lsmi needs classes, but the task is a {task.kind}"

    def prepare(self, split: Split) -> None:
        """Raises ValueError: ``fit_lsmi`` trains it, not ``fit``."""
        raise ValueError("lsmi is an estimator; fit_lsmi trains its networks")

    def adopt(self, fitted: lsmi.Lsmi, row: int) -> None:
        """Takes over the networks of one seed."""
        pairs = [(self.discriminators, fitted.discriminators), *zip(self.densities, fitted.densities, strict=True)]
        with torch.no_grad():
            for own, stack in pairs:
                for mine, theirs in zip(own.parameters(), stack.parameters(), strict=True):
                    mine.copy_(theirs[row])
            for m, features in enumerate(fitted.features, 1):
                self.get_buffer(f"mean{m}").copy_(features.mean[row])
                self.get_buffer(f"matrix{m}").copy_(features.matrix[row])
            self.log_prior.copy_(fitted.log_prior[row])

    @property
    def estimator(self) -> lsmi.Lsmi:
        """The same networks as an estimator of one seed."""
        features = [Features(self.get_buffer(f"mean{m}"), self.get_buffer(f"matrix{m}")) for m in (1, 2)]
        densities = [density for density in self.densities if isinstance(density, Knife)]
        return lsmi.Lsmi((features[0], features[1]), self.discriminators, (densities[0], densities[1]), self.log_prior)

    def forward(self, inputs: Inputs) -> Output:
        x1, x2 = (x for x in map(inputs.__getitem__, self.modalities) if isinstance(x, Tensor))
        return Output(self.estimator.log_prob(x1, x2)[2].squeeze(0))

    def information(self, split: Split) -> dict[str, Tensor]:
        """info_r, info_u1, info_u2, info_s of each sample, (N,) nats, adjusted by the means of this split."""
        x1, x2 = (split.inputs[name] for name in self.modalities)
        found = self.estimator.estimate(x1, x2, split.target)
        return {f"info_{name}": term.squeeze(0) for name, term in found.adjusted().items()}


def fit_lsmi(
    settings: EstimatorSettings,
    train: Split,
    task: Task,
    *,
    seeds: Sequence[int],
    epochs: int,
    device: str,
    on_epoch: OnEpoch | None = None,
) -> list[Lsmi]:
    """One trained estimator for each seed. epochs: of the budget, where that is shorter than the settings'.

    Raises:
        ValueError: a task that LSMI cannot take, or settings that do not fit.
    """
    models = [Lsmi(settings, sources_of(train), task) for _ in seeds]
    n_epochs = min(settings.epochs, epochs)
    schedule = Schedule(n_epochs, settings.batch_size, settings.lr, step=max(1, n_epochs // 2))
    whole = lsmi.LsmiSettings(
        n_components=settings.n_components or None,
        hidden=settings.width,
        n_kernels=settings.n_kernels,
        discriminators=schedule,
        densities=replace(schedule, step=max(1, 2 * n_epochs // 3)),
    )
    data = train.to(device)
    x1, x2 = data.inputs.values()
    n_done = 0

    def tick(name: str, epoch: int) -> None:
        """Three networks, one after the other, are shown as one training of the budget's epochs."""
        nonlocal n_done
        n_done += 1
        if on_epoch:
            on_epoch(epochs * n_done // (3 * n_epochs), {})

    fitted = lsmi.fit_lsmi(x1, x2, data.target, task.n_classes, seeds=seeds, settings=whole, on_epoch=tick)
    for row, model in enumerate(models):
        model.adopt(fitted, row)
    return [model.eval() for model in models]
