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
from reports.references import EXPECTED, MISSING, NOT_COMPARABLE, OFF, Compared, compare
from reports.text import percent, signed_percent

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
    return [line for line in table.lines if line.rank and line.test_acc]


def _named(lines: Sequence[Line], values: Mapping[str, str]) -> str:
    return ", ".join(f"{line.method} {values[line.method]}" for line in lines)


def _constant(table: Table) -> Check:
    """An alarm where a method that sees all modalities is no better than an answer that looks at none."""
    name, lines, floor = "Constant row", ranked(table), table.floor
    if floor is None or not lines:
        return Check(name, UNKNOWN, f"The table has no complete row {FLOOR}, or none that could be held against it.")
    shown = {line.method: f"{percent(line.test_acc.mean)} %" for line in lines if line.test_acc}
    below = [line for line in lines if line.test_acc and line.test_acc.mean <= floor]
    fused = [line for line in below if not line.is_unimodal]
    text = f"The constant answer has {percent(floor)} %."
    if below:
        text += f" Not above it: {_named(below, shown)}."
    if fused:
        return Check(name, ALARM, text)
    return Check(name, PASS, f"{text} Every {'multimodal ' if below else ''}method is above it.")


def _label_shuffle(table: Table) -> Check:
    name, control = "Label shuffle", table.control
    if control is None:
        return Check(name, UNKNOWN, f"No complete row {CONTROL}, which would be trained on labels in random order.")
    text = f"Trained on labels in random order, {CONTROL} has a balanced accuracy of {percent(control.mean)} %"
    chance = f"chance is {percent(control.chance)} %"
    if control.low is None or control.high is None:
        return Check(name, UNKNOWN, f"{text}; {chance}; {control.n_seeds} seeds are too few for an interval.")
    interval = f"99 % interval over samples and seeds {percent(control.low)} to {percent(control.high)}"
    text = f"{text} on the test set ({interval}); {chance}."
    if control.is_at_chance:
        return Check(name, PASS, text)
    return Check(name, ALARM, f"{text} Something other than training tells the runs test labels, or hides them.")


def _limit(table: Table) -> Check:
    name, limit, error = "Bayes limit", table.limit, bayes_error(table)
    if limit is None or error is None:
        return Check(name, UNKNOWN, "The best possible accuracy of this dataset is not known.")
    noise = f"{100 * BEYOND * error:.1f} points, {BEYOND} standard errors of {table.n_test:,} samples"
    above = [line for line in ranked(table) if line.test_acc and line.test_acc.mean > limit + BEYOND * error]
    text = f"No method can expect more than {percent(limit)} %."
    if above:
        shown = {line.method: f"{percent(line.test_acc.mean)} %" for line in above if line.test_acc}
        return Check(name, ALARM, f"{text} Above it by more than noise ({noise}): {_named(above, shown)}.")
    return Check(name, PASS, f"{text} None is above it by more than noise ({noise}).")


def _of_data(audit: dict[str, Any] | None) -> list[Check]:
    if audit is None:
        text = "Not audited: no audit of the data was planned with these runs. `make bench` adds it and keeps the runs."
        return [Check("Data", UNKNOWN, text)]
    return [Check(**check) for check in audit["checks"]]


def gap_error(line: Line, table: Table) -> float | None:
    """Standard error of validation minus test accuracy over draws of both splits; None where a size is not known."""
    n_valid = table.audit["splits"]["valid"]["n"] if table.audit else None
    valid = line.means.get("valid/acc")
    if not n_valid or not table.n_test or valid is None or not line.test_acc:
        return None
    test = line.test_acc.mean
    return math.sqrt(valid * (1 - valid) / n_valid + test * (1 - test) / table.n_test)


def gap_verdict(line: Line, table: Table) -> str:
    """Without a known error the margin alone decides."""
    valid, error = line.means.get("valid/acc"), gap_error(line, table)
    if valid is None or not line.test_acc:
        return UNKNOWN
    return ALARM if is_far_above(valid, line.test_acc.mean, error or 0.0) else PASS


def _gaps(table: Table) -> Check:
    name = "Validation against test"
    lines = [line for line in ranked(table) if line.gap is not None]
    if not lines:
        return Check(name, UNKNOWN, "No ranked row has a validation accuracy.")
    shown = {line.method: f"{signed_percent(line.gap)} points" for line in lines}
    large = [line for line in lines if gap_verdict(line, table) == ALARM]
    rule = f"more than {100 * MARGIN:.0f} points" + (f" and {N_ERRORS} standard errors" if table.audit else "")
    if large:
        text = f"Validation accuracy is above test accuracy by {rule} for {_named(large, shown)}."
        return Check(name, ALARM, f"{text} What was selected on validation data may not hold on test data.")
    widest = max(lines, key=lambda line: abs(line.gap or 0.0))
    text = f"For no method is validation accuracy above test accuracy by {rule}."
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
