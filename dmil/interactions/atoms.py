"""What a decomposition of I(X1,X2;Y) looks like, whoever computed it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

ATOMS = ("r", "u1", "u2", "s")


@dataclass(frozen=True)
class Decomposition:
    """I(X1,X2;Y) = r + u1 + u2 + s: redundant, unique to each source, synergistic; in ``unit``.

    total: I(X1,X2;Y). The atoms are raw, whatever an estimator said; ``clipped`` has none below zero. target: what
    the information is about; sources: who has it. gap: where the minimisation behind the atoms is certified, how far
    each of them can be from its exact value; None for an estimate from samples.
    """

    r: float
    u1: float
    u2: float
    s: float
    total: float
    target: str = "y"
    sources: tuple[str, str] = ("x1", "x2")
    unit: str = "nat"
    gap: float | None = None

    @property
    def atoms(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ATOMS}

    def bits(self) -> Decomposition:
        """The same in bits."""
        if self.unit == "bit":
            return self
        atoms: dict[str, Any] = {name: value / math.log(2) for name, value in self.atoms.items()}
        gap = None if self.gap is None else self.gap / math.log(2)
        return replace(self, **atoms, total=self.total / math.log(2), gap=gap, unit="bit")

    def clipped(self) -> Decomposition:
        """Negative atoms set to zero; the total stays what it was, so the atoms may then add up to more."""
        atoms: dict[str, Any] = {name: max(0.0, value) for name, value in self.atoms.items()}
        return replace(self, **atoms)

    def __str__(self) -> str:
        first, second = self.sources
        parts = f"r {self.r:.3f}, u({first}) {self.u1:.3f}, u({second}) {self.u2:.3f}, s {self.s:.3f}"
        return f"I({first},{second};{self.target}) = {self.total:.3f} {self.unit}: {parts}"
