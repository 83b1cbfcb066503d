"""The leaderboard of one dataset: one line per method, ranked where complete, holes named where not."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.errors import UserError
from benchmarks.record import PREDICTIONS, Row, SeedRun
from benchmarks.tracking import MissingFileError, Tracking
from reports.calibration import Reliability, reliability
from reports.comparison import compared
from reports.control import Control, control_of
from reports.hard_samples import HardSamples, descriptions, hard_samples
from reports.interactions import Interactions, analyse, synergy
from reports.interactions import complete as complete_runs
from reports.line import CONTROL, FLOOR, LIMIT, SOURCE, Line, line_of, problem_of
from reports.measure import ACC7, ACCURACY, Measure, measure_of
from reports.samples import Samples, TableSamples, answers_in, read_samples, same_samples
from reports.sanity import read_audit
from reports.statistics import Summary

SPEC = "spec.json"


@dataclass(frozen=True)
class Table:
    """Lines in the order shown: the limit, complete lines from the best mean on the test set on, then those with holes
    by name.

    interactions: None where no run can say anything of them. transfer: what the runs' spec says of classes trained on
    and classes probed, None where test samples have the classes of training. reliability: by method, complete ones.
    n_groups: of test samples, each drawn as a whole for the intervals of differences; None where samples were drawn
    one by one or there is no such interval. hard_samples: None where a unimodal row is missing or has a hole. Of a
    regression interactions have no synergy, and reliability and hard_samples are empty: no answer is right or wrong.
    audit: of the data, None where none was planned. control: None where that row is missing or has a hole.
    """

    dataset: str
    suite: str
    lines: tuple[Line, ...]
    card: dict[str, Any]
    n_test: int | None
    interactions: Interactions | None = None
    transfer: dict[str, Any] | None = None
    reliability: tuple[Reliability, ...] = ()
    n_groups: int | None = None
    hard_samples: HardSamples | None = None
    audit: dict[str, Any] | None = None
    control: Control | None = None

    @property
    def planned_at(self) -> int:
        """When it was planned last, in milliseconds since 1970."""
        return max(line.row.planned_at for line in self.lines if line.row)

    @property
    def measure(self) -> Measure:
        """By what its lines are compared."""
        return next((line.measure for line in self.lines if line.row), ACCURACY)

    @property
    def limit(self) -> float | None:
        """The Bayes accuracy, None where it is not known."""
        return next((line.result.mean for line in self.lines if line.status == "limit" and line.result), None)

    @property
    def floor(self) -> float | None:
        """Mean of the constant row on the test set."""
        return next((line.result.mean for line in self.lines if line.method == FLOOR and line.result), None)

    @property
    def strongest(self) -> Line | None:
        """The complete conventional baseline that is best on validation data, by its mean."""
        return _best_on_valid([line for line in self.lines if line.is_conventional])

    @property
    def best_dmil(self) -> Line | None:
        """The complete DMIL variant that is best on validation data, by its mean."""
        return _best_on_valid([line for line in self.lines if line.is_dmil])

    @property
    def n_ranked(self) -> int:
        return sum(line.rank is not None for line in self.lines)

    @property
    def overrides(self) -> list[str]:
        """What the plans of this table set by hand, each once."""
        return sorted({text for line in self.lines if line.row for text in line.row.overrides})

    @property
    def has_source(self) -> bool:
        """Whether a line knows its accuracy on the classes it was trained on."""
        return any(line.means.get(SOURCE) is not None for line in self.lines)

    @property
    def has_sentiment(self) -> bool:
        """Whether a line knows the scores of a sentiment."""
        return any(line.means.get(ACC7) is not None for line in self.lines)

    @property
    def seed_sets(self) -> dict[tuple[int, ...], list[str]]:
        """Planned seeds -> the methods that have them."""
        found: dict[tuple[int, ...], list[str]] = {}
        for line in self.lines:
            if line.row:
                found.setdefault(tuple(run.seed for run in line.row.runs), []).append(line.method)
        return found

    def line(self, method: str) -> Line | None:
        return next((line for line in self.lines if line.method == method), None)


def build_tables(tracking: Tracking, dataset: str | None = None, suite: str | None = None) -> list[Table]:
    """One table per dataset, of the suite planned last unless one is named. Raises UserError where there is none."""
    by_dataset: dict[str, list[Row]] = {}
    for row in tracking.rows(dataset, suite):
        by_dataset.setdefault(row.dataset, []).append(row)
    if not by_dataset:
        wanted = " ".join(f"{name} {value!r}" for name, value in (("dataset", dataset), ("suite", suite)) if value)
        known = [f"{name} (suite {its_suite})" for name, its_suite in tracking.tables()]
        raise UserError(
            f"MLflow holds no runs{' of ' + wanted if wanted else ''}; "
            f"it knows {', '.join(known) or 'nothing yet'}; `make bench DATASET={dataset or 'interactions'}` makes some"
        )
    return [build_table(tracking, by_dataset[name]) for name in sorted(by_dataset)]


def build_table(tracking: Tracking, rows: Sequence[Row]) -> Table:
    """The table of one dataset, of the suite planned last among the rows."""
    newest = max(rows, key=lambda row: row.planned_at)
    rows = [row for row in rows if row.suite == newest.suite]
    card = tracking.card(newest)
    measure = measure_of(rows)
    samples = same_samples({row.method: _samples_of(tracking, row, measure) for row in rows})
    unimodal = _unimodal_names(card, rows)
    complete, holes = in_order([line_of(row, measure) for row in rows])
    complete = [_with_samples(line, unimodal, samples) for line in complete]
    strongest = _best_on_valid([line for line in complete if line.is_conventional])
    ranked, n_groups = compared(complete, strongest, samples, newest.dataset)
    answers = answers_in(samples)
    n_test = next((len(one.ids) for by_seed in samples.values() for one in by_seed.values()), None)
    return Table(
        newest.dataset,
        newest.suite,
        (*_limit(card), *ranked, *holes),
        card,
        n_test,
        analyse([*ranked, *holes], samples, card, unimodal),
        _transfer(tracking, rows),
        tuple(
            reliability(line.method, list(answers[line.method].values()))
            for line in ranked
            if line.rank and answers[line.method]
        ),
        n_groups,
        hard_samples(ranked, answers, unimodal, _shown_in_full(ranked), descriptions(tracking, newest)),
        read_audit(tracking, newest),
        control_of(_of_control(ranked, samples)),
    )


def in_order(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """Complete lines, the best mean first, competitors with their rank; and the others by name."""
    places = itertools.count(1)
    complete = sorted((line for line in lines if line.result), key=lambda line: (-line.score, line.method))
    holes = sorted((line for line in lines if not line.result), key=lambda line: line.method)
    return [replace(line, rank=next(places)) if line.is_competitor else line for line in complete], holes


def _unimodal_names(card: dict[str, Any], rows: list[Row]) -> list[str]:
    """The rows that must all be there before a sample can be called synergistic."""
    if card["modalities"]:
        return [f"unimodal_{modality}" for modality in card["modalities"]]
    return [row.method for row in rows if row.method.startswith("unimodal_")]


def _best_on_valid(lines: list[Line]) -> Line | None:
    """The ranked line with the best mean on validation data: test data must not choose what is compared."""
    ranked = [(valid, line) for line in lines if line.rank and (valid := line.valid_score) is not None]
    return min(ranked, key=lambda pair: (-pair[0], pair[1].method))[1] if ranked else None


def _shown_in_full(lines: Sequence[Line]) -> dict[str, Line | None]:
    """Whose hard samples are listed, by the role that it has."""
    fused = [line for line in lines if line.is_conventional and not line.is_unimodal]
    return {
        "best DMIL variant": _best_on_valid([line for line in lines if line.is_dmil]),
        "strongest multimodal baseline": _best_on_valid(fused),
    }


def _of_control(lines: Sequence[Line], samples: TableSamples) -> list[Samples]:
    """What the control's runs said; nothing unless every seed is there."""
    line = next((line for line in lines if line.is_control), None)
    found = list(samples.get(CONTROL, {}).values())
    return found if line and len(found) == line.n_seeds else []


