"""Geometry of the small plots of one study: shares of a box in, percent of the width and pixels from the top out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.trials import FAILED, PRUNED, Trial
from reports.figures import Axis, round_axis
from reports.orderings import best_of, best_so_far
from reports.sweep import Study, Sweep
from reports.sweep_figures import counts, score_axis, share_of
from reports.sweep_tables import value_text

LEFT, RIGHT = 13.0, 97.0
TOP, HEIGHT = 16.0, 120.0
# Failed configurations stand below the box, and ticks below these.
BELOW, TICKS = 14.0, 34.0
INSET = 0.04
GOLDEN = 0.618034
# How often as far below the median as the best is above it a score may be to be given room.
FAR = 3


def across(share: float) -> float:
    """Percent of the width."""
    return round(LEFT + (RIGHT - LEFT) * share, 3)


def down(share: float) -> float:
    """Pixels from the top; a share of 1 is the top of the box."""
    return round(TOP + HEIGHT * (1 - share), 2)


def _line(points: Sequence[tuple[float, float]]) -> str:
    """Shares as points in a box of 100 x 100, the y axis pointing down."""
    return " ".join(f"{100 * x:.2f},{100 - 100 * y:.2f}" for x, y in points)


def ordering(study: Study, sweep: Sweep) -> dict[str, Any] | None:
    """The best of n configurations over random orders, and in the order tried; None where none has finished."""
    if not study.counted:
        return None
    curve, tried = best_of(study.counted), best_so_far(study.counted)
    axis = score_axis([best.low for best in curve] + [best.high for best in curve] + tried[:1], sweep)
    n = len(curve)
    places = [math.log2(best.n) / math.log2(n) if n > 1 else 0.5 for best in curve]

    def line(values: Sequence[float]) -> list[tuple[float, float]]:
        return [(x, share_of(value, axis)) for x, value in zip(places, values, strict=True)]

    lows, highs = line([best.low for best in curve]), line([best.high for best in curve])
    means = ", ".join(f"{k}: {study.score(curve[k - 1].mean)}" for k in counts(n))
    return {
        "title": f"Best validation score of {study.method} against configurations tried",
        "description": f"Mean over random orders, by number of configurations: {means}",
        "band": _line([*highs, *reversed(lows)]),
        "mean": _line(line([best.mean for best in curve])),
        "order": _line(_steps(line(tried))),
        "point": (across(places[0]), down(share_of(tried[0], axis))) if n == 1 else None,
        "x_ticks": [(across(places[k - 1]), str(k)) for k in counts(n)],
        "y_ticks": _y_ticks(axis, study),
    }


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points joined by a level and a rise."""
    found = list(points[:1])
    for x, y in points[1:]:
        found += [(x, found[-1][1]), (x, y)]
    return found


def survivors(study: Study) -> dict[str, Any] | None:
    """How many configurations were still in the running after each epoch; None where nothing was trained."""
    if not study.trials:
        return None
    left = sorted(_left_at(study).items())
    n_alive, points, texts = study.n_tried, [(0.0, 1.0)], [f"{study.n_tried} at the start"]
    for epoch, n in left:
        n_alive -= n
        points.append((epoch / study.longest, n_alive / study.n_tried))
        texts.append(f"{n_alive} after epoch {epoch}")
    points = [*_steps(points), (1.0, n_alive / study.n_tried)]
    axis = round_axis(0, study.longest)
    inside = [tick for tick in axis.ticks if tick <= study.longest]
    return {
        "title": f"Configurations of {study.method} still in the running over the epochs",
        "description": ", ".join(texts),
        "area": _line([(0.0, 0.0), *points, (1.0, 0.0)]),
        "line": _line(points),
        "x_ticks": [(across(tick / study.longest), f"{tick:.0f}") for tick in inside],
        "y_ticks": [(down(1.0), str(study.n_tried)), (down(0.0), "0")],
    }


def _left_at(study: Study) -> Counter[int]:
    """Epoch -> how many configurations left the running there: dropped, or failed with all their seeds."""
    found: Counter[int] = Counter()
    for trial in study.trials:
        if trial.status == PRUNED and trial.pruned_at is not None:
            found[min(trial.pruned_at, study.longest)] += 1
        elif trial.status == FAILED:
            found[min(math.ceil(trial.epochs / len(study.plan.seeds)), study.longest)] += 1
    return found


