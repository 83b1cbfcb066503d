"""More or fewer trials of the same study: what is there counts, and what comes later is what it would have been."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.trials import StudyPlan
from tests.made_search import opened, outcome, params, undisturbed
from tests.made_studies import made_study


@pytest.fixture
def plan() -> StudyPlan:
    return made_study(n_trials=22, population=8)


def test_a_smaller_number_of_trials_is_what_counts(tmp_path: Path, plan: StudyPlan) -> None:
    undisturbed(tmp_path, plan)
    with opened(tmp_path, replace(plan, n_trials=10)) as study:
        assert [one.number for one in study.configurations] == list(range(10))
        assert study.next() is None
        assert study.is_complete


def test_what_an_earlier_command_proposed_beyond_is_left_alone(tmp_path: Path, plan: StudyPlan) -> None:
    with opened(tmp_path, plan) as study:
        first, second = study.next(), study.next()
        assert first
        assert second
        study.finish(outcome(first))
    with opened(tmp_path, replace(plan, n_trials=8)) as study:
        assert study.next() is None
        assert study.is_complete
    with opened(tmp_path, plan) as study:
        assert study.next() == second


@pytest.mark.parametrize(("finished", "n_seen"), [((0, 1, 3), 16), ((0, 1, 2, 3), 16), ((0, 1, 2, 3), 26)])
def test_a_shorter_look_changes_no_later_proposal(tmp_path: Path, finished: tuple[int, ...], n_seen: int) -> None:
    plan = made_study(n_trials=40, population=8)
    expected = undisturbed(tmp_path / "undisturbed", plan)
    with opened(tmp_path / "seen", plan) as study:
        populations = [study.next(), study.next()]
        for k in finished:
            if population := populations[k]:
                study.finish(outcome(population))
            if len(populations) < 4:
                populations.append(study.next())
    with opened(tmp_path / "seen", replace(plan, n_trials=n_seen)) as study:
        assert study.is_complete
        study.settle()
    with opened(tmp_path / "seen", plan) as study:
        while population := study.next():
            assert params(population) == expected[population.number]
            study.finish(outcome(population))
        assert study.is_complete


def test_a_study_can_be_prolonged(tmp_path: Path, plan: StudyPlan) -> None:
    first = undisturbed(tmp_path, replace(plan, n_trials=16))
    with opened(tmp_path, replace(plan, n_trials=24)) as study:
        assert study.n_left == 8
        population = study.next()
        assert population is not None
        assert population.number == 2
        assert all(one not in [*first[0], *first[1]] for one in params(population))
