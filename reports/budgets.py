"""The budget of a study in words, and in what the budgets of several studies differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

from benchmarks.trials import StudyPlan


def halving(rungs: Sequence[tuple[float, float]]) -> str:
    """When which share of a population goes on, in words."""
    parts = [f"{_fraction(keep)} after {_fraction(at)} of the epochs" for at, keep in rungs]
    if not parts:
        return "none dropped early"
    return (
        f"of which the best go on: {' and '.join(parts)}, the last time within the last stage of training; the default "
        "configuration stays in any case"
    )


def _fraction(share: float) -> str:
    return str(Fraction(share).limit_denominator(100))


def _by_hand(plan: StudyPlan) -> str:
    """The settings that were set by hand and so not searched, with the values that the method had."""
    names = sorted({text.partition("=")[0].rpartition(".")[2] for text in plan.overrides})
    return ", ".join(f"{name}={plan.base[name]}" for name in names) or "none"


CONDITIONS: dict[str, Callable[[StudyPlan], Any]] = {
    "configurations": lambda plan: plan.n_trials,
    "seeds": lambda plan: list(plan.seeds),
    "population": lambda plan: plan.population,
    "halving": lambda plan: halving(plan.rungs),
    "settings set by hand": _by_hand,
    "populations ahead": lambda plan: plan.ahead,
    "data": lambda plan: plan.data_checksum,
    "device": lambda plan: plan.device,
    "torch": lambda plan: plan.torch,
}


def differences(plans: Sequence[StudyPlan]) -> list[str]:
    """The conditions that differ among plans, each with its values and who has them."""
    terms = dict.fromkeys(name for plan in plans for name in plan.budget)
    conditions = CONDITIONS | {name: partial(_term, name) for name in terms}
    found = []
    for name, value_of in conditions.items():
        methods: dict[str, list[str]] = {}
        for plan in plans:
            value = value_of(plan)
            methods.setdefault(value if isinstance(value, str) else json.dumps(value), []).append(plan.method)
        if len(methods) > 1:
            found.append(f"{name} {', '.join(f'{value} for {_names(who)}' for value, who in methods.items())}")
    return found


def _term(name: str, plan: StudyPlan) -> Any:
    return plan.budget.get(name)


def _names(methods: Sequence[str]) -> str:
    return " and ".join(methods) if len(methods) < 3 else f"{', '.join(methods[:-1])} and {methods[-1]}"
