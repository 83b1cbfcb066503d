"""The leaderboard of one dataset: one line per method, ranked where complete, holes named where not."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.errors import UserError
from benchmarks.record import PREDICTIONS, Row, SeedRun
from benchmarks.tracking import MissingFileError, Tracking
from reports.samples import Samples, same_samples, test_samples
from reports.statistics import Summary, mean_or_none, summarise, synergy_indicator

FLOOR = "constant"
LIMIT = "bayes_limit"
COMPLETE = "complete"
CONVENTIONAL = ("ensemble", "joint", "joint_mlp", "late_fusion", "late_fusion_learned")
AVERAGED = (
    "test/macro_f1",
    "test/nll",
    "test/ece",
    "valid/acc",
    "valid/macro_f1",
    "n_params",
    "train_seconds",
    "peak_memory_mb",
)


@dataclass(frozen=True)
class Line:
    """One line. status: complete, incomplete (a seed has no run yet), failed (a seed failed) or limit.

    test_acc, means and synergy are None, or empty, unless every seed is there: nothing is averaged over a hole.
    reasons: why a line is not complete, one text per seed. rank counts complete lines from 1, the floor left out.
    """

    method: str
    status: str
    n_seeds: int
    n_failed: int
    test_acc: Summary | None
    means: dict[str, float | None] = field(default_factory=dict)
    synergy: float | None = None
    reasons: tuple[str, ...] = ()
    row: Row | None = None
    rank: int | None = None

    @property
    def is_conventional(self) -> bool:
        return self.method in CONVENTIONAL or self.method.startswith("unimodal_")

    @property
    def is_dmil(self) -> bool:
        return self.method == "dmil" or self.method.startswith("dmil_")

    @property
    def is_floor(self) -> bool:
        return self.method == FLOOR

    @property
    def gap(self) -> float | None:
        """Validation minus test accuracy."""
        valid = self.means.get("valid/acc")
        return None if valid is None or self.test_acc is None or self.is_floor else valid - self.test_acc.mean

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval where there are seeds enough to show one."""
        return self.test_acc.shown if self.test_acc else None

    @property
    def overrides(self) -> list[str]:
        """What the row's plan set by hand for it, for its kind or for all rows."""
        names = {"all", self.method, "unimodal" if self.method.startswith("unimodal_") else self.method}
        return [text for text in self.row.overrides if re.split("[.@]", text)[0] in names] if self.row else []

    @property
    def seed_accuracies(self) -> list[float]:
        """Test accuracy of each seed that has one, by seed, whatever the status of the line."""
        return [run.metrics["test/acc"] for run in self.row.runs if not problem_of(run)] if self.row else []


@dataclass(frozen=True)
class Table:
    """Lines in the order shown: the limit, complete lines by mean test accuracy, then those with holes by name."""

    dataset: str
    suite: str
    lines: tuple[Line, ...]
    card: dict[str, Any]
    n_test: int | None

    @property
    def floor(self) -> float | None:
        """Mean test accuracy of the constant row."""
        return next((line.test_acc.mean for line in self.lines if line.method == FLOOR and line.test_acc), None)

    @property
    def strongest(self) -> Line | None:
        """The complete conventional baseline with the highest mean validation accuracy."""
        return _best_on_valid([line for line in self.lines if line.is_conventional])

    @property
    def best_dmil(self) -> Line | None:
        """The complete DMIL variant with the highest mean validation accuracy."""
        return _best_on_valid([line for line in self.lines if line.is_dmil])

    @property
    def n_ranked(self) -> int:
        return sum(line.rank is not None for line in self.lines)

    @property
    def overrides(self) -> list[str]:
        """What the plans of this table set by hand, each once."""
        return sorted({text for line in self.lines if line.row for text in line.row.overrides})

    @property
    def seed_sets(self) -> dict[tuple[int, ...], list[str]]:
        """Planned seeds -> the methods that have them."""
        found: dict[tuple[int, ...], list[str]] = {}
        for line in self.lines:
            if line.row:
                found.setdefault(tuple(run.seed for run in line.row.runs), []).append(line.method)
        return found


def build_tables(tracking: Tracking, dataset: str | None = None, suite: str | None = None) -> list[Table]:
    """One table per dataset, of the suite planned last unless one is named. Raises UserError where there is none."""
    by_dataset: dict[str, list[Row]] = {}
    for row in tracking.rows(dataset, suite):
        by_dataset.setdefault(row.dataset, []).append(row)
    if not by_dataset:
        wanted = " ".join(f"{name} {value!r}" for name, value in (("dataset", dataset), ("suite", suite)) if value)
        known = sorted({f"{row.dataset} (suite {row.suite})" for row in tracking.rows()})
        raise UserError(
            f"MLflow holds no runs{' of ' + wanted if wanted else ''}; "
            f"it knows {', '.join(known) or 'nothing yet'}; `make bench DATASET={dataset or 'interactions'}` makes some"
        )
    return [_build_table(tracking, by_dataset[name]) for name in sorted(by_dataset)]


