"""All datasets of the leaderboard side by side: which of them aggregates may rest on, and which methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.record import Row
from benchmarks.suite import DEFAULT_SUITE
from benchmarks.tracking import MissingFileError, Tracking
from reports.line import Line, line_of, paired
from reports.measure import measure_of
from reports.statistics import Summary, mean_or_none
from reports.table import Table, in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

BEST_UNIMODAL = "best unimodal"
MIN_DATASETS = 2
Order = Callable[[str, list[Table]], tuple[list[Table], list[str]]]


@dataclass(frozen=True)
class Standing:
    """The best DMIL variant and the strongest conventional baseline of a dataset, both by validation data.

    difference: by how much the first is better on test data, over paired seeds, None where they share none.
    """

    own: Line
    baseline: Line
    difference: Summary | None

    @property
    def sign(self) -> int:
        """1 where DMIL is ahead, -1 where it is behind, 0 where they are level: alike as they are shown."""
        points = self.own.measure.rounded(self.difference.mean) if self.difference else 0.0
        return (points > 0) - (points < 0)

    @property
    def is_told_apart(self) -> bool:
        """Whether the interval over seeds leaves out 0, as it is shown."""
        shown = self.difference.shown if self.difference else None
        rounded = self.own.measure.rounded
        return shown is not None and (rounded(shown[0]) > 0 or rounded(shown[1]) < 0)


@dataclass(frozen=True)
class Across:
    """tables: of the leaderboard suite in its order, made from runs alone: without predictions, limit or synergy.

    missing: datasets of the suite without runs. unplanned: those with runs but no plan yet. suites: every other suite
    with its datasets. sweeps: datasets that were searched. pages: which of ``folders`` have a page.
    """

    tables: tuple[Table, ...]
    missing: tuple[str, ...] = ()
    unplanned: tuple[str, ...] = ()
    suites: tuple[tuple[str, tuple[str, ...]], ...] = ()
    sweeps: tuple[str, ...] = ()
    pages: frozenset[str] = frozenset()

    @property
    def folders(self) -> list[str]:
        """Where the pages of datasets, suites and sweeps are, seen from the index."""
        return [
            *(table.dataset for table in self.tables),
            *(suite for suite, _ in self.suites),
            *(f"{suite}/{dataset}" for suite, datasets in self.suites for dataset in datasets),
            *(f"sweeps/{dataset}" for dataset in self.sweeps),
        ]

    @property
    def sound(self) -> tuple[Table, ...]:
        """The tables that aggregates rest on: of classifications whose card carries no warning."""
        return tuple(table for table in self.tables if not table.card["warning"] and not table.measure.is_error)

    @property
    def regressions(self) -> tuple[Table, ...]:
        """Whose errors, in units of their own, are not averaged with accuracies."""
        return tuple(table for table in self.tables if table.measure.is_error)

    @property
    def void(self) -> tuple[Table, ...]:
        return tuple(table for table in self.tables if table.card["warning"])

    @cached_property
    def cells(self) -> dict[str, list[Line | None]]:
        """Method -> its line on each sound dataset, None where it has none; floor and estimator left out.

        The unimodal rows, which differ from dataset to dataset, are one method: of each dataset the one with the
        highest mean validation accuracy.
        """
        names = {line.method for table in self.sound for line in table.lines if _is_aggregated(line)}
        found = {name: [table.line(name) for table in self.sound] for name in sorted(names)}
        unimodal = [_best_unimodal(table) for table in self.sound]
        return ({BEST_UNIMODAL: unimodal} if any(unimodal) else {}) | found

    @property
    def complete(self) -> dict[str, list[Line]]:
        """The methods that are complete on every sound dataset, and their lines."""
        return {name: [line for line in lines if line] for name, lines in self.cells.items() if not self.lacking(name)}

    def lacking(self, method: str) -> list[str]:
        """Why a method is in no aggregate: what it lacks, dataset by dataset; empty where it lacks nothing."""
        pairs = zip(self.sound, self.cells[method], strict=True)
        return [f"{_lack(line)} on {table.dataset}" for table, line in pairs if not line or not line.result]

    @property
    def why_no_aggregate(self) -> str:
        """Empty where aggregates can be formed."""
        if len(self.sound) < MIN_DATASETS:
            n = f"{len(self.sound)} dataset{'' if len(self.sound) == 1 else 's'}"
            kind = "classification " if self.regressions else ""
            needed = f"{MIN_DATASETS} {kind}datasets without a warning"
            return f"No aggregates: they need {needed}, and there are runs of {n}."
        if len(self.complete) < MIN_DATASETS:
            return f"No aggregates: {len(self.complete) or 'no'} method is complete on all {len(self.sound)} datasets."
        return ""

    @property
    def floors(self) -> list[float] | None:
        """Mean test accuracy of the constant row on each sound dataset, None unless all have one."""
        floors = [table.floor for table in self.sound]
        return [floor for floor in floors if floor is not None] if None not in floors else None

    @property
    def best_dmil(self) -> str | None:
        """The DMIL variant, complete on every sound dataset, with the highest mean validation accuracy over them."""
        return _best_on_valid({name: lines for name, lines in self.complete.items() if lines[0].is_dmil})

    @property
    def best_baseline(self) -> str | None:
        """The same among the conventional methods."""
        return _best_on_valid({name: lines for name, lines in self.complete.items() if lines[0].is_conventional})


def runs_of(lines: Iterable[Line]) -> list[NDArray[np.float64]]:
    """Test accuracy of every seed, (n_seeds,) of each line."""
    return [np.asarray(line.seed_scores, dtype=np.float64) for line in lines]


def standing(table: Table) -> Standing | None:
    """None where no DMIL variant or no conventional baseline is complete."""
    own, baseline = table.best_dmil, table.strongest
    return Standing(own, baseline, paired(own, baseline)) if own and baseline else None


def read_across(
    tracking: Tracking, order: Order, is_there: Callable[[str], bool], rows: Sequence[Row] | None = None
) -> Across:
    """What tracking knows. order: of a suite's tables, and which are missing. is_there: whether a folder has a page.
    rows: all of them, where they have been read."""
    names = tracking.tables() if rows is None else sorted({(row.dataset, row.suite) for row in rows})
    found = tracking.rows(suite=DEFAULT_SUITE) if rows is None else [row for row in rows if row.suite == DEFAULT_SUITE]
    tables, unplanned = _tables_of(found, tracking)
    ordered, missing = order(DEFAULT_SUITE, tables)
    suites: dict[str, list[str]] = {}
    for dataset, suite in names:
        suites.setdefault(suite, []).append(dataset)
    across = Across(
        tuple(ordered),
        tuple(name for name in missing if name not in unplanned),
        tuple(unplanned),
        tuple((suite, tuple(suites[suite])) for suite in sorted(suites) if suite != DEFAULT_SUITE),
        tuple(sorted({dataset for dataset, _ in tracking.sweeps()})),
    )
    return replace(across, pages=frozenset(filter(is_there, across.folders)))


def _tables_of(found: Sequence[Row], tracking: Tracking) -> tuple[list[Table], list[str]]:
    """A table per dataset, and the datasets whose plan, with the card, has not arrived yet."""
    by_dataset: dict[str, list[Row]] = {}
    for row in found:
        by_dataset.setdefault(row.dataset, []).append(row)
    tables, unplanned = [], []
    for dataset, rows in sorted(by_dataset.items()):
        try:
            tables.append(bare_table(rows, tracking.card(_newest(rows))))
        except MissingFileError:
            unplanned.append(dataset)
    return tables, unplanned


def bare_table(rows: Sequence[Row], card: dict[str, Any]) -> Table:
    """A table made from runs and card alone."""
    measure = measure_of(rows)
    complete, holes = in_order([line_of(row, measure) for row in rows])
    newest = _newest(rows)
    return Table(newest.dataset, newest.suite, (*complete, *holes), card, None)


def _newest(rows: Sequence[Row]) -> Row:
    return max(rows, key=lambda row: row.planned_at)


def _is_aggregated(line: Line) -> bool:
    return line.row is not None and line.is_competitor and not line.is_unimodal


def _best_unimodal(table: Table) -> Line | None:
    """None where there is no unimodal row; a line with a hole where one of them has one, for it might be the best."""
    lines = [line for line in table.lines if line.is_unimodal]
    hole = next((line for line in lines if not line.result), None)
    known = [(-valid, line.method, line) for line in lines if (valid := line.valid_score) is not None]
    return hole or (min(known)[2] if known else None)


def _best_on_valid(complete: Mapping[str, Sequence[Line]]) -> str | None:
    known = [(-score, name) for name, lines in complete.items() if (score := _mean_valid(lines)) is not None]
    return min(known)[1] if known else None


def _mean_valid(lines: Sequence[Line]) -> float | None:
    return mean_or_none([line.valid_score for line in lines])


def _lack(line: Line | None) -> str:
    if line is None or line.row is None:
        return "not planned"
    return f"{line.status} ({line.n_seeds} of {len(line.row.runs)} seeds)"
