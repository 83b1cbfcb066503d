"""Sanity checks of a table: would a result mean anything? Each check has a verdict in words, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.checks import ALARM, MARGIN, N_ERRORS, PASS, UNKNOWN, Check, is_far_above
from benchmarks.errors import UserError
from benchmarks.record import AUDIT, Row
from benchmarks.tracking import MissingFileError, Tracking
from reports.line import CONTROL, FLOOR, Line
from reports.measure import Measure
from reports.references import EXPECTED, MISSING, NOT_COMPARABLE, OFF, Compared, compare
from reports.text import percent

if TYPE_CHECKING:
    from reports.table import Table

BEYOND = 3  # standard errors above the Bayes limit that chance does not explain


def read_audit(tracking: Tracking, row: Row) -> dict[str, Any] | None:
    """What the bench found in the data when the row was planned, None for a row that was planned without an audit.

    Raises UserError where the file is damaged.
    """
    try:
        found: dict[str, Any] = tracking.run_json(row.run_id, AUDIT, dict)
    except MissingFileError:
        return None
    if missing := {"checks", "splits", "columns", "repeats", "probe"} - set(found):
        raise UserError(f"file {AUDIT} of run {row.run_id} is damaged (it lacks {', '.join(sorted(missing))})")
    return found


def checks(table: Table) -> list[Check]:
    """Every check, in the order shown."""
    return [
        _constant(table),
        _label_shuffle(table),
        _limit(table),
        *_of_data(table.audit),
        _gaps(table),
        _references(compare(table)),
    ]


def bayes_error(table: Table) -> float | None:
    """Standard error of the accuracy of a method at the Bayes limit, over draws of the test set."""
    limit = table.card.get("bayes_accuracy")
    return None if limit is None or not table.n_test else math.sqrt(limit * (1 - limit) / table.n_test)


def ranked(table: Table) -> list[Line]:
    """The lines that are compared, best first."""
    return [line for line in table.lines if line.rank and line.result]


def _named(lines: Sequence[Line], values: Mapping[str, str]) -> str:
    return ", ".join(f"{line.method} {values[line.method]}" for line in lines)


def _constant(table: Table) -> Check:
    """An alarm where a method that sees all modalities is no better than an answer that looks at none."""
    name, lines, floor, measure = "Constant row", ranked(table), table.floor, table.measure
    if floor is None or not lines:
        return Check(name, UNKNOWN, f"The table has no complete row {FLOOR}, or none that could be held against it.")
    shown = {line.method: measure.said(line.result.mean) for line in lines if line.result}
    behind = [line for line in lines if line.score <= measure.sign * floor]
    fused = [line for line in behind if not line.is_unimodal]
    text = f"The constant answer has {_said(floor, measure)}."
    if behind:
        text += f" Not {measure.better} it: {_named(behind, shown)}."
    if fused:
        return Check(name, ALARM, text)
    return Check(name, PASS, f"{text} Every {'multimodal ' if behind else ''}method is {measure.better} it.")


def _said(value: float, measure: Measure) -> str:
    """A value for a sentence; an error with the word for it, as it has no unit."""
    return f"an MAE of {measure.text(value)}" if measure.is_error else measure.said(value)


def _label_shuffle(table: Table) -> Check:
    name, control = "Label shuffle", table.control
    if control is None:
        return Check(name, UNKNOWN, f"No complete row {CONTROL}, which would be trained on labels in random order.")
    measure = table.measure
    what = "an MAE" if measure.is_error else "a balanced accuracy"
    text = f"Trained on labels in random order, {CONTROL} has {what} of {measure.said(control.mean)}"
    chance = f"chance is {measure.said(control.chance)}"
    if measure.is_error:
        floor = f"; the constant answer has {measure.text(table.floor)}" if table.floor is not None else ""
        chance += f", what the same predictions have in random order{floor}"
    if control.low is None or control.high is None:
        return Check(name, UNKNOWN, f"{text}; {chance}; {control.n_seeds} seeds are too few for an interval.")
    interval = f"99 % interval over samples and seeds {measure.text(control.low)} to {measure.text(control.high)}"
    text = f"{text} on the test set ({interval}); {chance}."
    if control.is_at_chance:
        return Check(name, PASS, text)
    return Check(name, ALARM, f"{text} Something other than training tells the runs test labels, or hides them.")


def _limit(table: Table) -> Check:
    name, limit, error = "Bayes limit", table.limit, bayes_error(table)
    if limit is None or error is None:
        best = table.measure.name
        return Check(name, UNKNOWN, f"The best possible {best} of this dataset is not known.")
    noise = f"{100 * BEYOND * error:.1f} points, {BEYOND} standard errors of {table.n_test:,} samples"
    above = [line for line in ranked(table) if line.result and line.result.mean > limit + BEYOND * error]
    text = f"No method can expect more than {percent(limit)} %."
    if above:
        shown = {line.method: f"{percent(line.result.mean)} %" for line in above if line.result}
        return Check(name, ALARM, f"{text} Above it by more than noise ({noise}): {_named(above, shown)}.")
    return Check(name, PASS, f"{text} None is above it by more than noise ({noise}).")


def _of_data(audit: dict[str, Any] | None) -> list[Check]:
    if audit is None:
        text = "Not audited: no audit of the data was planned with these runs. `make bench` adds it and keeps the runs."
        return [Check("Data", UNKNOWN, text)]
    return [Check(**check) for check in audit["checks"]]


def gap_error(line: Line, table: Table) -> float | None:
    """Standard error of the gap over draws of both splits; None where a size is not known.

    Of a regression both splits are taken to have the deviation of errors that the test split has.
    """
    n_valid, valid = table.audit["splits"]["valid"]["n"] if table.audit else None, line.valid
    if not n_valid or not table.n_test or valid is None or not line.result:
        return None
    if line.measure.is_error:
        return None if line.sample_std is None else line.sample_std * math.sqrt(1 / n_valid + 1 / table.n_test)
    test = line.result.mean
    return math.sqrt(valid * (1 - valid) / n_valid + test * (1 - test) / table.n_test)


def gap_verdict(line: Line, table: Table) -> str:
    """Without a known error the margin alone decides; of a regression it is a share of the constant row's error."""
    error, whole = gap_error(line, table) or 0.0, table.floor if table.measure.is_error else 1.0
    if line.valid_score is None or not line.result or not whole:
        return UNKNOWN
    return ALARM if is_far_above(line.valid_score / whole, line.score / whole, error / whole) else PASS


