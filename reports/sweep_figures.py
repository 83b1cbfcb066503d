"""Geometry of a sweep's two figures over all methods: best score against configurations tried, and against epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

from reports.figures import Axis, axis_for, round_axis
from reports.mixture_figure import DODGE, HEIGHT, LEFT, RIGHT, TOP, label_width, labels, tell_apart
from reports.orderings import Best, best_of
from reports.sweep import Study, Sweep

# Two marks on the axis of configurations are this factor apart, at least.
APART = 1.4


def orderings(sweep: Sweep) -> dict[str, Any] | None:
    """Best score against the number of configurations tried, over random orders; None where none has finished."""
    curves = [(study, best_of(study.counted)) for study in sweep.studies if study.counted]
    if not curves:
        return None
    longest = max(len(curve) for _, curve in curves)
    slot = (RIGHT - LEFT) / (math.log2(longest) + 1)
    # The means decide the scale: what a single bad configuration reaches would squeeze all the rest.
    axis = score_axis([value for _, curve in curves for best in curve for value in (best.mean, best.high)], sweep)
    series = []
    for i, (study, curve) in enumerate(curves):
        shift = slot * DODGE * ((i + 0.5) / len(curves) - 0.5)
        points = [_point(study, curve[n - 1], slot, shift, axis) for n in counts(len(curve))]
        series.append(_series(study, points, list(pairwise(points))))
    return {
        "id": "orderings",
        "x_ticks": [(round(_slot(n, slot), 3), str(n)) for n in counts(longest)],
        "title": f"Best validation score against configurations tried on {sweep.dataset}",
        "description": "; ".join(
            f"{study.method}: " + ", ".join(f"{n} {study.score(curve[n - 1].mean)}" for n in counts(len(curve)))
            for study, curve in curves
        ),
        **_frame(series, axis, sweep),
    }


def counts(n: int) -> list[int]:
    """Where on the axis of configurations there are marks: powers of two, and the last one."""
    powers = [2**i for i in range(n.bit_length())]
    return [*(power for power in powers if power * APART < n), n]


def _slot(n: int, slot: float) -> float:
    return LEFT + slot * (math.log2(n) + 0.5)


def _point(study: Study, best: Best, slot: float, shift: float, axis: Axis) -> dict[str, Any]:
    words = " to ".join(study.score(value) for value in (best.low, best.high))
    return {
        "x": round(_slot(best.n, slot) + shift, 3),
        "y": height_of(best.mean, axis),
        "low": height_of(best.low, axis),
        "high": height_of(best.high, axis),
        "title": f"{study.method}, best of {best.n}: {study.score(best.mean)} ({words})",
    }


def costs(sweep: Sweep) -> dict[str, Any] | None:
    """Best score of a configuration trained to the end against epochs spent, population by population."""
    paths = [(study, spending(study)) for study in sweep.studies if study.winner]
    if not paths:
        return None
    most = max(path[-1][0] for _, path in paths)
    axis = score_axis([score for _, path in paths for _, score in path], sweep)
    width = round_axis(0, most)
    series = []
    for study, path in paths:
        points = [_spent(study, epochs, score, width, axis) for epochs, score in path]
        steps = []
        for one, other in pairwise(points):
            corner = {"x": other["x"], "y": one["y"]}
            steps += [(one, corner), (corner, other)] if one["y"] != other["y"] else [(one, other)]
        is_news = [True, *(path[i][1] > path[i - 1][1] or i == len(path) - 1 for i in range(1, len(path)))]
        shown = [point for point, applies in zip(points, is_news, strict=True) if applies]
        series.append(_series(study, shown, steps))
    return {
        "id": "costs",
        "x_ticks": [(_along(tick, width), f"{tick:,.0f}") for tick in width.ticks],
        "title": f"Best validation score against epochs spent on {sweep.dataset}",
        "description": "; ".join(
            f"{study.method}: {study.score(path[-1][1])} after {path[-1][0]:,} epochs" for study, path in paths
        ),
        **_frame(series, axis, sweep),
    }


def spending(study: Study) -> list[tuple[int, float]]:
    """Epochs spent and the best finished score by then, at the end of each population from the first with one on."""
    found: list[tuple[int, float]] = []
    spent, best = 0, -math.inf
    ordered = sorted(study.trials, key=lambda trial: (trial.population, trial.number))
    for _, group in groupby(ordered, key=lambda trial: trial.population):
        members = list(group)
        spent += sum(trial.epochs for trial in members)
        ended = [trial.score for trial in members if trial.status == "finished" and trial.score is not None]
        best = max([best, *ended])
        if best > -math.inf:
            found.append((spent, best))
    return found


def _spent(study: Study, epochs: int, score: float, width: Axis, axis: Axis) -> dict[str, Any]:
    y = height_of(score, axis)
    title = f"{study.method}: {study.score(score)} after {epochs:,} epochs"
    return {"x": _along(epochs, width), "y": y, "low": y, "high": y, "title": title}


def _along(value: float, axis: Axis) -> float:
    return round(LEFT + (RIGHT - 1 - LEFT) * (value - axis.low) / (axis.high - axis.low), 3)


def _series(study: Study, points: list[dict[str, Any]], steps: list[Any]) -> dict[str, Any]:
    kind = "dmil" if study.is_dmil else "conventional"
    return {"method": study.method, "kind": kind, "points": points, "steps": steps}


def _frame(series: list[dict[str, Any]], axis: Axis, sweep: Sweep) -> dict[str, Any]:
    """What both figures have alike."""
    tell_apart(series)
    return {
        "series": series,
        "labels": labels(series),
        "label_width": label_width([one["method"] for one in series]),
        "ticks": [(height_of(tick, axis), sweep.studies[0].score(tick)) for tick in axis.ticks],
        "bottom": TOP + HEIGHT,
        "height": round(TOP + HEIGHT + 24),
    }


def height_of(score: float, axis: Axis) -> float:
    """Pixels from the top; a score beyond the axis stands at its end."""
    return round(TOP + HEIGHT * (1 - share_of(score, axis)), 2)


def share_of(value: float, axis: Axis) -> float:
    """Where on an axis a value is, from 0 to 1; one beyond it stands at its end."""
    return (min(max(value, axis.low), axis.high) - axis.low) / (axis.high - axis.low)


def score_axis(scores: Sequence[float], sweep: Sweep) -> Axis:
    """An axis that holds all scores; those of a regression are not shares."""
    return round_axis(min(scores), max(scores)) if sweep.is_regression else axis_for(scores)