def panels(study: Study, sweep: Sweep) -> list[dict[str, Any]]:
    """Score over each setting searched, a dot per configuration; empty where none has a score."""
    scores = [trial.score for trial in study.trials if trial.score is not None]
    if not scores:
        return []
    middle, best = median(scores), max(scores)
    # Configurations that learned nothing would squeeze the others: far below, they stand at the lower end.
    axis = score_axis([score for score in scores if score >= middle - FAR * (best - middle)], sweep)
    return [_panel(name, study, axis) for name in study.plan.space]


def _panel(name: str, study: Study, axis: Axis) -> dict[str, Any]:
    scale = Scale(study.plan.space[name])
    default = study.plan.base[name]
    words = [f"default {value_text(default)}"]
    if study.winner:
        words.append(f"best {value_text(study.winner.params[name])}")
    dots = [_dot(name, trial, study, scale, axis) for trial in study.trials]
    return {
        "name": name,
        "note": scale.note,
        "title": f"Score over {name}",
        "description": f"Score of {study.method} over {name}, {len(dots)} configurations; {', '.join(words)}",
        "default": across(scale.place(default)),
        # The winner is drawn last, above what lies around it.
        "dots": sorted(dots, key=lambda dot: dot["is_winner"]),
        "x_ticks": [(across(scale.place(tick)), value_text(tick)) for tick in scale.ticks],
        "y_ticks": _y_ticks(axis, study),
    }


def _dot(name: str, trial: Trial, study: Study, scale: Scale, axis: Axis) -> dict[str, Any]:
    value = trial.params[name]
    texts = [f"no. {trial.number}: {value_text(value)}", study.score(trial.score), _end(trial)]
    return {
        "x": across(scale.place(value, trial.number)),
        "y": down(share_of(trial.score, axis)) if trial.score is not None else TOP + HEIGHT + BELOW,
        "kind": trial.status,
        "is_winner": trial is study.winner,
        "title": ", ".join(text for text in texts if text),
    }


def _end(trial: Trial) -> str:
    """How a configuration ended that was not trained to the end."""
    if trial.status == FAILED:
        return "failed"
    return f"dropped at epoch {trial.pruned_at}" if trial.status == PRUNED else ""


class Scale:
    """The axis of one setting, from what was searched of it: choices, or a range that may be logarithmic."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.choices: list[Any] = list(entry.get("choices", ()))
        self.is_log = bool(entry.get("log"))
        self.low, self.high = float(entry.get("low", 0)), float(entry.get("high", 1))

    @property
    def note(self) -> str:
        return "log scale" if self.is_log else ""

    def place(self, value: Any, number: int | None = None) -> float:
        """Share of the width; ``number`` moves what would stand on top of each other at one choice apart."""
        if self.choices:
            shift = 0.0 if number is None else (number * GOLDEN % 1 - 0.5) * 0.6
            return (self.choices.index(value) + 0.5 + shift) / len(self.choices)
        low, high, at = (math.log(x) for x in (self.low, self.high, value)) if self.is_log else self._plain(value)
        return INSET + (1 - 2 * INSET) * ((at - low) / (high - low) if high > low else 0.5)

    def _plain(self, value: float) -> tuple[float, float, float]:
        return self.low, self.high, value

    @property
    def ticks(self) -> list[Any]:
        if self.choices:
            return self.choices
        if not self.is_log:
            found = round_axis(self.low, self.high).ticks
            return [tick for tick in found if self.low <= tick <= self.high]
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        powers = [10.0**i for i in range(first, last + 1)]
        return powers if len(powers) > 1 else [self.low, self.high]


def _y_ticks(axis: Axis, study: Study) -> list[tuple[float, str]]:
    """Few of them: every other where there are many."""
    ticks = axis.ticks if len(axis.ticks) < 5 else axis.ticks[::2]
    return [(down(share_of(tick, axis)), study.score(tick)) for tick in ticks]
