"""The rows of a table against its strongest baseline and against its best row, over test samples and seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.bootstrap import Interval, paired_intervals, units_of
from reports.line import Difference, Line
from reports.samples import TableSamples
from reports.statistics import MIN_SEEDS

Pair = tuple[str, str]
NO_PREDICTIONS = "predictions missing"
TOO_FEW = "too few seeds"


def compared(
    lines: Sequence[Line], strongest: Line | None, samples: TableSamples, name: str
) -> tuple[list[Line], int | None]:
    """The complete lines of a table with ``gain``, ``to_best`` and what follows from them.

    strongest: the baseline that gains are over. name: of the random numbers. Also: how many groups of test samples
    were drawn, None where samples were drawn one by one.
    """
    best = next((line for line in lines if line.rank == 1), None)
    against_baseline = [(line, strongest) for line in lines if strongest and line is not strongest]
    against_best = [(line, best) for line in lines if best and line.rank and line is not best]
    pairs = {(one.method, other.method): (one, other) for one, other in [*against_baseline, *against_best]}
    found, n_groups = _differences(pairs, samples, name)
    return [_with(line, best, strongest, found) for line in lines], n_groups


def _with(line: Line, best: Line | None, strongest: Line | None, found: dict[Pair, Difference]) -> Line:
    to_best = found.get((line.method, best.method)) if best and line.rank else None
    is_best = line is best
    return replace(
        line,
        gain=found.get((line.method, strongest.method)) if strongest else None,
        to_best=to_best,
        is_strongest=line is strongest,
        is_tied=True if is_best else to_best.is_level if to_best else None,
        has_other_seeds=bool(best and line.rank and set(line.by_seed) != set(best.by_seed)),
    )


def _differences(
    pairs: Mapping[Pair, tuple[Line, Line]], samples: TableSamples, name: str
) -> tuple[dict[Pair, Difference], int | None]:
    """Every pair that shares a seed; all of them in one bootstrap."""
    cells = {pair: cell for pair, both in pairs.items() if (cell := _cells(*both, samples)) is not None}
    intervals: dict[Pair, Interval] = {}
    n_groups = None
    if cells:
        some = next(one for by_seed in samples.values() for one in by_seed.values())
        units, n_groups = units_of(some.groups, len(some.ids))
        largest = math.inf if next(iter(pairs.values()))[0].measure.is_error else 1.0
        found_intervals = paired_intervals(list(cells.values()), units, name, largest=largest)
        intervals = dict(zip(cells, found_intervals, strict=True))
    found = {pair: _difference(*both, intervals.get(pair)) for pair, both in pairs.items() if _shared(*both)}
    return found, n_groups


def _difference(one: Line, other: Line, interval: Interval | None) -> Difference:
    seeds = _shared(one, other)
    mean = statistics.fmean(one.measure.gain(one.by_seed[seed], other.by_seed[seed]) for seed in seeds)
    low, high = (interval.low, interval.high) if interval else (None, None)
    why_not = "" if low is not None else TOO_FEW if len(seeds) < MIN_SEEDS else NO_PREDICTIONS
    is_partial = set(one.by_seed) != set(other.by_seed)
    return Difference(other.method, interval.mean if interval else mean, low, high, seeds, is_partial, why_not)


def _shared(one: Line, other: Line) -> tuple[int, ...]:
    return tuple(sorted(set(one.by_seed) & set(other.by_seed)))


def _cells(one: Line, other: Line, samples: TableSamples) -> NDArray[Any] | None:
    """(N, S), over the seeds both have: 1 where only the first method is right, -1 where only the other is; of a
    regression, how much smaller the error of the first is. None where there is no such seed or predictions are missing.
    """
    first, second = samples.get(one.method, {}), samples.get(other.method, {})
    seeds = _shared(one, other)
    if not seeds or any(seed not in first or seed not in second for seed in seeds):
        return None
    columns = [first[seed].measured - second[seed].measured for seed in seeds]
    return one.measure.sign * np.stack(columns, axis=1)
