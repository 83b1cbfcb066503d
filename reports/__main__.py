"""``python -m reports``: reads MLflow, writes a leaderboard and a page per dataset, prints the table."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import STATUS_BAD_INPUT, Parser, UserError, end_on_interrupt

if TYPE_CHECKING:
    from benchmarks.tracking import Tracking
    from reports.table import Table

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
    parser.add_argument("--dataset", help="only this dataset (default: every dataset with runs)")
    parser.add_argument("--suite", help="only this suite (default: of each dataset the suite planned last)")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write to (default: reports/out)")
    parser.add_argument(
        "--allow-unreachable", action="store_true", help="exit with status 0 where MLflow does not answer"
    )
    return parser


def _report(tracking: Tracking, options: argparse.Namespace) -> None:
    from reports.leaderboard import print_table
    from reports.table import build_tables

    tables = build_tables(tracking, options.dataset, options.suite)
    written = [_write_files(table, tracking, options.out / table.dataset) for table in tables]
    for table, paths in zip(tables, written, strict=True):
        print_table(table)
        print(*paths, sep="\n", flush=True)


def _write_files(table: Table, tracking: Tracking, folder: Path) -> list[Path]:
    from reports.leaderboard import to_csv, to_markdown
    from reports.page import to_html

    files = {
        "leaderboard.csv": to_csv(table),
        "leaderboard.md": to_markdown(table),
        "index.html": to_html(table, tracking),
    }
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
