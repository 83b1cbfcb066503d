"""Test samples on which fusion decides: right where no unimodal model is, and wrong where a unimodal model is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.record import SAMPLES, Row
from benchmarks.tracking import MissingFileError, Tracking
from reports.interactions import Mask, complete
from reports.line import Line
from reports.samples import Answers, Floats, TableAnswers

# A row is right, or wrong, on a sample where it is so with at least this share of its seeds: numerator, denominator.
MOST = (4, 5)


@dataclass(frozen=True)
class Descriptions:
    """What a plan says about the samples. class_names: empty where they are not recorded; texts: sample -> its text,
    None where the dataset has no texts."""

    class_names: tuple[str, ...] = ()
    texts: Mapping[str, str] | None = None

    def label(self, number: int) -> str:
        return self.class_names[number] if number < len(self.class_names) else f"class {number}"


@dataclass(frozen=True)
class Voice:
    """What the seeds of one row say of one sample.

    answer: the class that most of them name, the first of several; n_answer: how many do; confidence: the mean
    probability that these give it. n_right of n_seeds are right; is_right: whether the answer is.
    """

    method: str
    answer: str
    n_answer: int
    confidence: float
    n_right: int
    n_seeds: int
    is_right: bool


@dataclass(frozen=True)
class HardSample:
    """truth: its composition, empty where it is not known. gate: mean over seeds by component, empty without one;
    text: None where it is not known."""

    id: str
    label: str
    truth: str
    own: Voice
    unimodal: tuple[Voice, ...]
    gate: dict[str, float]
    text: str | None


@dataclass(frozen=True)
class Case:
    """One multimodal row. role: why it is shown; won: samples that it alone is right on; lost: samples on which it is
    wrong and a unimodal row right. Both in the order shown."""

    line: Line
    role: str
    won: tuple[HardSample, ...]
    lost: tuple[HardSample, ...]


@dataclass(frozen=True)
class Count:
    """Of one multimodal row: samples won and lost; lost_by: unimodal row -> how many of these it is right on."""

    line: Line
    n_won: int
    n_lost: int
    lost_by: dict[str, int]


@dataclass(frozen=True)
class HardSamples:
    """unimodal: rows, the strongest by mean validation accuracy first; counts: of every complete multimodal row, in the
    order of the table; cases: of the rows shown in full."""

    n_test: int
    unimodal: tuple[str, ...]
    counts: tuple[Count, ...]
    cases: tuple[Case, ...]
    descriptions: Descriptions = field(default_factory=Descriptions)


@dataclass(frozen=True)
class _Votes:
    """One row on N samples. runs: by seed; right, wrong: (N,), whether most seeds are."""

    method: str
    runs: tuple[Answers, ...]
    n_right: NDArray[np.int64]
    right: Mask
    wrong: Mask
    answers: NDArray[np.int64]
    confidence: Floats
    gate: Floats | None


def descriptions(tracking: Tracking, row: Row) -> Descriptions:
    """What the plan of a row says of the samples; nothing where it was planned before that was recorded.

    Raises UserError where that file is damaged.
    """
    try:
        found: dict[str, Any] = tracking.run_json(row.run_id, SAMPLES, dict)
    except MissingFileError:
        return Descriptions()
    names, texts = found.get("class_names", []), found.get("texts")
    if not isinstance(names, list) or not isinstance(texts, dict | None):
        raise UserError(f"file {SAMPLES} of run {row.run_id} is damaged (no list of classes, or no texts by sample)")
    return Descriptions(tuple(map(str, names)), texts and {name: str(text) for name, text in texts.items()})


def hard_samples(
    lines: Sequence[Line],
    samples: TableAnswers,
    unimodal: Sequence[str],
    shown: Mapping[str, Line | None],
    described: Descriptions,
) -> HardSamples | None:
    """Samples won and lost by the complete multimodal lines.

    unimodal: the rows that must all be there. shown: role -> line shown in full. None where a unimodal row is missing
    or has a hole, or no multimodal row is complete.
    """
    found = {line.method: complete(lines, samples, line.method) for line in lines if line.rank}
    votes = {method: _votes(method, by_seed) for method, by_seed in found.items() if by_seed}
    ordered = sorted(unimodal, key=lambda name: _weakness(lines, name))
    alone = [votes[name] for name in ordered if name in votes]
    fused = [line for line in lines if line.method in votes and not line.is_unimodal]
    if not alone or len(alone) < len(unimodal) or not fused:
        return None
    split = {line.method: _won_and_lost(votes[line.method], alone) for line in fused}
    counts = []
    for line in fused:
        won, lost = split[line.method]
        lost_by = {one.method: int((lost & one.right).sum()) for one in alone}
        counts.append(Count(line, int(won.sum()), int(lost.sum()), lost_by))
    cases = tuple(
        _case(role, line, votes[line.method], alone, split[line.method], described)
        for role, line in shown.items()
        if line and line.method in votes
    )
    return HardSamples(len(alone[0].n_right), tuple(ordered), tuple(counts), cases, described)


def _weakness(lines: Sequence[Line], method: str) -> tuple[float, str]:
    """Sorts rows from the strongest on validation to the weakest."""
    found = next((line.valid for line in lines if line.method == method), None)
    return -(found or 0.0), method


def _won_and_lost(own: _Votes, alone: Sequence[_Votes]) -> tuple[Mask, Mask]:
    """(N,) each: right where every unimodal row is wrong, and wrong where one of them is right."""
    won = own.right & np.logical_and.reduce([one.wrong for one in alone])
    return won, own.wrong & np.logical_or.reduce([one.right for one in alone])


def _case(
    role: str, line: Line, own: _Votes, alone: Sequence[_Votes], split: tuple[Mask, Mask], described: Descriptions
) -> Case:
    won, lost = (np.flatnonzero(mask).tolist() for mask in split)
    won.sort(key=lambda i: _surest_first(own, i))
    # First where most unimodal rows are right; of as many, where the stronger ones are.
    right = np.stack([one.right for one in alone], axis=1)
    lost.sort(key=lambda i: (-right[i].sum(), (~right[i]).tolist(), _surest_first(own, i)))
    return Case(line, role, *(tuple(_sample(i, own, alone, described) for i in part) for part in (won, lost)))


def _votes(method: str, by_seed: Mapping[int, Answers]) -> _Votes:
    runs = tuple(by_seed.values())
    n_right: NDArray[np.int64] = np.stack([one.is_right for one in runs]).sum(axis=0, dtype=np.int64)
    most, of = MOST
    gates = [one.gate for one in runs if one.gate is not None and one.components == runs[0].components]
    return _Votes(
        method,
        runs,
        n_right,
        of * n_right >= most * len(runs),
        of * (len(runs) - n_right) >= most * len(runs),
        np.stack([one.answer for one in runs]),
        np.stack([one.confidence for one in runs]),
        np.mean(gates, axis=0, dtype=np.float64) if len(gates) == len(runs) else None,
    )


def _surest_first(own: _Votes, i: int) -> tuple[int, float, str]:
    """Samples on which the seeds agree most come first, then those with the surest answer, then by id."""
    _, n_answer, confidence = _answer(own, i)
    return -n_answer, -confidence, own.runs[0].ids[i]


def _answer(votes: _Votes, i: int) -> tuple[int, int, float]:
    """Most frequent class of the i-th sample, how many seeds name it, and their mean probability for it."""
    said = votes.answers[:, i]
    answer = int(np.bincount(said).argmax())
    named = said == answer
    return answer, int(named.sum()), float(votes.confidence[named, i].mean(dtype=np.float64))


def _voice(votes: _Votes, i: int, described: Descriptions) -> Voice:
    answer, n_answer, confidence = _answer(votes, i)
    is_right = answer == int(votes.runs[0].target[i])
    n_right, n_seeds = int(votes.n_right[i]), len(votes.runs)
    return Voice(votes.method, described.label(answer), n_answer, confidence, n_right, n_seeds, is_right)


def _sample(i: int, own: _Votes, alone: Sequence[_Votes], described: Descriptions) -> HardSample:
    one = own.runs[0]
    gate = {} if own.gate is None else dict(zip(one.components, own.gate[i].tolist(), strict=True))
    return HardSample(
        one.ids[i],
        described.label(int(one.target[i])),
        "" if one.truth is None else str(one.truth[i]),
        _voice(own, i, described),
        tuple(_voice(votes, i, described) for votes in alone),
        gate,
        (described.texts or {}).get(one.ids[i]),
    )
