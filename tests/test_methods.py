"""The table of methods: rows, contracts that every method keeps, and what tells them apart."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch

from benchmarks.errors import UserError
from benchmarks.methods import FIELD, METHODS, Row, check_names, left_out, rows
from benchmarks.methods.ensemble import Ensemble
from benchmarks.methods.unimodal import Unimodal
from dmil import Budget, Method, Replica, Split, Task, accuracy, fit, predict, synergy_indicator
from dmil.stack import Stack, Streams
from tests.made_problems import NAMES, Problem, made_problem, small_settings, xor_problem

SMALL: dict[str, Any] = {"lr": 1e-2, "dropout": 0.2}


def trained(name: str, problem: Problem, *, epochs: int = 6, seed: int = 0, **settings: Any) -> Method:
    own = small_settings(METHODS[name], **(SMALL | settings))
    parts = (problem.train, problem.valid, problem.task)
    (result,) = fit(METHODS[name], *parts, replicas=[Replica(seed, own)], budget=Budget(epochs=epochs))
    assert result.status == "finished", result.error
    return result.method


def made_member(problem: Problem, modality: str, **settings: Any) -> Unimodal:
    member = trained("unimodal", problem.only(modality), **settings)
    assert isinstance(member, Unimodal)
    return member


def made_ensemble(problem: Problem) -> tuple[Ensemble, list[Unimodal]]:
    """Members of different widths, none that of the ensemble, and different depths, adopted in another order."""
    members = {m: made_member(problem, m, width=5 + 2 * i, depth=1 + i) for i, m in enumerate(problem.train.inputs)}
    model = Ensemble(small_settings(Ensemble), problem.train.dims, problem.task)
    model.adopt(dict(reversed(members.items())))
    return model, list(members.values())


@pytest.mark.parametrize("name", FIELD)
def test_what_a_method_cannot_take_is_refused_and_leaves_it_out(name: str) -> None:
    few = "factorises two modalities, but here are 1" if name == "factorcl" else "needs two or more modalities, but got"
    many = {name: "factorcl factorises two modalities, but here are 3"} if name == "factorcl" else {}
    regression = {name: f"{name} needs classes, but the task is a regression"}
    two = {"a": 3, "b": 4}
    assert left_out([name], {"a": 3}, Task())[name].startswith(f"{name} {few}")
    assert left_out([name], two, Task()) == {}
    assert left_out([name], two | {"c": 5}, Task()) == many
    assert left_out([name], two, Task("regression")) == (regression if name in ("pmr", "qmf", "factorcl") else {})
    with pytest.raises(ValueError, match=f"{name} {few}"):
        METHODS[name](METHODS[name].Settings(), {"a": 3}, Task())


def test_rows_of_unimodal_are_one_per_modality() -> None:
    assert rows(["unimodal"], ("b", "a")) == [
        Row("unimodal_b", "unimodal", ("b",)),
        Row("unimodal_a", "unimodal", ("a",)),
    ]
    assert rows(["unimodal_a"], ("b", "a")) == [Row("unimodal_a", "unimodal", ("a",))]


def test_an_ensemble_brings_its_members_before_it() -> None:
    assert [row.name for row in rows(["ensemble"], ("a", "b"))] == ["unimodal_a", "unimodal_b", "ensemble"]
    assert rows(["ensemble", "unimodal", "unimodal_a"], ("a", "b")) == rows(["ensemble"], ("a", "b"))


def test_rows_follow_the_table_whatever_is_asked_first() -> None:
    names = [row.name for row in rows(["dmil", "joint", "unimodal_b", "constant", "joint"], ("a", "b"))]
    assert names == ["constant", "unimodal_b", "joint", "dmil"]
    everything = rows(list(METHODS), ("a", "b", "c"))
    assert len(everything) == len(METHODS) - 1 + 3
    assert all(row.modalities == ("a", "b", "c") for row in everything if row.base != "unimodal")
    assert all(row.method is METHODS[row.base] for row in everything)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dmli", r"unknown method 'dmli'; did you mean 'dmil'\? known: constant, unimodal"),
        ("zzz", "unknown method 'zzz'; known: constant"),
        ("unimodal_c", "unknown method 'unimodal_c'; this dataset has unimodal_a, unimodal_b"),
    ],
)
def test_unknown_methods(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rows(["joint", name], ("a", "b"))


def test_a_name_that_some_dataset_may_know_passes_the_first_check() -> None:
    check_names(["unimodal_anything", *METHODS])
    with pytest.raises(UserError):
        check_names(["unimodl"])


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("n_modalities", [2, 3])
@pytest.mark.parametrize("is_regression", [False, True], ids=["classification", "regression"])
def test_every_method_trains_and_predicts(name: str, n_modalities: int, *, is_regression: bool) -> None:
    problem = made_problem(n_modalities, is_regression=is_regression)
    problem = problem.only(NAMES[0]) if name == "unimodal" else problem
    if why := METHODS[name].unfit(problem.train.dims, problem.task):
        with pytest.raises(ValueError, match=re.escape(why)):
            trained(name, problem)
        return
    model = made_ensemble(problem)[0] if name == "ensemble" else trained(name, problem)
    output = predict(model, problem.valid)
    width = 1 if is_regression else 3
    assert output.logits.shape == (60, width)
    assert output.logits.isfinite().all()
    k = len(model.component_names)
    if output.components is None:
        assert k == 0
    else:
        assert output.components.shape == (k, 60, width)
    if output.gate is not None:
        assert output.gate.shape == (60, k)


@pytest.mark.parametrize("name", METHODS)
def test_predictions_ignore_the_order_and_the_company_of_samples(name: str) -> None:
    problem = made_problem()
    problem = problem.only(NAMES[0]) if name == "unimodal" else problem
    model = made_ensemble(problem)[0] if name == "ensemble" else trained(name, problem)
    index = torch.tensor([41, 3, 17])
    some = Split({m: x[index] for m, x in problem.valid.inputs.items()}, problem.valid.target[index])
    assert torch.allclose(predict(model, some).logits, predict(model, problem.valid).logits[index], atol=1e-6)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("constant", "ensemble", "unimodal")])
def test_every_modality_reaches_the_prediction(name: str) -> None:
    problem = made_problem(3)
    if METHODS[name].unfit(problem.train.dims, problem.task):
        problem = made_problem(2)
    model = trained(name, problem)
    before = predict(model, problem.valid).logits
    for m, x in problem.valid.inputs.items():
        changed = Split(problem.valid.inputs | {m: x + 1}, problem.valid.target)
        assert not torch.allclose(predict(model, changed).logits, before, atol=1e-4), m


def test_constant_predicts_the_label_frequencies_of_the_split_it_is_given() -> None:
    target = torch.tensor([0, 1, 1, 3, 1, 0, 1, 1])
    data = Split({"a": torch.randn(8, 2)}, target)
    model = METHODS["constant"](METHODS["constant"].Settings(), data.dims, Task(n_classes=4))
    model.prepare(data)
    probabilities = predict(model, Split({"a": torch.randn(3, 2)}, torch.zeros(3))).logits.softmax(1)
    assert probabilities.tolist() == [pytest.approx([2 / 8, 5 / 8, 0.0, 1 / 8], abs=1e-6)] * 3


def test_constant_is_fitted_without_epochs() -> None:
    problem = made_problem()
    valid = Split(problem.valid.inputs, 2 - problem.valid.target)
    (result,) = fit(METHODS["constant"], problem.train, valid, problem.task)
    assert (result.status, result.history, result.n_params) == ("finished", [], 0)
    counts = problem.train.target.bincount()
    assert torch.equal(predict(result.method, valid).logits.argmax(1), counts.argmax().expand(60))


@pytest.mark.parametrize(("values", "median"), [([5.0, 1.0, 100.0], 5.0), ([-3.0, 7.0, 7.0, 7.0], 7.0)])
def test_constant_predicts_the_median_of_the_split_it_is_given(values: list[float], median: float) -> None:
    data = Split({"a": torch.zeros(len(values), 2)}, torch.tensor(values))
    model = METHODS["constant"](METHODS["constant"].Settings(), data.dims, Task("regression"))
    model.prepare(data)
    assert predict(model, data).logits.tolist() == [[median]] * len(values)


@pytest.mark.parametrize("n_modalities", [2, 3])
def test_ensemble_is_the_mean_of_its_members_probabilities(n_modalities: int) -> None:
    problem = made_problem(n_modalities)
    model, members = made_ensemble(problem)
    output = predict(model, problem.valid)
    parts = [problem.only(m).valid for m in problem.valid.inputs]
    alone = [predict(member, part).logits for member, part in zip(members, parts, strict=True)]
    assert output.components is not None
    assert torch.equal(output.components, torch.stack(alone))
    mean = torch.stack([logits.softmax(1) for logits in alone]).mean(0)
    assert torch.allclose(output.logits.exp(), mean, atol=1e-6)
    assert output.logits.exp().sum(1).tolist() == pytest.approx([1.0] * 60, abs=1e-5)


def test_ensemble_of_a_regression_is_the_mean_prediction() -> None:
    problem = made_problem(is_regression=True)
    model, _ = made_ensemble(problem)
    output = predict(model, problem.valid)
    assert output.components is not None
    assert torch.allclose(output.logits, output.components.mean(0))


def test_ensemble_of_two_classes_has_no_synergy() -> None:
    problem = made_problem(n_classes=2)
    output = predict(made_ensemble(problem)[0], problem.valid)
    assert output.components is not None
    assert synergy_indicator(output.logits, list(output.components), problem.valid.target) == 0.0


def test_ensemble_refuses_a_stranger() -> None:
    problem = made_problem()
    model, members = made_ensemble(problem)
    with pytest.raises(KeyError, match="audio"):
        model.adopt({"text": members[0]})


def test_an_ensemble_is_not_fitted() -> None:
    problem = made_problem()
    with pytest.raises(ValueError, match="an ensemble trains nothing; fit its unimodal members"):
        fit(Ensemble, problem.train, problem.valid, problem.task)


def test_unimodal_sees_one_modality() -> None:
    with pytest.raises(ValueError, match="a unimodal model sees one modality, but got 2: text, audio"):
        METHODS["unimodal"](METHODS["unimodal"].Settings(), {"text": 3, "audio": 4}, Task())


def test_late_fusion_averages_its_heads() -> None:
    problem = made_problem(3)
    output = predict(trained("late_fusion", problem), problem.valid)
    assert output.components is not None
    assert torch.allclose(output.logits, output.components.mean(0), atol=1e-6)


def test_learned_weights_start_equal_and_weigh_the_heads() -> None:
    problem = made_problem(3)
    kind = METHODS["late_fusion_learned"]
    model: Any = kind(kind.Settings(), problem.train.dims, problem.task)
    assert model.weights.tolist() == [0.0] * 3
    model.weights.data = torch.tensor([0.0, math.log(2), math.log(5)])
    output = predict(model, problem.valid)
    assert output.components is not None
    weighed = (output.components * torch.tensor([1 / 8, 2 / 8, 5 / 8]).reshape(3, 1, 1)).sum(0)
    assert torch.allclose(output.logits, weighed, atol=1e-6)


def test_learned_weights_are_free_of_decay() -> None:
    problem, kind = made_problem(), METHODS["late_fusion_learned"]
    model = kind(kind.Settings(), problem.train.dims, problem.task)
    stack = Stack([model], model.stages(1)[0], [Streams.of(0, "cpu")])
    assert stack.trained[-1] == "weights"
    assert stack.n_trained - stack.n_decay == 2


def test_baselines_have_the_heads_they_say() -> None:
    problem = made_problem()
    shapes = {
        name: {
            n: tuple(p.shape) for n, p in trained(name, problem, epochs=1).named_parameters() if n.endswith("weight")
        }
        for name in ("joint", "joint_mlp", "late_fusion")
    }
    encoders = {name for name in shapes["joint"] if name.startswith("encoders")}
    heads = {name: [s for n, s in own.items() if n not in encoders] for name, own in shapes.items()}
    assert heads == {
        "joint": [(16, 3)],
        "joint_mlp": [(16, 8), (8, 3)],
        "late_fusion": [(8, 8), (8, 3), (8, 8), (8, 3)],
    }


@pytest.mark.parametrize("name", ["joint", "late_fusion", "late_fusion_learned", "joint_mlp", "dmil_fc", "dmil"])
def test_xor_needs_more_than_a_sum_over_modalities(name: str) -> None:
    """A sum over modalities gets at most three of the four corners right."""
    problem = xor_problem()
    model = trained(name, problem, epochs=30, batch_size=64, width=16, dropout=0.0)
    right = accuracy(predict(model, problem.valid).logits, problem.valid.target)
    if name in ("joint_mlp", "dmil_fc", "dmil"):
        assert right > 0.9
    else:
        assert right < 0.8