def _gaps(table: Table) -> Check:
    name, measure = "Validation against test", table.measure
    lines = [line for line in ranked(table) if line.gap is not None]
    if not lines:
        return Check(name, UNKNOWN, f"No ranked row has a validation {measure.name}.")
    if measure.is_error and table.floor is None:
        return Check(name, UNKNOWN, f"Without a complete row {FLOOR} there is nothing to hold a difference against.")
    shown = {line.method: measure.signed(line.gap) + measure.points for line in lines}
    large = [line for line in lines if gap_verdict(line, table) == ALARM]
    unit = " % of the constant row's MAE" if measure.is_error else " points"
    rule = f"more than {100 * MARGIN:.0f}{unit}" + (f" and {N_ERRORS} standard errors" if table.audit else "")
    other = f"{measure.better} test {measure.name} by {rule}"
    if large:
        text = f"Validation {measure.name} is {other} for {_named(large, shown)}."
        return Check(name, ALARM, f"{text} What was selected on validation data may not hold on test data.")
    widest = max(lines, key=lambda line: abs(line.gap or 0.0))
    text = f"For no method is validation {measure.name} {other}."
    return Check(name, PASS, f"{text} The largest difference: {_named([widest], shown)}.")


def _references(found: Sequence[Compared]) -> Check:
    name = "Reference numbers"
    counts = {
        verdict: sum(one.verdict == verdict for one in found) for verdict in (EXPECTED, OFF, NOT_COMPARABLE, MISSING)
    }
    if not found:
        return Check(name, UNKNOWN, "No published number is known for this dataset.")
    text = f"{len(found)} numbers of others: {', '.join(f'{n} {verdict}' for verdict, n in counts.items() if n)}."
    if counts[OFF]:
        off = ", ".join(one.reference.what for one in found if one.verdict == OFF)
        return Check(name, ALARM, f"{text} Off: {off}.")
    return Check(name, PASS if counts[EXPECTED] else UNKNOWN, text)
