"""``python -m reports``: reads MLflow, writes and prints a leaderboard per dataset and an overview per suite, or what a
sweep found."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import STATUS_BAD_INPUT, Parser, UserError, end_on_interrupt
from benchmarks.registry import canonical
from benchmarks.suite import DEFAULT_SUITE, suite_datasets

if TYPE_CHECKING:
    from benchmarks.tracking import Tracking
    from reports.table import Table

ALL = "all"
OUT = Path(__file__).resolve().parent / "out"
STATUS_BROKEN_PIPE = 1


def main(argv: list[str] | None = None) -> int:
    """Exit status 0, or 2 with one line on stderr for what the user can put right."""
    options = _parser().parse_args(argv)
    from benchmarks.tracking import Tracking, UnreachableError

    try:
        (_report_sweeps if options.sweep else _report)(Tracking(), options)
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
    parser.add_argument("--dataset", help="only this dataset (default: every dataset with runs)")
    parser.add_argument(
        "--suite",
        help="only this suite, with an overview of its datasets (default: of each dataset the suite planned last)",
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
    from reports.leaderboard import print_table
    from reports.table import build_tables

    tables = build_tables(tracking, options.dataset and _canonical(options.dataset), options.suite)
    written = [_write_files(table, tracking, folder_of(table, options.out)) for table in tables]
    for table, paths in zip(tables, written, strict=True):
        print_table(table)
        print(*paths, sep="\n", flush=True)
    if options.suite not in (None, DEFAULT_SUITE) and not options.dataset:
        print(*_write_overview(options.suite, tables, options.out / options.suite), sep="\n", flush=True)


def _report_sweeps(tracking: Tracking, options: argparse.Namespace) -> None:
    from reports.sweep import build_sweeps
    from reports.sweep_page import print_sweep, to_html
    from reports.sweep_tables import to_csv, to_markdown

    if options.dataset:
        raise UserError(f"--sweep names its dataset itself; leave --dataset out, or say --sweep {options.dataset}")
    dataset = None if options.sweep == ALL else _canonical(options.sweep)
    for sweep in build_sweeps(tracking, dataset, options.suite):
        files = {"sweep.csv": to_csv(sweep), "sweep.md": to_markdown(sweep), "index.html": to_html(sweep)}
        paths = _write_all(files, options.out / "sweeps" / sweep.dataset)
        print_sweep(sweep)
        print(*paths, sep="\n", flush=True)


def folder_of(table: Table, out: Path) -> Path:
    """Where the page of a table is: below its suite, but for the leaderboard, whose datasets stand at the top."""
    return out / table.dataset if table.suite == DEFAULT_SUITE else out / table.suite / table.dataset


def _canonical(dataset: str) -> str:
    """The name that runs are stored under; a dataset that this version does not know may have runs all the same."""
    try:
        return canonical(dataset)
    except UserError:
        return dataset


def in_order(suite: str, tables: list[Table]) -> tuple[list[Table], list[str]]:
    """Tables as the suite's file lists their datasets, then the others as planned; and the datasets without a table."""
    try:
        names = suite_datasets(suite)
    except UserError:
        names = []
    places = {name: place for place, name in enumerate(names)}
    tables = sorted(tables, key=lambda one: (places.get(one.dataset, len(names)), one.planned_at, one.dataset))
    return tables, [name for name in names if name not in {table.dataset for table in tables}]


def _write_overview(suite: str, tables: list[Table], folder: Path) -> list[Path]:
    from reports.overview import Overview, to_csv, to_markdown
    from reports.overview_page import print_overview, to_html

    ordered, missing = in_order(suite, tables)
    overview = Overview(suite, tuple(ordered), tuple(missing))
    print_overview(overview)
    files = {"index.csv": to_csv(overview), "index.md": to_markdown(overview), "index.html": to_html(overview)}
    return _write_all(files, folder)


def _write_files(table: Table, tracking: Tracking, folder: Path) -> list[Path]:
    from reports.interaction_tables import to_csv as interactions_csv
    from reports.leaderboard import to_csv, to_markdown
    from reports.page import to_html

    files = {
        "leaderboard.csv": to_csv(table),
        "leaderboard.md": to_markdown(table),
        "index.html": to_html(table, tracking),
    }
    if table.interactions:
        files["interactions.csv"] = interactions_csv(table)
    paths = _write_all(files, folder)
    if not table.interactions:
        (folder / "interactions.csv").unlink(missing_ok=True)  # of an older table
    return paths


def _write_all(files: dict[str, str], folder: Path) -> list[Path]:
    for name, content in files.items():
        write(folder / name, content)
    return [folder / name for name in files]


def write(path: Path, content: str) -> None:
    """Replaces a file whole. Raises UserError where its folder cannot be written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(content, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}); name another folder with --out") from error


if __name__ == "__main__":
    end_on_interrupt("interrupted; the same command starts over")
    raise SystemExit(main())
