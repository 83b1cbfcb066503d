"""One line of a leaderboard: a method with its seeds, complete or with its holes named."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace

from benchmarks.record import Row, SeedRun
from reports.measure import ACC2, ACC2_NON0, ACC7, ACCURACY, CORRELATION, ERROR, F1, F1_NON0, Measure
from reports.statistics import Summary, mean_or_none, summarise

FLOOR = "constant"
CONTROL = "label_shuffle"
LIMIT = "bayes_limit"
ENSEMBLE = "ensemble"
ESTIMATOR = "lsmi"
COMPLETE = "complete"
CONVENTIONAL = (ENSEMBLE, "joint", "joint_mlp", "late_fusion", "late_fusion_learned")
SOURCE = "source/valid_acc"
# Term of the theorem -> how it is written.
THEOREM = {
    "i_zy_given_c": "E_c[I(Z;Y|c)]",
    "h_c_given_z": "H(C|Z)",
    "i_yc": "I(Y;C)",
    "bound": "bound",
    "i_zy": "I(Z;Y)",
}
AVERAGED = (
    "test/macro_f1",
    "test/nll",
    "test/ece",
    *(ACCURACY.valid, ERROR.valid),
    "valid/macro_f1",
    *(CORRELATION, ACC2, ACC2_NON0, F1, F1_NON0, ACC7),
    "n_params",
    "train_seconds",
    "peak_memory_mb",
    SOURCE,
    *(f"test/theorem_{term}" for term in THEOREM),
)


@dataclass(frozen=True)
class Difference:
    """Test accuracy of a line minus that of another, or of a regression the other's error minus its own, over the seeds
    both have: above 0 where the line is better.

    other: the other's method. low, high: 95 % interval over test samples and seeds (``reports.bootstrap``), None
    where ``why_not`` says why. seeds: those that count. is_partial: one of the two has seeds that the other lacks.
    """

    other: str
    mean: float
    low: float | None
    high: float | None
    seeds: tuple[int, ...]
    is_partial: bool
    why_not: str = ""

    @property
    def shown(self) -> tuple[float, float] | None:
        """The interval, None where there is none."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def is_level(self) -> bool | None:
        """Whether the interval holds 0, so that the two are not told apart; None without one."""
        return None if self.low is None or self.high is None else self.low <= 0 <= self.high


