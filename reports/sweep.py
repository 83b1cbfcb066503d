"""The sweep of one dataset as it is reported: a study per method, what each found, and whether budgets were equal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmarks.errors import UserError
from benchmarks.tracking import Tracking
from benchmarks.trials import FAILED, FINISHED, PRUNED, StudyPlan, StudyRow, Trial
from reports.budgets import differences, halving
from reports.measure import N_DIGITS, decimals_for, signed
from reports.text import number, percent, signed_percent


@dataclass(frozen=True)
class Study:
    """The search for one method's settings, as tracking knows it."""

    row: StudyRow

    @property
    def plan(self) -> StudyPlan:
        return self.row.plan

    @property
    def method(self) -> str:
        return self.row.plan.method

    @property
    def is_dmil(self) -> bool:
        return self.method.split("_")[0] == "dmil"

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """Those asked for last; an earlier command may have asked for more."""
        return tuple(trial for trial in self.row.trials if trial.number < self.plan.n_trials)

    @property
    def n_more(self) -> int:
        """Configurations that tracking knows beyond those asked for last; they count nowhere."""
        return len(self.row.trials) - self.n_tried

    @property
    def n_tried(self) -> int:
        return len(self.trials)

    def count(self, status: str) -> int:
        return sum(trial.status == status for trial in self.trials)

    @property
    def size(self) -> float:
        """How many configurations the space holds."""
        return math.prod(
            len(entry["choices"]) if "choices" in entry else math.inf for entry in self.plan.space.values()
        )

    @property
    def is_complete(self) -> bool:
        """Whether all that was planned has been tried, or all there is."""
        return self.n_tried >= min(self.plan.n_trials, self.size)

    @cached_property
    def winner(self) -> Trial | None:
        """Of the configurations trained to the end that with the highest score; ties by lower loss, then the first."""
        ended = [(trial.score, trial) for trial in self.trials if trial.status == FINISHED and trial.score is not None]
        best = min(ended, key=lambda pair: (-pair[0], _loss(pair[1]), pair[1].number), default=None)
        return best[1] if best else None

    @property
    def default_score(self) -> float | None:
        """Of the configuration with every setting at its default, None where it has not been tried yet or failed."""
        return next((trial.score for trial in self.trials if trial.number == 0 and trial.status == FINISHED), None)

    @property
    def best(self) -> float | None:
        return self.winner.score if self.winner else None

    @property
    def gain(self) -> float | None:
        """Score of the winner minus that of the default configuration."""
        return None if self.default_score is None or self.best is None else self.best - self.default_score

    @cached_property
    def counted(self) -> list[float]:
        """One score per configuration, by number, for what looks at all of them; empty where none has finished.

        One that was dropped counts with what it had by then, the winner's score at most: it was never chosen. A
        failed one counts as the worst.
        """
        scores = [trial.score for trial in self.trials if trial.score is not None]
        if self.best is None:
            return []
        worst = min(scores)
        return [worst if trial.score is None else min(trial.score, self.best) for trial in self.trials]

    @property
    def n_capped(self) -> int:
        """Dropped configurations that stood above the winner's score by then."""
        best = self.best
        return 0 if best is None else sum(trial.score is not None and trial.score > best for trial in self.trials)

    @property
    def epochs(self) -> int:
        """Trained, over all configurations and seeds."""
        return sum(trial.epochs for trial in self.trials)

    @property
    def seconds(self) -> float:
        return sum(trial.seconds for trial in self.trials)

    @property
    def longest(self) -> int:
        """Epochs of a training that nothing ends early."""
        return int(self.plan.budget["epochs"])

    @property
    def full_epochs(self) -> int:
        """Epochs of all configurations tried, had nothing ended early."""
        return self.n_tried * len(self.plan.seeds) * self.longest

    @property
    def saved_by_halving(self) -> int:
        """Epochs that dropped configurations were not given."""
        at = [trial.pruned_at for trial in self.trials if trial.status == PRUNED and trial.pruned_at is not None]
        return sum(len(self.plan.seeds) * (self.longest - epoch) for epoch in at)

    @property
    def failures(self) -> list[str]:
        """The reasons of failed configurations, each once, with their numbers."""
        reasons: dict[str, list[int]] = {}
        for trial in self.trials:
            if trial.status == FAILED:
                reasons.setdefault(trial.error or "failed without a reason", []).append(trial.number)
        return [f"{reason} (no. {', '.join(map(str, numbers))})" for reason, numbers in reasons.items()]

    def score(self, value: float | None) -> str:
        """A score as text: accuracy in percent, or of a regression the absolute error."""
        if value is None or self.plan.is_higher_better:
            return percent(value)
        return number(-value + 0.0, self.decimals)

    def difference(self, value: float | None) -> str:
        """A difference of scores, positive for the better."""
        return signed_percent(value) if self.plan.is_higher_better else signed(value, self.decimals)

    @property
    def decimals(self) -> int:
        """Of the error of a regression: as many as its size asks for."""
        return decimals_for([self.best]) if self.best is not None else N_DIGITS

    def settings(self, trial: Trial) -> dict[str, Any]:
        """Every setting of a configuration."""
        return self.plan.base | trial.params


