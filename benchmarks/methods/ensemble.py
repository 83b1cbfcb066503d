"""Independently trained unimodal models, combined only when they predict."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from benchmarks.methods.unimodal import Unimodal
from dmil.data import Task
from dmil.method import Method, Output, Stage
from dmil.settings import Settings


class Ensemble(Method):
    """Mean of the members' class probabilities (regression: of their predictions).

    It trains nothing: its members are the unimodal models of the same seed, each selected by its own validation
    score, brought in by ``adopt``. Probabilities, not logits: a mean of logits is ruled by the member with the
    largest scale (Kontras et al., BMVC 2024, average logits).
    """

    def __init__(self, settings: Settings, dims: Mapping[str, int], task: Task) -> None:
        super().__init__(settings, dims, task)
        self.members = nn.ModuleList(Unimodal(settings, {name: dim}, task) for name, dim in dims.items())

    @property
    def component_names(self) -> tuple[str, ...]:
        return tuple(f"M_{m}" for m in self.modalities)

    def adopt(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Takes over trained unimodal models; ``states`` maps each modality to a state dictionary."""
        for name, member in zip(self.modalities, self.members, strict=True):
            member.load_state_dict(states[name])

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        return ()

    def forward(self, inputs: Mapping[str, Tensor]) -> Output:
        components = torch.stack([member(inputs).logits for member in self.members], -3)
        if self.task.kind == "regression":
            return Output(components.mean(-3), components)
        mean = components.log_softmax(-1).logsumexp(-3) - torch.tensor(float(len(self.members))).log()
        return Output(mean, components)
