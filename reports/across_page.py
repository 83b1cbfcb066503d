"""The page over all datasets, and what is printed of it."""

from __future__ import annotations

from typing import Any

from benchmarks.suite import DEFAULT_SUITE
from reports.across import Across
from reports.across_aggregate import Aggregates
from reports.across_files import TITLE
from reports.across_tables import aggregates_table, completeness, costs, datasets, unequal, why_nots
from reports.across_words import count, headline, notes, verdict
from reports.completeness import matrix
from reports.page import render
from reports.pareto import panels
from reports.rank_figure import ranks
from reports.text import terminal

# Columns of the datasets that a terminal has room for.
PRINTED = (0, 3, 4, 5, 6, 7, 8, 9)


def to_html(across: Across, aggregates: Aggregates | None) -> str:
    """The whole page: verdicts, tables, plots of cost, completeness, and the way to every other page."""
    shown = [{"dataset": table.dataset, "panels": panels(table)} for table in across.tables]
    context = {
        "across": across,
        "title": TITLE,
        "suite": DEFAULT_SUITE,
        "count": count(across.tables),
        "headline": headline(across, aggregates),
        "datasets": [
            {
                "title": table.card["title"],
                "link": _link(across, table.dataset),
                "verdict": verdict(table),
                "warning": table.card["warning"],
            }
            for table in across.tables
        ],
        "notes": notes(across),
        "table": datasets(across) if across.tables else None,
        "unequal": unequal(across),
        "aggregates": aggregates_table(across, aggregates) if aggregates else None,
        "why_nots": why_nots(across, aggregates),
        "ranks": ranks(aggregates, len(across.sound)) if aggregates else None,
        "panels": [one for one in shown if one["panels"]],
        "costs": costs(across),
        "matrix": matrix(across.tables),
        "completeness": completeness(across),
        "suites": [_suite(across, name, members) for name, members in across.suites],
        "sweeps": [(name, _link(across, f"sweeps/{name}")) for name in across.sweeps],
        "has_gaps": any(_link(across, folder) is None for folder in across.folders),
    }
    return render("across.html", context)


def _suite(across: Across, name: str, members: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": name,
        "link": _link(across, name),
        "datasets": [(dataset, _link(across, f"{name}/{dataset}")) for dataset in members],
    }


def _link(across: Across, folder: str) -> str | None:
    """The page in a folder, None where it has not been written yet."""
    return f"{folder}/index.html" if folder in across.pages else None


def print_across(across: Across, aggregates: Aggregates | None) -> None:
    """Prints the datasets in short to the terminal, or 120 columns wide where there is none."""
    from rich import box
    from rich.table import Table as Grid

    console = terminal()
    if across.tables:
        grid = Grid(title=f"suite {DEFAULT_SUITE}, all datasets", title_justify="left", box=box.SIMPLE_HEAD)
        found = datasets(across)
        for i in PRINTED:
            is_text = not i or found["headings"][i] in found["texts"]
            grid.add_column(found["headings"][i], justify="left" if is_text else "right", no_wrap=is_text)
        for row in found["rows"]:
            grid.add_row(*(row[i] for i in PRINTED))
        console.print(grid)
    for text in headline(across, aggregates):
        console.print(text, markup=False, highlight=False)
