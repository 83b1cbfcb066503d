"""A study: what Optuna is asked and told. The order in which results arrive, and kills, must not change a proposal."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from benchmarks.errors import UserError
from benchmarks.methods import METHODS
from benchmarks.trials import FAILED, FINISHED, PRUNED, ConfigurationRecord, PopulationRecord, StudyPlan
from dmil.settings import Settings
from sweeps.population import Population
from sweeps.space import distributions, outside, search_space, shared_names
from sweeps.study import STORAGE, Study
from tests.made_search import Asked, opened, outcome, params, undisturbed
from tests.made_studies import made_study


@pytest.fixture
def plan() -> StudyPlan:
    return made_study(n_trials=22, population=8)


def test_the_first_is_the_base_and_a_population_shares_its_shapes(tmp_path: Path, plan: StudyPlan) -> None:
    asked = undisturbed(tmp_path, plan)
    assert asked[0][0] == {name: plan.base[name] for name in plan.space}
    assert [len(population) for population in asked] == [8, 8, 6]
    for population in asked:
        assert len({one["width"] for one in population}) == 1
    everything = [tuple(one.values()) for population in asked for one in population]
    assert len(set(everything)) == 22
    for one in (one for population in asked for one in population):
        assert 1e-4 <= one["lr"] <= 1e-2
        assert 0 <= one["dropout"] <= 0.6


def test_arrival_order_changes_nothing(tmp_path: Path, plan: StudyPlan) -> None:
    """Two populations in flight, results in any order: the same proposals as one after another."""
    expected = undisturbed(tmp_path / "one", plan)
    for seed in range(3):
        chance = random.Random(seed)
        asked: dict[int, list[dict[str, Any]]] = {}
        flying: list[Population] = []
        with opened(tmp_path / f"many{seed}", plan) as study:
            while True:
                while population := study.next():
                    asked[population.number] = params(population)
                    flying.append(population)
                if not flying:
                    break
                assert len(flying) <= plan.ahead
                study.finish(outcome(flying.pop(chance.randrange(len(flying)))))
        assert [asked[k] for k in sorted(asked)] == expected


@pytest.mark.parametrize("moment", ["asked", "recorded"])
def test_a_killed_study_goes_on_with_the_same_configurations(tmp_path: Path, plan: StudyPlan, moment: str) -> None:
    """Closed after every single step, its results kept or lost."""
    expected = undisturbed(tmp_path / "one", plan)
    asked: dict[int, list[dict[str, Any]]] = {}
    lost: set[int] = set()
    for _ in range(100):
        with opened(tmp_path / "killed", plan) as study:
            population = study.next()
            if population is None:
                break
            asked.setdefault(population.number, params(population))
            assert asked[population.number] == params(population)
            if moment == "recorded" or population.number in lost:
                study.finish(outcome(population))
            lost.add(population.number)
    assert [asked[k] for k in sorted(asked)] == expected
    with opened(tmp_path / "killed", plan) as study, opened(tmp_path / "one", plan) as other:
        assert study.is_complete
        assert study.winner == other.winner


def test_killed_in_the_middle_of_a_proposal(tmp_path: Path, plan: StudyPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after Optuna was asked, at three configurations of the second population."""
    expected = undisturbed(tmp_path / "one", plan)
    real = optuna.Trial.set_user_attr
    for moment in (0, 3, 7):
        calls = iter(range(100))

        def attr(self: optuna.Trial, key: str, value: Any, calls: Iterator[int] = calls, at: int = moment) -> None:
            if next(calls) == at:
                raise KeyboardInterrupt
            real(self, key, value)

        folder = tmp_path / f"killed{moment}"
        with opened(folder, plan) as study:
            first = study.next()
            assert first
            study.finish(outcome(first))
            monkeypatch.setattr(optuna.Trial, "set_user_attr", attr)
            with pytest.raises(KeyboardInterrupt):
                study.next()
            monkeypatch.setattr(optuna.Trial, "set_user_attr", real)
        assert [params(first), *undisturbed(folder, plan)] == expected


def test_optuna_knows_every_result(tmp_path: Path, plan: StudyPlan) -> None:
    undisturbed(tmp_path, plan)
    study = optuna.load_study(storage=f"sqlite:///{tmp_path / STORAGE}", study_name=plan.key)
    trials = {trial.user_attrs["place"][1]: trial for trial in study.trials if "place" in trial.user_attrs}
    with opened(tmp_path, plan) as own:
        for one in own.configurations:
            trial = trials[one.number]
            assert trial.params == one.params
            if one.status == FINISHED:
                assert (trial.state.name, trial.value) == ("COMPLETE", one.score)
            else:
                assert trial.state.name == "PRUNED"
                assert trial.intermediate_values == ({} if one.status == FAILED else {3: one.score})


