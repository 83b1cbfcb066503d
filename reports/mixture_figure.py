"""Geometry of the overview's figure: accuracy over datasets, one line per method, x in percent and y in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from reports.figures import Axis, axis_for
from reports.line import Line
from reports.overview import Overview, short_names
from reports.text import limits, percent

LEFT, RIGHT = 9.0, 100.0
TOP, HEIGHT = 12.0, 330.0
LINE_HEIGHT, LETTER = 14.5, 6.9
# Share of a dataset's slot over which the methods stand side by side.
DODGE = 0.6
N_COLOURS, N_SHAPES = 7, 6


def mixtures(overview: Overview) -> dict[str, Any] | None:
    """The figure; None where no multimodal method is complete anywhere. Floor, unimodal rows and regressions are left
    out."""
    overview = replace(overview, tables=tuple(table for table in overview.tables if not table.measure.is_error))
    methods = [name for name in overview.methods if _points(overview, name)]
    if not methods:
        return None
    axis = axis_for(_values(overview, methods))
    n = len(overview.tables)
    slot = (RIGHT - LEFT) / n
    centres = [LEFT + slot * (i + 0.5) for i in range(n)]
    series = [_series(overview, name, axis, centres, _shift(i, len(methods), slot)) for i, name in enumerate(methods)]
    tell_apart(series)
    limit = [
        (x, _y(axis, table.limit)) for x, table in zip(centres, overview.tables, strict=True) if table.limit is not None
    ]
    names = short_names([table.dataset for table in overview.tables])
    return {
        "series": series,
        "limit": [(round(x - slot / 2, 3), round(x + slot / 2, 3), y) for x, y in limit],
        "labels": labels(series, limit[-1][1] if limit else None),
        "label_width": label_width([*methods, "Bayes limit"]),
        "ticks": [(_y(axis, tick), percent(tick)) for tick in axis.ticks],
        "names": [(round(x, 3), name) for x, name in zip(centres, names, strict=True)],
        "bottom": TOP + HEIGHT,
        "height": round(TOP + HEIGHT + 26 + 5.2 * max(map(len, names))),
        "title": f"Test accuracy over the datasets of suite {overview.suite}",
        "description": _in_words(overview, methods),
    }


def tell_apart(series: Sequence[dict[str, Any]]) -> None:
    """Gives each series, which says its ``kind``, a colour and a shape."""
    kinds = [one["kind"] for one in series]
    for i, one in enumerate(series):
        place = kinds[:i].count(one["kind"])
        # What shares a colour between the two kinds has another shape.
        shift = N_SHAPES // 2 if one["kind"] == "conventional" else 0
        one |= {"colour": place % N_COLOURS, "shape": (place + shift) % N_SHAPES}


def _points(overview: Overview, method: str) -> list[tuple[int, Line]]:
    """Place of the dataset and line, where the method is complete and belongs in the figure."""
    found = [(i, table.line(method)) for i, table in enumerate(overview.tables)]
    return [(i, line) for i, line in found if line and line.rank and line.result and not line.is_unimodal]


def _values(overview: Overview, methods: Sequence[str]) -> list[float]:
    lines = [line for name in methods for _, line in _points(overview, name)]
    means = [line.result.mean for line in lines if line.result]
    ends = [end for line in lines for end in line.interval or ()]
    return [*means, *ends, *(table.limit for table in overview.tables if table.limit is not None)]


def _shift(i: int, n: int, slot: float) -> float:
    """How far from the middle of its slot the i-th of n methods stands."""
    return slot * DODGE * ((i + 0.5) / n - 0.5)


def _y(axis: Axis, value: float) -> float:
    """Pixels from the top; a value beyond the axis stands at its end."""
    share = (min(max(value, axis.low), axis.high) - axis.low) / (axis.high - axis.low)
    return round(TOP + HEIGHT * (1 - share), 2)


def _series(overview: Overview, method: str, axis: Axis, centres: Sequence[float], shift: float) -> dict[str, Any]:
    places = _points(overview, method)
    points = []
    for i, line in places:
        assert line.result
        low, high = line.interval or (line.result.mean, line.result.mean)
        points.append(
            {
                "x": round(centres[i] + shift, 3),
                "y": _y(axis, line.result.mean),
                "low": _y(axis, low),
                "high": _y(axis, high),
                "title": f"{method} on {overview.tables[i].dataset}: {percent(line.result.mean)} % "
                f"({limits(line.result)})",
            }
        )
    # A hole interrupts the line: only neighbouring datasets are joined.
    numbered = zip((i for i, _ in places), points, strict=True)
    steps = [(one, other) for (i, one), (j, other) in pairwise(numbered) if j == i + 1]
    kind = "dmil" if places[0][1].is_dmil else "conventional"
    return {"method": method, "kind": kind, "points": points, "steps": steps}


def labels(series: Sequence[dict[str, Any]], limit: float | None = None) -> list[dict[str, Any]]:
    """Names beside the last points, moved apart where they would overlap. at: y of the line; y: of the text."""
    wanted = [{"series": one, "name": one["method"], "at": one["points"][-1]["y"]} for one in series]
    wanted += [{"series": None, "name": "Bayes limit", "at": limit}] if limit is not None else []
    wanted.sort(key=lambda label: (label["at"], label["name"]))
    places = _apart([label["at"] for label in wanted])
    return [label | {"y": place} for label, place in zip(wanted, places, strict=True)]


def label_width(names: Sequence[str]) -> int:
    """Pixels that markers and names beside a figure take."""
    return round(30 + LETTER * max(map(len, names)))


def _apart(places: Sequence[float]) -> list[float]:
    """Ascending places at least a line apart, within the figure as far as there is room."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + LINE_HEIGHT) if found else place)
    floor = TOP + HEIGHT
    for i in reversed(range(len(found))):
        found[i] = round(min(found[i], floor), 2)
        floor = found[i] - LINE_HEIGHT
    return found


def _in_words(overview: Overview, methods: Sequence[str]) -> str:
    limit = ", ".join(f"{table.dataset} {percent(table.limit)}" for table in overview.tables if table.limit is not None)
    texts = [f"Bayes limit: {limit}"] if limit else []
    for name in methods:
        found = [(overview.tables[i].dataset, line.result) for i, line in _points(overview, name)]
        texts.append(f"{name}: " + ", ".join(f"{dataset} {percent(acc.mean)}" for dataset, acc in found if acc))
    return "; ".join(texts)
