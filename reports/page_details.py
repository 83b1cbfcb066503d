"""All that is known of one row: its settings, its runs, how they learned, and where their numbers come from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.record import SeedRun
from benchmarks.tracking import MissingFileError, Tracking
from reports.curves import learning_curves
from reports.figures import curve
from reports.line import Line, problem_of
from reports.measure import CORRELATION, Measure
from reports.method_notes import note_of
from reports.table import Table
from reports.text import budget_text
from reports.tuning import provenance as provenance_of_settings

IDENTITY = {"key", "group", "protocol", "suite", "dataset", "method", "seed", "level", "sweep", "status", "error"}
IDENTITY |= {"not_finite", "command", "data_checksum"}
Entries = list[tuple[str, list[str]]]


def details(line: Line, tracking: Tracking) -> dict[str, Any]:
    """The section of one row; learning curves are read from the runs' history files."""
    assert line.row
    counted = [run for run in line.row.runs if not problem_of(run, line.measure)]
    histories = {run.seed: _history(tracking, run) for run in counted}
    best = {run.seed: epoch for run in counted if (epoch := _whole(run, "best_epoch"))}
    return {
        "line": line,
        "row": line.row,
        "note": note_of(line.method),
        "curve": curve(list(histories.values()), line.measure),
        "panels": learning_curves(histories, {seed: int(epoch) for seed, epoch in best.items()}, line.measure),
        "runs": [_run(run, line.row.settings, line.measure) for run in line.row.runs],
        "provenance": _provenance(line),
        "tuning": provenance_of_settings(line),
    }


def provenance(table: Table) -> Entries:
    """Commands, budget, data checksum, code, device and versions, each with every value found in the table."""
    rows = [line.row for line in table.lines if line.row]
    entries = [
        ("command", sorted({row.command for row in rows if row.command})),
        ("data checksum", sorted({row.data_checksum for row in rows})),
        ("protocol", sorted({row.protocol for row in rows})),
        ("budget of every row", sorted({budget_text(row.budget) for row in rows if row.budget})),
        ("shared code revision", sorted({row.code for row in rows if row.code})),
    ]
    if table.overrides:
        entries.append(("set by hand", table.overrides))
    return entries + _recorded([run for row in rows for run in row.runs])


def _provenance(line: Line) -> Entries:
    """The same of one row."""
    row = line.row
    assert row
    trained_by = sorted({run.tags["command"] for run in row.runs if run.tags.get("command")} - {row.command})
    entries = [
        ("command", [row.command]),
        ("earlier command", trained_by),
        ("data checksum", [row.data_checksum]),
        ("protocol", [row.protocol]),
        ("settings", [f"group {row.group}"]),
        ("budget", [budget_text(row.budget)] if row.budget else []),
        ("shared code revision", [row.code] if row.code else []),
        ("set by hand", line.overrides),
        ("MLflow run of the row", [row.run_id]),
    ]
    return [entry for entry in entries if entry[1]] + _recorded(row.runs)


def _recorded(runs: Sequence[SeedRun]) -> Entries:
    """What the runs recorded of code, device and versions; how many say so where not all say the same."""
    found: dict[str, Counter[str]] = {}
    for run in runs:
        for name, value in run.tags.items():
            if name not in IDENTITY and not name.startswith("mlflow."):
                found.setdefault(name, Counter())[value] += 1
    n_runs = sum(run.status != "missing" for run in runs)
    entries = []
    for name in sorted(found):
        values = sorted(found[name].items())
        is_common = len(values) == 1 and values[0][1] == n_runs
        entries.append((name, [value if is_common else f"{value} ({n} of {n_runs} runs)" for value, n in values]))
    return entries


def run_headings(measure: Measure) -> tuple[str, ...]:
    """Of the numbers of a run."""
    scores = ("Corr.",) if measure.is_error else ("Macro-F1", "NLL")
    symbol = measure.symbol.removesuffix(" %")
    return f"Test {symbol}", f"Valid {symbol}", *scores, "Best epoch", "Train s"


def _run(run: SeedRun, settings: dict[str, str], measure: Measure) -> dict[str, Any]:
    best, n_epochs = _whole(run, "best_epoch"), _whole(run, "epochs_run")
    scores = (CORRELATION,) if measure.is_error else ("test/macro_f1", "test/nll")
    # One digit more than the leaderboard; of a share 4 decimals.
    n_decimals = measure.decimals + 1 if measure.is_error else 4
    return {
        "run": run,
        "status": problem_of(run, measure) or run.status,
        "cells": [
            *(_exact(run, name, n_decimals) for name in (measure.test, measure.valid)),
            *(_exact(run, name) for name in scores),
            f"{best} of {n_epochs}" if best and n_epochs else best,
            _exact(run, "train_seconds", 1),
        ],
        "own_settings": sorted(set(run.params.items()) - set(settings.items())),
    }


def _history(tracking: Tracking, run: SeedRun) -> list[dict[str, Any]]:
    try:
        history: list[dict[str, Any]] = tracking.run_json(run.run_id, "history.json", list)
    except MissingFileError:
        return []
    return history


def _exact(run: SeedRun, name: str, decimals: int = 4) -> str:
    value = run.metrics.get(name)
    return "" if value is None else f"{value:.{decimals}f}" if math.isfinite(value) else "not finite"


def _whole(run: SeedRun, name: str) -> str:
    value = run.metrics.get(name)
    return "" if value is None or not math.isfinite(value) else f"{value:.0f}"
