"""Reports from hand-made runs in a real sqlite store, against values computed by hand."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.errors import UserError
from reports.leaderboard import COLUMNS, to_csv
from reports.page import to_html
from reports.statistics import Summary, mean_or_none, summarise, synergy_indicator
from reports.table import build_tables
from tests.made_runs import Pair, deliver, failed_record, made_record, made_tracking, three, three_methods


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return made_tracking(tmp_path)


def csv_rows(pair: Pair) -> dict[str, dict[str, str]]:
    (table,) = build_tables(pair[0])
    return {row["method"]: row for row in csv.DictReader(to_csv(table).splitlines())}


def test_csv_has_the_values_computed_by_hand(pair: Pair) -> None:
    deliver(pair, *three("joint", 0.6, 0.7, 0.8))
    rows = csv_rows(pair)
    assert tuple(rows["joint"]) == COLUMNS
    # t quantile for 2 degrees of freedom 4.302653; half width 4.302653 * 0.1 / sqrt(3) = 0.248414
    assert rows["joint"] == {
        "dataset": "toy",
        "method": "joint",
        "n_seeds": "3",
        "n_failed": "0",
        "test_acc_mean": "0.700000",
        "test_acc_std": "0.100000",
        "test_acc_ci_low": "0.451586",
        "test_acc_ci_high": "0.948414",
        "test_macro_f1_mean": "0.500000",
        "valid_acc_mean": "0.800000",
        "synergy_mean": "",
        "n_params": "120",
        "train_seconds": "2.50",
        "status": "complete",
    }


def test_lines_are_sorted_by_mean_and_holes_come_last(pair: Pair) -> None:
    deliver(
        pair,
        *three("dmil", 0.5, 0.5, 0.5),
        *three("joint", 0.7, 0.7, 0.7),
        *three("constant", 0.6, 0.6, 0.6),
        *three("late_fusion", 0.9, 0.9),
        *three("ensemble", 0.9, 0.9),
        failed_record("ensemble", 2),
        card={"bayes_accuracy": 0.95},
    )
    (table,) = build_tables(pair[0])
    assert [(line.method, line.rank, line.status) for line in table.lines] == [
        ("bayes_limit", None, "limit"),
        ("joint", 1, "complete"),
        ("constant", 2, "complete"),
        ("dmil", 3, "complete"),
        ("ensemble", None, "failed"),
        ("late_fusion", None, "incomplete"),
    ]
    assert table.strongest is table.lines[1]
    assert table.best_dmil is table.lines[3]
    assert table.floor == 0.6


def test_a_failed_seed_is_a_hole_with_its_reason(pair: Pair) -> None:
    deliver(pair, *three("joint", 0.9, 0.9), failed_record("joint", 2, "loss is nan in epoch 3"))
    row = csv_rows(pair)["joint"]
    assert (row["n_seeds"], row["n_failed"], row["status"]) == ("2", "1", "failed")
    assert row["test_acc_mean"] == row["test_acc_std"] == row["valid_acc_mean"] == row["n_params"] == ""
    (table,) = build_tables(pair[0])
    page = to_html(table, pair[0])
    assert "seed 2: loss is nan in epoch 3" in page
    assert "1 row is not complete and therefore not ranked." in page


def test_a_missing_seed_is_a_hole_too(pair: Pair) -> None:
    deliver(pair, *three("joint", 0.9, 0.9))
    row = csv_rows(pair)["joint"]
    assert (row["n_seeds"], row["n_failed"], row["status"], row["test_acc_mean"]) == ("2", "0", "incomplete", "")
    (table,) = build_tables(pair[0])
    assert table.lines[0].reasons == ("seed 2: no run yet",)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_accuracy_that_is_not_finite_is_a_failure(pair: Pair, value: float) -> None:
    deliver(pair, *three("joint", 0.9, 0.9, value))
    row = csv_rows(pair)["joint"]
    assert (row["n_seeds"], row["n_failed"], row["status"], row["test_acc_mean"]) == ("2", "1", "failed", "")
    (table,) = build_tables(pair[0])
    assert table.lines[0].reasons == (f"seed 2: test/acc is not finite ({value})",)


def test_another_metric_that_is_not_finite_is_left_blank(pair: Pair) -> None:
    bad = made_record("joint", 2)
    bad = replace(bad, metrics=bad.metrics | {"test/macro_f1": math.nan})
    deliver(pair, *three("joint", 0.7, 0.8), bad)
    row = csv_rows(pair)["joint"]
    assert (row["status"], row["test_macro_f1_mean"], row["valid_acc_mean"]) == ("complete", "", "0.800000")


def test_the_bayes_limit_is_a_row_without_seeds(pair: Pair) -> None:
    deliver(pair, *three("joint", 0.6, 0.7, 0.8), card={"bayes_accuracy": 0.8125})
    row = csv_rows(pair)["bayes_limit"]
    assert (row["n_seeds"], row["n_failed"], row["test_acc_mean"], row["status"]) == ("0", "0", "0.812500", "limit")
    assert row["test_acc_std"] == row["test_acc_ci_low"] == row["synergy_mean"] == ""


def test_synergy_is_what_no_unimodal_model_gets_right(pair: Pair) -> None:
    records, files = three_methods()
    deliver(pair, *records, files=files)
    rows = csv_rows(pair)
    assert rows["joint"]["synergy_mean"] == "0.333333"
    assert rows["unimodal_left"]["synergy_mean"] == "0.000000"


@pytest.mark.parametrize("lacking", ["method", "seed", "predictions"])
def test_synergy_is_blank_where_a_unimodal_run_is_missing(pair: Pair, lacking: str) -> None:
    records, files = three_methods()
    if lacking == "method":
        records = [record for record in records if record.method != "unimodal_left"]
    elif lacking == "seed":
        records = [record for record in records if (record.method, record.seed) != ("unimodal_left", 1)]
    else:
        del files[next(record.key for record in records if record.method == "unimodal_right")]
    deliver(pair, *records, files=files)
    row = csv_rows(pair)["joint"]
    assert (row["synergy_mean"], row["status"]) == ("", "complete")


def test_predictions_of_other_samples_are_refused(pair: Pair) -> None:
    records, files = three_methods()
    key = records[0].key
    files[key] = files[key].assign(id=lambda frame: "other " + frame["id"])
    deliver(pair, *records, files=files)
    with pytest.raises(UserError, match="hold different test samples for seed 0"):
        build_tables(pair[0])


def test_summary_of_one_value_has_no_spread() -> None:
    assert summarise([0.5]) == Summary(0.5, None, None, None, 1)
    assert summarise([0.5, 0.5]) == Summary(0.5, 0.0, 0.5, 0.5, 2)


def test_interval_of_two_values() -> None:
    found = summarise([0.7, 0.8])  # half width: 12.706205 * 0.0707107 / sqrt(2) = 0.635310
    assert found.low == pytest.approx(0.75 - 0.63531, abs=1e-6)
    assert found.high == pytest.approx(0.75 + 0.63531, abs=1e-6)


def test_no_mean_over_a_hole() -> None:
    assert mean_or_none([1.0, 2.0]) == 1.5
    assert mean_or_none([1.0, None]) is None
    assert mean_or_none([1.0, math.nan]) is None
    assert mean_or_none([]) is None


def test_synergy_indicator_by_hand() -> None:
    one, two = np.array([True, False, False, False]), np.array([False, True, False, False])
    assert synergy_indicator(np.array([True, True, True, False]), [one, two]) == 0.25
    assert synergy_indicator(one, [one, two]) == 0.0
