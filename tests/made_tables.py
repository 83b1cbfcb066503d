"""Tables from runs made by hand, without MLflow: for tests of what reports do with a table once it is read."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd

from benchmarks.record import PREDICTIONS, Row, RunRecord, SeedRun
from benchmarks.tracking import MissingFileError, Tracking
from reports.interaction_tables import to_csv
from reports.interactions import Analysis, Interactions
from reports.page import to_html
from reports.table import Table, build_tables
from tests.made_runs import BUDGET, CARD, answers, made_key, made_record, predictions

N_SEEDS = 3
Edit = Callable[[pd.DataFrame], pd.DataFrame]


class MadeTracking:
    """The reading side of ``Tracking``: rows of three planned seeds, with their card and files.

    planned: dataset -> when it was planned, else 1000. tuning: of some of the methods. overrides: of every plan.
    seeds: planned for some of the methods, else 0, 1, 2.
    """

    def __init__(
        self,
        folder: Path,
        records: Iterable[RunRecord],
        *,
        files: Mapping[str, pd.DataFrame] | None = None,
        card: Mapping[str, Any] | None = None,
        planned: Mapping[str, int] | None = None,
        tuning: Mapping[str, dict[str, Any]] | None = None,
        overrides: tuple[str, ...] = (),
        seeds: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self._records = {(record.dataset, record.method, record.seed): record for record in records}
        self._folder = folder
        self._card = CARD | dict(card or {})
        self._planned = planned or {}
        self._tuning = tuning or {}
        self._overrides = overrides
        self._seeds = seeds or {}
        for key, frame in (files or {}).items():
            frame.to_parquet(folder / f"{key}.parquet")

    def rows(self, dataset: str | None = None, suite: str | None = None) -> list[Row]:
        names = sorted({name[:2] for name in self._records})
        rows = [self._row(*name) for name in names if dataset in (None, name[0])]
        return [row for row in rows if suite in (None, row.suite)]

    def tables(self) -> list[tuple[str, str]]:
        return sorted({(record.dataset, record.suite) for record in self._records.values()})

    def sweeps(self) -> list[tuple[str, str]]:
        return []

    def _row(self, dataset: str, method: str) -> Row:
        runs = tuple(self._run(dataset, method, seed) for seed in self._seeds.get(method, range(N_SEEDS)))
        suite = next(record.suite for record in self._records.values() if record.dataset == dataset)
        planned = self._planned.get(dataset, 1000)
        return Row(
            suite,
            dataset,
            method,
            "group",
            "p1",
            planned,
            "a command",
            "c0ffee",
            "parent",
            {"lr": "0.1"},
            runs,
            budget=BUDGET,
            overrides=self._overrides,
            tuning=self._tuning.get(method, {}),
        )

    def _run(self, dataset: str, method: str, seed: int) -> SeedRun:
        record = self._records.get((dataset, method, seed))
        if record is None:
            return SeedRun(made_key(method, seed), seed, "missing")
        return SeedRun(record.key, seed, record.status, record.key, record.error, record.metrics)

    def card(self, row: Row) -> dict[str, Any]:
        return self._card | {"name": row.dataset}

    def run_artifact(self, run_id: str, name: str) -> Path:
        path = self._folder / f"{run_id}.parquet"
        if name != PREDICTIONS or not path.exists():
            raise MissingFileError(f"no {name}")
        return path

    def run_json(self, run_id: str, name: str, kind: type) -> Any:
        if name != "spec.json":
            raise MissingFileError(f"no {name}")
        return next(record.spec for record in self._records.values() if record.key == run_id)


def tracking_of(folder: Path, records: Iterable[RunRecord], **changes: Any) -> Tracking:
    """``MadeTracking`` under the type that reports ask for."""
    return cast(Tracking, MadeTracking(folder, records, **changes))


TRUTHS = ("r", "u1", "u2", "s")
KNOWN_CARD = {"modalities": {"x1": "one", "x2": "two"}, "truth_names": TRUTHS, "bayes_accuracy": 0.95}


def known_truth() -> tuple[list[RunRecord], dict[str, Any]]:
    """Six test samples of class 1, compositions r r u1 u2 s s; three seeds of a gated and two other methods.

    dmil, with components R, U_x1, U_x2, S: right on all but sample 1 (seed 0) or on all but 4 and 5 (seeds 1, 2). Its
    gate is 0.7 at one component and 0.1 elsewhere: R R U_x1 U_x1 S S for seed 0, so that 5 of 6 are attributed
    rightly, and R everywhere for seeds 1 and 2, so that 2 of 6 are. unimodal_x1 is right on 0, 1 and 2, unimodal_x2
    on 0, 1 and 3. late_fusion has components that no gate weighs.
    """
    truth = ["r", "r", "u1", "u2", "s", "s"]
    right = {"dmil": [[1, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0]]}
    right |= {"unimodal_x1": [[1, 1, 1, 0, 0, 0]] * 3, "unimodal_x2": [[1, 1, 0, 1, 0, 0]] * 3}
    right |= {"late_fusion": [[1, 1, 1, 1, 0, 0]] * 3}
    largest = [["R", "R", "U_x1", "U_x1", "S", "S"], ["R"] * 6, ["R"] * 6]
    records, files = [], {}
    for method, by_seed in right.items():
        for seed, hits in enumerate(by_seed):
            record = made_record(method, seed, test_acc=sum(hits) / 6)
            frame = predictions(answers(hits), [1] * 6, truth=truth, gate=one_large(largest[seed], method == "dmil"))
            if method == "late_fusion":
                frame = frame.assign(logit_M_x1_0=0.0, logit_M_x1_1=0.0, logit_M_x2_0=0.0, logit_M_x2_1=0.0)
            records.append(record)
            files[record.key] = frame
    return records, files


def one_large(names: Sequence[str], is_gated: bool = True) -> dict[str, list[float]] | None:
    """Gates of R, U_x1, U_x2 and S: 0.7 at the named one, 0.1 elsewhere; None for a method without a gate."""
    components = ("R", "U_x1", "U_x2", "S")
    return {c: [0.7 if name == c else 0.1 for name in names] for c in components} if is_gated else None


def known_table(
    folder: Path, edit: Edit | None = None, card: dict[str, Any] | None = None, **extra: pd.DataFrame
) -> Table:
    """The table of ``known_truth``; edit changes every file, extra are further files by method (the same each seed)."""
    records, files = known_truth()
    for method, frame in extra.items():
        own = [made_record(method, seed) for seed in range(3)]
        records, files = records + own, files | {record.key: frame for record in own}
    return table_of(folder, records, {key: edit(frame) if edit else frame for key, frame in files.items()}, card)


def table_of(
    folder: Path, records: list[RunRecord], files: dict[str, pd.DataFrame], card: dict[str, Any] | None = None
) -> Table:
    (table,) = build_tables(tracking_of(folder, records, files=files, card=KNOWN_CARD | (card or {})))
    return table


def page_of(table: Table, folder: Path) -> str:
    return to_html(table, tracking_of(folder, []))


def interactions(table: Table) -> Interactions:
    assert table.interactions
    return table.interactions


def analysis(table: Table, method: str) -> Analysis:
    return next(one for one in interactions(table).methods if one.line.method == method)


def csv_rows(table: Table) -> dict[tuple[str, str], dict[str, str]]:
    return {(row["method"], row["composition"]): row for row in csv.DictReader(to_csv(table).splitlines())}


def without(*prefixes: str) -> Edit:
    return lambda frame: frame.drop(columns=[name for name in frame if str(name).startswith(prefixes)])


def unknown(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(truth=None)
