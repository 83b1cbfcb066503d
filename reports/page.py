"""The page of one dataset: the table, every seed, where the numbers come from. One file, no network."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.record import SeedRun
from benchmarks.tracking import MissingFileError, Tracking
from reports.figures import curve, dots
from reports.gate_figures import gate_bars, reliability_curve
from reports.interaction_tables import accuracy_table, gate_table, information_table, theorem_table, undefined
from reports.leaderboard import caption, interval, seeds
from reports.line import SOURCE, Line, paired, problem_of
from reports.table import Table
from reports.text import budget_text, number, percent, shown_status, signed_percent
from reports.tuning import provenance as provenance_of_settings
from reports.tuning import sentence, settings_cell, warnings

TEMPLATES = Path(__file__).resolve().parent / "templates"
IDENTITY = {"key", "group", "protocol", "suite", "dataset", "method", "seed", "level", "sweep", "status", "error"}
IDENTITY |= {"not_finite", "command"}


def to_html(table: Table, tracking: Tracking) -> str:
    """The whole page; learning curves are read from the runs' history files."""
    context = {
        "table": table,
        "card": table.card,
        "lines": [_shown(line, table) for line in table.lines],
        "rows": [_details(line, tracking) for line in table.lines if line.row],
        "dots": dots(table),
        "headline": headline(table),
        "tuning": sentence(table),
        "unequal": warnings(table),
        "caption": caption(table),
        "provenance": provenance(table),
        "bayes_error": bayes_error(table),
        "interactions": interactions(table),
        "calibration": [reliability_curve(one) for one in table.reliability],
    }
    return render("index.html", context)


