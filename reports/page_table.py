"""The leaderboard on the page: its columns, and each line's cells with what they are sorted by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reports.leaderboard import gain, interval, seeds
from reports.line import COMPLETE, SOURCE, Line
from reports.table import Table
from reports.text import number, percent, shown_status, signed_percent, spread
from reports.tuning import n_configurations, settings_cell

HIGH, LOW = "descending", "ascending"
Value = float | str | None


@dataclass(frozen=True)
class Column:
    """text: what a cell shows. value: what it is sorted by, None where the line has none. first: the order that the
    first click gives. meaning: for the list below the table. kind: class of its cells. is_optional: left out where no
    line has a value."""

    heading: str
    text: Callable[[Line, Table], str]
    value: Callable[[Line, Table], Value]
    meaning: str
    first: str = HIGH
    kind: str = ""
    is_optional: bool = False


def _mean(name: str) -> Callable[[Line, Table], float | None]:
    return lambda line, _: line.means.get(name)


def _number(name: str, decimals: int) -> Callable[[Line, Table], str]:
    return lambda line, _: number(line.means.get(name), decimals)


def _percent(name: str) -> Callable[[Line, Table], str]:
    return lambda line, _: percent(line.means.get(name))


def _seeds(line: Line, _: Table) -> str:
    status = shown_status(line)
    return seeds(line) if status == COMPLETE else f"{status} {seeds(line)}".strip()


def _thousands(line: Line, _: Table) -> str:
    n_params = line.means.get("n_params")
    return "" if n_params is None else f"{n_params:,.0f}"


def _memory(line: Line, _: Table) -> str:
    memory = line.means.get("peak_memory_mb")
    return "" if memory is None else f"{memory:,.0f}"


def _gain_value(line: Line, _: Table) -> float | None:
    return 0.0 if line.is_strongest else line.gain.mean if line.gain else None


COLUMNS = (
    Column(
        "Test acc. %",
        lambda line, _: spread(line.test_acc, line),
        lambda line, _: line.test_acc.mean if line.test_acc else None,
        "mean ± sample standard deviation of the test accuracy over seeds",
    ),
    Column(
        "95 % interval",
        lambda line, _: interval(line),
        lambda line, _: line.interval[0] if line.interval else None,
        "Student-t interval of that mean over seeds; sorted by its lower end",
    ),
    Column(
        "Gain",
        lambda line, _: gain(line),
        _gain_value,
        "test accuracy minus that of the baseline marked ★, points, with its paired bootstrap interval over test "
        "samples and seeds",
        is_optional=True,
    ),
    Column(
        "Macro-F1",
        _number("test/macro_f1", 3),
        _mean("test/macro_f1"),
        "mean over classes of the F1 score on the test set",
    ),
    Column("NLL", _number("test/nll", 3), _mean("test/nll"), "negative log-likelihood on the test set, nats", LOW),
    Column("ECE", _number("test/ece", 3), _mean("test/ece"), "expected calibration error on the test set", LOW),
    Column(
        "Synergy %",
        lambda line, _: percent(line.synergy),
        lambda line, _: line.synergy,
        "share of test samples that this method gets right and every unimodal model of the same seed gets wrong; for "
        "multimodal methods only, and empty where a unimodal row is missing",
    ),
    Column("Valid acc. %", _percent("valid/acc"), _mean("valid/acc"), "mean validation accuracy"),
    Column(
        "Source %",
        _percent(SOURCE),
        _mean(SOURCE),
        "validation accuracy on the classes of training",
        is_optional=True,
    ),
    Column(
        "Gap",
        lambda line, _: signed_percent(line.gap),
        lambda line, _: line.gap,
        "validation minus test accuracy, points",
    ),
    Column("Params", _thousands, _mean("n_params"), "trained numbers of one model", LOW),
    Column(
        "Train s",
        _number("train_seconds", 1),
        _mean("train_seconds"),
        "a run's share of the wall time of the stack it was trained in, indicative only",
        LOW,
    ),
    Column(
        "Peak MB",
        _memory,
        _mean("peak_memory_mb"),
        "highest memory that the stack took on the accelerator, in units of 2²⁰ bytes; not measured on a CPU",
        LOW,
        is_optional=True,
    ),
    Column(
        "Settings",
        lambda line, _: settings_cell(line, is_long=True),
        lambda line, _: n_configurations(line),
        "tuned (configurations × seeds tried by a sweep), default, set by hand, or those of the ensemble's members; "
        "sorted by configurations",
        kind="text settings",
    ),
    Column(
        "Seeds",
        _seeds,
        lambda line, _: line.n_seeds if line.row else None,
        "that count, of those planned; before them what the row is, unless it is complete and ranked",
        kind="text status",
    ),
)


def columns(table: Table) -> list[Column]:
    """Those that a table has, from left to right."""

    def is_known(column: Column) -> bool:
        return any(column.value(line, table) is not None for line in table.lines)

    return [column for column in COLUMNS if is_known(column) or not column.is_optional]


def shown(line: Line, table: Table) -> dict[str, Any]:
    """One line as text, with the values it is sorted by; an empty value goes last, whichever way one sorts."""
    return {"line": line, "tags": _tags(line), "cells": [_cell(one, line, table) for one in columns(table)]}


def _cell(column: Column, line: Line, table: Table) -> dict[str, Any]:
    value = column.value(line, table)
    return {"text": column.text(line, table), "value": "" if value is None else value, "kind": column.kind}


def _tags(line: Line) -> list[tuple[str, str, str]]:
    """Class, text, and what it says in full."""
    found = [
        ("star", "★", "strongest conventional baseline", line.is_strongest),
        ("best", "best", "highest mean test accuracy", line.rank == 1),
        ("tied", "tied", "not told apart from the best", line.is_tied and line.rank != 1),
    ]
    return [(kind, text, meaning) for kind, text, meaning, applies in found if applies]
