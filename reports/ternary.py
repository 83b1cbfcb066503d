"""Gates as shares of redundant, unique and synergistic: counted on a triangular grid, and drawn as a triangle."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reports.text import percent

if TYPE_CHECKING:
    from reports.interactions import Analysis, Interactions

# The grid has this many steps along a side: every gate is rounded to a tenth.
STEPS = 10
KINDS = ("R", "U", "S")
# Steps of R, U and S, STEPS in sum.
Cell = tuple[int, int, int]
# Composition, or the word for all samples where it is not known -> cell -> number of gates.
Counts = dict[str, dict[Cell, int]]

LEFT, BASE, SIDE = 30.0, 212.0, 200.0
HEIGHT = SIDE * math.sqrt(3) / 2
# Pixels from one cell to the next, how far the marks of a cell stand from its middle, and their radii.
PITCH = SIDE / STEPS
DODGE, LARGEST, SMALLEST = 0.3 * PITCH, 0.42 * PITCH, 1.1
# The edge keeps this far from the outermost cells, so that their marks are inside.
MARGIN = 0.5 * PITCH
# Composition -> colour, which says the kind, and shape, which says the composition itself.
MARKS = {
    "r": ("r", "circle"),
    "u1": ("u", "up"),
    "u2": ("u", "down"),
    "u3": ("u", "diamond"),
    "s": ("s", "square"),
}
OTHER = ("other", "circle")
# Corners of shapes of the area of a circle of radius one, around its centre, y pointing down.
_A = math.sqrt(math.pi / math.sqrt(3))
_B = math.sqrt(math.pi / 2)
_C = math.sqrt(math.pi) / 2
SHAPES = {
    "up": [(0.0, -2 * _A / math.sqrt(3)), (_A, _A / math.sqrt(3)), (-_A, _A / math.sqrt(3))],
    "down": [(0.0, 2 * _A / math.sqrt(3)), (-_A, -_A / math.sqrt(3)), (_A, -_A / math.sqrt(3))],
    "diamond": [(0.0, -_B), (_B, 0.0), (0.0, _B), (-_B, 0.0)],
    "square": [(-_C, -_C), (_C, -_C), (_C, _C), (-_C, _C)],
}


def shares(gate: NDArray[np.float32], components: Sequence[str]) -> NDArray[np.float64]:
    """(N, 3): the weights that a gate (N, K) gives to R, to all U_ components together and to S."""
    columns = [[i for i, name in enumerate(components) if name.partition("_")[0] == kind] for kind in KINDS]
    return np.stack([gate[:, found].sum(axis=1, dtype=np.float64) for found in columns], axis=1)


def cells(found: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N, 3): the cell of the grid that is nearest to shares (N, 3), whose rows sum to one."""
    scaled = np.round(STEPS * found, 5)
    lower = np.floor(scaled).astype(np.int64)
    # What is left to give goes to the largest remainders; of equal ones to R before U before S.
    order = np.argsort(lower - scaled, axis=1, kind="stable")
    place = np.argsort(order, axis=1, kind="stable")
    return np.asarray(lower + (place < STEPS - lower.sum(axis=1, keepdims=True)), dtype=np.int64)


def counts(
    gates: Sequence[NDArray[np.float32]], components: Sequence[str], masks: Mapping[str, NDArray[np.bool_]]
) -> Counts:
    """How many gates fall in each cell, those of all seeds together. masks: composition -> its samples."""
    grids = [cells(shares(gate, components)) for gate in gates]
    found: Counts = {}
    for name, mask in masks.items():
        counted = Counter((int(r), int(u), int(s)) for grid in grids for r, u, s in grid[mask])
        found[name] = dict(sorted(counted.items()))
    return found


def triangles(found: Interactions) -> list[dict[str, Any]]:
    """One panel per method whose components are R, U_<modality>.. and S."""
    drawn = [one for one in found.methods if one.ternary]
    return [{"number": i, **_panel(one)} for i, one in enumerate(drawn, start=1)]


def legend(found: Interactions) -> list[dict[str, str]]:
    """Name and mark of each composition, its mark centred in a box of 16 x 16; empty where they are not known."""
    return [{"name": name, "colour": mark(name)[0], "path": outline(mark(name)[1], 8, 8, 5)} for name in found.truths]


