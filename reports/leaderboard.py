"""The leaderboard as files others read (CSV, Markdown) and as text on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.interaction_tables import to_markdown as interactions_markdown
from reports.line import SOURCE, Line
from reports.statistics import MIN_SEEDS
from reports.table import Table
from reports.text import as_csv, four, grid, limits, number, percent, shown_status, spread, terminal
from reports.tuning import n_configurations, sentence, settings_cell, settings_kind, warnings

COLUMNS = (
    "dataset",
    "method",
    "n_seeds",
    "n_failed",
    "test_acc_mean",
    "test_acc_std",
    "test_acc_ci_low",
    "test_acc_ci_high",
    "test_macro_f1_mean",
    "valid_acc_mean",
    "synergy_mean",
    "n_params",
    "train_seconds",
    "status",
    "settings",
    "n_configurations",
)
HEADINGS = (
    "#",
    "method",
    "test acc. %",
    "95 % interval",
    "macro-F1",
    "synergy %",
    "valid acc. %",
    "seeds",
    "settings",
    "status",
)
TEXTS = ("method", "settings", "status")
SOURCE_HEADING = "source valid acc. %"


def to_csv(table: Table) -> str:
    """Accuracies as fractions with six decimals; empty where a value is not known or would average over a hole."""
    return as_csv(COLUMNS, (_csv_row(table.dataset, line) for line in table.lines))


def _csv_row(dataset: str, line: Line) -> list[str | int]:
    shares = (*four(line.test_acc), line.means.get("test/macro_f1"), line.means.get("valid/acc"), line.synergy)
    return [
        dataset,
        line.method,
        line.n_seeds,
        line.n_failed,
        *(number(value, 6) for value in shares),
        number(line.means.get("n_params"), 0),
        number(line.means.get("train_seconds"), 2),
        line.status,
        settings_kind(line),
        number(n_configurations(line), 0),
    ]


def to_markdown(table: Table) -> str:
    """The shown table with its title, warning and holes."""
    lines = [f"# {table.card['title']} (`{table.dataset}`, suite `{table.suite}`)", ""]
    if table.card["warning"]:
        lines += [f"> **Warning.** {table.card['warning']}", ""]
    lines += [line for text in tuning_notes(table) for line in (text, "")]
    source = (SOURCE_HEADING,) if table.has_source else ()
    shown = [(*cells(line), *([percent(line.means.get(SOURCE))] if source else [])) for line in table.lines]
    lines += [*grid((*HEADINGS, *source), shown), "", caption(table)]
    holes = [f"- `{line.method}` {reason}" for line in table.lines for reason in line.reasons]
    lines += ["", *holes] if holes else []
    return "\n".join([*lines, *interactions_markdown(table)]) + "\n"


def cells(line: Line) -> tuple[str, ...]:
    """One line of the short table, in the order of ``HEADINGS``."""
    return (
        str(line.rank or ""),
        line.method,
        spread(line.test_acc, line),
        interval(line),
        number(line.means.get("test/macro_f1"), 3),
        percent(line.synergy),
        percent(line.means.get("valid/acc")),
        seeds(line),
        settings_cell(line),
        shown_status(line),
    )


def tuning_notes(table: Table) -> list[str]:
    """Paragraphs in Markdown: how much tuning the rows had, and what that does to their comparison."""
    return [*filter(None, [sentence(table)]), *(f"> **Warning.** {text}" for text in warnings(table))]


def caption(table: Table) -> str:
    """What the numbers are, and over what they vary."""
    size = f" ({table.n_test:,} samples)" if table.n_test else ""
    sentences = [transfer_caption(table.transfer)] if table.transfer else []
    sentences += [
        f"Test accuracy{size}: mean and sample standard deviation over seeds, and from {MIN_SEEDS} seeds on the 95 % "
        "Student-t interval of the mean. A seed re-randomises initialisation, batch order and noise; the split is "
        "fixed, so the interval says nothing about other test samples. Selection used validation data only. Rows with "
        "a failed or missing seed are not averaged and not ranked."
    ]
    if any(line.is_floor for line in table.lines):
        sentences.append(
            "constant answers with the label frequencies (most frequent class) of the very split it is judged on: a "
            "floor, not a method, and not ranked."
        )
    if any(line.is_estimator for line in table.lines):
        sentences.append(
            "lsmi estimates the information in each sample: an estimator, not a competitor, and not ranked; its "
            "accuracy is that of its own classifier."
        )
    if len(table.seed_sets) > 1:
        sets = "; ".join(f"{', '.join(map(str, found))} for {', '.join(who)}" for found, who in table.seed_sets.items())
        sentences.append(f"The rows do not have the same seeds: {sets}.")
    return " ".join(sentences)


def transfer_caption(transfer: Mapping[str, Any]) -> str:
    """What the accuracies are where the test samples have classes that no training sample has."""
    trained, probed = (_classes(transfer.get(name)) for name in ("train_classes", "probe_classes"))
    return (
        f"These are accuracies out of distribution: every representation is learned on the classes {trained} alone and "
        f"then frozen; a linear probe, fitted on training samples of the classes {probed}, tells these apart, which no "
        "representation has seen. Test and validation accuracy are the probe's, on samples of the unseen classes; "
        "source validation accuracy is the method's own, on the classes that it learned."
    )


def _classes(names: Any) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list | tuple) and names else "not recorded"


def seeds(line: Line) -> str:
    """How many of the planned seeds count."""
    return f"{line.n_seeds}/{len(line.row.runs)}" if line.row else ""


def interval(line: Line) -> str:
    if line.interval and line.test_acc:
        return limits(line.test_acc)
    return "too few seeds" if line.rank else ""


def print_table(table: Table) -> None:
    """Prints the short table to the terminal, or 120 columns wide where there is none."""
    from rich import box
    from rich.table import Table as Grid

    console = terminal()
    title = f"{table.dataset} (suite {table.suite})\n{sentence(table)}".rstrip()
    grid = Grid(title=title, title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True)
    for heading in HEADINGS:
        # Two lines for a heading that is wider than its numbers: all columns then fit into 120 characters.
        shown = heading.replace(" ", "\n", 1) if heading.endswith("%") else heading
        grid.add_column(shown, justify="left" if heading in TEXTS else "right", no_wrap=heading == "method")
    for line in table.lines:
        grid.add_row(*cells(line), style="bold" if line.is_dmil else "")
    console.print(grid)
    for line in table.lines:
        for reason in line.reasons:
            console.print(f"{line.method}: {reason}", style="red", markup=False)
    for text in filter(None, [table.card["warning"], *warnings(table)]):
        console.print(f"Warning: {text}", style="yellow", markup=False)
