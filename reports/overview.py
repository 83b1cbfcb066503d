"""A suite over its datasets: which method is how far below the limit where, and whether DMIL is ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reports import error_columns
from reports.leaderboard import transfer_caption
from reports.line import CONTROL, CONVENTIONAL, ESTIMATOR, FLOOR, Difference, Line
from reports.measure import ACCURACY, Measure
from reports.statistics import MIN_SEEDS
from reports.table import Table
from reports.text import as_csv, four, grid, number, percent, signed_limits, signed_percent, spread, three
from reports.tuning import has_tuning, sentence, warnings

OWN = "dmil_pid"
NOT_PLANNED, NO_RUNS = "–", "no runs"
NOTES = {FLOOR: " (floor)", CONTROL: " (control)", ESTIMATOR: " (estimator)"}
OF_ERRORS = (
    "Of a regression the mean absolute error stands in place of the accuracy, marked MAE; a difference above 0 still "
    "says that the first of two is better."
)
COLUMNS = (
    "suite",
    "dataset",
    "method",
    "n_seeds",
    "n_failed",
    "test_acc_mean",
    "test_acc_std",
    "test_acc_ci_low",
    "test_acc_ci_high",
    "valid_acc_mean",
    "bayes_accuracy",
    "deficit_mean",
    "strongest_baseline",
    "minus_strongest_mean",
    "minus_strongest_ci_low",
    "minus_strongest_ci_high",
    "n_pairs",
    "status",
)


@dataclass(frozen=True)
class Overview:
    """tables: in the order of the suite. missing: datasets of the suite that have no runs yet."""

    suite: str
    tables: tuple[Table, ...]
    missing: tuple[str, ...] = ()

    @property
    def methods(self) -> list[str]:
        """Floor, unimodal, conventional, the others, DMIL, the estimator; by name within each."""
        lines = {line.method: line for table in self.tables for line in table.lines if line.row}
        return sorted(lines, key=lambda name: _kind(lines[name]))

    @property
    def has_errors(self) -> bool:
        """Whether one of its datasets is a regression."""
        return any(table.measure.is_error for table in self.tables)

    @property
    def has_limits(self) -> bool:
        return any(table.limit is not None for table in self.tables)


def _kind(line: Line) -> tuple[int, str]:
    kinds = (line.is_floor, line.is_unimodal, line.method in CONVENTIONAL, line.is_competitor and not line.is_dmil)
    return next((i for i, applies in enumerate((*kinds, line.is_dmil)) if applies), len(kinds) + 1), line.method


def own_line(table: Table, *, has_own: bool) -> Line | None:
    """The row that is compared: the suite's own method, else the best DMIL variant by validation accuracy."""
    if not has_own:
        return table.best_dmil
    line = table.line(OWN)
    return line if line and line.result else None


def short_names(datasets: Sequence[str]) -> list[str]:
    """Dataset names without the parts before a hyphen that all share."""
    parts = [name.split("-")[:-1] for name in datasets]
    n_shared = 0
    while len(parts) > 1 and all(len(one) > n_shared and one[n_shared] == parts[0][n_shared] for one in parts):
        n_shared += 1
    return ["-".join(name.split("-")[n_shared:]) for name in datasets]


def to_csv(overview: Overview) -> str:
    """One row per dataset and method; accuracies and differences as fractions, empty over a hole. Where there are
    regressions, their errors have columns of their own."""
    lines = [(table, line) for table in overview.tables for line in table.lines if line.row]
    if not overview.has_errors:
        return as_csv(COLUMNS, (_csv_row(overview.suite, table, line) for table, line in lines))
    rows = ([*_csv_row(overview.suite, table, line), *_error_cells(line)] for table, line in lines)
    return as_csv((*COLUMNS, *error_columns.COLUMNS), rows)


def _error_cells(line: Line) -> list[str]:
    return error_columns.csv_cells(line) if line.measure.is_error else [""] * len(error_columns.COLUMNS)


def _csv_row(suite: str, table: Table, line: Line) -> list[str | int]:
    strongest = table.strongest
    is_compared = line.result and strongest and line is not strongest and line.is_competitor
    difference = line.gain if is_compared else None
    values = [
        *four(None if line.measure.is_error else line.result),
        line.means.get(ACCURACY.valid),
        table.limit,
        deficit(table, line),
    ]
    return [
        suite,
        table.dataset,
        line.method,
        line.n_seeds,
        line.n_failed,
        *(number(value, 6) for value in values),
        strongest.method if strongest else "",
        *(number(value, 6) for value in three(difference)),
        len(difference.seeds) if difference else "",
        line.status,
    ]


def deficit(table: Table, line: Line) -> float | None:
    """Mean test accuracy minus the Bayes limit."""
    return line.result.mean - table.limit if line.result and table.limit is not None else None


