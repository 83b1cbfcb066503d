"""The page over all datasets as files that others read: Markdown, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from reports.across import Across, standing
from reports.across_aggregate import Aggregated, Aggregates
from reports.across_tables import best, effort, on_front, sections, unequal, why_nots
from reports.across_words import headline, notes, verdict
from reports.completeness import cell, matrix
from reports.latex import several
from reports.line import Line
from reports.table import Table
from reports.text import as_csv, four, grid, number

TITLE = "Leaderboards of all datasets"
COLUMNS = (
    "dataset",
    "title",
    "warning",
    "n_expected",
    "n_finished",
    "n_failed",
    "best_method",
    "best_acc_mean",
    "baseline",
    "baseline_acc_mean",
    "dmil",
    "dmil_acc_mean",
    "minus_baseline_mean",
    "minus_baseline_ci_low",
    "minus_baseline_ci_high",
    "n_pairs",
    "settings",
)
AGGREGATE_COLUMNS = (
    "method",
    "n_datasets",
    "iqm",
    "iqm_ci_low",
    "iqm_ci_high",
    "mean_rank",
    "dmil",
    "p_dmil_better",
    "p_dmil_better_ci_low",
    "p_dmil_better_ci_high",
)
CELL_COLUMNS = (
    "dataset",
    "method",
    "n_expected",
    "n_finished",
    "n_failed",
    "n_missing",
    "status",
    "test_acc_mean",
    "train_seconds",
    "n_params",
    "on_front_train_seconds",
    "on_front_n_params",
)


def to_markdown(across: Across, aggregates: Aggregates | None) -> str:
    """The same sentences and tables as on the page."""
    lines = [f"# {TITLE}", "", *(f"- {text}" for text in headline(across, aggregates))]
    lines += [f"- {_linked(across, table)}: {verdict(table)}" for table in across.tables]
    lines += [f"- {text}" for text in [*notes(across), *unequal(across)]]
    for title, found in sections(across, aggregates).items():
        lines += ["", f"## {title}", "", *grid(found["headings"], found["rows"]), "", found["caption"]]
    lines += ["", "## Left out", "", *(f"- {text}" for text in why_nots(across, aggregates))]
    return "\n".join(lines) + "\n"


def _linked(across: Across, table: Table) -> str:
    is_there = table.dataset in across.pages
    return f"[{table.dataset}]({table.dataset}/index.html)" if is_there else table.dataset


def to_latex(across: Across, aggregates: Aggregates | None) -> str:
    """The same tables, and what stands around them in the first caption."""
    shown = {
        title: one | {"caption": f"{title}. {one['caption']}"} for title, one in sections(across, aggregates).items()
    }
    more = [*headline(across, aggregates), *notes(across), *why_nots(across, aggregates)]
    for title in list(shown)[:1]:
        shown[title] |= {"caption": " ".join([shown[title]["caption"], *more])}
    return several(shown, "all")


def to_csv(across: Across) -> str:
    """One row per dataset; accuracies and differences as fractions, empty where unknown. Where there are regressions,
    their errors have columns of their own; a difference is above 0 where DMIL is better."""
    if not across.regressions:
        return as_csv(COLUMNS, map(_csv_row, across.tables))
    rows = ([*_csv_row(table), *_error_cells(table)] for table in across.tables)
    return as_csv((*COLUMNS, "measure", "best_mae_mean", "baseline_mae_mean", "dmil_mae_mean"), rows)


def _error_cells(table: Table) -> list[str]:
    lines = (best(table), table.strongest, table.best_dmil) if table.measure.is_error else (None, None, None)
    means = [line.result.mean if line and line.result else None for line in lines]
    return [table.measure.metric, *(number(mean, 6) for mean in means)]


def _csv_row(table: Table) -> list[str | int]:
    found = standing(table)
    total = matrix([table]).total
    difference = found.difference if found else None
    mean, _, low, high = four(difference)
    lines = (best(table), table.strongest, table.best_dmil)
    return [
        table.dataset,
        table.card["title"],
        table.card["warning"] or "",
        total.expected,
        total.finished,
        total.failed,
        *(text for line in lines for text in _csv_line(line)),
        *(number(value, 6) for value in (mean, low, high)),
        difference.n if difference else "",
        effort(table),
    ]


def _csv_line(line: Line | None) -> Sequence[str]:
    if not line or not line.result:
        return "", ""
    return line.method, "" if line.measure.is_error else number(line.result.mean, 6)


def aggregates_csv(across: Across, found: Aggregates | None) -> str:
    """One row per method of the aggregates; shares as fractions. Without aggregates, its heading alone."""
    rows = found.rows if found else ()
    return as_csv(AGGREGATE_COLUMNS, (_aggregate_row(across, row) for row in rows))


def _aggregate_row(across: Across, row: Aggregated) -> list[str | int]:
    values = [(found.value, found.low, found.high) if found else (None,) * 3 for found in (row.iqm, row.improvement)]
    iqm, improvement = ([number(value, 6) for value in one] for one in values)
    own = across.best_dmil or ""
    return [row.method, len(across.sound), *iqm, number(row.rank, 4), own, *improvement]


def runs_csv(across: Across) -> str:
    """One row per dataset and method: which runs are there, accuracy and cost; empty over a hole."""
    lines = [(table, line) for table in across.tables for line in table.lines]
    if not across.regressions:
        return as_csv(CELL_COLUMNS, (_cell_row(table, line) for table, line in lines))
    rows = ([*_cell_row(table, line), _mean(line) if line.measure.is_error else ""] for table, line in lines)
    return as_csv((*CELL_COLUMNS, "test_mae_mean"), rows)


def _mean(line: Line) -> str:
    return number(line.result.mean if line.result else None, 6)


def _cell_row(table: Table, line: Line) -> list[str | int]:
    found = cell(line)
    fronts = ["yes" if is_on else "no" for is_on in on_front(table, line)] if line.rank else ["", ""]
    return [
        table.dataset,
        line.method,
        found.expected,
        found.finished,
        found.failed,
        found.missing,
        line.status,
        "" if line.measure.is_error else _mean(line),
        number(line.means.get("train_seconds"), 2),
        number(line.means.get("n_params"), 0),
        *fronts,
    ]
