"""A study at work in a folder, without training: what it proposes gets results by a rule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.suite import DEFAULT_SUITE
from benchmarks.trials import FAILED, FINISHED, PRUNED, ConfigurationRecord, PopulationRecord, StudyPlan
from sweeps.plan import Options
from sweeps.population import Population
from sweeps.study import Study

Asked = list[list[dict[str, Any]]]


@contextmanager
def opened(folder: Path, plan: StudyPlan) -> Iterator[Study]:
    shared = tuple(name for name in plan.space if "choices" in plan.space[name])
    study = Study(plan, folder, base="joint", modalities=("a", "b"), shared=shared)
    try:
        yield study
    finally:
        study.close()


def outcome(population: Population) -> PopulationRecord:
    """Better the nearer the learning rate is to 3e-3; the worse half pruned, the middle one of five failed."""
    found = []
    for place, one in enumerate(population.configurations):
        score = 0.9 - 0.2 * abs(math.log10(one.params["lr"] / 3e-3)) - one.params["dropout"] / 100
        status = FAILED if place == 4 else PRUNED if score < 0.8 else FINISHED
        found.append(
            ConfigurationRecord(
                number=one.number,
                params=one.params,
                settings=one.settings,
                status=status,
                score=None if status == FAILED else score,
                loss=None if status == FAILED else 1 - score,
                pruned_at=3 if status == PRUNED else None,
            )
        )
    return PopulationRecord(population.study, population.number, tuple(found), seconds=1.0, started=0, ended=1)


def params(population: Population) -> list[dict[str, Any]]:
    return [one.params for one in population.configurations]


def undisturbed(folder: Path, plan: StudyPlan) -> Asked:
    asked: Asked = []
    with opened(folder, plan) as study:
        while population := study.next():
            asked.append(params(population))
            study.finish(outcome(population))
        assert study.is_complete
        study.settle()
    return asked


def smallest_search(dataset: str, methods: tuple[str, ...], *assignments: str) -> Options:
    """Of the leaderboard's suite: one trial of one seed and two epochs."""
    return Options(
        dataset,
        DEFAULT_SUITE,
        methods,
        trials=1,
        seeds=1,
        epochs=2,
        population=1,
        ahead=1,
        is_halving=False,
        assignments=assignments,
    )
