"""Every kind of page that ``python -m reports`` writes, from one store made by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from benchmarks.outbox import Outbox
from benchmarks.record import RunRecord
from benchmarks.suite import DEFAULT_SUITE
from benchmarks.trials import FAILED, FINISHED, PRUNED
from reports.__main__ import main
from reports.across_aggregate import aggregate
from reports.across_page import to_html as index_html
from reports.page import to_html as table_html
from reports.sweep_page import to_html as sweep_html
from reports.table import build_tables
from tests.made_across import across_of, datasets_of
from tests.made_regression import runs_off_by
from tests.made_runs import TUNING, deliver, failed_record, made_tracking, on, three
from tests.made_studies import made_population, made_study, put_study
from tests.made_tables import KNOWN_CARD, known_truth, tracking_of
from tests.made_trials import study, sweep, trial

PAGES = (
    "index.html",
    "toy/index.html",
    "small/index.html",
    "small/mix-a/index.html",
    "small/mix-b/index.html",
    "sweeps/toy/index.html",
)
# Drawn by themselves, for what takes more runs than a store is worth here; their links lead nowhere.
DRAWN = ("many/index.html", "searches/index.html", "errors/index.html")
# A history of two stages: three epochs each, the fifth is kept.
LOSSES = (0.9, 0.7, 0.6, 0.55, 0.5, 0.52)
WARNING = "Made by hand: nothing here was measured."


@cache
def written_pages() -> dict[str, str]:
    """Content by name below the folder written to.

    toy: the runs of ``known_truth``, joint, an outlier, a failed seed and a missing one. mix-a and mix-b: a suite of
    two datasets with an overview. A sweep of toy.
    """
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        pair = made_tracking(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        records, files = known_truth()
        records += [*three("joint", 0.5, 0.6, 0.7), *three("constant", 0.5, 0.5, 0.5), *three("ensemble", 0.6, 0.6)]
        records += [*three("dmil_pid", 0.9, 0.8), failed_record("dmil_pid", 2, "loss is nan & <more> in epoch 3")]
        records = [as_leaderboard(record) for record in records]
        tuning: dict[str, Any] = {"joint": TUNING, "dmil": TUNING}
        deliver(pair, *records, files=files, card=KNOWN_CARD | {"warning": WARNING}, suite=DEFAULT_SUITE, tuning=tuning)
        for dataset in ("mix-a", "mix-b"):
            runs = [*three("joint", 0.6, 0.7, 0.8), *three("dmil", 0.7, 0.7, 0.75)]
            deliver(pair, *on(dataset, *runs), dataset=dataset, card={"bayes_accuracy": 0.9})
        outbox = Outbox(folder / "outbox")
        study = made_study(population=4, n_trials=8)
        put_study(outbox, study, made_population(study, 0, pruned={1: 3}), made_population(study, 1, failed=(1,)))
        assert pair[0].deliver(outbox).error is None
        out = folder / "out"
        assert main(["--out", str(out)]) == 0
        return {path.relative_to(out).as_posix(): path.read_text() for path in sorted(out.rglob("*.html"))}


@cache
def all_pages() -> dict[str, str]:
    """Those of ``written_pages``, an index of eight datasets, a sweep of three methods, and a regression."""
    kinds = (FINISHED, PRUNED, PRUNED, FAILED)
    trials = [trial(i, None if i % 4 == 3 else 0.5 + i / 100, kinds[i % 4]) for i in range(16)]
    searches = sweep(study(*trials), study(*trials[:9], method="dmil"), study(trial(0, 0.6), method="unimodal_text"))
    with TemporaryDirectory() as name:
        many = across_of(Path(name), datasets_of("abcdefgh"))
        records, files = runs_off_by({"joint": [0.5, 0.6, 0.7], "dmil": [0.4, 0.45, 0.5], "constant": [1.25] * 3})
        tracking = tracking_of(Path(name), records, files=files)
        (errors,) = build_tables(tracking)
        drawn = index_html(many, aggregate(many)), sweep_html(searches), table_html(errors, tracking)
    return written_pages() | dict(zip(DRAWN, drawn, strict=True))


def as_leaderboard(record: RunRecord) -> RunRecord:
    """The same run in the suite of the leaderboards, with two stages of losses and accuracies."""
    if record.status == "failed":
        return replace(record, suite=DEFAULT_SUITE)
    history = [
        {
            "epoch": i + 1,
            "stage": "joint" if i < 3 else "intra",
            "train/loss": loss - 0.1 * record.seed,
            "valid/loss": loss + 0.05,
            "valid/acc": record.metrics["test/acc"] + (i - 5) / 50,
        }
        for i, loss in enumerate(LOSSES)
    ]
    metrics = record.metrics | {"best_epoch": 5.0, "epochs_run": 6.0, "test/ece": 0.1 + 0.01 * len(record.method)}
    return replace(record, suite=DEFAULT_SUITE, metrics=metrics, history=history)
