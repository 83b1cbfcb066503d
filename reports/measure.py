"""What the rows of a leaderboard are compared by: accuracy or, of a regression, the mean absolute error."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.record import Row

CORRELATION = "test/corr"
# Scores of a sentiment from -3 to 3, as ``dmil.data.SENTIMENT`` names them.
ACC2, ACC2_NON0, F1, F1_NON0, ACC7 = (
    f"test/{name}" for name in ("acc2_has0", "acc2_non0", "f1_has0", "f1_non0", "acc7")
)
# Of an error no more digits are shown than three or four.
N_DIGITS, FIRST, MOST_DECIMALS = 3, 0.2, 9


@dataclass(frozen=True)
class Measure:
    """metric: its name in ``test/<metric>``. name: in sentences; symbol: in headings. sign: 1 where more is better, -1
    where less is. scale, decimals: how a value is written; unit, points: what follows a value, and a difference. most:
    what the best value is; better, worse: where it is, seen from another."""

    metric: str
    name: str
    symbol: str
    sign: int
    scale: float
    decimals: int
    unit: str
    points: str
    most: str
    better: str
    worse: str

    @property
    def test(self) -> str:
        return f"test/{self.metric}"

    @property
    def valid(self) -> str:
        return f"valid/{self.metric}"

    @property
    def is_error(self) -> bool:
        return self.sign < 0

    def gain(self, one: float, other: float) -> float:
        """By how much the first of two values is better."""
        return self.sign * (one - other)

    def text(self, value: float | None) -> str:
        """Empty where unknown."""
        return "" if value is None else f"{self.scale * value:.{self.decimals}f}"

    def signed(self, difference: float | None) -> str:
        """With its sign."""
        return signed(None if difference is None else self.scale * difference, self.decimals)

    def rounded(self, difference: float) -> float:
        """A difference as it is shown."""
        return round(self.scale * difference, self.decimals)

    def said(self, value: float) -> str:
        """With its unit, for a sentence."""
        return self.text(value) + self.unit

    def of_score(self, score: float) -> str:
        """A value from what is higher for the better: itself, or its negative."""
        return self.text(self.sign * score + 0.0)  # no -0


ACCURACY = Measure("acc", "accuracy", "acc. %", 1, 100, 1, " %", " points", "highest", "above", "below")
ERROR = Measure("mae", "MAE", "MAE", -1, 1, N_DIGITS, "", "", "lowest", "below", "above")


def measure_of(rows: Sequence[Row]) -> Measure:
    """The measure of a table, from what its runs recorded; of errors with as many decimals as their size asks for."""
    errors = [run.metrics[ERROR.test] for row in rows for run in row.runs if ERROR.test in run.metrics]
    return replace(ERROR, decimals=decimals_for(errors)) if errors else ACCURACY


def decimals_for(values: Sequence[float]) -> int:
    """Three decimals for errors from 0.2 to 2, one less for each power of ten above and one more for each below."""
    finite = [abs(value) for value in values if math.isfinite(value) and value]
    if not finite:
        return N_DIGITS
    magnitude = math.floor(math.log10(statistics.median(finite) / FIRST))
    return min(max(N_DIGITS - magnitude, 0), MOST_DECIMALS)


def signed(value: float | None, decimals: int) -> str:
    """With its sign, but for what rounds to zero."""
    if value is None:
        return ""
    rounded = round(value, decimals)
    return f"{rounded:+.{decimals}f}".replace("-", "−") if rounded else f"{0:.{decimals}f}"
