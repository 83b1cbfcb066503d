"""Accuracy against cost on one dataset: two plots, with the methods that nothing cheaper beats. Geometry: x in percent
of the width, y in pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any

from reports.figures import Axis, axis_of
from reports.line import Line
from reports.placement import GAP, LETTER, Box, Label, Point, place
from reports.table import Table
from reports.text import limits

# Names find their place at the width of a narrow phone, and keep it on anything wider.
WIDTH = 320.0
LEFT, RIGHT = 12.0, 97.0
TOP, BELOW, TICKS = 12.0, 40.0, 16.0
HEIGHT, MORE_HEIGHT = 230.0, 40.0
TICK_WIDTH, TICK_HEIGHT = 32.0, 13.0
LONGEST_NAME = int((WIDTH / 2 - GAP) / LETTER)
MARGIN = 1.15
MANTISSAS = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 6, 8),
    tuple(i / 10 for i in range(10, 100)),
)
MIN_TICKS, MAX_TICKS = 3, 6


@dataclass(frozen=True)
class Cost:
    """What a run costs: the metric it is recorded under, its name and unit, and how its values are written."""

    metric: str
    name: str
    unit: str
    write: Callable[[float], str]

    def of(self, line: Line) -> float | None:
        """None where it is not recorded, or not above 0: there is no place for it on a logarithmic axis."""
        value = line.means.get(self.metric)
        return value if value is not None and value > 0 else None


def compact(value: float) -> str:
    """A count in thousands or millions where it has so many: 12 k, 1.5 M."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


COSTS = (
    Cost("train_seconds", "training seconds per run (indicative)", "s", _seconds),
    Cost("n_params", "parameters", "parameters", compact),
)


@dataclass(frozen=True)
class LogAxis:
    """Maps values above 0 to percent of the width."""

    low: float
    high: float

    def place(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(LEFT + (RIGHT - LEFT) * share, 3)

    @property
    def ticks(self) -> list[float]:
        """Round values, as few kinds of them as give three."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for mantissas in MANTISSAS:
            found = [mantissa * 10.0**power for power in powers for mantissa in mantissas]
            found = [value for value in found if self.low <= value <= self.high]
            if len(found) >= MIN_TICKS:
                break
        return found[:: math.ceil(len(found) / MAX_TICKS)]


def front(lines: Sequence[Line], cost: Cost) -> list[Line]:
    """Lines that no other one is better than and at least as cheap, cheapest first; by means."""
    found: list[Line] = []
    # Means over the same numbers in another order may differ in their last digits.
    known = [(price, -round(line.score, 9), line.method, line) for line in lines if (price := cost.of(line))]
    best = math.inf
    for _, loss, _, line in sorted(known, key=lambda one: one[:3]):
        if loss < best:
            found.append(line)
            best = loss
    return found


def competitors(table: Table) -> list[Line]:
    """The complete rows that are ranked: neither limit nor floor nor estimator."""
    return [line for line in table.lines if line.rank]


def panels(table: Table) -> list[dict[str, Any]]:
    """A plot per cost, of those that any method has recorded; with the same scale of accuracy."""
    lines = competitors(table)
    if not lines:
        return []
    axis = axis_of(lines, None)
    return [panel(table, lines, axis, cost) for cost in COSTS if any(map(cost.of, lines))]


def panel(table: Table, lines: Sequence[Line], axis: Axis, cost: Cost) -> dict[str, Any]:
    """One plot. Rows far below the others and those without the cost have no point: ``notes`` names them."""
    priced, measure = [line for line in lines if cost.of(line)], table.measure
    best = front(priced, cost)
    shown = [line for line in priced if max(line.seed_scores) >= axis.low]
    prices = [cost.of(line) or 0.0 for line in priced]
    across = LogAxis(min(prices) / MARGIN, max(prices) * MARGIN)
    labels, height = _labels(shown, axis, across, cost)
    steps = [(across.place(cost.of(line) or 0.0), down(line.score, axis, height)) for line in best]
    return {
        "name": cost.name,
        "height": height,
        "bottom": height - BELOW,
        "ticks": [(down(tick, axis, height), measure.of_score(tick)) for tick in axis.ticks],
        "x_ticks": [(across.place(tick), cost.write(tick)) for tick in across.ticks],
        "points": [
            _point(line, axis, cost, height, line in best)
            | {"label": label, "x": round(100 * label.point.x / WIDTH, 3)}
            for line, label in zip(shown, labels, strict=True)
        ],
        "front": _stairs(steps),
        "measure": f"{measure.name} %" if not measure.is_error else measure.name,
        "title": f"Test {measure.name} against {cost.name} on {table.dataset}",
        "description": "; ".join(_in_words(line, cost) for line in priced)
        + f". On the Pareto front: {', '.join(line.method for line in best)}",
        "notes": [f"Below the scale: {_in_words(line, cost)}" for line in priced if line not in shown]
        + [f"Without a recorded cost: {line.method}" for line in lines if line not in priced],
    }


def down(score: float, axis: Axis, height: float) -> float:
    """Pixels from the top; what lies beyond the axis stands at its end."""
    share = (min(max(score, axis.low), axis.high) - axis.low) / (axis.high - axis.low)
    return round(TOP + (height - BELOW - TOP) * (1 - share), 2)


def _labels(lines: Sequence[Line], axis: Axis, across: LogAxis, cost: Cost) -> tuple[list[Label], float]:
    """A name for each line, and the height at which all have found a place."""
    for more in count():
        height = HEIGHT + BELOW + more * MORE_HEIGHT
        points = [
            Point(WIDTH * across.place(cost.of(line) or 0.0) / 100, down(line.score, axis, height), _name(line))
            for line in lines
        ]
        places = [down(tick, axis, height) for tick in axis.ticks]
        ticks = [Box(0, 0, TICK_WIDTH, y - TICK_HEIGHT, y) for y in places]
        # No name is wider than half of the plot, so that all fit one above the other once it is high enough.
        if (found := place(points, ticks, width=WIDTH, height=height - BELOW)) is not None:
            return found, height
    raise AssertionError("count() has no end")


def _name(line: Line) -> str:
    return line.method if len(line.method) <= LONGEST_NAME else f"{line.method[: LONGEST_NAME - 1]}…"


def _point(line: Line, axis: Axis, cost: Cost, height: float, is_best: bool) -> dict[str, Any]:
    low, high = line.score_interval or (line.score, line.score)
    return {
        "y": down(line.score, axis, height),
        "low": down(low, axis, height),
        "high": down(high, axis, height),
        "kind": "dmil" if line.is_dmil else "conventional",
        "is_best": is_best,
        "title": _in_words(line, cost),
    }


def _stairs(points: Sequence[tuple[float, float]]) -> list[tuple[float, float, float, float]]:
    """The front as lines x1, y1, x2, y2: what can be had at each cost, up to the right end."""
    found = []
    for (x1, y1), (x2, y2) in pairwise(points):
        found += [(x1, y1, x2, y1), (x2, y1, x2, y2)]
    return [*found, (*points[-1], RIGHT, points[-1][1])] if points else []


def _in_words(line: Line, cost: Cost) -> str:
    assert line.result
    interval = f" ({limits(line.result, line.measure)})" if line.interval else ""
    price = f"{cost.write(cost.of(line) or 0.0)} {cost.unit}"
    return f"{line.method} {line.measure.said(line.result.mean)}{interval} at {price}"