def mark(composition: str) -> tuple[str, str]:
    """Colour and shape of a composition."""
    return MARKS.get(composition, OTHER)


def _panel(one: Analysis) -> dict[str, Any]:
    names = list(one.ternary)
    most = max(count for by_cell in one.ternary.values() for count in by_cell.values())
    places = sorted({cell for by_cell in one.ternary.values() for cell in by_cell})
    even = shares(np.full((1, len(one.components)), 1 / len(one.components), dtype=np.float32), one.components)[0]
    return {
        "method": one.line.method,
        "kind": "dmil" if one.line.is_dmil else "conventional",
        "cells": [_cell(cell, one.ternary, most) for cell in places],
        "even": _rounded(point(*even)),
        "edge": _edge(),
        "halves": [_rounded(point(*pair)) for pair in ((1, 1, 0), (0, 1, 1), (1, 0, 1))],
        "words": "; ".join(_in_words(name, one.ternary[name], is_only=len(names) == 1) for name in names),
    }


def _cell(cell: Cell, found: Counts, most: int) -> dict[str, Any]:
    """The marks of one cell, side by side around its middle: no composition hides another."""
    x, y = point(*(steps / STEPS for steps in cell))
    names = list(found)
    marks = []
    # The largest first: a small mark lies on top of a large one.
    for name in sorted((name for name in names if cell in found[name]), key=lambda name: -found[name][cell]):
        angle = 2 * math.pi * (names.index(name) + 0.5) / len(names) - math.pi / 2
        away = DODGE if len(names) > 1 else 0.0
        radius = max(LARGEST * math.sqrt(found[name][cell] / most), SMALLEST)
        colour, shape = mark(name)
        path = outline(shape, x + away * math.cos(angle), y + away * math.sin(angle), radius)
        marks.append({"colour": colour, "path": path})
    where = ", ".join(f"{kind} {steps / STEPS:.1f}" for kind, steps in zip(KINDS, cell, strict=True))
    held = ", ".join(f"{name} {by_cell[cell]:,}" for name, by_cell in found.items() if cell in by_cell)
    return {"marks": marks, "title": f"{where}: {held}"}


def _edge() -> list[tuple[float, float]]:
    """The three corners of the triangle around all cells."""
    away = MARGIN * math.sqrt(3)
    corners = [(LEFT - away, BASE + MARGIN), (LEFT + SIDE + away, BASE + MARGIN)]
    return [*map(_rounded, corners), _rounded((LEFT + SIDE / 2, BASE - HEIGHT - 2 * MARGIN))]


def _rounded(at: tuple[float, float]) -> tuple[float, float]:
    return round(at[0], 1), round(at[1], 1)


def point(r: float, u: float, s: float) -> tuple[float, float]:
    """Where shares stand: R at the lower left, U at the lower right, S at the top."""
    total = r + u + s
    return LEFT + SIDE * (u + s / 2) / total, BASE - HEIGHT * s / total


def outline(shape: str, x: float, y: float, radius: float) -> str:
    """The path of a shape with the area of a circle of this radius."""
    if shape == "circle":
        r = f"{radius:.2f}"
        return f"M{x - radius:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * radius:.2f} 0a{r} {r} 0 1 0 {-2 * radius:.2f} 0z"
    corners = [(x + radius * dx, y + radius * dy) for dx, dy in SHAPES[shape]]
    return "M" + "L".join(f"{cx:.1f} {cy:.1f}" for cx, cy in corners) + "z"


def _in_words(name: str, by_cell: Mapping[Cell, int], *, is_only: bool) -> str:
    """Mean shares of a composition, and how often one kind has more than half of the weight."""
    n = sum(by_cell.values())
    if not n:
        return f"{name}: no sample"
    means = [sum(cell[i] * count for cell, count in by_cell.items()) / (STEPS * n) for i in range(3)]
    above = [sum(count for cell, count in by_cell.items() if 2 * cell[i] > STEPS) / n for i in range(3)]
    who = "all samples" if is_only else f"samples of composition {name}"
    mean, most = (
        ", ".join(f"{kind} {percent(share)}" for kind, share in zip(KINDS, values, strict=True))
        for values in (means, above)
    )
    return f"{who}: mean {mean} percent; more than half of the weight: {most} percent of gates"
