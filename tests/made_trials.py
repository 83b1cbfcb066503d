"""Configurations and studies as tracking knows them, made by hand: for tests of the sweep report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.trials import FAILED, FINISHED, PRUNED, StudyPlan, StudyRow, Trial
from reports.sweep import Study, Sweep, build_sweep
from reports.sweep_tables import summary
from tests.made_studies import EPOCHS, made_params, made_study


def trial(number: int, score: float | None, status: str = FINISHED, **changes: Any) -> Trial:
    """Two seeds; finished after 9 epochs each, pruned after 3, failed after 1; populations of eight."""
    at = {FINISHED: EPOCHS, PRUNED: 3, FAILED: 1}[status]
    made = Trial(
        number=number,
        population=number // 8,
        params=made_params(number),
        status=status,
        score=score,
        loss=None if score is None else 1 - score,
        error="seed 0: loss not finite" if status == FAILED else None,
        pruned_at=at if status == PRUNED else None,
        epochs=2 * at,
        seconds=0.5,
        run_id=f"run{number}",
        started=0,
        ended=0,
    )
    return replace(made, **changes)


def row(plan: StudyPlan, *trials: Trial) -> StudyRow:
    return StudyRow(plan, trials, f"parent-{plan.method}")


def study(*trials: Trial, **plan: Any) -> Study:
    return Study(row(made_study(**({"n_trials": len(trials)} | plan)), *trials))


def sweep(*studies: Study) -> Sweep:
    return build_sweep([one.row for one in studies])


def column(sweep: Sweep, name: str) -> list[str]:
    """Of the summary, a cell for each method."""
    found = summary(sweep)
    return [cells[found["headings"].index(name)] for cells in found["rows"]]


def mixed() -> list[Trial]:
    """The default, one dropped, one failed, and the winner."""
    return [trial(0, 0.6), trial(1, 0.7, PRUNED), trial(2, None, FAILED), trial(3, 0.8)]