def test_it_learns(tmp_path: Path) -> None:
    """Sixty-four configurations: the last populations are nearer to the best learning rate than the first."""
    asked = undisturbed(tmp_path, made_study(n_trials=64, population=8))

    def distance(populations: Asked) -> float:
        found = [abs(math.log10(one["lr"] / 3e-3)) for population in populations for one in population]
        return sum(found) / len(found)

    assert distance(asked[-3:]) < 0.6 * distance(asked[:2])


def test_a_small_space_is_exhausted_without_a_repetition(tmp_path: Path, plan: StudyPlan) -> None:
    small = replace(plan, space={name: plan.space[name] for name in ("width", "lr", "dropout")}, population=3)
    small = replace(small, space=small.space | {"lr": {"choices": [1e-3, 1e-2]}, "dropout": {"choices": [0.5]}})
    with opened(tmp_path, small) as study:
        seen = []
        while population := study.next():
            seen += [tuple(one.params.values()) for one in population.configurations]
            made = [
                ConfigurationRecord(c.number, c.params, c.settings, FINISHED, 0.5, 0.5)
                for c in population.configurations
            ]
            study.finish(PopulationRecord(small.key, population.number, tuple(made), 1.0, 0, 1))
        assert study.is_complete
        assert study.is_exhausted
        assert len(seen) == len(set(seen)) == 8


@pytest.mark.parametrize("name", [STORAGE, "population-*.json"])
def test_damaged_files_are_named(tmp_path: Path, plan: StudyPlan, name: str) -> None:
    undisturbed(tmp_path, replace(plan, n_trials=8))
    (path,) = tmp_path.glob(name)
    path.write_bytes(b"{nonsense")
    with pytest.raises(UserError, match=name.split("*")[0]):
        Study(plan, tmp_path, base="joint", modalities=("a", "b"), shared=())
    path.unlink()
    if name == STORAGE:
        with pytest.raises(UserError, match="lacks populations that are there"):
            Study(plan, tmp_path, base="joint", modalities=("a", "b"), shared=())


def test_a_folder_that_cannot_be(tmp_path: Path, plan: StudyPlan) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write results"):
        Study(plan, tmp_path / "file" / "study", base="joint", modalities=("a", "b"), shared=())


def test_the_winner_was_trained_to_the_end(tmp_path: Path, plan: StudyPlan) -> None:
    with opened(tmp_path, plan) as study:
        population = study.next()
        assert population
        record = outcome(population)
        scores = (0.7, 0.8, 0.8, 0.95)
        made = [
            replace(one, status=FINISHED, score=score, loss=loss)
            for one, score, loss in zip(record.configurations, scores, (0.1, 0.3, 0.2, 0.1), strict=False)
        ]
        made[3] = replace(made[3], status=PRUNED)
        study.finish(replace(record, configurations=tuple(made)))
        assert study.winner == made[2]


def test_one_process_at_a_time(tmp_path: Path, plan: StudyPlan) -> None:
    with opened(tmp_path, plan), pytest.raises(UserError, match="another process is at work"):
        Study(plan, tmp_path, base="joint", modalities=("a", "b"), shared=())
    with opened(tmp_path, plan):
        pass


def test_a_failed_study_gives_nothing_more(tmp_path: Path, plan: StudyPlan) -> None:
    with opened(tmp_path, plan) as study:
        study.failure = "out of memory"
        assert study.next() is None
        assert study.n_left == 0
        assert not study.is_complete


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("constant", "ensemble")])
def test_spaces_hold_the_defaults_and_common_settings_alike(name: str) -> None:
    method = METHODS[name]
    space, common = search_space(method), search_space(METHODS["joint"])
    assert set(common) == {"lr", "weight_decay", "dropout", "batch_size", "width", "depth"}
    assert {setting: space[setting] for setting in common} == common
    assert not set(method.unused) & set(space)
    assert set(method.unused) < {entry.name for entry in fields(method.Settings)}
    assert outside(space, method.Settings()) == []
    assert set(shared_names(space, method.Settings())) >= {"batch_size", "width", "depth"}
    assert set(distributions(space)) == set(space)


def test_fixed_settings_leave_the_space_and_a_value_beyond_is_named() -> None:
    space = search_space(METHODS["joint"], {"width", "lr"})
    assert set(space) == {"weight_decay", "dropout", "batch_size", "depth"}
    assert outside(space, Settings(batch_size=48, dropout=0.1)) == ["batch_size=48 (32, 64, 128, 256)"]