def render(template: str, context: dict[str, Any]) -> str:
    """A template filled in; everything in it is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template(template).render(context)


def interactions(table: Table) -> dict[str, Any] | None:
    """The section on interactions; None where nothing is known of them."""
    found = table.interactions
    if not found:
        return None
    gates = gate_table(found)
    tables = [("Accuracy by composition", accuracy_table(table))] if found.truths else [("Gates", gates)]
    more = [("Estimated information", information_table(found)), ("Terms of the theorem", theorem_table(table))]
    return {
        "tables": tables if tables[0][1]["rows"] else [],
        "panels": gate_bars(found, table.card.get("bayes_attribution")),
        "undefined": undefined(found),
        "more": [(label, content) for label, content in more if content],
    }


def headline(table: Table) -> list[str]:
    """Where the best DMIL variant and dmil itself stand against the strongest conventional baseline, in sentences."""
    best, strongest = table.best_dmil, table.strongest
    sentences = []
    for what, line in (("Strongest conventional baseline", strongest), ("Best DMIL variant", best)):
        if line and line.test_acc:
            accuracy = percent(line.test_acc.mean)
            sentences.append(
                f"{what}, chosen by mean validation accuracy: {line.method} at {accuracy} % on the test set."
            )
    plain = table.line("dmil")
    if best and strongest and best is not plain:
        sentences.append(_paired(best, strongest))
    if plain:
        sentences.append(_place(plain, table))
        if plain.rank and strongest:
            sentences.append(_paired(plain, strongest))
    n_holes = sum(bool(line.reasons) for line in table.lines)
    if n_holes:
        sentences.append(f"{n_holes} row{'s are' if n_holes > 1 else ' is'} not complete and therefore not ranked.")
    return sentences


def _place(line: Line, table: Table) -> str:
    if not line.rank or not line.test_acc:
        return f"{line.method} itself is {line.status} and has no rank."
    accuracy = percent(line.test_acc.mean)
    return f"{line.method} itself: rank {line.rank} of {table.n_ranked} by test accuracy, at {accuracy} %."


def _paired(one: Line, other: Line) -> str:
    """Difference over the seeds both have, with its interval."""
    pair = f"{one.method} minus {other.method}"
    found = paired(one, other)
    if not found:
        return f"{pair}: they share no seed."
    text = f"{pair} over {found.n} paired seed{'s' if found.n > 1 else ''}: {signed_percent(found.mean)} points"
    if not found.shown:
        return f"{text} (too few seeds for an interval)."
    low, high = map(signed_percent, found.shown)
    return f"{text} (95 % interval {low} to {high}; it covers seeds only, not other test samples)."


def provenance(table: Table) -> list[tuple[str, list[str]]]:
    """Commands, budget, data checksum, code, device and versions, each with every value found in the table."""
    rows = [line.row for line in table.lines if line.row]
    found: dict[str, Counter[str]] = {}
    for run in (run for row in rows for run in row.runs):
        for name, value in run.tags.items():
            if name not in IDENTITY and not name.startswith("mlflow."):
                found.setdefault(name, Counter())[value] += 1
    n_runs = sum(run.status != "missing" for row in rows for run in row.runs)
    entries = [
        ("command", sorted({row.command for row in rows if row.command})),
        ("data checksum", sorted({row.data_checksum for row in rows})),
        ("protocol", sorted({row.protocol for row in rows})),
        ("budget of every row", sorted({budget_text(row.budget) for row in rows if row.budget})),
        ("shared code revision", sorted({row.code for row in rows if row.code})),
    ]
    if table.overrides:
        entries.append(("set by hand", table.overrides))
    for name in sorted(set(found) - {"data_checksum"}):
        values = sorted(found[name].items())
        is_common = len(values) == 1 and values[0][1] == n_runs
        entries.append((name, [value if is_common else f"{value} ({n} of {n_runs} runs)" for value, n in values]))
    return entries


def bayes_error(table: Table) -> float | None:
    """Standard error of the accuracy of a method at the Bayes limit, over draws of the test set."""
    limit = table.card.get("bayes_accuracy")
    return None if limit is None or not table.n_test else math.sqrt(limit * (1 - limit) / table.n_test)


def _shown(line: Line, table: Table) -> dict[str, Any]:
    """One line of the page's table, as text."""
    accuracy, means = line.test_acc, line.means
    gain = accuracy.mean - table.floor if accuracy and table.floor is not None and not line.is_floor else None
    return {
        "line": line,
        "is_strongest": line is table.strongest,
        "status": shown_status(line),
        "settings": settings_cell(line, is_long=True),
        "cells": [
            percent(accuracy.mean) if accuracy else "",
            percent(accuracy.std) if accuracy and not line.is_floor else "",
            interval(line),
            seeds(line),
            number(means.get("test/macro_f1"), 3),
            number(means.get("test/nll"), 3),
            number(means.get("test/ece"), 3),
            percent(line.synergy),
            signed_percent(gain),
            percent(means.get("valid/acc")),
            *([percent(means.get(SOURCE))] if table.has_source else []),
            signed_percent(line.gap),
            f"{means['n_params']:,.0f}" if means.get("n_params") is not None else "",
            number(means.get("train_seconds"), 1),
        ],
    }


def _details(line: Line, tracking: Tracking) -> dict[str, Any]:
    assert line.row
    histories = [_history(tracking, run) for run in line.row.runs if not problem_of(run)]
    return {
        "line": line,
        "row": line.row,
        "tuning": provenance_of_settings(line),
        "curve": curve(histories),
        "runs": [
            {
                "run": run,
                "problem": problem_of(run),
                "test": _exact(run, "test/acc"),
                "valid": _exact(run, "valid/acc"),
                "own_settings": sorted(set(run.params.items()) - set(line.row.settings.items())),
                "epoch": f"{_whole(run, 'best_epoch')} of {_whole(run, 'epochs_run')}".removesuffix(" of "),
            }
            for run in line.row.runs
        ],
    }


def _history(tracking: Tracking, run: SeedRun) -> list[dict[str, Any]]:
    try:
        history: list[dict[str, Any]] = tracking.run_json(run.run_id, "history.json", list)
    except MissingFileError:
        return []
    return history


def _exact(run: SeedRun, name: str) -> str:
    value = run.metrics.get(name)
    return "" if value is None else f"{value:.4f}" if math.isfinite(value) else "not finite"


def _whole(run: SeedRun, name: str) -> str:
    value = run.metrics.get(name)
    return "" if value is None or not math.isfinite(value) else f"{value:.0f}"
