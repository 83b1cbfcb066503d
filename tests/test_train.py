"""``fit``: equal to the plain loop, selected on validation, failing one replica at a time."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch

from benchmarks.methods import FIELD, METHODS
from benchmarks.methods.joint import Joint
from dmil import Budget, DmilFc, FitResult, Method, Replica, Split, Stage, Task, fit, predict
from dmil.model import DECOMPOSITION, INTRA, JOINT
from dmil.selection import Selection
from dmil.settings import Settings
from tests.made_problems import Problem, assert_close, made_problem, plain_fit, plain_validation, small_settings

SMALL: dict[str, Any] = {"lr": 1e-2, "dropout": 0.0}


def train(method: type[Method], problem: Problem, *seeds: int, budget: Budget, **settings: Any) -> list[FitResult]:
    replicas = [Replica(seed, small_settings(method, **(SMALL | settings))) for seed in seeds or (0,)]
    parts = (problem.train, problem.valid, problem.task)
    return fit(method, *parts, replicas=replicas, budget=budget, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("joint_mlp", {}),
        ("joint_mlp", {"dropout": 0.4, "depth": 2}),
        ("late_fusion_learned", {"weight_decay": 1.0}),
        ("dmil_fc", {}),
        ("dmil_fc", {"dropout": 0.3}),
        ("dmil", {}),
        ("dmil", {"dropout": 0.3, "synergy_depth": 1, "variational": 0.5}),
        ("dmil_id", {"dropout": 0.3}),
        ("dmil_cd", {}),
        ("umt", {}),
        ("i2m2", {"lr": 3e-2}),
    ],
)
@pytest.mark.parametrize("is_regression", [False, True], ids=["classification", "regression"])
def test_equals_the_plain_loop(name: str, settings: dict[str, Any], *, is_regression: bool) -> None:
    """Two replicas of a stack against two plain trainings: stages, freezing, restored states, clipping, plateaus."""
    problem = made_problem(2, is_regression=is_regression)
    budget = Budget(epochs=24, patience=6, lr_patience=2, lr_factor=0.3, max_grad_norm=0.8)
    stacked = train(METHODS[name], problem, 0, 1, budget=budget, **settings)
    plain = [plain_fit(METHODS[name], problem, r.replica.seed, r.method.settings, budget) for r in stacked]
    for result, reference in zip(stacked, plain, strict=True):
        assert result.best_epoch == reference.best_epoch
        assert len(result.history) == len(reference.history)
        for mine, its in zip(result.history, reference.history, strict=True):
            assert_close({k: mine[k] for k in its}, its, 1e-8)
        for key, value in reference.method.state_dict().items():
            assert torch.allclose(result.method.state_dict()[key], value, rtol=0, atol=1e-8), key
    assert sum(reference.n_plateaus for reference in plain) > 0
    assert sum(reference.n_clipped for reference in plain) > 0


LEARNED = sorted({*METHODS} - {"constant", "ensemble", "unimodal", "label_shuffle"})


def test_the_plain_comparison_covers_early_stops() -> None:
    problem, budget = made_problem(), Budget(epochs=40, patience=3)
    (result,) = train(METHODS["joint_mlp"], problem, budget=budget)
    reference = plain_fit(METHODS["joint_mlp"], problem, 0, result.method.settings, budget)
    assert reference.stopped == ["train"]
    assert len(result.history) == len(reference.history) < 40


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in FIELD)) for name in LEARNED])
@pytest.mark.parametrize("is_regression", [False, True], ids=["classification", "regression"])
def test_the_model_is_that_of_its_best_epoch(name: str, *, is_regression: bool) -> None:
    problem = made_problem(2, is_regression=is_regression)
    if METHODS[name].unfit(problem.train.dims, problem.task):
        return
    for result in train(METHODS[name], problem, 0, 1, budget=Budget(epochs=15), dropout=0.3):
        last = [row for row in result.history if row["stage"] == result.history[-1]["stage"]]
        score = "valid/mae" if is_regression else "valid/acc"
        sign = 1 if is_regression else -1
        best = min(last, key=lambda row: (sign * row[score], row["valid/loss"]))
        assert result.best_epoch == best["epoch"]
        assert result.best == {k: best[k] for k in ("train/loss", "valid/loss", score)}
        value, loss = plain_validation(result.method, problem)
        assert result.best[score] == pytest.approx(abs(value), rel=0, abs=1e-12)
        assert result.best["valid/loss"] == pytest.approx(loss, rel=0, abs=1e-12)


def test_epochs_are_numbered_through_the_stages() -> None:
    problem = made_problem()
    (result,) = train(DmilFc, problem, budget=Budget(epochs=9))
    assert [(row["epoch"], row["stage"]) for row in result.history] == [
        *((e, INTRA) for e in (1, 2, 3)),
        *((e, DECOMPOSITION) for e in (4, 5, 6)),
        *((e, JOINT) for e in (7, 8, 9)),
    ]


class FirstStage(DmilFc):
    """Stops after the first stage."""

    n_stages: ClassVar[int] = 1

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        return super().stages(epochs)[: self.n_stages]


class TwoStages(FirstStage):
    n_stages = 2


def test_what_a_stage_does_not_train_stays_as_the_stage_before_left_it() -> None:
    problem = made_problem()
    (first,) = train(FirstStage, problem, budget=Budget(epochs=12), dropout=0.3)
    (second,) = train(TwoStages, problem, budget=Budget(epochs=12), dropout=0.3)
    moved = {
        name.split(".")[0]
        for name, value in second.method.named_parameters()
        if not torch.equal(value, first.method.get_parameter(name))
    }
    assert moved == {"synergy", "consistency", "heads"}
    assert first.best_epoch <= 4 < second.best_epoch


def test_selection_prefers_the_score_then_the_loss_then_the_earlier() -> None:
    selection = Selection(Budget(patience=3, lr_patience=2))
    scores = [(0.5, 1.0), (0.6, 2.0), (0.6, 1.9), (0.6, 1.9), (0.5, 0.1), (0.7, 9.0)]
    taken = [selection.update(e, s, {"valid/loss": loss}) for e, (s, loss) in enumerate(scores, start=1)]
    assert taken == [True, True, True, False, False, True]
    assert (selection.epoch, selection.metrics, selection.waited) == (6, {"valid/loss": 9.0}, 0)


def test_selection_waits_for_its_patience() -> None:
    selection = Selection(Budget(patience=5, lr_patience=2))
    states = []
    for epoch in range(1, 7):
        selection.update(epoch, 0.5, {"valid/loss": 1.0})
        states.append((selection.is_plateau, selection.is_over))
    assert states == [(False, False), (False, False), (True, False), (False, False), (True, False), (False, True)]


@pytest.mark.parametrize("lr", [1e6, 1e30])
def test_a_replica_that_is_not_finite_fails_with_its_reason(lr: float) -> None:
    problem = made_problem()
    good = small_settings(METHODS["joint"], **SMALL)
    replicas = [Replica(0, good), Replica(1, replace(good, lr=lr)), Replica(2, good)]
    results = fit(METHODS["joint"], problem.train, problem.valid, problem.task, replicas=replicas)
    assert [r.status for r in results] == ["finished", "failed", "finished"]
    assert results[1].error
    assert results[1].error.startswith("training loss or gradient not finite in epoch ")
    assert results[1].error.endswith(", stage train")
    assert results[0].error is None
    assert len(results[1].history) < len(results[0].history)
    assert results[1].best == {}


def test_all_replicas_may_fail() -> None:
    problem = made_problem()
    results = train(METHODS["dmil"], problem, 0, 1, budget=Budget(epochs=9), lr=1e30)
    assert [r.status for r in results] == ["failed", "failed"]
    assert all(len(r.history) == 1 for r in results)


def test_a_validation_loss_that_is_not_finite_is_told_apart() -> None:
    problem = made_problem()
    valid = replace(problem.valid, inputs={m: x + float("nan") for m, x in problem.valid.inputs.items()})
    (result,) = fit(METHODS["joint"], problem.train, valid, problem.task, budget=Budget(epochs=5))
    assert (result.status, result.error) == ("failed", "validation loss not finite in epoch 1, stage train")


TRAIN, VALID, FLOATS = made_problem().train, made_problem().valid, made_problem(is_regression=True)


def part(split: Split, n: int = 60, *, add: int = 0) -> Split:
    return Split({m: x[:n] for m, x in split.inputs.items()}, split.target[:n] + add)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"replicas": []}, "one replica or more, but got none"),
        ({"replicas": [Replica(), Replica(1, Settings())]}, "Dmil takes DmilSettings, but got Settings"),
        ({"train": part(TRAIN, add=1)}, r"training targets must lie in 0\.\.2, but got 1\.\.3"),
        ({"valid": part(VALID, add=-1)}, r"validation targets must lie in 0\.\.2, but got -1\.\.1"),
        ({"task": Task(n_classes=2)}, r"training targets must lie in 0\.\.1, but got 0\.\.2"),
        ({"train": FLOATS.train}, r"training targets must be class indices \(int64\), but got torch\.float64"),
        ({"valid": FLOATS.valid}, r"validation targets must be class indices \(int64\), but got torch\.float64"),
        ({"task": Task("regression")}, r"training targets of a regression must be floating point.* torch\.int64"),
        ({"valid": made_problem(3).valid}, r"training data has \{'text': \(3,\), .*\}, but valid.*'video': \(5,\)"),
        ({"valid": made_problem().only("text").valid}, r"but validation data \{'text': \(3,\)\}"),
        ({"train": part(TRAIN, 0)}, "the training split is empty"),
        ({"valid": part(VALID, 0)}, "the validation split is empty"),
    ],
)
def test_what_cannot_be_fitted_is_refused(changed: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"train": TRAIN, "valid": VALID, "task": Task(n_classes=3)} | changed
    with pytest.raises(ValueError, match=message):
        fit(METHODS["dmil"], given.pop("train"), given.pop("valid"), given.pop("task"), **given)


def test_settings_that_a_stack_shares_must_be_equal() -> None:
    settings, parts = METHODS["joint"].Settings(), (TRAIN, VALID, Task(n_classes=3))
    other = replace(settings, width=settings.width // 2, batch_size=settings.batch_size // 2, lr=0.5)
    with pytest.raises(ValueError, match="must share batch_size, width; train them in separate calls"):
        fit(METHODS["joint"], *parts, replicas=[Replica(0, settings), Replica(0, other)])


def test_training_cannot_be_given_test_data() -> None:
    parameters = inspect.signature(fit).parameters
    splits = [name for name, p in parameters.items() if p.annotation == "Split"]
    assert splits == ["train", "valid"]
    assert not any("test" in name or name == "splits" for name in parameters)
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters.values())


def test_training_does_not_change_its_data_or_the_global_random_state() -> None:
    problem = made_problem()
    copies = {m: x.clone() for m, x in problem.train.inputs.items()}
    state = torch.random.get_rng_state()
    train(METHODS["dmil"], problem, budget=Budget(epochs=3), dropout=0.3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(x, copies[m]) for m, x in problem.train.inputs.items())


def test_validation_data_select_but_do_not_train() -> None:
    """With other validation targets the epochs are the same numbers until one of the two trainings reacts to them."""
    problem = made_problem()
    shuffled = replace(problem.valid, target=problem.valid.target.flip(0))
    budget = Budget(epochs=6)
    (one,) = train(METHODS["joint_mlp"], problem, budget=budget)
    (other,) = train(METHODS["joint_mlp"], Problem(problem.train, shuffled, problem.task), budget=budget)
    assert [row["train/loss"] for row in one.history] == [row["train/loss"] for row in other.history]
    assert [row["valid/loss"] for row in one.history] != [row["valid/loss"] for row in other.history]


def test_on_epoch_hears_of_every_replica_that_still_trains() -> None:
    problem, heard = made_problem(), []

    def on_epoch(epoch: int, report: Mapping[int, Mapping[str, float]]) -> None:
        heard.append((epoch, {i: dict(metrics) for i, metrics in report.items()}))

    settings = small_settings(METHODS["joint"], **SMALL)
    replicas = [Replica(0, replace(settings, lr=1e30)), Replica(1, settings)]
    parts = (problem.train, problem.valid, problem.task)
    results = fit(METHODS["joint"], *parts, replicas=replicas, budget=Budget(epochs=3), on_epoch=on_epoch)
    assert [(epoch, set(report)) for epoch, report in heard] == [(1, {0, 1}), (2, {1}), (3, {1})]
    told = [{"epoch": epoch, "stage": "train", **report[1]} for epoch, report in heard]
    assert told == results[1].history


class Headless(Joint):
    """Rewrites its gradients: the head's are dropped."""

    def adjust_gradients(self, gradients: Mapping[str, torch.Tensor], output: Any, target: torch.Tensor) -> None:
        assert output.logits.shape[:2] == target.shape
        for name, gradient in gradients.items():
            assert gradient.shape == self.get_parameter(name).shape
            if name.startswith("head"):
                gradient.zero_()


