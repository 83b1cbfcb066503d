"""Reports from hand-made runs in a real sqlite store, against values computed by hand."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.errors import UserError
from benchmarks.record import PREDICTIONS
from reports.leaderboard import COLUMNS, caption, cells, gain, to_csv, to_markdown
from reports.page import headline, to_html
from reports.statistics import Summary, mean_or_none, summarise, synergy_indicator
from reports.table import build_tables
from tests.made_runs import (
    Pair,
    deliver,
    failed_record,
    made_plan,
    made_record,
    put,
    three,
    three_methods,
    with_valid,
)


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
        "settings": "default",
        "n_configurations": "0",
        "gain": "",
        "gain_ci_low": "",
        "gain_ci_high": "",
        "is_tied_with_best": "true",
        "test_nll_mean": "0.700000",
        "test_ece_mean": "0.100000",
        "peak_memory_mb": "",
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
        ("constant", None, "complete"),
        ("dmil", 2, "complete"),
        ("ensemble", None, "failed"),
        ("late_fusion", None, "incomplete"),
    ]
    assert table.strongest is table.lines[1]
    assert table.best_dmil is table.lines[3]
    assert table.floor == 0.6


def test_validation_accuracy_chooses_what_is_compared(pair: Pair) -> None:
    deliver(
        pair,
        *with_valid(three("joint", 0.9, 0.9, 0.9), 0.70),
        *with_valid(three("ensemble", 0.8, 0.8, 0.8), 0.75),
        *with_valid(three("dmil", 0.85, 0.85, 0.85), 0.60),
        *with_valid(three("dmil_none", 0.6, 0.7, 0.8), 0.65),
        *with_valid(three("constant", 0.99, 0.99, 0.99), 0.99),
    )
    (table,) = build_tables(pair[0])
    assert table.strongest
    assert table.best_dmil
    assert (table.strongest.method, table.best_dmil.method) == ("ensemble", "dmil_none")
    # differences 0.6 - 0.8, 0.7 - 0.8, 0.8 - 0.8: mean -0.1, half width 0.248414 as above
    assert headline(table) == [
        "Strongest conventional baseline, chosen by mean validation accuracy: ensemble at 80.0 % on the test set.",
        "Best DMIL variant, chosen by mean validation accuracy: dmil_none at 70.0 % on the test set.",
        "dmil_none minus ensemble over 3 paired seeds: −10.0 points "
        "(95 % interval −34.8 to +14.8; it covers seeds only, not other test samples).",
        "dmil itself: rank 2 of 4 by test accuracy, at 85.0 %.",
        "dmil minus ensemble over 3 paired seeds: +5.0 points "
        "(95 % interval +5.0 to +5.0; it covers seeds only, not other test samples).",
    ]


def test_the_constant_row_is_a_floor_and_no_competitor(pair: Pair) -> None:
    records, files = three_methods()
    renamed = {record.key: made_record("constant", record.seed) for record in records if record.method == "joint"}
    files = {renamed[key].key if key in renamed else key: frame for key, frame in files.items()}
    deliver(pair, *(renamed.get(record.key, record) for record in records), files=files)
    row = csv_rows(pair)["constant"]
    assert (row["status"], row["n_seeds"], row["test_acc_mean"], row["synergy_mean"]) == (
        "complete",
        "3",
        "0.750000",
        "",
    )
    assert row["test_acc_ci_low"] == row["test_acc_ci_high"] == ""
    (table,) = build_tables(pair[0])
    line = next(line for line in table.lines if line.method == "constant")
    assert (line.rank, line.gap, line.interval, line.is_conventional) == (None, None, None, False)
    assert line.gain
    assert line.gain.other.startswith("unimodal")
    assert cells(line) == ("", "constant", "75.0", "", gain(line), "0.500", "", "80.0", "3/3", "", "floor")
    assert "label frequencies (most frequent class) of the very split it is judged on" in to_markdown(table)
    assert "label frequencies (most frequent class) of the very split it is judged on" in to_html(table, pair[0])


def test_rows_with_other_seeds_are_named(pair: Pair) -> None:
    tracking, outbox = pair
    deliver(pair, *three("joint", 0.6, 0.7, 0.8))
    (table,) = build_tables(tracking)
    assert "same seeds" not in caption(table)
    put(outbox, *three("dmil", 0.6, 0.7), plan=made_plan({"dmil": [0, 1]}))
    tracking.deliver(outbox)
    (table,) = build_tables(tracking)
    assert "The rows do not have the same seeds: 0, 1, 2 for joint; 0, 1 for dmil." in caption(table)
    row = csv_rows(pair)["dmil"]
    assert float(row["test_acc_ci_high"]) > 1, "the true interval: 0.65 + 12.7 * 0.0707 / sqrt(2)"
    assert next(cells(line)[3] for line in table.lines if line.method == "dmil") == "too few seeds"


def test_rows_know_budget_code_and_what_was_set_by_hand(pair: Pair) -> None:
    by_hand = ("joint.lr=0.1", "unimodal@2.lr=0.2", "all.width=9", "dmil_none.lr=1")
    methods = ("joint", "unimodal_left", "dmil", "constant")
    deliver(pair, *(run for method in methods for run in three(method, 0.6, 0.7, 0.8)), overrides=by_hand)
    (table,) = build_tables(pair[0])
    found = {line.method: line.overrides for line in table.lines}
    assert found["joint"] == ["joint.lr=0.1", "all.width=9"]
    assert found["unimodal_left"] == ["unimodal@2.lr=0.2", "all.width=9"]
    assert found["dmil"] == ["all.width=9"]
    row = table.lines[0].row
    assert row
    assert (row.budget["epochs"], row.code, row.overrides) == (60, "5ha12ed", by_hand)
    page = to_html(table, pair[0])
    assert "set by hand: joint.lr=0.1, all.width=9</td>" in page
    assert page.count("set by hand: ") == 3, "the floor has no settings"
    assert "not tuned" not in page
    assert "No method was tuned" not in page
    assert "<dt>set by hand</dt>" in page


@pytest.mark.parametrize("name", [PREDICTIONS, "history.json", "card.json"])
def test_a_damaged_file_is_named_with_its_run(pair: Pair, name: str) -> None:
    records, files = three_methods()
    deliver(pair, *records, files=files)
    tracking = pair[0]
    rows = tracking.rows()
    run_id = rows[0].run_id if name == "card.json" else rows[0].runs[0].run_id
    tracking.run_artifact(run_id, name).write_bytes(b"PAR1 cut short")
    with pytest.raises(UserError, match=f"file {name} of run {run_id}.* is damaged") as caught:
        to_html(build_tables(tracking)[0], tracking)
    assert "\n" not in str(caught.value)


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
    assert rows["unimodal_left"]["synergy_mean"] == "", "defined for multimodal predictions only"


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
    with pytest.raises(UserError, match=r"hold different test samples \(ids differ\)"):
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
