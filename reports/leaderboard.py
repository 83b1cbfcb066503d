"""The leaderboard as files others read (CSV, Markdown) and as text on the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reports import error_columns
from reports.bootstrap import N_RESAMPLES
from reports.hard_sample_tables import to_markdown as hard_samples_markdown
from reports.interaction_tables import to_markdown as interactions_markdown
from reports.line import SOURCE, Line
from reports.measure import ACCURACY, Measure
from reports.method_notes import to_markdown as notes_markdown
from reports.sanity_tables import to_markdown as sanity_markdown
from reports.statistics import MIN_SEEDS
from reports.table import Table
from reports.text import (
    as_csv,
    four,
    grid,
    limits,
    number,
    percent,
    shown_status,
    signed_limits,
    spread,
    terminal,
    three,
)
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
    "gain",
    "gain_ci_low",
    "gain_ci_high",
    "is_tied_with_best",
    "test_nll_mean",
    "test_ece_mean",
    "peak_memory_mb",
)
CLASS_SCORES = ("macro-F1", "synergy %")
TEXTS = ("method", "settings", "status")
RESULT = 2
SOURCE_HEADING = "source valid acc. %"


def _headings(measure: Measure, scores: tuple[str, ...]) -> tuple[str, ...]:
    first = ("#", "method", f"test {measure.symbol}", "95 % interval", "gain")
    return (*first, *scores, f"valid {measure.symbol}", "seeds", "settings", "status")


HEADINGS = _headings(ACCURACY, CLASS_SCORES)


def to_csv(table: Table) -> str:
    """Accuracies as fractions, errors in units of the target, with six decimals; empty where a value is not known or
    would average over a hole. A regression has further columns."""
    if not table.measure.is_error:
        return as_csv(COLUMNS, (_csv_row(table.dataset, line) for line in table.lines))
    rows = ([*_csv_row(table.dataset, line), *error_columns.csv_cells(line)] for line in table.lines)
    return as_csv((*COLUMNS, *error_columns.COLUMNS), rows)


def _csv_row(dataset: str, line: Line) -> list[str | int]:
    result = None if line.measure.is_error else line.result
    shares = (*four(result), line.means.get("test/macro_f1"), line.means.get(ACCURACY.valid), line.synergy)
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
        *(number(value, 6) for value in three(line.gain)),
        "" if line.is_tied is None else str(line.is_tied).lower(),
        *(number(line.means.get(name), 6) for name in ("test/nll", "test/ece")),
        number(line.means.get("peak_memory_mb"), 1),
    ]


def to_markdown(table: Table) -> str:
    """The shown table with its title, warning and holes, and what must be known of its methods."""
    lines = [f"# {table.card['title']} (`{table.dataset}`, suite `{table.suite}`)", ""]
    if table.card["warning"]:
        lines += [f"> **Warning.** {table.card['warning']}", ""]
    lines += [line for text in tuning_notes(table) for line in (text, "")]
    lines += [*grid(headings(table), [_in_bold(line, row(line, table)) for line in table.lines]), "", caption(table)]
    holes = [f"- `{line.method}` {reason}" for line in table.lines for reason in line.reasons]
    lines += ["", *holes] if holes else []
    lines += notes_markdown(table)
    sections = [*interactions_markdown(table), *hard_samples_markdown(table), *sanity_markdown(table)]
    return "\n".join([*lines, *sections]) + "\n"


def headings(table: Table) -> tuple[str, ...]:
    """Of the short table, with the columns that only a transfer or a regression has."""
    if table.measure.is_error:
        return _headings(table.measure, error_columns.headings(has_sentiment=table.has_sentiment))
    return (*HEADINGS, SOURCE_HEADING) if table.has_source else HEADINGS


def row(line: Line, table: Table) -> tuple[str, ...]:
    """One line of the short table, in the order of ``headings``."""
    shown = cells(line, has_sentiment=table.has_sentiment)
    return (*shown, percent(line.means.get(SOURCE))) if table.has_source else shown


def _in_bold(line: Line, row: tuple[str, ...]) -> tuple[str, ...]:
    """The result of the best row and of those tied with it in bold."""
    return tuple(f"**{cell}**" if line.is_tied and i == RESULT else cell for i, cell in enumerate(row))


def cells(line: Line, *, is_brief: bool = False, has_sentiment: bool = False) -> tuple[str, ...]:
    """One line of the short table, of a classification in the order of ``HEADINGS``; brief: the gain without its
    interval."""
    scores: tuple[str, ...] = (number(line.means.get("test/macro_f1"), 3), percent(line.synergy))
    if line.measure.is_error:
        scores = error_columns.cells(line, has_sentiment=has_sentiment)
    return (
        line.place,
        line.method,
        spread(line.result, line),
        interval(line),
        gain(line, is_brief=is_brief),
        *scores,
        line.measure.text(line.valid),
        seeds(line),
        settings_cell(line),
        shown_status(line),
    )


def tuning_notes(table: Table) -> list[str]:
    """Paragraphs in Markdown: how much tuning the rows had, and what that does to their comparison."""
    return [*filter(None, [sentence(table)]), *(f"> **Warning.** {text}" for text in warnings(table))]


def caption(table: Table) -> str:
    """What the numbers are, and over what they vary."""
    measure = table.measure
    size = f" ({table.n_test:,} samples)" if table.n_test else ""
    sentences = [transfer_caption(table.transfer)] if table.transfer else []
    sentences += [
        f"Test {measure.name}{size}: mean and sample standard deviation over seeds, and from {MIN_SEEDS} seeds on the "
        "95 % Student-t interval of the mean. A seed re-randomises initialisation, batch order and noise; the split is "
        "fixed, so the interval says nothing about other test samples. Selection used validation data only. Rows with "
        "a failed or missing seed are not averaged and not ranked."
    ]
    sentences += error_columns.caption(has_sentiment=table.has_sentiment) if measure.is_error else []
    sentences += comparison_caption(table)
    if any(line.is_floor for line in table.lines):
        answer = "median" if measure.is_error else "label frequencies (most frequent class)"
        sentences.append(
            f"constant answers with the {answer} of the very split it is judged on: a floor, not a method, and not "
            "ranked."
        )
    if any(line.is_control for line in table.lines):
        sentences.append(
            "label_shuffle is joint_mlp trained on labels in random order, kept at its last epoch: a control that must "
            "be at chance, not a competitor, and not ranked."
        )
    if any(line.is_estimator for line in table.lines):
        sentences.append(
            "lsmi estimates the information in each sample: an estimator, not a competitor, and not ranked; its "
            "accuracy is that of its own classifier."
        )
    if len(table.seed_sets) > 1:
        sets = "; ".join(f"{', '.join(map(str, found))} for {', '.join(who)}" for found, who in table.seed_sets.items())
        sentences.append(
            f"The rows do not have the same seeds: {sets}. *: the mean is over other seeds than that of rank 1; gains "
            "and ties are over the seeds that both rows have, empty where they share none."
        )
    return " ".join(sentences)


def comparison_caption(table: Table) -> list[str]:
    """What gains and ties are, and what was drawn for their intervals; nothing where rows cannot be compared."""
    found = []
    if any(line.gain for line in table.lines):
        text = (
            "Gain: test accuracy minus that of the strongest conventional baseline by mean validation accuracy, in "
            "percentage points."
        )
        found.append(error_columns.gain_caption(table.measure) if table.measure.is_error else text)
    is_drawn = any(one and one.shown for line in table.lines for one in (line.gain, line.to_best))
    if is_drawn:
        units = f"{table.n_test:,} test samples" if table.n_test else "test samples"
        if table.n_groups:
            units = f"{table.n_groups:,} groups of test samples (each whole, as its samples belong together)"
        found.append(
            f"The 95 % interval of a difference between two rows is a paired bootstrap: {units} and the seeds of both "
            f"rows, drawn {N_RESAMPLES:,} times together and made as wide as so few of them need; it covers other test "
            "samples and other seeds, not another training set. ≈: not told apart from rank 1, as that interval holds "
            "0; rank 1 is the best of many on these very samples, and nothing is corrected for the number of "
            "comparisons."
        )
    return found


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
    if line.interval and line.result:
        return limits(line.result, line.measure)
    return "too few seeds" if line.rank else ""


def gain(line: Line, *, is_brief: bool = False) -> str:
    """Over the strongest baseline, with its interval; * where one of the two has seeds that the other lacks."""
    if line.is_strongest:
        return "base" if is_brief else "baseline"
    if line.gain is None:
        return ""
    mean = line.measure.signed(line.gain.mean)
    star = " *" if line.gain.is_partial else ""
    limits = f" ({signed_limits(line.gain, line.measure)})"
    return f"{mean}{'' if is_brief else limits}{star}"


def print_table(table: Table) -> None:
    """Prints the short table to the terminal, or 120 columns wide where there is none."""
    from rich import box
    from rich.table import Table as Grid

    console = terminal()
    title = f"{table.dataset} (suite {table.suite})\n{sentence(table)}".rstrip()
    grid = Grid(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    for heading in headings(table) if table.measure.is_error else HEADINGS:
        # Two lines for a heading that is wider than its numbers: all columns then fit into 120 characters.
        shown = re.sub(r" (?!%)|(?<=macro-)", "\n", heading, count=1)
        grid.add_column(shown, justify="left" if heading in TEXTS else "right", no_wrap=heading == "method")
    for line in table.lines:
        texts = cells(line, is_brief=True, has_sentiment=table.has_sentiment)
        grid.add_row(*texts, style="bold" if line.is_dmil else "")
    console.print(grid)
    if table.strongest:
        over = "MAE below that of" if table.measure.is_error else "points over"
        marks = f"gain: {over} the strongest baseline (base). ≈: not told apart from rank 1."
        console.print(marks + (" *: over other seeds." if len(table.seed_sets) > 1 else ""), markup=False)
    for line in table.lines:
        for reason in line.reasons:
            console.print(f"{line.method}: {reason}", style="red", markup=False)
    for text in filter(None, [table.card["warning"], *warnings(table)]):
        console.print(f"Warning: {text}", style="yellow", markup=False)
