"""``python -m reports``: reads MLflow, writes a leaderboard and a page per dataset, prints the table."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from benchmarks.errors import UserError

if TYPE_CHECKING:
    from benchmarks.tracking import Tracking
    from reports.table import Table

OUT = Path(__file__).resolve().parent / "out"
STATUS_BROKEN_PIPE, STATUS_BAD_INPUT, STATUS_INTERRUPTED = 1, 2, 130


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


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(STATUS_BAD_INPUT, f"error: {message} (see {self.prog} --help)\n")


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


def _interrupted(_signal: int, _frame: FrameType | None) -> None:
    """Ends at once: as an exception, an interrupt could surface inside a library that swallows or reports it."""
    os.write(sys.stderr.fileno(), b"interrupted; the same command starts over\n")
    os._exit(STATUS_INTERRUPTED)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _interrupted)
    raise SystemExit(main())
