"""``python -m reports``: reads MLflow, writes a leaderboard and a page per dataset, prints the table."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import UserError

if TYPE_CHECKING:
    from benchmarks.tracking import Tracking

OUT = Path(__file__).resolve().parent / "out"


def main(argv: list[str] | None = None) -> int:
    """Exit status 0, or 2 with one line on stderr for what the user can put right."""
    options = _parser().parse_args(argv)
    from benchmarks.tracking import Tracking, UnreachableError

    try:
        _report(Tracking(), options)
    except UnreachableError as error:
        print(f"no report: {error}", file=sys.stderr)
        return 0 if options.allow_unreachable else 2
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__)
    parser.add_argument("--dataset", help="only this dataset (default: every dataset with runs)")
    parser.add_argument("--suite", help="only this suite (default: of each dataset the suite planned last)")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write to (default: reports/out)")
    parser.add_argument(
        "--allow-unreachable", action="store_true", help="exit with status 0 where MLflow does not answer"
    )
    return parser


def _report(tracking: Tracking, options: argparse.Namespace) -> None:
    from reports.leaderboard import print_table, to_csv, to_markdown
    from reports.page import to_html
    from reports.table import build_tables

    for table in build_tables(tracking, options.dataset, options.suite):
        folder = options.out / table.dataset
        files = {
            "leaderboard.csv": to_csv(table),
            "leaderboard.md": to_markdown(table),
            "index.html": to_html(table, tracking),
        }
        for name, content in files.items():
            write(folder / name, content)
        print_table(table)
        for name in files:
            print(folder / name)


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
    raise SystemExit(main())
