"""The tables of the page over all datasets, as text."""

from __future__ import annotations

from typing import Any

from reports.across import Across, standing
from reports.across_aggregate import Aggregates
from reports.across_words import aggregates_caption, left_out
from reports.aggregate import Estimate
from reports.completeness import Matrix, in_words, matrix
from reports.line import Line
from reports.pareto import COSTS, competitors, front
from reports.statistics import MIN_SEEDS
from reports.table import Table
from reports.text import number, percent, signed_limits, spread
from reports.tuning import settings_cell, tunable, warnings


def best(table: Table) -> Line | None:
    """The line of rank 1."""
    return next((line for line in table.lines if line.rank == 1), None)


def effort(table: Table) -> str:
    """How the settings of the rows came about, each kind once."""
    return ", ".join(sorted({settings_cell(line) for line in tunable(table)}))


def datasets(across: Across) -> dict[str, Any]:
    """One row per dataset."""
    of_errors = (
        " Of a regression the mean absolute error stands in place of the accuracy, marked MAE, and the difference is "
        "by how much that of DMIL is smaller."
    )
    return {
        "headings": [
            "dataset",
            "best on test",
            "acc. %",
            "baseline",
            "acc. %",
            "DMIL",
            "acc. %",
            "DMIL − baseline",
            "95 % interval",
            "pairs",
            "runs",
            "settings",
        ],
        "texts": ["best on test", "baseline", "DMIL", "settings"],
        "rows": [_dataset_row(table) for table in across.tables],
        "caption": "Best on test: the row of rank 1, chosen by what it is judged on. Baseline and DMIL: the "
        "conventional method, unimodal ones included, and the DMIL variant with the highest mean validation accuracy. "
        "Acc.: mean test accuracy ± sample standard deviation over seeds. Difference: in percentage points, mean over "
        f"seeds paired by number; from {MIN_SEEDS} pairs on with its 95 % Student-t interval, which covers seeds only: "
        "one over test samples as well is on the page of the dataset. Runs: finished of expected. Settings: tuned with "
        f"so many configurations × seeds.{of_errors if across.regressions else ''}",
    }


def _dataset_row(table: Table) -> list[str]:
    found = standing(table)
    pair = (found.own, found.baseline) if found else (table.best_dmil, table.strongest)
    own, baseline = map(_named, pair)
    difference = found.difference if found else None
    measure, shown = table.measure, [""] * 3
    if difference:
        shown = [measure.signed(difference.mean), signed_limits(difference, measure), str(difference.n)]
    runs = matrix([table]).total
    return [table.dataset, *_named(best(table)), *baseline, *own, *shown, runs.text, effort(table)]


def _named(line: Line | None) -> list[str]:
    return [line.method, marked(line)] if line else ["", ""]


def marked(line: Line) -> str:
    """Mean and deviation; of a regression with the word for it, in columns of accuracies."""
    shown = spread(line.result, line)
    return f"{line.measure.symbol} {shown}" if line.measure.is_error and shown else shown


def aggregates_table(across: Across, found: Aggregates) -> dict[str, Any]:
    """One row per method that is complete everywhere."""
    own = across.best_dmil
    return {
        "headings": [
            *("method", "IQM", "95 % interval", "mean rank"),
            *([f"P({own} better) %", "95 % interval"] if own else []),
        ],
        "rows": [
            [
                *(row.method, *_estimate(row.iqm), number(row.rank, 2)),
                *(_estimate(row.improvement) if own else []),
            ]
            for row in found.rows
        ],
        "caption": aggregates_caption(across),
    }


def _estimate(found: Estimate | None) -> list[str]:
    if found is None:
        return ["", ""]
    is_known = found.low is not None
    return [percent(found.value), f"{percent(found.low)} to {percent(found.high)}" if is_known else "too few seeds"]


def completeness(across: Across) -> dict[str, Any]:
    """Which runs are there."""
    found: Matrix = matrix(across.tables)
    return {
        "headings": ["method", *found.datasets],
        "rows": [[name, *(one.text for one in cells)] for name, cells in found.rows],
        "caption": f"{in_words(found)} Cells: finished of expected runs, one for each planned seed; –: not planned. A "
        "run whose test accuracy is not a finite number counts as failed. Only methods without a hole on any dataset "
        "enter an aggregate.",
    }


def costs(across: Across) -> dict[str, Any]:
    """What the plots of accuracy against cost show, and what they have no room for."""
    names = [f"on front, {name}" for name in ("time", "parameters")]
    return {
        "headings": ["dataset", "method", "test acc. %", "train s", "parameters", *names],
        "rows": [_cost_row(table, line) for table in across.tables for line in competitors(table)],
        "caption": "Train s: a run's share of the wall time of the stack it was trained in, indicative only; of the "
        "ensemble, that of its members together. On the front: no other method is at least as cheap and more accurate, "
        "by means over seeds.",
    }


def _cost_row(table: Table, line: Line) -> list[str]:
    found = [cost.of(line) for cost in COSTS]
    on = ["yes" if is_on else "" for is_on in on_front(table, line)]
    seconds, parameters = found
    return [
        table.dataset,
        line.method,
        marked(line),
        number(seconds, 1),
        f"{parameters:,.0f}" if parameters else "",
        *on,
    ]


def on_front(table: Table, line: Line) -> list[bool]:
    """Whether a line is on the Pareto front of each cost."""
    return [any(one is line for one in front(competitors(table), cost)) for cost in COSTS]


def sections(across: Across, aggregates: Aggregates | None) -> dict[str, dict[str, Any]]:
    """Every table by title, in the order shown; those without a row are left out."""
    found = {"Datasets": datasets(across)}
    found |= {"Across datasets": aggregates_table(across, aggregates)} if aggregates else {}
    found |= {"Accuracy against cost": costs(across), "Completeness": completeness(across)}
    return {title: one for title, one in found.items() if one["rows"]}


def why_nots(across: Across, aggregates: Aggregates | None) -> list[str]:
    """Why there are no aggregates, or no rank test; which methods they leave out."""
    if aggregates is None:
        return [across.why_no_aggregate]
    others = left_out(across)
    text = [f"In no aggregate, for want of runs: {'; '.join(others)}."] if others else []
    return [*([aggregates.why_no_test] if aggregates.why_no_test else []), *text]


def unequal(across: Across) -> list[str]:
    """Tables whose rows are hard to compare."""
    return [f"{table.dataset}: {text}" for table in across.tables for text in warnings(table)]
