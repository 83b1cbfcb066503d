"""From a command to studies: every method's search resolved and checked before anything is trained or written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.encoders import checked, choice_of, files_of
from benchmarks.errors import UserError, suggestion
from benchmarks.methods import Row, rows
from benchmarks.plan import check_suite, fitting, row_settings
from benchmarks.provenance import code_revision, torch_release
from benchmarks.record import content_hash
from benchmarks.suite import Suite, load_suite, merge, parse_assignments
from benchmarks.trials import StudyPlan
from dmil.data import Splits, Task
from dmil.encoders import Source
from dmil.selection import Budget
from sweeps.halving import RUNGS
from sweeps.space import outside, search_space, shared_names

# None of the seeds of a table (0, 1, ..): what a table reports was not selected with its own random numbers.
FIRST_SEED = 1000
ALL = "all"
DECIDING = ("halving.py", "population.py", "space.py", "study.py")


@dataclass(frozen=True)
class Options:
    """What the command line asks for; None leaves the default. methods: names, or "all" for those of the suite."""

    dataset: str
    suite: str
    methods: tuple[str, ...]
    trials: int
    seeds: int
    epochs: int | None
    population: int
    ahead: int
    is_halving: bool
    assignments: tuple[str, ...] = ()
    command: str = ""


@dataclass(frozen=True)
class PlannedStudy:
    """A study with what training it needs beside its plan. shared: settings that a population has in common."""

    plan: StudyPlan
    row: Row
    shared: tuple[str, ...]


def check(options: Options) -> Suite:
    """What can be wrong before any data is read; returns the suite. Raises UserError."""
    for name in ("trials", "seeds", "population", "ahead"):
        value = getattr(options, name)
        if value < 1:
            raise UserError(f"--{name} takes a whole number of 1 or more, but got {value}")
    if not options.methods:
        raise UserError("no method to tune; name some with --methods, or all")
    suite = load_suite(options.suite, options.dataset)
    names = [name for one in options.methods for name in (suite.methods if one == ALL else (one,))]
    budget = suite.budget if options.epochs is None else suite.budget | {"epochs": options.epochs}
    by_hand = parse_assignments(options.assignments)
    resolved = replace(suite, methods=tuple(names), seeds=options.seeds, budget=budget, tuned=False, by_hand=by_hand)
    if suite.transfer is not None:
        raise UserError(f"suite {suite.name!r} probes on classes that it did not train on; tune on another suite")
    if seeded := [who for who in merge(suite.settings, by_hand) if "@" in who]:
        raise UserError(f"a sweep has seeds of its own, but got settings of single seeds: {', '.join(seeded)}")
    check_suite(resolved)
    return resolved


def plan_studies(options: Options, suite: Suite, splits: Splits, *, device: str) -> list[PlannedStudy]:
    """One study for each row of a table that is trained.

    Raises:
        UserError: nothing to search, no method that can take the data, or a default outside its search range.
    """
    if splits.digest is not None:
        raise UserError(
            f"{suite.dataset} is read from disk while it trains, but a search sends its data to workers; tune on a "
            "dataset that fits in memory and set what was found in a suite"
        )
    budget = Budget(**suite.budget)
    told = checked(suite.encoders, splits.train)
    table = rows(fitting(suite, told, splits.task), tuple(splits.train.inputs))
    studies = []
    for row in table:
        if row.is_estimator or row.is_control or not _is_trained(row, told, splits.task, budget):
            continue
        studies.append(_study(options, suite, row, splits, told, device))
    if not studies:
        raise UserError(f"nothing to tune: {', '.join(suite.methods)} train nothing; name other methods")
    known = {ALL, *(name for study in studies for name in (study.row.base, study.row.name))}
    for who in suite.by_hand:
        if who not in known:
            raise UserError(f"settings for {who!r}, which is not tuned here; {suggestion(who, sorted(known))}")
    return studies


def _study(
    options: Options, suite: Suite, row: Row, splits: Splits, told: Mapping[str, Source], device: str
) -> PlannedStudy:
    settings = row_settings(row, suite.settings, suite.by_hand)
    fixed = {name for who in (ALL, row.base, row.name) for name in suite.by_hand.get(who, {})}
    space = search_space(row.method, fixed)
    if not space:
        raise UserError(f"empty search space: every setting of {row.name} is set by hand; leave one to be searched")
    if beyond := outside(space, settings):
        raise UserError(
            f"the default of {row.name} lies outside its search range: {'; '.join(beyond)}; set it by hand with --set"
        )
    content: dict[str, Any] = {
        "suite": suite.name,
        "dataset": suite.dataset,
        "method": row.name,
        "data_checksum": splits.checksum(),
        "device": device.split(":")[0],
        "torch": torch_release(),
        "code": code_revision(row.base),
        "revision": row.method.revision,
        "budget": asdict(Budget(**suite.budget)),
        "rungs": RUNGS if options.is_halving else (),
        "space": space,
        "base": settings.to_dict(),
        "encoders": choice_of({name: told[name] for name in row.modalities}),
        "seeds": tuple(range(FIRST_SEED, FIRST_SEED + options.seeds)),
        "population": options.population,
        "ahead": options.ahead,
    }
    files = files_of(content["encoders"])
    identity = content | {"search": _search_revision(), "optuna": version("optuna")}
    identity |= {"encoder_files": files} if files else {}
    plan = StudyPlan(
        key=content_hash(identity),
        overrides=tuple(text for text in options.assignments if _speaks_of(text, row)),
        n_trials=options.trials,
        is_higher_better=splits.task.kind != "regression",
        command=options.command,
        planned_at=int(time.time() * 1000),
        **content,
    )
    return PlannedStudy(plan, row, shared_names(space, settings))


@cache
def _search_revision() -> str:
    """Hash of the sources that decide what is tried and which configurations are dropped."""
    return content_hash([(Path(__file__).with_name(name)).read_text(encoding="utf-8") for name in DECIDING])


def _is_trained(row: Row, told: Mapping[str, Source], task: Task, budget: Budget) -> bool:
    """Whether training changes anything in a row's model."""
    own = {name: told[name] for name in row.modalities}
    return bool(row.method(row.method.Settings(), own, task).stages(budget.epochs))


def _speaks_of(assignment: str, row: Row) -> bool:
    return assignment.partition("=")[0].rpartition(".")[0] in ("all", row.base, row.name)
