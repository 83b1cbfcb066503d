"""Configurations that leave a stack early: what stays must not notice, and the right ones must go."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks.methods import METHODS
from dmil.method import Stage
from dmil.selection import Budget, Selection
from dmil.train import FitResult, Prune, Replica, fit
from sweeps.halving import RUNGS, Halving, rung_epochs
from tests.made_problems import assert_close, made_problem, small_settings

BUDGET = Budget(epochs=12, patience=4, lr_patience=2)
TRAIN = Stage("train", 20)
TOLERANCE = 1e-10


def trained(name: str, replicas: list[Replica], prune: Prune | None = None) -> list[FitResult]:
    problem = made_problem()
    parts = (problem.train, problem.valid, problem.task)
    return fit(METHODS[name], *parts, replicas=replicas, budget=BUDGET, prune=prune, dtype=torch.float64)


def assert_same_epochs(result: FitResult, expected: list[dict[str, Any]]) -> None:
    for mine, its in zip(result.history, expected, strict=True):
        assert_close(mine, its, TOLERANCE)


def at(epoch: int, *dropped: int) -> Prune:
    def prune(now: int, stage: Stage, selections: Mapping[int, Selection]) -> Collection[int]:
        return dropped if now == epoch else ()

    return prune


@pytest.mark.parametrize("name", ["joint", "dmil"])
@pytest.mark.parametrize("epoch", [1, 3, 9])
def test_dropped_replicas_end_there_and_the_others_do_not_notice(name: str, epoch: int) -> None:
    """Epochs 1 and 3 of dmil lie in its first stage, 9 in its last: what was dropped must not come back."""
    settings = small_settings(METHODS[name], lr=2e-2)
    replicas = [Replica(seed, settings) for seed in range(4)]
    whole = trained(name, replicas)
    thinned = trained(name, replicas, at(epoch, 1, 2))
    for seed in (0, 3):
        assert thinned[seed].status == "finished"
        assert_same_epochs(thinned[seed], whole[seed].history)
        assert_close(thinned[seed].best, whole[seed].best, TOLERANCE)
    for seed in (1, 2):
        assert thinned[seed].status == "pruned"
        assert_same_epochs(thinned[seed], whole[seed].history[:epoch])
        stage = thinned[seed].history[-1]["stage"]
        seen = [entry for entry in thinned[seed].history if entry["stage"] == stage]
        best = max(seen, key=lambda entry: (entry["valid/acc"], -entry["valid/loss"]))
        assert (thinned[seed].best_epoch, thinned[seed].best["valid/acc"]) == (best["epoch"], best["valid/acc"])


def test_dropping_everyone_ends_the_training() -> None:
    results = trained("dmil", [Replica(seed, small_settings(METHODS["dmil"])) for seed in range(2)], at(2, 0, 1))
    assert [(result.status, len(result.history)) for result in results] == [("pruned", 2)] * 2


def selection(score: float, loss: float = 1.0, *, is_over: bool = False) -> Selection:
    return Selection(BUDGET, score=score, loss=loss, epoch=1, waited=BUDGET.patience if is_over else 0)


def halving(n: int, rungs: Mapping[int, float], n_seeds: int = 2) -> Halving:
    return Halving(n, n_seeds, rungs, TRAIN.name)


def test_the_worst_by_the_mean_over_seeds_go() -> None:
    """Four configurations of two seeds, means .6, .7, .5, .65: the second and fourth stay."""
    prune = halving(4, {3: 0.5})
    scores = [0.9, 0.3, 0.7, 0.7, 0.5, 0.5, 0.6, 0.7]
    seen = {replica: selection(score) for replica, score in enumerate(scores)}
    assert prune(2, TRAIN, seen) == set()
    assert prune(3, TRAIN, seen) == {0, 1, 4, 5}
    assert prune.pruned_at == {0: 3, 2: 3}


def test_a_spared_one_stays_beside_those_that_are_kept() -> None:
    prune = Halving(4, 1, {1: 0.5, 2: 0.25}, TRAIN.name, spared={0})
    seen = {replica: selection(score) for replica, score in enumerate((0.1, 0.2, 0.3, 0.4))}
    assert prune(1, TRAIN, seen) == {1}
    assert prune(2, TRAIN, {replica: seen[replica] for replica in (0, 2, 3)}) == {2}
    best = Halving(4, 1, {1: 0.5}, TRAIN.name, spared={0})
    assert best(1, TRAIN, {replica: selection(1 - replica / 10) for replica in range(4)}) == {2, 3}


def test_ties_go_by_loss_and_then_by_place() -> None:
    prune = halving(4, {1: 0.5}, n_seeds=1)
    seen = {0: selection(0.5, 0.9), 1: selection(0.5, 0.8), 2: selection(0.5, 0.8), 3: selection(0.5, 0.7)}
    assert prune(1, TRAIN, seen) == {0, 2}


def test_a_failed_seed_takes_its_configuration_with_it() -> None:
    """Replica 1 trained in epoch 1 but not in epoch 2: its sibling leaves too, and nobody takes its place."""
    prune = halving(3, {3: 0.5})
    everyone = {replica: selection(0.5 + replica / 100) for replica in range(6)}
    assert prune(1, TRAIN, everyone) == set()
    left = {replica: one for replica, one in everyone.items() if replica != 1}
    assert prune(2, TRAIN, left) == {0, 1}
    assert prune(3, TRAIN, {replica: one for replica, one in left.items() if replica > 1}) == {2, 3}
    assert prune.broken == {0}
    assert prune.pruned_at == {1: 3}


def test_one_that_has_ended_is_not_called_pruned() -> None:
    prune = halving(2, {5: 0.5}, n_seeds=1)
    assert prune(4, TRAIN, {0: selection(0.4, is_over=True), 1: selection(0.6)}) == set()
    assert prune(5, TRAIN, {1: selection(0.6)}) == set()
    assert prune.pruned_at == {}
    earlier = Halving(2, 1, {5: 0.5}, "joint")
    earlier(4, TRAIN, {0: selection(0.4, is_over=True), 1: selection(0.6)})
    assert earlier(5, TRAIN, {1: selection(0.6)}) == {0}, "it would have gone on in the next stage"


def test_rungs_by_hand() -> None:
    single = (Stage("train", 60),)
    assert rung_epochs(RUNGS, single) == {7: 1 / 2, 20: 1 / 8}
    staged = (Stage("intra", 10), Stage("decomposition", 5), Stage("joint", 45))
    assert rung_epochs(RUNGS, staged) == {7: 1 / 2, 20: 1 / 8}
    late = (Stage("intra", 20), Stage("decomposition", 10), Stage("joint", 30))
    assert rung_epochs(RUNGS, late) == {7: 1 / 2, 33: 1 / 8}
    assert rung_epochs((), single) == {}
    assert rung_epochs(RUNGS, (Stage("train", 1),)) == {}


def test_a_failing_configuration_leaves_the_real_stack() -> None:
    """With a learning rate that explodes; the others' numbers are those without it."""
    settings = small_settings(METHODS["joint"])
    bad = replace(settings, lr=1e30)
    replicas = [Replica(seed, one) for one in (bad, settings) for seed in range(2)]
    prune = Halving(2, 2, {}, "train")
    results = trained("joint", replicas, prune)
    alone = trained("joint", replicas[2:])
    assert prune.broken == {0}
    assert [result.status for result in results] == ["failed", "failed", "finished", "finished"]
    for mine, its in zip(results[2:], alone, strict=True):
        assert_same_epochs(mine, its.history)
