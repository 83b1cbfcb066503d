"""The files of every page of a report: made whole, then written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import UserError
from benchmarks.suite import DEFAULT_SUITE, suite_datasets

if TYPE_CHECKING:
    from benchmarks.record import Row
    from benchmarks.tracking import Tracking
    from reports.table import Table

SWEEPS = "sweeps"
# Files that a table has only where there is something to say.
SOMETIMES = {f"{name}.{kind}" for name in ("interactions", "hard_samples") for kind in ("csv", "tex")}


@dataclass(frozen=True)
class Page:
    """folder: below the one to write to, empty for itself. files: content by name. show: prints it in short. table:
    of a leaderboard."""

    folder: str
    files: dict[str, str]
    show: Callable[[], None]
    table: Table | None = None

    def write(self, out: Path) -> list[Path]:
        folder = out / self.folder
        for name, content in self.files.items():
            write(folder / name, content)
        for name in SOMETIMES - self.files.keys():
            (folder / name).unlink(missing_ok=True)  # of an older table
        return [folder / name for name in self.files]


def table_page(table: Table, tracking: Tracking) -> Page:
    from reports import latex
    from reports.hard_sample_tables import to_csv as hard_samples_csv
    from reports.interaction_tables import to_csv as interactions_csv
    from reports.leaderboard import print_table, to_csv, to_markdown
    from reports.page import to_html

    files = {
        "leaderboard.csv": to_csv(table),
        "leaderboard.md": to_markdown(table),
        "leaderboard.tex": latex.leaderboard(table),
        "index.html": to_html(table, tracking),
    }
    if table.interactions:
        files |= {"interactions.csv": interactions_csv(table), "interactions.tex": latex.interactions(table)}
    if table.hard_samples:
        files |= {"hard_samples.csv": hard_samples_csv(table), "hard_samples.tex": latex.hard_samples(table)}
    return Page(folder_of(table), files, partial(print_table, table), table)


def overview_page(suite: str, tables: list[Table]) -> Page:
    from reports import latex
    from reports.overview import Overview, to_csv, to_markdown
    from reports.overview_page import print_overview, to_html

    ordered, missing = in_order(suite, tables)
    overview = Overview(suite, tuple(ordered), tuple(missing))
    files = {"index.csv": to_csv(overview), "index.md": to_markdown(overview), "index.html": to_html(overview)}
    files["index.tex"] = latex.overview(overview)
    return Page(suite, files, partial(print_overview, overview))


def sweep_pages(tracking: Tracking, dataset: str | None, suite: str | None) -> list[Page]:
    from reports import latex
    from reports.sweep import build_sweeps
    from reports.sweep_page import print_sweep, to_html
    from reports.sweep_tables import to_csv, to_markdown

    pages = []
    for sweep in build_sweeps(tracking, dataset, suite):
        files = {"sweep.csv": to_csv(sweep), "sweep.md": to_markdown(sweep), "index.html": to_html(sweep)}
        files["sweep.tex"] = latex.sweep(sweep)
        pages.append(Page(f"{SWEEPS}/{sweep.dataset}", files, partial(print_sweep, sweep)))
    return pages


def index_page(tracking: Tracking, out: Path, folders: list[str], rows: list[Row] | None) -> Page:
    """folders: of the pages that are about to be written, which it links like those that are there. rows: all of them;
    where only some pages are made they have not been read, and the index is not printed."""
    from reports.across import read_across
    from reports.across_aggregate import aggregate
    from reports.across_files import aggregates_csv, runs_csv, to_csv, to_latex, to_markdown
    from reports.across_page import print_across, to_html

    across = read_across(tracking, in_order, lambda one: one in folders or (out / one / "index.html").exists(), rows)
    aggregates = aggregate(across)
    files = {
        "index.html": to_html(across, aggregates),
        "index.md": to_markdown(across, aggregates),
        "index.tex": to_latex(across, aggregates),
        "index.csv": to_csv(across),
        "methods.csv": aggregates_csv(across, aggregates),
        "runs.csv": runs_csv(across),
    }
    return Page("", files, partial(print_across, across, aggregates) if rows is not None else _print_nothing)


def _print_nothing() -> None:
    """The index after a single report: its path is enough."""


def folder_of(table: Table) -> str:
    """Where the page of a table is: below its suite, but for the leaderboard, whose datasets stand at the top."""
    return table.dataset if table.suite == DEFAULT_SUITE else f"{table.suite}/{table.dataset}"


def in_order(suite: str, tables: list[Table]) -> tuple[list[Table], list[str]]:
    """Tables as the suite's file lists their datasets, then the others as planned; and the datasets without a table."""
    try:
        names = suite_datasets(suite)
    except UserError:
        names = []
    places = {name: place for place, name in enumerate(names)}
    tables = sorted(tables, key=lambda one: (places.get(one.dataset, len(names)), one.planned_at, one.dataset))
    return tables, [name for name in names if name not in {table.dataset for table in tables}]


def write(path: Path, content: str) -> None:
    """Replaces a file whole. Raises UserError where its folder cannot be written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(content, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}); name another folder with --out") from error