def test_a_method_may_rewrite_its_gradients() -> None:
    problem, budget = made_problem(), Budget(epochs=2)
    start, end = (train(Headless, problem, budget=budget, lr=lr, weight_decay=0.0)[0].method for lr in (0.0, 1e-2))
    for name, value in start.named_parameters():
        assert torch.equal(value, end.get_parameter(name)) == name.startswith("head"), name


def test_predictions_come_in_order_and_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = made_problem(3)
    (result,) = train(METHODS["dmil"], problem, budget=Budget(epochs=3))
    whole = predict(result.method, problem.valid)
    assert whole.logits.shape == (60, 3)
    assert whole.components is not None
    assert whole.components.shape == (5, 60, 3)
    assert whole.gate is not None
    assert whole.gate.shape == (60, 5)
    assert not whole.logits.requires_grad
    monkeypatch.setattr("dmil.feed.EVALUATION_ROWS", 7)
    blocks = predict(result.method, problem.valid)
    for name in ("logits", "components", "gate"):
        assert torch.allclose(getattr(whole, name), getattr(blocks, name), rtol=0, atol=1e-13)
    (row,) = predict(result.method, Split({m: x[8:9] for m, x in problem.valid.inputs.items()}, torch.zeros(1))).logits
    assert torch.allclose(row, whole.logits[8], rtol=0, atol=1e-13)


def test_defaults_are_one_replica_in_float32() -> None:
    problem = made_problem()
    (result,) = fit(METHODS["joint"], problem.train, problem.valid, problem.task, budget=Budget(epochs=1))
    assert (result.replica, result.status) == (Replica(0), "finished")
    assert {p.dtype for p in result.method.parameters()} == {torch.float32}
    assert result.method.settings == METHODS["joint"].Settings()
    assert not result.method.training
    model = Joint(Settings(), problem.train.dims, Task(n_classes=3))
    assert result.n_params == sum(p.numel() for p in model.parameters())
    assert result.seconds > 0
