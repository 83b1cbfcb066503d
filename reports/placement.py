"""Where the names of points go in a plot whose width is not known: beside them, none over another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

LETTER, LINE_HEIGHT = 6.5, 14.0
# Half the side of the square that a marker takes, and from its centre to a name beside it.
MARKER, GAP = 6.0, 9.0
STEP = 3.5
# Costs in pixels of distance: a name on the left, one above or below, a leader across something else.
LEFT_COST, CENTRE_COST, CROSSING_COST = 1.0, 2.0, 25.0
# A name further from the middle of its marker than this has a line that leads to it.
NEAR = 10.0
N_ROUNDS = 4
# Points nearer than this crowd a name.
CROWD = 60.0


@dataclass(frozen=True)
class Box:
    """Pixels at the least width of the plot. anchor: what of left and right grows with the width; the rest is fixed."""

    anchor: float
    left: float
    right: float
    top: float
    bottom: float

    def is_apart(self, other: Box) -> bool:
        """Whether the two do not touch, at this and at any greater width: side by side in the order of their anchors,
        or one above the other."""
        if self.bottom <= other.top or other.bottom <= self.top:
            return True
        one, two = (self, other) if self.anchor <= other.anchor else (other, self)
        return one.right <= two.left or (one.anchor == two.anchor and two.right <= one.left)

    def holds(self, x: float, y: float) -> bool:
        return self.left < x < self.right and self.top < y < self.bottom


@dataclass(frozen=True)
class Point:
    """x and y in pixels at the least width, and the name that goes beside it."""

    x: float
    y: float
    name: str

    @property
    def marker(self) -> Box:
        return Box(self.x, self.x - MARKER, self.x + MARKER, self.y - MARKER, self.y + MARKER)


@dataclass(frozen=True)
class Label:
    """A name beside its point: dx and dy in pixels from there to the text's anchor ("start", "middle", "end") and to
    its middle."""

    point: Point
    dx: float
    dy: float
    anchor: str

    @cached_property
    def box(self) -> Box:
        width = LETTER * len(self.point.name)
        start = self.point.x + self.dx - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[self.anchor]
        middle = self.point.y + self.dy
        return Box(self.point.x, start, start + width, middle - LINE_HEIGHT / 2, middle + LINE_HEIGHT / 2)

    @property
    def has_leader(self) -> bool:
        return self.anchor != "middle" and abs(self.dy) > NEAR

    @property
    def cost(self) -> float:
        side = {"start": 0.0, "middle": CENTRE_COST, "end": LEFT_COST}[self.anchor]
        return side + (0.0 if self.anchor == "middle" else abs(self.dy))

    def leader_points(self) -> list[tuple[float, float]]:
        """Points along its leader, from marker to name."""
        if not self.has_leader:
            return []
        n = max(2, round(math.hypot(self.dx, self.dy) / 5))
        return [(self.point.x + self.dx * i / n, self.point.y + self.dy * i / n) for i in range(n + 1)]


def place(points: Sequence[Point], obstacles: Sequence[Box], *, width: float, height: float) -> list[Label] | None:
    """A label for each point, in their order; None where one finds no room.

    No label touches another one, a marker or an obstacle, nor leaves the plot, at ``width`` or any greater one.
    """
    frame = Box(0, 0, width, 0, height)
    options = [Options(point, frame, [*obstacles, *(one.marker for one in points)]) for point in points]
    found: dict[int, Label] = {}
    # The more crowded its surroundings, the earlier a name chooses.
    order = sorted(range(len(points)), key=lambda i: (-_n_near(points[i], points), i))
    for _ in range(N_ROUNDS):
        before = dict(found)
        for i in order:
            others = [label for j, label in found.items() if j != i]
            best = _cheapest(options[i], others, [other.marker for other in points if other is not points[i]])
            if best is None:
                return None
            found[i] = best
        if found == before:
            break
    return [found[i] for i in range(len(points))]


def _n_near(point: Point, points: Sequence[Point]) -> int:
    return sum(math.hypot(point.x - other.x, point.y - other.y) < CROWD for other in points)


class Options:
    """The places that a name can have beside what is fixed, cheapest first."""

    def __init__(self, point: Point, frame: Box, fixed: Sequence[Box]) -> None:
        self._left = iter(sorted(_candidates(point, frame), key=lambda label: label.cost))
        self._fixed = fixed
        self._known: list[Label] = []

    def __iter__(self) -> Iterator[Label]:
        yield from self._known
        for label in self._left:
            if all(label.box.is_apart(box) for box in self._fixed):
                self._known.append(label)
                yield label


def _candidates(point: Point, frame: Box) -> Iterator[Label]:
    n = math.ceil(frame.bottom / STEP)
    shifts = [i * STEP for i in range(-n, n + 1)]
    labels = [Label(point, side * GAP, dy, anchor) for dy in shifts for side, anchor in ((1, "start"), (-1, "end"))]
    above = MARKER + LINE_HEIGHT / 2
    labels += [Label(point, 0.0, dy, "middle") for dy in (-above, above)]
    for label in labels:
        box = label.box
        if frame.left <= box.left and box.right <= frame.right and frame.top <= box.top and box.bottom <= frame.bottom:
            yield label


def _cheapest(options: Options, others: Sequence[Label], markers: Sequence[Box]) -> Label | None:
    """The first of options, by cost, once what its leader crosses is added."""
    best, least = None, math.inf
    boxes = [label.box for label in others]
    for label in options:
        if label.cost >= least:
            break
        if not all(label.box.is_apart(box) for box in boxes):
            continue
        cost = label.cost + CROSSING_COST * _n_crossings(label, boxes, markers, others)
        if cost < least:
            best, least = label, cost
    return best


def _n_crossings(label: Label, boxes: Sequence[Box], markers: Sequence[Box], others: Sequence[Label]) -> int:
    """How many names and markers its leader runs over, and how many leaders run over the name."""
    path = label.leader_points()
    crossed = sum(any(box.holds(*spot) for spot in path) for box in (*boxes, *markers))
    own = label.box
    return crossed + sum(any(own.holds(*spot) for spot in other.leader_points()) for other in others)
