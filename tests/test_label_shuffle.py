"""The label-shuffle control: no true training label takes part, and it ends at chance where its model would learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.methods import METHODS, rows
from benchmarks.methods.joint import JointMlp
from benchmarks.methods.label_shuffle import LabelShuffle
from benchmarks.registry import load_dataset
from benchmarks.suite import DEFAULT_SUITE, load_suite, suite_datasets
from dmil import Budget, Replica, Split, accuracy, fit, predict
from dmil.seeds import initialising
from dmil.settings import override
from sweeps.plan import ALL, check, plan_studies
from tests.made_problems import Problem, made_problem, small_settings
from tests.made_search import smallest_search

BUDGET = Budget(epochs=8)


def train(problem: Problem, seed: int = 0, epochs: int = 8) -> LabelShuffle:
    settings = small_settings(LabelShuffle, lr=1e-2, dropout=0.0)
    parts = (problem.train, problem.valid, problem.task)
    (result,) = fit(LabelShuffle, *parts, replicas=[Replica(seed, settings)], budget=replace(BUDGET, epochs=epochs))
    assert isinstance(result.method, LabelShuffle)
    return result.method


def drawn(model: LabelShuffle, problem: Problem) -> torch.Tensor:
    """The labels that training samples are given, (N,)."""
    output = model.train()({name: x.float() for name, x in problem.train.inputs.items()})
    n = len(problem.train)
    return model.labels[(n * output.extra["drawn"]).long().clamp(max=n - 1)]


@pytest.mark.parametrize("part", ["train", "valid"])
def test_no_true_label_takes_part(part: str) -> None:
    """Training or validation labels in another order give the same model to the last bit."""
    problem = made_problem()
    parts = {"train": problem.train, "valid": problem.valid}
    rolled = parts[part].target.roll(7)
    assert not torch.equal(rolled, parts[part].target)
    parts[part] = replace(parts[part], target=rolled)
    first, second = train(problem), train(Problem(parts["train"], parts["valid"], problem.task))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_drawn_labels_keep_the_shares_of_the_classes_and_say_nothing_of_the_true_ones() -> None:
    problem = made_problem(n_classes=3, n=3000)
    skewed = problem.train.target.clamp(max=1)  # 1000 of class 0, 2000 of class 1
    problem = replace(problem, train=replace(problem.train, target=skewed))
    model = train(problem, epochs=1)
    labels = drawn(model, problem)
    assert torch.equal(labels, drawn(model, problem)), "a sample keeps its label"
    assert labels.double().mean().item() == pytest.approx(2 / 3, abs=0.04)
    by_class = [labels[skewed == c].double().mean().item() for c in (0, 1)]
    assert by_class[0] == pytest.approx(by_class[1], abs=0.06)  # standard error 0.018


def test_every_replica_draws_labels_of_its_own() -> None:
    problem = made_problem(n=600)
    first, second = (drawn(train(problem, seed, epochs=1), problem) for seed in (0, 1))
    assert (first == second).double().mean().item() == pytest.approx(1 / 3, abs=0.1)


def test_it_starts_as_joint_mlp_does() -> None:
    problem, settings = made_problem(), small_settings(JointMlp)
    models = []
    for kind in (JointMlp, LabelShuffle):
        with initialising("init", 3):
            models.append(kind(settings, problem.train.dims, problem.task))
    states = [model.state_dict() for model in models]
    assert states[0].keys() == states[1].keys(), "neither labels nor the projection go into a checkpoint"
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_at_chance_where_joint_mlp_learns() -> None:
    problem = made_problem(n_classes=3, n=600)
    settings = override(small_settings(JointMlp, dropout=0.0), {"lr": 1e-2})
    parts = (problem.train, problem.valid, problem.task)
    found = {}
    for kind in (JointMlp, LabelShuffle):
        results = fit(kind, *parts, replicas=[Replica(seed, settings) for seed in range(4)], budget=Budget(epochs=12))
        other = made_problem(n_classes=3, n=600).train  # labels that selection has not seen
        scores = [accuracy(predict(one.method, other).logits, other.target) for one in results]
        found[kind] = sum(scores) / len(scores)
    assert found[JointMlp] > 0.6
    assert found[LabelShuffle] == pytest.approx(1 / 3, abs=0.08)


def test_it_is_kept_at_its_last_epoch_whatever_validation_says() -> None:
    problem, settings = made_problem(), small_settings(LabelShuffle)
    parts = (problem.train, problem.valid, problem.task)
    for epochs, last in ((1, 1), (9, 4)):
        (result,) = fit(LabelShuffle, *parts, replicas=[Replica(0, settings)], budget=Budget(epochs=epochs, patience=1))
        assert (result.best_epoch, len(result.history)) == (last, last)


def test_a_regression_draws_training_targets() -> None:
    problem = made_problem(is_regression=True)
    labels = drawn(train(problem, epochs=1), problem)
    assert set(labels.tolist()) <= set(problem.train.target.float().tolist())
    assert len(set(labels.tolist())) > 20


def test_shuffling_within_a_batch_would_leak() -> None:
    """Why labels are drawn otherwise: in batches of 16 and 27 classes a sample meets its own label three times as often
    as any other (1/16 + 15/16 * 1/27 against 15/16 * 1/27)."""
    target = torch.randint(27, (4000, 16), generator=torch.Generator().manual_seed(0))
    order = torch.rand(4000, 16, generator=torch.Generator().manual_seed(1)).argsort(-1)
    own = (target.gather(-1, order) == target).double().mean().item()
    assert own == pytest.approx(1 / 16 + 15 / 16 / 27, abs=0.005)
    assert own > 2 / 27


def test_it_is_a_control_in_every_leaderboard_and_never_ranked_among_methods() -> None:
    (row,) = rows(["label_shuffle"], ("a", "b"))
    assert (row.is_control, row.is_estimator) == (True, False)
    assert not any(one.is_control for one in rows([name for name in METHODS if name != "label_shuffle"], ("a", "b")))
    assert all("label_shuffle" in load_suite(DEFAULT_SUITE, name).methods for name in suite_datasets(DEFAULT_SUITE))


def test_a_sweep_over_all_methods_leaves_it_alone() -> None:
    options = smallest_search("digits", (ALL,))
    studies = plan_studies(options, check(options), load_dataset("digits"), device="cpu")
    names = [study.row.name for study in studies]
    assert "joint_mlp" in names
    assert "label_shuffle" not in names


def test_before_training_it_knows_one_label_of_each_class() -> None:
    data = Split({"a": torch.randn(8, 2)}, torch.zeros(8, dtype=torch.long))
    model = LabelShuffle(LabelShuffle.Settings(), data.dims, made_problem().task)
    assert model.labels.tolist() == [0, 1, 2]
