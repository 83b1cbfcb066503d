"""Geometry of the figures on gates and calibration: numbers in, positions in percent of the width out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.calibration import Reliability
from reports.interactions import ALL, Analysis, Interactions
from reports.text import limits, percent

BAR_LEFT = 20.0
# A label stands in its segment where it fits on the narrowest screen: pixels of a percent there, and of a letter.
NARROW, LETTER, PADDING = 3.4, 7.0, 6.0


def gate_bars(found: Interactions, bayes_attribution: float | None) -> list[dict[str, Any]]:
    """One panel per gated method, one bar per composition: the mean gate of each component, stacked to one.

    Where compositions are not known: a bar of mean gates and one of the shares by largest gate.
    """
    gated = [one for one in found.methods if one.is_gated]
    return [{"number": i, **_panel(one, found, bayes_attribution)} for i, one in enumerate(gated, start=1)]


def _panel(one: Analysis, found: Interactions, bayes: float | None) -> dict[str, Any]:
    if found.truths:
        bars = [(name, f"{found.sizes[name]:,} samples", one.parts[name].gate) for name in found.truths]
    else:
        bars = [("mean", "mean gate", one.parts[ALL].gate), ("largest", "share by largest gate", one.largest)]
    texts = []
    if one.attribution:
        texts.append(f"attribution {percent(one.attribution.mean)} % ({limits(one.attribution)})")
        texts += [f"Bayes limit {percent(bayes)} %"] if bayes is not None else []
    elif found.truths:
        texts.append("attribution not defined")
    return {
        "method": one.line.method,
        "kind": "dmil" if one.line.is_dmil else "conventional",
        "notes": texts,
        "rows": [
            {"name": name, "title": title, "segments": segments(gate, one.components, one.owners.get(name))}
            for name, title, gate in bars
        ],
        "words": "; ".join(
            f"{name}: " + ", ".join(f"{part} {percent(share)}" for part, share in gate.items())
            for name, _, gate in bars
        ),
    }


def segments(
    gate: Mapping[str, float], components: Sequence[str], owner: str | None = None, *, left: float = BAR_LEFT
) -> list[dict[str, Any]]:
    """The parts of one bar, in the order of the components; it ends at the right edge. left: where it begins."""
    found = []
    whole = 100 - left
    for name, share in gate.items():
        width = whole * share
        found.append(
            {
                "x": round(left, 3),
                "middle": round(left + width / 2, 3),
                "width": round(width, 3),
                "role": _role(name, components),
                "label": name if width * NARROW >= len(name) * LETTER + PADDING else "",
                "title": f"{name}: {percent(share)} %",
                "is_owner": name == owner,
            }
        )
        left += width
    return found


def _role(name: str, components: Sequence[str]) -> str:
    """Which colour a component has: R, S and the i-th U_ or M_ have theirs in every figure."""
    kind, is_numbered, _ = name.partition("_")
    alike = [other for other in components if other.startswith(f"{kind}_")]
    role = f"{kind.lower()}{alike.index(name) + 1}" if is_numbered else kind.lower()
    return role if role in ("r", "s", "u1", "u2", "u3", "m1", "m2", "m3") else "other"


def reliability_curve(found: Reliability) -> dict[str, Any]:
    """Accuracy over confidence in a box of 100 x 100, the y axis pointing down."""
    points = [(round(100 * confidence, 2), round(100 - 100 * accuracy, 2)) for confidence, accuracy, _ in found.bins]
    return {
        "method": found.method,
        "line": " ".join(f"{x},{y}" for x, y in points),
        "points": [
            {"x": x, "y": y, "r": round(1.5 + 5 * share**0.5, 2)}
            for (x, y), (_, _, share) in zip(points, found.bins, strict=True)
        ],
        "words": "; ".join(
            f"confidence {percent(confidence)}: right {percent(accuracy)} percent, {percent(share)} percent of samples"
            for confidence, accuracy, share in found.bins
        ),
    }
