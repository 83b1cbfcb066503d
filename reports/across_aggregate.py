"""Aggregates over the datasets of the leaderboard: of methods that are complete on every one of them, of no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.across import Across, runs_of
from reports.aggregate import (
    Estimate,
    RankTest,
    Scores,
    interquartile_mean,
    mean_ranks,
    normalise,
    probability_of_improvement,
    rank_test,
    why_no_rank_test,
)
from reports.line import Line


@dataclass(frozen=True)
class Aggregated:
    """One method. iqm: interquartile mean of its normalised runs, None where a dataset has no constant row.

    rank: mean over datasets. improvement: how likely a run of the best DMIL variant is better than one of this method,
    None for that variant itself and where there is none.
    """

    method: str
    is_dmil: bool
    iqm: Estimate | None
    rank: float
    improvement: Estimate | None


@dataclass(frozen=True)
class Aggregates:
    """rows: best mean rank first. test: None where ``why_no_test`` says why; its methods are places in ``rows``."""

    rows: tuple[Aggregated, ...]
    test: RankTest | None
    why_no_test: str

    def row(self, method: str | None) -> Aggregated | None:
        return next((row for row in self.rows if row.method == method), None)


def aggregate(across: Across) -> Aggregates | None:
    """None where ``Across.why_no_aggregate`` says why."""
    if across.why_no_aggregate:
        return None
    complete, own = across.complete, across.best_dmil
    scores = {name: runs_of(lines) for name, lines in complete.items()}
    ranks = dict(zip(scores, mean_ranks(list(scores.values())).tolist(), strict=True))
    order = sorted(scores, key=lambda name: (ranks[name], name))
    rows = tuple(
        Aggregated(
            name,
            complete[name][0].is_dmil,
            _iqm(name, complete[name], across.floors),
            ranks[name],
            _improvement(own, name, scores) if own and own != name else None,
        )
        for name in order
    )
    ordered = [scores[name] for name in order]
    return Aggregates(rows, rank_test(ordered), why_no_rank_test(len(across.sound), len(order)))


def _iqm(name: str, lines: Sequence[Line], floors: Sequence[float] | None) -> Estimate | None:
    if floors is None:
        return None
    scores = [normalise(runs, floor) for runs, floor in zip(runs_of(lines), floors, strict=True)]
    return interquartile_mean(scores, name)


def _improvement(own: str, other: str, scores: Mapping[str, Scores]) -> Estimate:
    return probability_of_improvement(scores[own], scores[other], f"{own} over {other}")