def _limit(card: dict[str, Any]) -> list[Line]:
    accuracy = card.get("bayes_accuracy")
    return [] if accuracy is None else [Line(LIMIT, "limit", 0, 0, Summary(accuracy, None, None, None, 0))]


def _with_samples(line: Line, unimodal: list[str], samples: TableSamples) -> Line:
    """The line with what only predictions say of it."""
    runs = complete_runs([line], samples, line.method).values() if line.measure.is_error else []
    sample_std = float(np.mean([one.measured.std() for one in runs])) if runs else None
    return replace(line, synergy=_synergy(line, unimodal, samples), sample_std=sample_std)


def _synergy(line: Line, unimodal: list[str], samples: TableSamples) -> float | None:
    """For multimodal methods; None where predictions it needs are missing."""
    if line.is_unimodal or not line.is_competitor or not line.row:
        return None
    return synergy(line.method, unimodal, samples, [run.seed for run in line.row.runs])


def _samples_of(tracking: Tracking, row: Row, measure: Measure) -> dict[int, Samples]:
    """Per seed, what the run said about the test samples; no entry for a seed without predictions."""
    found = {}
    for run in row.runs:
        if problem_of(run, measure):
            continue
        try:
            path = tracking.run_artifact(run.run_id, PREDICTIONS)
        except MissingFileError:
            continue
        found[run.seed] = read_samples(path, f"run {run.run_id} ({row.method}, seed {run.seed})")
    return found


def _transfer(tracking: Tracking, rows: list[Row]) -> dict[str, Any] | None:
    """Key "transfer" of the spec of a run of this table; its rows share it, as it is part of the protocol."""
    runs: list[SeedRun] = [run for row in rows for run in row.runs if run.run_id]
    for run in runs:
        try:
            spec: dict[str, Any] = tracking.run_json(run.run_id, SPEC, dict)
        except MissingFileError:
            continue
        found = spec.get("transfer")
        return found if isinstance(found, dict) else None
    return None
