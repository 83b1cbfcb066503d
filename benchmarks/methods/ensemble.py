"""Independently trained unimodal models, combined only when they predict."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from benchmarks.methods.unimodal import Unimodal
from dmil.data import Inputs, Split, Task
from dmil.encoders import Sources
from dmil.method import Method, Output, Stage
from dmil.settings import Settings


class Ensemble(Method):
    """Mean of the members' class probabilities (regression: of their predictions).

    It trains nothing: its members are the unimodal models of the same seed, each selected by its own validation
    score, brought in by ``adopt``. Probabilities, not logits: a mean of logits is ruled by the member with the
    largest scale (Kontras et al., BMVC 2024, average logits).
    """

    def __init__(self, settings: Settings, sources: Sources, task: Task) -> None:
        super().__init__(settings, sources, task)
        self.members = nn.ModuleList(Unimodal(settings, {name: dim}, task) for name, dim in sources.items())

    @property
    def component_names(self) -> tuple[str, ...]:
        return tuple(f"M_{m}" for m in self.modalities)

    def adopt(self, members: Mapping[str, Unimodal]) -> None:
        """Takes over trained unimodal models, one for each modality, whatever their settings."""
        for name, member in members.items():
            if member.modalities != (name,):
                raise ValueError(f"the member for {name!r} was trained on {', '.join(member.modalities)}")
        self.members = nn.ModuleList(members[name] for name in self.modalities)

    def prepare(self, split: Split) -> None:
        """Raises ValueError: an ensemble is assembled, not fitted."""
        raise ValueError("an ensemble trains nothing; fit its unimodal members and let it `adopt` them")

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        return ()

    def forward(self, inputs: Inputs) -> Output:
        outputs = [member(inputs) for member in self.members]
        components = torch.stack([output.logits for output in outputs], -3)
        read = None if self.training else torch.cat([output.representation for output in outputs], -1)
        if self.task.kind == "regression":
            return Output(components.mean(-3), components, representation=read)
        mean = components.log_softmax(-1).logsumexp(-3) - math.log(len(self.members))
        return Output(mean, components, representation=read)