def _loss(trial: Trial) -> float:
    return math.inf if trial.loss is None else trial.loss


@dataclass(frozen=True)
class Sweep:
    """The studies of one dataset, the best score first, those without one last. others: what is not shown."""

    dataset: str
    suite: str
    studies: tuple[Study, ...]
    others: tuple[str, ...] = ()

    @property
    def is_regression(self) -> bool:
        return not all(study.plan.is_higher_better for study in self.studies)

    @property
    def metric(self) -> str:
        return "valid MAE" if self.is_regression else "valid acc. %"

    @cached_property
    def unequal(self) -> list[str]:
        """In what the plans of the methods differ."""
        return differences([study.plan for study in self.studies])

    @cached_property
    def warnings(self) -> list[str]:
        """Why the methods cannot be compared as they stand; empty where they can."""
        found = [f"Not the same for every method: {text}." for text in self.unequal]
        short = [study for study in self.studies if not study.is_complete]
        if short:
            names = ", ".join(f"{study.method} ({_progress(study)})" for study in short)
            found.append(f"Not complete, the same command goes on: {names}.")
        for study in self.studies:
            if study.n_more:
                found.append(
                    f"{study.method} has tried {study.n_more} more than the {study.plan.n_trials} configurations "
                    "planned last; they are left out here."
                )
            if study.is_complete and study.n_tried < study.plan.n_trials:
                found.append(f"{study.method} has tried all {study.n_tried} configurations that its space holds.")
        return found

    @property
    def statement(self) -> str:
        """What every method was given; holds where ``unequal`` is empty."""
        plan = self.studies[0].plan
        terms = [f"{name} {value}" for name, value in plan.budget.items()]
        lead = "Planned for every method" if self.warnings else "Every method had the same budget"
        lead = "Budget" if len(self.studies) == 1 else lead
        return (
            f"{lead}: {plan.n_trials} configurations × {len(plan.seeds)} seeds ({', '.join(map(str, plan.seeds))}), "
            f"{', '.join(terms)}; populations of {plan.population}, {halving(plan.rungs)}. The first configuration is "
            "the default one."
        )


def _progress(study: Study) -> str:
    return f"{study.n_tried} of {study.plan.n_trials}"


def build_sweeps(tracking: Tracking, dataset: str | None, suite: str | None) -> list[Sweep]:
    """One sweep per dataset, of the suite searched last unless one is named; of each method the study planned last.

    Raises:
        UserError: there is no study; the message names what there is.
    """
    by_dataset: dict[str, list[StudyRow]] = {}
    for row in tracking.studies(dataset, suite):
        by_dataset.setdefault(row.plan.dataset, []).append(row)
    if not by_dataset:
        wanted = " ".join(f"{name} {value!r}" for name, value in (("dataset", dataset), ("suite", suite)) if value)
        known = [f"{name} (suite {its_suite})" for name, its_suite in tracking.sweeps()]
        raise UserError(
            f"MLflow holds no study{' of ' + wanted if wanted else ''}; it knows {', '.join(known) or 'none yet'}; "
            f"`make sweep DATASET={dataset or 'interactions'}` makes some"
        )
    return [build_sweep(by_dataset[name]) for name in sorted(by_dataset)]


def build_sweep(rows: Sequence[StudyRow]) -> Sweep:
    """The sweep of one dataset from one study or more, of whatever suite and age."""
    newest = max(rows, key=_age)
    shown: dict[str, StudyRow] = {}
    for row in sorted(rows, key=_age):
        if row.plan.suite == newest.plan.suite:
            shown[row.plan.method] = row
    studies = sorted(
        map(Study, shown.values()), key=lambda study: (study.best is None, -(study.best or 0), study.method)
    )
    keys = {row.plan.key for row in shown.values()}
    others = [f"{one.plan.method} (suite {one.plan.suite}, {one.plan.key})" for one in rows if one.plan.key not in keys]
    return Sweep(newest.plan.dataset, newest.plan.suite, tuple(studies), tuple(sorted(others)))


def _age(row: StudyRow) -> tuple[int, str]:
    return row.plan.planned_at, row.plan.key
