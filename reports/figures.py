"""Geometry of the figures: numbers in, positions in percent of the width or box out; drawn by the SVG templates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from reports.leaderboard import interval
from reports.line import Line
from reports.measure import ACCURACY, Measure
from reports.table import Table

LEFT, RIGHT = 2.0, 98.0
STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
MAX_TICKS = 6
MIN_GAP = 0.05


@dataclass(frozen=True)
class Axis:
    """Maps values between low and high to percent of the figure's width."""

    low: float
    high: float
    step: float

    def place(self, value: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (value - self.low) / (self.high - self.low), 3)

    @property
    def ticks(self) -> list[float]:
        first = math.ceil(self.low / self.step - 1e-9)
        last = math.floor(self.high / self.step + 1e-9)
        decimals = max(6, 2 - math.floor(math.log10(self.step)))
        return [round(i * self.step, decimals) for i in range(first, last + 1)]


def axis_for(values: Sequence[float]) -> Axis:
    """An axis that holds all shares as far as they lie in [0, 1], its ends on round steps."""
    low, high = _clip(min(values)), _clip(max(values))
    step = next((step for step in STEPS if (high - low) / step <= MAX_TICKS - 1), STEPS[-1])
    low, high = math.floor(low / step - 1e-9) * step, math.ceil(high / step + 1e-9) * step
    return Axis(_clip(low), _clip(high), step)


def round_axis(low: float, high: float) -> Axis:
    """An axis from low to high, its ends on round steps."""
    span = (high - low) or abs(high) / 10 or 1.0
    unit = 10.0 ** math.floor(math.log10(span / MAX_TICKS))
    step = next(unit * factor for factor in (1, 2, 5, 10, 20) if span / (unit * factor) <= MAX_TICKS - 1)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Axis(low, high if high > low else low + step, step)


def axis_of_scores(scores: Sequence[float], measure: Measure) -> Axis:
    """An axis that holds what is higher for the better: accuracies, or errors with a minus."""
    return round_axis(min(scores), max(scores)) if measure.is_error else axis_for(scores)


def _clip(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def dots(table: Table) -> dict[str, Any] | None:
    """The figure with every seed as a dot, better to the right; None where no seed has a result yet."""
    shown, measure = [line for line in table.lines if line.seed_scores], table.measure
    if not shown:
        return None
    axis = axis_of(shown, table.limit)
    marks = [("floor", "constant", table.floor), ("limit", "Bayes limit", table.limit)]
    return {
        "rows": [_dot_row(line, axis, is_strongest=line is table.strongest) for line in shown],
        "ticks": [(axis.place(tick), measure.of_score(tick)) for tick in axis.ticks],
        "marks": [
            (
                name,
                label,
                axis.place(measure.sign * value) if measure.sign * value >= axis.low else None,
                measure.text(value),
            )
            for name, label, value in marks
            if value is not None
        ],
        "title": f"Test {measure.name} of every seed on {table.dataset}",
        "description": "; ".join(_in_words(line) for line in shown),
    }


def axis_of(lines: Sequence[Line], limit: float | None) -> Axis:
    """Holds every seed's score and the limit, but for rows so far below the others that they would squeeze those."""
    measure = lines[0].measure
    by_height = sorted(lines, key=lambda line: max(line.seed_scores))
    others = [] if limit is None else [limit]
    least_gap = MIN_GAP * (max(abs(score) for score in by_height[-1].seed_scores) if measure.is_error else 1)
    for n_left in range(len(lines) - 1, 0, -1):
        left, kept = by_height[:n_left], by_height[n_left:]
        seen = [value for line in kept for value in line.seed_scores] + others
        gap = min(seen) - max(left[-1].seed_scores)
        axis = axis_of_scores([value for line in kept for value in _extent(line)] + others, measure)
        is_few = 2 * sum(not line.is_floor for line in left) <= len(kept)
        if is_few and gap > max(max(seen) - min(seen), least_gap) and max(left[-1].seed_scores) < axis.low:
            return axis
    return axis_of_scores([value for line in lines for value in _extent(line)] + others, measure)


def curve(histories: Sequence[Sequence[dict[str, Any]]], measure: Measure = ACCURACY) -> dict[str, Any] | None:
    """The measure on validation data over the epochs, a thin line per seed and a bold mean over the epochs all seeds
    reached.

    None where no seed has two values.
    """
    name = measure.valid
    series = [[(float(i), entry[name]) for i, entry in enumerate(history) if name in entry] for history in histories]
    series = [[point for point in points if math.isfinite(point[1])] for points in series]
    series = [points for points in series if len(points) > 1]
    if not series:
        return None
    shared = min(len(points) for points in series)
    mean = [(series[0][i][0], fmean(points[i][1] for points in series)) for i in range(shared)]
    values = [value for points in series for _, value in points]
    low, high = min(values), max(values)
    last = max(points[-1][0] for points in series)
    box = (last, low, (high - low) or 1.0)
    return {
        "seeds": [_polyline(points, box) for points in series],
        "mean": _polyline(mean, box),
        "low": measure.text(low),
        "high": measure.text(high),
        "n_epochs": int(last) + 1,
    }


def _polyline(points: Sequence[tuple[float, float]], box: tuple[float, float, float]) -> str:
    """Points in a box of 100 x 40, the y axis pointing down."""
    last, low, height = box
    return " ".join(f"{100 * x / last:.2f},{38 - 36 * (y - low) / height:.2f}" for x, y in points)


def _extent(line: Line) -> list[float]:
    return [*line.seed_scores, *(_possible(line) or ())]


def _possible(line: Line) -> tuple[float, float] | None:
    """The interval of the mean score; of errors, whose scores are not above 0, as far as it is possible."""
    if not line.score_interval:
        return None
    low, high = line.score_interval
    return (low, min(high, 0.0)) if line.measure.is_error else (low, high)


def _dot_row(line: Line, axis: Axis, *, is_strongest: bool) -> dict[str, Any]:
    result, measure, interval_shown = line.result, line.measure, _possible(line)
    is_left = max(line.seed_scores) < axis.low
    notes = {
        "strongest baseline": is_strongest,
        "estimator": line.is_estimator,
        "control": line.is_control,
        f"{line.status}, not ranked": not result,
        "left of the scale": is_left,
    }
    return {
        "method": line.method,
        "note": ", ".join(note for note, applies in notes.items() if applies),
        "kind": "dmil" if line.is_dmil else "conventional",
        "is_complete": result is not None,
        "text": (measure.text(result.mean) + (f" ({interval(line)})" if line.interval else "")) if result else "",
        "dots": [] if is_left else [(axis.place(v), (i % 3 - 1) * 3) for i, v in enumerate(line.seed_scores)],
        "mean": axis.place(line.score) if result and not is_left else None,
        "interval": [axis.place(end if measure.is_error else _clip(end)) for end in interval_shown]
        if interval_shown and not is_left
        else None,
    }


def _in_words(line: Line) -> str:
    found = ", ".join(map(line.measure.text, line.by_seed.values()))
    unit = "" if line.measure.is_error else " percent"
    return f"{line.method}: {found}{unit}" + ("" if line.result else f" ({line.status})")