def accuracies(overview: Overview, *, is_brief: bool = False) -> dict[str, Any]:
    """Test accuracy of every method on every dataset; brief: means alone."""

    def cell(table: Table, line: Line) -> str:
        assert line.result
        star = "★" if line is table.strongest else ""
        mark = f"{table.measure.symbol} " if table.measure.is_error else ""
        text = table.measure.text(line.result.mean) if is_brief else spread(line.result, line)
        return mark + (text + star if is_brief else f"{text} {star}".strip())

    limits = [percent(table.limit) for table in overview.tables]
    first = [["Bayes limit", *limits, *("" for _ in overview.missing)]] if overview.has_limits else []
    text = (
        "Test accuracy in percent, mean ± sample standard deviation over seeds. A cell with a failed or missing seed "
        "has no mean: it says how many of the planned seeds count. ★: strongest conventional baseline of the dataset "
        f"by mean validation accuracy. {NOT_PLANNED}: not planned."
    )
    text += f" {OF_ERRORS}" if overview.has_errors else ""
    return {"headings": _headings(overview), "rows": [*first, *_matrix(overview, cell)], "caption": text}


def deficits(overview: Overview) -> dict[str, Any]:
    """What is missing to the Bayes limit."""
    rows = _matrix(overview, lambda table, line: signed_percent(deficit(table, line)))
    text = (
        "Deficit: mean test accuracy minus the Bayes limit, in percentage points; 0 is the best that a method can "
        "expect, and on a finite test set chance moves a result to either side of it."
    )
    return {"headings": _headings(overview), "rows": rows, "caption": text}


def _headings(overview: Overview) -> list[str]:
    return ["method", *short_names([*(table.dataset for table in overview.tables), *overview.missing])]


def _matrix(overview: Overview, cell: Callable[[Table, Line], str]) -> list[list[str]]:
    """A row per method, a column per dataset; ``cell`` speaks for complete lines, the others are holes."""
    rows = []
    for method in overview.methods:
        row = [method + NOTES.get(method, "")]
        for table in overview.tables:
            line = table.line(method)
            if line is None or not line.row:
                row.append(NOT_PLANNED)
            elif line.result:
                row.append(cell(table, line))
            else:
                row.append(f"{line.status} {line.n_seeds}/{len(line.row.runs)}")
        rows.append([*row, *(NO_RUNS for _ in overview.missing)])
    return rows


def differences(overview: Overview) -> dict[str, Any]:
    """DMIL minus the strongest conventional baseline, dataset by dataset, both chosen without the test split."""
    has_own = any(table.line(OWN) for table in overview.tables)
    names = short_names([*(table.dataset for table in overview.tables), *overview.missing])
    rows = []
    for name, table in zip(names, overview.tables, strict=False):
        own, strongest = own_line(table, has_own=has_own), table.strongest
        found = own.gain if own else None
        rows.append([name, *_result(own), *_result(strongest), *_difference(found, table.measure)])
    more = f" {OF_ERRORS}" if overview.has_errors else ""
    which = f"DMIL: {OWN}." if has_own else "DMIL: the variant with the highest mean validation accuracy."
    return {
        "headings": ["dataset", "DMIL", "acc. %", "baseline", "acc. %", "difference", "95 % interval", "pairs"],
        "rows": rows,
        "caption": f"{which} Baseline: the conventional method, unimodal ones included, with the highest mean "
        "validation accuracy. Difference: DMIL minus baseline in percentage points of test accuracy, mean over seeds "
        f"paired by number; from {MIN_SEEDS} pairs on with the 95 % interval of a paired bootstrap over test samples "
        f"and seeds at once. Empty where one of the two is not complete.{more}",
    }


def _result(line: Line | None) -> list[str]:
    if not line or not line.result:
        return ["", ""]
    text = line.measure.text(line.result.mean)
    return [line.method, f"{line.measure.symbol} {text}" if line.measure.is_error else text]


def _difference(found: Difference | None, measure: Measure) -> list[str]:
    if found is None:
        return ["", "", ""]
    return [measure.signed(found.mean), signed_limits(found, measure), str(len(found.seeds))]


def captions(overview: Overview) -> list[str]:
    """What the accuracies of this suite are, where they are not those of the classes of training, and how much tuning
    the rows had, where they had any."""
    found = dict.fromkeys(transfer_caption(table.transfer) for table in overview.tables if table.transfer)
    tuned = [table for table in overview.tables if has_tuning(table)]
    return [*found, *(f"{table.dataset}: {' '.join([sentence(table), *warnings(table)])}" for table in tuned)]


def holes(overview: Overview) -> list[str]:
    """Each missing or failed seed, and each dataset without runs."""
    lines = [(table, line) for table in overview.tables for line in table.lines]
    found = [f"{table.dataset}, {line.method}: {reason}" for table, line in lines for reason in line.reasons]
    return [*found, *(f"{name}: {NO_RUNS}" for name in overview.missing)]


def to_markdown(overview: Overview) -> str:
    """The same tables as on the page."""
    lines = [f"# Suite `{overview.suite}`", "", *captions(overview)]
    for title, found in sections(overview):
        lines += ["", f"## {title}", "", *grid(found["headings"], found["rows"]), "", found["caption"]]
    missing = holes(overview)
    lines += ["", "## Holes", "", *(f"- {text}" for text in missing)] if missing else []
    return "\n".join(lines) + "\n"


def sections(overview: Overview) -> list[tuple[str, dict[str, Any]]]:
    """Title and table, in the order shown."""
    found = [("Test accuracy", accuracies(overview))]
    found += [("Deficit to the Bayes limit", deficits(overview))] if overview.has_limits else []
    return [*found, ("DMIL against the strongest baseline", differences(overview))]