@dataclass(frozen=True)
class Line:
    """One line. status: complete, incomplete (a seed has no run yet), failed (a seed failed) or limit.

    measure: what result is, the mean over seeds on the test set. result, means and synergy are None, or empty, unless
    every seed is there: nothing is averaged over a hole. reasons: why a line is not complete, one text per seed. rank
    counts complete lines from 1, floor, control and estimator left out.

    Of complete lines: gain over the strongest conventional baseline, None for that baseline itself (is_strongest) and
    where the two share no seed. Of ranked lines: to_best, the difference to the line of rank 1, None for that line
    itself; is_tied, whether that difference is level, True for the line of rank 1, None where it cannot be told;
    has_other_seeds, whether its mean is over other seeds than that of rank 1. sample_std: of a regression the standard
    deviation of the error over test samples, mean over seeds, None where predictions are missing.
    """

    method: str
    status: str
    n_seeds: int
    n_failed: int
    result: Summary | None
    means: dict[str, float | None] = field(default_factory=dict)
    synergy: float | None = None
    reasons: tuple[str, ...] = ()
    row: Row | None = None
    rank: int | None = None
    gain: Difference | None = None
    to_best: Difference | None = None
    is_strongest: bool = False
    is_tied: bool | None = None
    has_other_seeds: bool = False
    measure: Measure = ACCURACY
    sample_std: float | None = None

    @property
    def place(self) -> str:
        """The rank as shown: ≈ where the line is not told apart from rank 1, * where its mean is over other seeds."""
        if self.rank is None:
            return ""
        return f"{self.rank}{' ≈' if self.is_tied and self.rank > 1 else ''}{' *' if self.has_other_seeds else ''}"

    @property
    def is_unimodal(self) -> bool:
        return self.method.startswith("unimodal_")

    @property
    def is_conventional(self) -> bool:
        return self.method in CONVENTIONAL or self.is_unimodal

    @property
    def is_dmil(self) -> bool:
        return self.method == "dmil" or self.method.startswith("dmil_")

    @property
    def is_floor(self) -> bool:
        return self.method == FLOOR

    @property
    def is_estimator(self) -> bool:
        return self.method == ESTIMATOR

    @property
    def is_control(self) -> bool:
        return self.method == CONTROL

    @property
    def is_ensemble(self) -> bool:
        return self.method == ENSEMBLE

    @property
    def is_competitor(self) -> bool:
        return not (self.is_floor or self.is_estimator or self.is_control)

    @property
    def valid(self) -> float | None:
        """Mean of the measure on validation data."""
        return self.means.get(self.measure.valid)

    @property
    def valid_score(self) -> float | None:
        """The same, so that higher is better."""
        return None if self.valid is None else self.measure.sign * self.valid

    @property
    def gap(self) -> float | None:
        """Validation minus test accuracy; of a regression test minus validation error."""
        if self.valid is None or self.result is None or self.is_floor:
            return None
        return self.measure.gain(self.valid, self.result.mean)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval where there are seeds enough to show one."""
        return self.result.shown if self.result else None

    @property
    def overrides(self) -> list[str]:
        """What the row's plan set by hand for it, for its kind or for all rows."""
        names = {"all", self.method, "unimodal" if self.is_unimodal else self.method}
        return [text for text in self.row.overrides if re.split("[.@]", text)[0] in names] if self.row else []

    @property
    def by_seed(self) -> dict[int, float]:
        """The measure on the test set of each seed that has one, by seed, whatever the status of the line."""
        runs = [run for run in self.row.runs if not problem_of(run, self.measure)] if self.row else []
        return {run.seed: run.metrics[self.measure.test] for run in runs}

    @property
    def seed_scores(self) -> list[float]:
        """The same, so that higher is better."""
        return [self.measure.sign * value for value in self.by_seed.values()]

    @property
    def score(self) -> float:
        """Mean over seeds, so that higher is better. The line must be complete."""
        assert self.result
        return self.measure.sign * self.result.mean

    @property
    def score_interval(self) -> tuple[float, float] | None:
        """The interval of that mean, where there are seeds enough to show one."""
        if not self.interval:
            return None
        low, high = self.interval
        return (-high, -low) if self.measure.is_error else (low, high)


def problem_of(run: SeedRun, measure: Measure) -> str | None:
    """Why a seed does not count, None where it does."""
    if run.status == "missing":
        return f"seed {run.seed}: no run yet"
    if run.status == "failed":
        return f"seed {run.seed}: {run.error or 'failed without a reason'}"
    value = run.metrics.get(measure.test, math.nan)
    return None if math.isfinite(value) else f"seed {run.seed}: {measure.test} is not finite ({value})"


def line_of(row: Row, measure: Measure = ACCURACY) -> Line:
    """The line of one method; nothing but its status and reasons where a seed is missing or failed."""
    reasons = tuple(problem for run in row.runs if (problem := problem_of(run, measure)))
    n_missing = sum(run.status == "missing" for run in row.runs)
    n_failed = len(reasons) - n_missing
    n_seeds = len(row.runs) - len(reasons)
    if reasons:
        status = "failed" if n_failed else "incomplete"
        return Line(row.method, status, n_seeds, n_failed, None, reasons=reasons, row=row, measure=measure)
    means = {name: mean_or_none([run.metrics.get(name) for run in row.runs]) for name in AVERAGED}
    result = summarise([run.metrics[measure.test] for run in row.runs])
    if row.method == FLOOR:
        result = replace(result, low=None, high=None)
    return Line(row.method, COMPLETE, n_seeds, 0, result, means=means, row=row, measure=measure)


def paired(one: Line, other: Line) -> Summary | None:
    """By how much one line is better than another over the seeds both have; None where they share none."""
    others = other.by_seed
    differences = [one.measure.gain(value, others[seed]) for seed, value in one.by_seed.items() if seed in others]
    return summarise(differences) if differences else None
