"""Regressions on the pages over several datasets: beside accuracies, never averaged with them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.record import RunRecord
from benchmarks.suite import DEFAULT_SUITE
from reports.across import Across
from reports.across_aggregate import aggregate
from reports.across_files import runs_csv, to_csv, to_latex, to_markdown
from reports.across_page import to_html
from reports.across_tables import why_nots
from reports.across_words import headline, notes, verdict
from reports.overview import Overview, accuracies, differences
from reports.overview import to_csv as overview_csv
from reports.overview_page import to_html as overview_html
from reports.sweep_page import sentence
from reports.sweep_tables import summary
from reports.table import build_tables
from tests.made_across import across_of, datasets_of
from tests.made_regression import runs_off_by
from tests.made_runs import on
from tests.made_tables import tracking_of
from tests.made_trials import study, sweep, trial

ERRORS = {"joint": [0.5, 0.51, 0.52], "dmil": [0.4, 0.41, 0.42], "late_fusion": [0.6] * 3, "constant": [1.25] * 3}


def regression(dataset: str, **changes: Any) -> list[RunRecord]:
    records, _ = runs_off_by(ERRORS)
    return [replace(record, suite=DEFAULT_SUITE, **changes) for record in on(dataset, *records)]


@pytest.fixture
def across(tmp_path: Path) -> Across:
    return across_of(tmp_path, [*datasets_of("ab"), *regression("r")])


def test_errors_are_in_no_aggregate_and_a_sentence_says_so(across: Across, tmp_path: Path) -> None:
    assert [table.dataset for table in across.sound] == ["a", "b"]
    alone = across_of(tmp_path, datasets_of("ab"))
    assert aggregate(across) == aggregate(alone)
    assert headline(across, aggregate(across)) == headline(alone, aggregate(alone))
    said = "Regressions are left out of all aggregates and counts, for errors in units of their own are not averaged"
    assert [text for text in notes(across) if text.startswith(said)] == [f"{said} with accuracies: r."]
    assert not [text for text in notes(alone) if "egression" in text]


def test_the_verdict_on_a_regression_says_better_or_worse(across: Across, tmp_path: Path) -> None:
    (table,) = across.regressions
    assert verdict(table).startswith(
        "dmil is 0.100 better than joint (MAE 0.410 against 0.510); difference over 3 paired"
    )
    swapped = {"dmil": "joint", "joint": "dmil"}
    records = [replace(one, method=swapped.get(one.method, one.method)) for one in regression("r")]
    (worse,) = across_of(tmp_path, records).tables
    assert verdict(worse).startswith("dmil is 0.100 worse than joint (MAE 0.510 against 0.410)")


def test_files_mark_errors_and_leave_columns_of_accuracies_empty(across: Across) -> None:
    text = to_markdown(across, aggregate(across))
    assert "| r | dmil | MAE 0.410 ± 0.010 | joint | MAE 0.510 ± 0.010 | dmil | MAE 0.410 ± 0.010 | +0.100 |" in text
    assert "the mean absolute error stands in place of the accuracy, marked MAE" in text
    assert "MAE 0.410 $\\pm$ 0.010" in to_latex(across, aggregate(across))
    rows = {row["dataset"]: row for row in csv.DictReader(to_csv(across).splitlines())}
    assert (rows["r"]["best_acc_mean"], rows["r"]["best_mae_mean"], rows["r"]["measure"]) == ("", "0.410000", "mae")
    assert float(rows["r"]["minus_baseline_mean"]) == pytest.approx(0.1)
    assert (rows["a"]["best_mae_mean"], rows["a"]["measure"]) == ("", "acc")
    cells = {(row["dataset"], row["method"]): row for row in csv.DictReader(runs_csv(across).splitlines())}
    assert (cells["r", "joint"]["test_acc_mean"], cells["r", "joint"]["test_mae_mean"]) == ("", "0.510000")
    assert (cells["a", "joint"]["test_acc_mean"], cells["a", "joint"]["test_mae_mean"]) == ("0.800000", "")


def test_the_page_shows_errors_against_cost(across: Across) -> None:
    page = to_html(across, aggregate(across))
    assert "Test MAE against <strong>" in page
    assert "Of a regression the mean test MAE, smaller and better upwards." in page


def test_regressions_alone_have_no_aggregates(tmp_path: Path) -> None:
    across = across_of(tmp_path, [*regression("r"), *regression("q")])
    assert aggregate(across) is None
    (reason,) = why_nots(across, None)
    assert reason.startswith("No aggregates: they need 2 classification datasets without a warning")
    assert headline(across, None) == []


def test_the_overview_of_a_suite_marks_errors(tmp_path: Path) -> None:
    tables = build_tables(tracking_of(tmp_path, [*datasets_of("a"), *regression("r")]))
    overview = Overview("mixed", tuple(tables))
    rows = {row[0]: row[1:] for row in accuracies(overview)["rows"]}
    assert rows["joint"] == ["80.0 ± 1.0 ★", "MAE 0.510 ± 0.010 ★"]
    assert differences(overview)["rows"][1][1:6] == ["dmil", "MAE 0.410", "joint", "MAE 0.510", "+0.100"]
    assert "marked MAE" in accuracies(overview)["caption"]
    found = {(row["dataset"], row["method"]): row for row in csv.DictReader(overview_csv(overview).splitlines())}
    assert (found["r", "joint"]["test_acc_mean"], found["r", "joint"]["test_mae_mean"]) == ("", "0.510000")
    assert (found["a", "joint"]["test_acc_mean"], found["a", "joint"]["test_mae_mean"]) == ("0.800000", "")
    figure = overview_html(overview).partition("<figure>")[2].partition("</figure>")[0]
    assert "joint on a: 80.0 %" in figure
    assert "joint on r" not in figure
    assert "<figure>" not in overview_html(Overview("errors", tuple(tables[1:])))


def test_a_sweep_of_small_errors_keeps_their_digits() -> None:
    found = sweep(study(trial(0, -1.2e-4, loss=1.2e-4), trial(1, -8.5e-5, loss=8.5e-5), is_higher_better=False))
    (row,) = summary(found)["rows"]
    assert row[6:9] == ["0.0000850", "0.0001200", "+0.0000350"]
    assert "Best: 0.0000850 by no. 1; default: 0.0001200, gain +0.0000350." in sentence(found.studies[0])
