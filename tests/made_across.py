"""Leaderboards of several datasets made by hand, without MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from benchmarks.record import Row, RunRecord
from benchmarks.suite import DEFAULT_SUITE
from benchmarks.tracking import Tracking
from reports.across import Across, read_across
from reports.table import Table
from tests.made_runs import on, three, with_valid
from tests.made_tables import MadeTracking

INDEX = {"index.html", "index.md", "index.tex", "index.csv", "methods.csv", "runs.csv"}
VALID = {"joint": 0.8, "late_fusion": 0.7, "dmil": 0.8, "dmil_pid": 0.7, "constant": 0.5}


class CardTracking(MadeTracking):
    """warnings: dataset -> what its card warns of."""

    def __init__(self, folder: Path, records: Sequence[RunRecord], warnings: Mapping[str, str], **changes: Any) -> None:
        super().__init__(folder, records, **changes)
        self._warnings = warnings

    def card(self, row: Row) -> dict[str, Any]:
        title = {"title": f"The <{row.dataset}>", "warning": self._warnings.get(row.dataset)}
        return super().card(row) | title


def runs(dataset: str, valid: Mapping[str, float] = VALID, **accuracies: float | Sequence[float]) -> list[RunRecord]:
    """Three seeds of each method: of one accuracy 0.01 below it, at it and 0.01 above, else those given."""
    found = []
    for method, given in accuracies.items():
        values = (given - 0.01, given, given + 0.01) if isinstance(given, float) else given
        records = three(method, *values, suite=DEFAULT_SUITE)
        found += with_valid(records, valid.get(method, 0.6))
    return on(dataset, *found)


def across_of(
    folder: Path,
    records: Sequence[RunRecord],
    warnings: Mapping[str, str] | None = None,
    missing: Sequence[str] = (),
    **changes: Any,
) -> Across:
    def order(suite: str, tables: list[Table]) -> tuple[list[Table], list[str]]:
        assert suite == DEFAULT_SUITE
        return tables, list(missing)

    tracking = CardTracking(folder, records, warnings or {}, **changes)
    return read_across(cast(Tracking, tracking), order, lambda one: one == "a")


def datasets_of(names: str, *, dmil: float = 0.9, joint: float = 0.8) -> list[RunRecord]:
    """dmil is always ahead of joint, which takes turns with late_fusion."""
    found = []
    for i, name in enumerate(names):
        late_fusion = joint + (0.05 if i % 2 else -0.05)
        found += runs(name, dmil=dmil, joint=joint, late_fusion=late_fusion, constant=[0.5, 0.5, 0.5])
    return found
