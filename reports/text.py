"""Numbers and lines of a table as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from reports.line import Difference, Line
from reports.measure import ACCURACY, Measure, signed
from reports.statistics import Summary

if TYPE_CHECKING:
    from rich.console import Console

BUDGET_WORDS = {
    ("epochs",): "at most {} epochs",
    ("patience",): "patience {}",
    ("lr_factor", "lr_patience"): "learning rate times {} after a plateau of {} epochs",
    ("max_grad_norm",): "gradients clipped to norm {}",
}


def percent(value: float | None) -> str:
    """A share as percent with one decimal, empty where unknown."""
    return "" if value is None else f"{100 * value:.1f}"


def signed_percent(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    return signed(None if value is None else 100 * value, 1)


def number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def spread(found: Summary | None, line: Line) -> str:
    """Mean ± standard deviation, accuracies in percent; the floor has no spread."""
    measure = line.measure
    if found is None or found.std is None or line.is_floor:
        return measure.text(found.mean) if found else ""
    return f"{measure.text(found.mean)} ± {measure.text(found.std)}"


def limits(found: Summary, measure: Measure = ACCURACY) -> str:
    """The interval, of shares in percent."""
    return " to ".join(map(measure.text, found.shown)) if found.shown else "too few seeds"


def signed_limits(found: Summary | Difference, measure: Measure = ACCURACY) -> str:
    """The interval of a difference, of shares in points, or why there is none."""
    if found.shown:
        return " to ".join(map(measure.signed, found.shown))
    return found.why_not if isinstance(found, Difference) else "too few seeds"


def shown_status(line: Line) -> str:
    if not line.result:
        return line.status
    kinds = {"floor": line.is_floor, "control": line.is_control, "estimator": line.is_estimator}
    return next((kind for kind, applies in kinds.items() if applies), line.status)


def as_csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in CSV, its lines ending alike on every system."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def four(found: Summary | None) -> tuple[float | None, ...]:
    """Mean, standard deviation and interval, as the CSV files hold them."""
    return (found.mean, found.std, found.low, found.high) if found else (None,) * 4


def three(found: Difference | None) -> tuple[float | None, ...]:
    """Mean and interval of a difference, as the CSV files hold them."""
    return (found.mean, found.low, found.high) if found else (None,) * 3


def grid(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown, line by line."""
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def budget_text(budget: dict[str, Any]) -> str:
    """A budget in words; what is not known by name follows as it is."""
    rest = dict(budget)
    parts = [
        words.format(*(rest.pop(name) for name in names))
        for names, words in BUDGET_WORDS.items()
        if all(name in rest for name in names)
    ]
    return ", ".join([*parts, *(f"{name} {value}" for name, value in sorted(rest.items()))])


def terminal() -> Console:
    """Where tables are printed; 120 columns wide where it is no terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 120
    return console