def problem_of(run: SeedRun) -> str | None:
    """Why a seed does not count, None where it does."""
    if run.status == "missing":
        return f"seed {run.seed}: no run yet"
    if run.status == "failed":
        return f"seed {run.seed}: {run.error or 'failed without a reason'}"
    accuracy = run.metrics.get("test/acc", math.nan)
    return None if math.isfinite(accuracy) else f"seed {run.seed}: test/acc is not finite ({accuracy})"


def _build_table(tracking: Tracking, rows: list[Row]) -> Table:
    newest = max(rows, key=lambda row: row.planned_at)
    rows = [row for row in rows if row.suite == newest.suite]
    card = tracking.card(newest)
    samples = {row.method: _samples_of(tracking, row) for row in rows}
    unimodal = _unimodal_names(card, rows)
    lines = [_line(row) for row in rows]
    complete = [replace(line, synergy=_synergy(line.method, unimodal, samples)) for line in lines if line.test_acc]
    places = itertools.count(1)
    ranked = [
        line if line.is_floor else replace(line, rank=next(places)) for line in sorted(complete, key=_by_accuracy)
    ]
    holes = sorted((line for line in lines if not line.test_acc), key=lambda line: line.method)
    sizes = {len(one.ids) for by_seed in samples.values() for one in by_seed.values()}
    n_test = sizes.pop() if len(sizes) == 1 else None
    return Table(newest.dataset, newest.suite, (*_limit(card), *ranked, *holes), card, n_test)


def _unimodal_names(card: dict[str, Any], rows: list[Row]) -> list[str]:
    """The rows that must all be there before a sample can be called synergistic."""
    if card["modalities"]:
        return [f"unimodal_{modality}" for modality in card["modalities"]]
    return [row.method for row in rows if row.method.startswith("unimodal_")]


def _best_on_valid(lines: list[Line]) -> Line | None:
    """The ranked line with the highest mean validation accuracy: test accuracy must not choose what is compared."""
    ranked = [(valid, line) for line in lines if line.rank and (valid := line.means.get("valid/acc")) is not None]
    return min(ranked, key=lambda pair: (-pair[0], pair[1].method))[1] if ranked else None


def _by_accuracy(line: Line) -> tuple[float, str]:
    assert line.test_acc is not None
    return -line.test_acc.mean, line.method


def _limit(card: dict[str, Any]) -> list[Line]:
    accuracy = card.get("bayes_accuracy")
    return [] if accuracy is None else [Line(LIMIT, "limit", 0, 0, Summary(accuracy, None, None, None, 0))]


def _line(row: Row) -> Line:
    reasons = tuple(problem for run in row.runs if (problem := problem_of(run)))
    n_missing = sum(run.status == "missing" for run in row.runs)
    n_failed = len(reasons) - n_missing
    n_seeds = len(row.runs) - len(reasons)
    if reasons:
        status = "failed" if n_failed else "incomplete"
        return Line(row.method, status, n_seeds, n_failed, None, reasons=reasons, row=row)
    means = {name: mean_or_none([run.metrics.get(name) for run in row.runs]) for name in AVERAGED}
    accuracies = summarise([run.metrics["test/acc"] for run in row.runs])
    if row.method == FLOOR:
        accuracies = replace(accuracies, low=None, high=None)
    return Line(row.method, COMPLETE, n_seeds, 0, accuracies, means=means, row=row)


def _samples_of(tracking: Tracking, row: Row) -> dict[int, Samples]:
    """Per seed, what the run said about the test samples; no entry for a seed without predictions."""
    found = {}
    for run in row.runs:
        if problem_of(run):
            continue
        try:
            path = tracking.run_artifact(run.run_id, PREDICTIONS)
        except MissingFileError:
            continue
        found[run.seed] = test_samples(path, f"run {run.run_id} ({row.method}, seed {run.seed})")
    return found


def _synergy(method: str, unimodal: list[str], samples: dict[str, dict[int, Samples]]) -> float | None:
    """Mean over seeds of the synergy indicator, for multimodal methods; None where predictions it needs are missing.

    Raises UserError where two runs of the table hold different test samples.
    """
    if method == FLOOR or method.startswith("unimodal_"):
        return None
    shares: list[float | None] = []
    for seed, own in samples[method].items():
        others = [samples[name][seed] for name in unimodal if seed in samples.get(name, {})]
        if not others or len(others) < len(unimodal):
            return None
        if not same_samples([own, *others]):
            raise UserError(f"{method} and the unimodal rows hold different test samples for seed {seed}")
        shares.append(synergy_indicator(own.is_right, [other.is_right for other in others]))
    return mean_or_none(shares)
