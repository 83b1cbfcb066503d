"""Parts that learn side by side are each kept as they were when they were best, whatever the others do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dmil import Budget, Replica, Task, fit
from dmil.data import Inputs
from dmil.method import LAST, PARTS, Method, Output, Stage
from dmil.parts import Parts
from dmil.selection import Selection
from dmil.stack import Stack, Streams
from tests.made_problems import made_problem

N_EPOCHS = 5
RIGHT = {"a": (10, 30, 20, 30, 0), "b": (10, 20, 30, 40, 50)}
"""Of 60 validation samples so many are said rightly after each epoch; together they are best after the second."""
TOGETHER = (10, 50, 20, 20, 20)


class Scripted(Method):
    """Counts its epochs in two parts, a buffer and the rest; what they predict is written down above."""

    keeps: str = PARTS
    epoch: Tensor

    def __init__(self, settings: Any, sources: Any, task: Task) -> None:
        super().__init__(settings, sources, task)
        self.a, self.b = (nn.ParameterDict({"count": nn.Parameter(torch.zeros(1))}) for _ in range(2))
        self.rest = nn.Parameter(torch.zeros(2))
        self.a.register_buffer("seen", torch.zeros(1))
        self.register_buffer("epoch", torch.zeros(1))

    @property
    def judged_parts(self) -> tuple[tuple[str, ...], ...]:
        return (("a.",), ("b.",))

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        return (Stage("scripted", epochs, keeps=self.keeps),)

    def start_epoch(self, epoch: int, train: object) -> None:
        with torch.no_grad():
            for value in (*self.parameters(), *self.buffers()):
                value.fill_(epoch)

    def gradients(self, loss: Tensor, output: Output, target: Tensor, parameters: Mapping[str, Tensor]) -> list[Tensor]:
        return [torch.zeros_like(value) for value in parameters.values()]

    def forward(self, inputs: Inputs) -> Output:
        first: Any = next(iter(inputs.values()))
        n = first.shape[-2]
        epoch = int(self.epoch.flatten()[0]) - 1
        said = [said_rightly(n, one[epoch]) for one in (TOGETHER, *RIGHT.values())]
        logits, *parts = (one.expand(*self.rest.shape[:-1], n, 2) for one in said)
        return Output(logits, extra={PARTS: torch.stack(parts, -3)})

    def loss(self, output: Output, target: Tensor, stage: str) -> Tensor:
        return self.rest.square().sum(-1)


def said_rightly(n: int, right: int) -> Tensor:
    """Logits of which the first say class 0, the others class 1; every target is 0."""
    return torch.where(torch.arange(n).unsqueeze(-1) < right, torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))


def scripted(keeps: str = PARTS, **budget: Any) -> Any:
    problem = made_problem(2)
    for part in (problem.train, problem.valid):
        part.target.zero_()
    kind: Any = type("Kept", (Scripted,), {"keeps": keeps})
    settings = kind.Settings(weight_decay=0.0)
    results = fit(
        kind,
        problem.train,
        problem.valid,
        Task(),
        replicas=[Replica(seed, settings) for seed in range(2)],
        budget=Budget(**{"epochs": N_EPOCHS, "patience": N_EPOCHS, **budget}),
    )
    assert all(one.status == "finished" for one in results)
    return results[1]


def test_each_part_is_that_of_its_own_best_epoch_and_the_rest_that_of_the_whole() -> None:
    """Part a says as many rightly after the second epoch as after the fourth: the earlier counts."""
    kept = {name: value.tolist() for name, value in scripted().method.state_dict().items()}
    assert kept == {"a.count": [2.0], "a.seen": [2.0], "b.count": [5.0], "rest": [2.0, 2.0], "epoch": [2.0]}


def test_the_last_epoch_is_kept_where_a_stage_says_so_and_validation_ends_nothing() -> None:
    result = scripted(LAST, patience=1, lr_patience=1)
    assert len(result.history) == result.best_epoch == N_EPOCHS
    assert {number for value in result.method.state_dict().values() for number in value.tolist()} == {5.0}


def test_a_part_whose_loss_is_not_finite_is_never_the_best() -> None:
    problem = made_problem(2)
    models = [Scripted(Scripted.Settings(), problem.train.dims, Task()) for _ in range(2)]
    stack = Stack(models, models[0].stages(1)[0], [Streams.of(seed, "cpu") for seed in range(2)])
    parts = Parts(stack)
    score = torch.tensor([[0.5, 0.9], [0.5, 0.5]])
    assert parts.update(score, torch.tensor([[1.0, math.nan], [1.0, math.inf]])) == [(0, 0), (1, 0)]
    assert parts.update(score, torch.tensor([[0.9, 2.0], [1.0, 1.0]])) == [(0, 0), (0, 1), (1, 1)]
    assert parts.update(score, torch.tensor([[0.9, 2.0], [1.1, 1.0]])) == []


def test_columns_of_parts_and_the_rest_are_all_columns_once() -> None:
    problem = made_problem(2)
    model = Scripted(Scripted.Settings(), problem.train.dims, Task())
    parts = Parts(Stack([model], model.stages(1)[0], [Streams.of(0, "cpu")]))
    assert sorted(torch.cat([*parts.columns, parts.rest]).tolist()) == [0, 1, 2, 3]
    assert [len(one) for one in parts.columns] == [1, 1]
    assert parts.buffers == [["a.seen"], []]


@pytest.mark.parametrize("is_last", [False, True])
def test_a_selection_of_the_last_epoch_takes_every_one(*, is_last: bool) -> None:
    selection = Selection(Budget(patience=1, lr_patience=1))
    taken = [selection.update(epoch, 1 / epoch, {"valid/loss": 1.0}, is_last=is_last) for epoch in (1, 2, 3)]
    assert taken == [True, is_last, is_last]
    assert selection.is_over is selection.is_plateau is not is_last
