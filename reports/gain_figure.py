"""Geometry of the gains over the strongest baseline: positions in percent of the width, drawn by gains.svg."""

from __future__ import annotations

import math
from typing import Any

from reports.figures import Axis, round_axis
from reports.line import Difference, Line
from reports.measure import Measure, signed
from reports.table import Table
from reports.text import signed_limits


def gains(table: Table) -> dict[str, Any] | None:
    """Ranked lines in the order of the table, better and worse drawn alike; None where no line has a gain.

    Unimodal rows often are so far behind that the scale is left to the others, where there are any.
    """
    shown = [(line, line.gain) for line in table.lines if line.rank and line.gain]
    if not shown:
        return None
    near = [gain for line, gain in shown if not line.is_unimodal] or [gain for _, gain in shown]
    ends = [end for gain in near for end in (gain.shown or (gain.mean, gain.mean))]
    measure = table.measure
    axis = round_axis(measure.scale * min(0.0, *ends), measure.scale * max(0.0, *ends))
    return {
        "baseline": shown[0][1].other,
        "zero": axis.place(0),
        "ticks": [(axis.place(tick), signed(tick, _decimals(axis))) for tick in axis.ticks],
        "rows": [_row(line, gain, axis) for line, gain in shown],
        "description": "; ".join(
            f"{line.method}: {_in_points(gain, measure)}{measure.points}, {verdict(gain)}" for line, gain in shown
        ),
    }


def verdict(gain: Difference, other: str = "") -> str:
    """ahead (of another), behind, not told apart (from it), or that there is no interval to tell."""
    if not gain.shown:
        return "no interval"
    words = ("not told apart", " from") if gain.is_level else ("ahead", " of") if gain.mean > 0 else ("behind", "")
    return f"{''.join(words)} {other}" if other else words[0]


def _row(line: Line, gain: Difference, axis: Axis) -> dict[str, Any]:
    measure = line.measure
    low, high = (measure.scale * end for end in gain.shown or (gain.mean, gain.mean))
    is_off = high < axis.low
    ends = [axis.place(max(low, axis.low)), axis.place(high)] if gain.shown and not is_off else None
    return {
        "method": line.method,
        "kind": "dmil" if line.is_dmil else "conventional",
        "note": verdict(gain),
        "is_off": is_off,
        "text": _in_points(gain, measure),
        "interval": ends,
        "mean": None if measure.scale * gain.mean < axis.low else axis.place(measure.scale * gain.mean),
    }


def _in_points(gain: Difference, measure: Measure) -> str:
    return f"{measure.signed(gain.mean)} ({signed_limits(gain, measure)})"


def _decimals(axis: Axis) -> int:
    return max(0, math.ceil(-math.log10(axis.step) - 1e-9))
