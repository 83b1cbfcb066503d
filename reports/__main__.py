"""``python -m reports``: reads MLflow, writes and prints a leaderboard per dataset, an overview per suite, what sweeps
found, and an index of it all."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.errors import STATUS_BAD_INPUT, Parser, UserError, end_on_interrupt
from benchmarks.registry import canonical
from benchmarks.suite import DEFAULT_SUITE
from reports.bar import tracked, waiting
from reports.files import SWEEPS, Page, index_page, overview_page, sweep_pages, table_page

if TYPE_CHECKING:
    from benchmarks.record import Row
    from benchmarks.tracking import Tracking

T = TypeVar("T")
ALL = "all"
OUT = Path(__file__).resolve().parent / "out"
STATUS_BROKEN_PIPE = 1


def main(argv: list[str] | None = None) -> int:
    """Exit status 0, or 2 with one line on stderr for what the user can put right."""
    options = _parser().parse_args(argv)
    from benchmarks.tracking import Tracking, UnreachableError

    try:
        _report(Tracking(), options)
    except UnreachableError as error:
        print(f"{'' if options.allow_unreachable else 'error: '}no report: {error}", file=sys.stderr)
        return 0 if options.allow_unreachable else STATUS_BAD_INPUT
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return STATUS_BAD_INPUT
    except BrokenPipeError:
        # Python flushes once more at its end and would complain about the same pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STATUS_BROKEN_PIPE
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m reports", description=__doc__)
    parser.add_argument("--dataset", help="only this dataset, of the suite planned last (default: everything)")
    parser.add_argument(
        "--suite",
        help="only this suite, with an overview of its datasets",
    )
    parser.add_argument(
        "--sweep",
        nargs="?",
        const=ALL,
        metavar="DATASET",
        help="instead of leaderboards, the search for settings on this dataset (all: on every dataset that has one)",
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write to (default: reports/out)")
    parser.add_argument(
        "--allow-unreachable", action="store_true", help="exit with status 0 where MLflow does not answer"
    )
    return parser


def _report(tracking: Tracking, options: argparse.Namespace) -> None:
    """Writes and prints what was asked for, or all that tracking holds; nothing is written before all of it is made.

    Raises:
        UserError: bad input, or pages that cannot be made; the others are written all the same.
    """
    problems: list[str] = []
    rows = None
    if options.sweep:
        pages = _sweep_command(tracking, options)
    elif options.dataset or options.suite:
        with waiting("reading the runs"):
            tracking.tables()  # the index asks for all of them: one search, not two
        pages = _table_command(tracking, options)
    else:
        with waiting("reading the runs"):
            rows = tracking.rows()
        pages = _all_pages(tracking, rows, problems)
    folders = [page.folder for page in pages]
    index = _tried(problems, "index.html", index_page, tracking, options.out, folders, rows)
    pages += [index] if index else []
    written = [page.write(options.out) for page in pages]
    for page, paths in zip(pages, written, strict=True):
        page.show()
        print(*paths, sep="\n", flush=True)
    if problems:
        raise UserError(f"not everything could be reported: {'; '.join(problems)}")


def _all_pages(tracking: Tracking, rows: list[Row], problems: list[str]) -> list[Page]:
    """The tables of every suite, the suites' overviews and every sweep; what cannot be made adds a problem."""
    tables: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        tables.setdefault((row.suite, row.dataset), []).append(row)
    jobs: list[tuple[str, Callable[[], list[Page]]]] = [
        (f"{dataset} ({suite})", partial(_build_page, tables[suite, dataset], tracking))
        for suite, dataset in sorted(tables, key=lambda name: (name[0] != DEFAULT_SUITE, name))
    ]
    searched = sorted({dataset for dataset, _ in tracking.sweeps()})
    jobs += [(f"{dataset} ({SWEEPS})", partial(sweep_pages, tracking, dataset, None)) for dataset in searched]
    if not jobs:
        return _table_pages(tracking, None, None)  # which says what to do
    pages: list[Page] = []
    for name, build in tracked(jobs, itemgetter(0)):
        pages += _tried(problems, name, build) or []
    for suite in sorted({suite for suite, _ in tables} - {DEFAULT_SUITE}):
        found = [page.table for page in pages if page.table and page.table.suite == suite]
        # A dataset that cannot be read would look as if it had no runs.
        if len(found) == sum(one == suite for one, _ in tables):
            pages.append(overview_page(suite, found))
    return pages


def _tried(problems: list[str], name: str, build: Callable[..., T], *args: Any) -> T | None:
    """What ``build`` makes; None, and one more problem, where it cannot."""
    from benchmarks.tracking import UnreachableError

    try:
        return build(*args)
    except UnreachableError:
        raise
    except UserError as error:
        problems.append(f"{name}: {error}")
        return None


def _table_command(tracking: Tracking, options: argparse.Namespace) -> list[Page]:
    pages = _table_pages(tracking, options.dataset and _canonical(options.dataset), options.suite)
    if options.suite not in (None, DEFAULT_SUITE) and not options.dataset:
        pages.append(overview_page(options.suite, [page.table for page in pages if page.table]))
    return pages


def _sweep_command(tracking: Tracking, options: argparse.Namespace) -> list[Page]:
    if options.dataset:
        raise UserError(f"--sweep names its dataset itself; leave --dataset out, or say --sweep {options.dataset}")
    return sweep_pages(tracking, None if options.sweep == ALL else _canonical(options.sweep), options.suite)


def _table_pages(tracking: Tracking, dataset: str | None, suite: str | None) -> list[Page]:
    from reports.table import build_tables

    return [table_page(table, tracking) for table in build_tables(tracking, dataset, suite)]


def _build_page(rows: list[Row], tracking: Tracking) -> list[Page]:
    from reports.table import build_table

    return [table_page(build_table(tracking, rows), tracking)]


def _canonical(dataset: str) -> str:
    """The name that runs are stored under; a dataset that this version does not know may have runs all the same."""
    try:
        return canonical(dataset)
    except UserError:
        return dataset


if __name__ == "__main__":
    end_on_interrupt("interrupted; the same command starts over")
    raise SystemExit(main())
