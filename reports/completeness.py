"""Which runs of the leaderboards are there: method × dataset, expected, finished and failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.line import Line
from reports.overview import NOT_PLANNED, NOTES, Overview
from reports.table import Table

TOTAL = "all methods"


@dataclass(frozen=True)
class Cell:
    """How many of the expected runs are finished, failed (a result that is not finite is a failure) or not there yet.

    expected: 0 where the method is not planned on the dataset.
    """

    expected: int
    finished: int
    failed: int

    @property
    def missing(self) -> int:
        return self.expected - self.finished - self.failed

    @property
    def state(self) -> str:
        """complete, failed, incomplete (runs are missing, none failed) or unplanned."""
        if not self.expected:
            return "unplanned"
        return "failed" if self.failed else "incomplete" if self.missing else "complete"

    @property
    def text(self) -> str:
        if not self.expected:
            return NOT_PLANNED
        counts = {"failed": self.failed, "missing": self.missing}
        holes = [f"{n} {what}" for what, n in counts.items() if n]
        return ", ".join([f"{self.finished}/{self.expected}", *holes])


@dataclass(frozen=True)
class Matrix:
    """rows: name and a cell for each dataset; the last one sums them up. None where there is no dataset."""

    datasets: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]

    @property
    def total(self) -> Cell:
        return _sum(self.rows[-1][1]) if self.rows else Cell(0, 0, 0)


def matrix(tables: Sequence[Table]) -> Matrix:
    """Every row of every table, floor and estimator as well, in the order of the suites' overviews."""
    if not tables:
        return Matrix((), ())
    methods = Overview("", tuple(tables)).methods
    rows = [(name + NOTES.get(name, ""), tuple(cell(table.line(name)) for table in tables)) for name in methods]
    sums = tuple(_sum([cells[i] for _, cells in rows]) for i in range(len(tables)))
    return Matrix(tuple(table.dataset for table in tables), (*rows, (TOTAL, sums)))


def cell(line: Line | None) -> Cell:
    return Cell(len(line.row.runs), line.n_seeds, line.n_failed) if line and line.row else Cell(0, 0, 0)


def _sum(cells: Sequence[Cell]) -> Cell:
    return Cell(*(sum(getattr(one, name) for one in cells) for name in ("expected", "finished", "failed")))


def in_words(found: Matrix) -> str:
    """How complete the whole matrix is, in a sentence."""
    total = found.total
    if total.state == "complete":
        return f"All {total.expected:,} expected runs are finished."
    holes = [f"{n:,} {what}" for what, n in (("failed", total.failed), ("not there yet", total.missing)) if n]
    return f"Of {total.expected:,} expected runs {total.finished:,} are finished, {' and '.join(holes)}."
