"""The leaderboard on the page: its columns, and each line's cells with what they are sorted by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reports.error_columns import pair_of
from reports.leaderboard import gain, interval, seeds
from reports.line import COMPLETE, SOURCE, Line
from reports.measure import ACC2, ACC2_NON0, ACC7, CORRELATION, F1, F1_NON0, Measure, signed
from reports.method_notes import note_of
from reports.table import Table
from reports.text import number, percent, shown_status, spread
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


def _results(measure: Measure) -> tuple[Column, ...]:
    """What the rows are compared by, with its interval, and the gain over the baseline."""
    gain_meaning = (
        f"by how much the test {measure.name} is below that of the baseline marked ★, in units of the target"
        if measure.is_error
        else "test accuracy minus that of the baseline marked ★, points"
    )
    return (
        Column(
            f"Test {measure.symbol}",
            lambda line, _: spread(line.result, line),
            lambda line, _: line.result.mean if line.result else None,
            f"mean ± sample standard deviation of the test {measure.name} over seeds",
            LOW if measure.is_error else HIGH,
        ),
        Column(
            "95 % interval",
            lambda line, _: interval(line),
            lambda line, _: line.interval[0] if line.interval else None,
            "Student-t interval of that mean over seeds; sorted by its lower end",
            LOW if measure.is_error else HIGH,
        ),
        Column(
            "Gain",
            lambda line, _: gain(line),
            _gain_value,
            f"{gain_meaning}, with its paired bootstrap interval over test samples and seeds",
            is_optional=True,
        ),
    )


CLASS_SCORES = (
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
)
ERROR_SCORES = (
    Column(
        "Corr.",
        lambda line, _: signed(line.means.get(CORRELATION), 3),
        _mean(CORRELATION),
        "Pearson's correlation of predictions and targets on the test set; empty where a seed predicts one value alone",
    ),
    Column(
        "Acc‑2 %",
        lambda line, _: pair_of(line, ACC2, ACC2_NON0),
        _mean(ACC2),
        "share of test samples with the right sign: zero counting as positive / without samples whose true value is 0",
        is_optional=True,
    ),
    Column(
        "F1 %",
        lambda line, _: pair_of(line, F1, F1_NON0),
        _mean(F1),
        "F1 of both signs, each weighted by its share of test samples, with and without zeros as before",
        is_optional=True,
    ),
    Column(
        "Acc‑7 %",
        _percent(ACC7),
        _mean(ACC7),
        "share of test samples that is right once both values are clipped to ±3 and rounded",
        is_optional=True,
    ),
)


def _validation(measure: Measure) -> tuple[Column, ...]:
    """The measure on validation data, and how far it is from test data."""
    gap = f"test minus validation {measure.name}" if measure.is_error else "validation minus test accuracy, points"
    return (
        Column(
            f"Valid {measure.symbol}",
            lambda line, _: measure.text(line.valid),
            lambda line, _: line.valid,
            f"mean validation {measure.name}",
            LOW if measure.is_error else HIGH,
        ),
        Column(
            "Source %",
            _percent(SOURCE),
            _mean(SOURCE),
            "validation accuracy on the classes of training",
            is_optional=True,
        ),
        Column("Gap", lambda line, _: measure.signed(line.gap), lambda line, _: line.gap, gap),
    )


COSTS = (
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

    measure = table.measure
    scores = ERROR_SCORES if measure.is_error else CLASS_SCORES
    found = (*_results(measure), *scores, *_validation(measure), *COSTS)
    return [column for column in found if is_known(column) or not column.is_optional]


def shown(line: Line, table: Table) -> dict[str, Any]:
    """One line as text, with the values it is sorted by; an empty value goes last, whichever way one sorts."""
    return {"line": line, "tags": _tags(line), "cells": [_cell(one, line, table) for one in columns(table)]}


def _cell(column: Column, line: Line, table: Table) -> dict[str, Any]:
    value = column.value(line, table)
    return {"text": column.text(line, table), "value": "" if value is None else value, "kind": column.kind}


def _tags(line: Line) -> list[tuple[str, str, str]]:
    """Class, text, and what it says in full."""
    note = note_of(line.method)
    found = [
        ("star", "★", "strongest conventional baseline", line.is_strongest),
        ("best", "best", f"{line.measure.most} mean test {line.measure.name}", line.rank == 1),
        ("tied", "tied", "not told apart from the best", line.is_tied and line.rank != 1),
        ("note", "†", note, bool(note)),
    ]
    return [(kind, text, meaning) for kind, text, meaning, applies in found if applies]
