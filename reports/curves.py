"""Geometry of a row's learning curves: values by epoch in, percent of the width and pixels from the top out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from reports.figures import Axis, axis_for, round_axis
from reports.measure import ACCURACY, Measure
from reports.sweep_figures import share_of
from reports.sweep_plots import across, down
from reports.text import number, percent

History = Sequence[Mapping[str, Any]]
Points = list[tuple[float, float]]
LOSS, TRAIN_LOSS = "valid/loss", "train/loss"
# Lines are whole numbers in a box of so many units: short, and finer than a screen shows.
BOX = 1000


def learning_curves(
    histories: Mapping[int, History], best: Mapping[int, int], measure: Measure = ACCURACY
) -> list[dict[str, Any]]:
    """A panel for the measure on validation data, and one for validation and training loss, each as far as it was
    recorded twice.

    histories: one dict per epoch, by seed. best: the epoch that was kept, by seed.
    """
    starts = _stage_starts(list(histories.values()))
    title = "Validation MAE" if measure.is_error else "Validation accuracy, %"
    losses = {TRAIN_LOSS: "train", LOSS: "valid"}
    found = [
        _panel(title, {measure.valid: "valid"}, histories, best, starts, measure.text),
        _panel("Loss", losses, histories, best, starts, partial(number, decimals=3)),
    ]
    return [panel for panel in found if panel]


def _panel(
    title: str,
    kinds: Mapping[str, str],
    histories: Mapping[int, History],
    best: Mapping[int, int],
    starts: Mapping[str, float],
    shown: Callable[[float], str],
) -> dict[str, Any] | None:
    """kinds: class of a line by metric; the kept epochs are marked on those of class valid. shown: a value as text."""
    lines = [(seed, kinds[name], _points(one, name)) for name in kinds for seed, one in histories.items()]
    lines = [line for line in lines if len(line[2]) > 1]
    if not lines:
        return None
    is_share = list(kinds) == [ACCURACY.valid]
    values = [value for _, _, points in lines for _, value in points]
    y_axis = axis_for(values) if is_share else round_axis(min(values), max(values))
    first, last = (choose(x for _, _, points in lines for x, _ in points) for choose in (min, max))

    def place(x: float) -> float:
        return (x - first) / (last - first)

    def drawn(points: Points) -> str:
        return " ".join(f"{BOX * place(x):.0f},{BOX * (1 - share_of(y, y_axis)):.0f}" for x, y in points)

    def line_text(seed: int, points: Points) -> str:
        kept = dict(points).get(best.get(seed, -1))
        text = f"seed {seed}: {shown(points[0][1])} to {shown(points[-1][1])} in {len(points)} epochs"
        return text + (f", {shown(kept)} at epoch {best[seed]}, which was kept" if kept is not None else "")

    return {
        "title": title,
        "description": "; ".join(line_text(seed, points) for seed, kind, points in lines if kind == "valid"),
        "has_train": "train" in {kind for _, kind, _ in lines},
        "lines": [{"kind": kind, "points": drawn(points)} for _, kind, points in lines],
        "dots": [
            {"x": across(place(best[seed])), "y": down(share_of(value, y_axis)), "title": line_text(seed, points)}
            for seed, kind, points in lines
            if kind == "valid" and (value := dict(points).get(best.get(seed, -1))) is not None
        ],
        "stages": [(across(place(x)), f"{name} from epoch {x:.0f}") for name, x in starts.items() if first < x < last],
        "x_ticks": [(across(place(x)), f"{x:.0f}") for x in _epoch_ticks(first, last)],
        "y_ticks": [(down(share_of(tick, y_axis)), _tick(tick, y_axis, is_share=is_share)) for tick in y_axis.ticks],
    }


def _points(history: History, name: str) -> Points:
    """(epoch, value) where a finite value was recorded."""
    found = [(float(one.get("epoch", i)), one.get(name)) for i, one in enumerate(history)]
    return [(epoch, float(value)) for epoch, value in found if value is not None and math.isfinite(value)]


def _stage_starts(histories: Sequence[History]) -> dict[str, float]:
    """First epoch of each stage that begins with the same epoch for every seed."""
    starts: list[dict[str, float]] = []
    for history in histories:
        found: dict[str, float] = {}
        for i, one in enumerate(history):
            found.setdefault(str(one.get("stage", "")), float(one.get("epoch", i)))
        starts.append(found)
    if not starts:
        return {}
    return {name: x for name, x in starts[0].items() if all(other.get(name) == x for other in starts)}


def _epoch_ticks(first: float, last: float) -> list[float]:
    """The first epoch, then round and whole numbers."""
    axis = round_axis(first, last)
    return [first, *(x for x in axis.ticks if x.is_integer() and first + axis.step / 2 < x <= last)]


def _tick(value: float, axis: Axis, *, is_share: bool) -> str:
    if is_share:
        return percent(value)
    return number(value, max(0, math.ceil(-math.log10(axis.step) - 1e-9)))
