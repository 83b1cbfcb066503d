"""Gains, ties and holes of a leaderboard, from hand-made stores whose answer is known."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.errors import UserError
from benchmarks.record import RunRecord
from reports.latex import leaderboard
from reports.leaderboard import caption, cells, gain, print_table, to_csv, to_markdown
from reports.line import Line
from reports.page import to_html
from reports.table import Table, build_tables
from tests.made_runs import (
    answers,
    failed_record,
    made_record,
    predictions,
)
from tests.made_tables import tracking_of

N = 40
Made = tuple[list[RunRecord], dict[str, pd.DataFrame]]


def wrong_on(*wrong: range) -> list[int]:
    """Forty answers, right but for those."""
    return [0 if any(i in one for one in wrong) else 1 for i in range(N)]


def runs_of(method: str, by_seed: Sequence[list[int]], valid: float = 0.5, groups: Sequence[str] = ()) -> Made:
    """A run per seed with its predictions; its accuracies are those of the answers, its validation accuracy given."""
    records, files = [], {}
    for seed, right in enumerate(by_seed):
        record = made_record(method, seed, test_acc=sum(right) / N)
        record = replace(record, metrics=record.metrics | {"valid/acc": valid})
        frame = predictions(answers(right), [1] * N)
        records.append(record)
        files[record.key] = frame.assign(group=list(groups)) if groups else frame
    return records, files


def joined(*made: Made) -> Made:
    return [record for records, _ in made for record in records], {k: v for _, files in made for k, v in files.items()}


# joint and dmil: as many wrong answers, on other samples; nobody can say which is better. late_fusion is far below.
LEVEL = joined(
    runs_of("joint", [wrong_on(range(10))] * 3, valid=0.7),
    runs_of("dmil", [wrong_on(range(10, 20))] * 3),
    runs_of("late_fusion", [wrong_on(range(36))] * 3, valid=0.6),
)


def table_of(folder: Path, made: Made, **changes: Any) -> Table:
    (table,) = build_tables(tracking_of(folder, made[0], files=made[1], **changes))
    return table


def line_of(table: Table, method: str) -> Line:
    line = table.line(method)
    assert line
    return line


def csv_rows(table: Table) -> dict[str, dict[str, str]]:
    return {row["method"]: row for row in csv.DictReader(to_csv(table).splitlines())}


def ties(table: Table) -> dict[str, bool | None]:
    return {line.method: line.is_tied for line in table.lines}


def test_a_tie_is_shown_as_a_tie(tmp_path: Path) -> None:
    table = table_of(tmp_path, LEVEL)
    assert [line.place for line in table.lines] == ["1", "2 ≈", "3"]
    assert ties(table) == {"dmil": True, "joint": True, "late_fusion": False}
    rows = csv_rows(table)
    assert [rows[name]["is_tied_with_best"] for name in ("dmil", "joint", "late_fusion")] == ["true", "true", "false"]
    found = line_of(table, "joint").to_best
    assert found
    assert (found.other, found.mean, found.seeds, found.is_level) == ("dmil", 0.0, (0, 1, 2), True)
    # 10 ahead, 10 behind of 40: standard error sqrt(20 / 39 / 40) = 0.113228, t quantile 2.022691
    assert found.high == pytest.approx(0.229025, abs=0.012)
    text = to_markdown(table)
    assert "| 2 ≈ | joint | **75.0 ± 0.0** |" in text
    assert "| 3 | late_fusion | 10.0 ± 0.0 |" in text
    assert "≈: not told apart from rank 1" in caption(table)
    assert r"2 $\approx$ & joint & \textbf{75.0 $\pm$ 0.0}" in leaderboard(table)
    assert "≈: not told apart from rank 1" in to_html(table, tracking_of(tmp_path, []))


def test_gains_are_over_the_strongest_baseline_on_validation(tmp_path: Path) -> None:
    table = table_of(tmp_path, LEVEL)
    assert {line.method: line.is_strongest for line in table.lines} == {
        "dmil": False,
        "joint": True,
        "late_fusion": False,
    }
    rows = csv_rows(table)
    assert rows["joint"]["gain"] == rows["joint"]["gain_ci_low"] == ""
    assert rows["late_fusion"]["gain"] == "-0.650000"
    assert -0.9 < float(rows["late_fusion"]["gain_ci_low"]) < -0.65 < float(rows["late_fusion"]["gain_ci_high"]) < -0.4
    assert gain(line_of(table, "joint")) == "baseline"
    assert gain(line_of(table, "dmil")).startswith("0.0 (−2")
    assert gain(line_of(table, "dmil"), is_brief=True) == "0.0"


def test_a_worse_dmil_is_as_visible_as_a_better_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    low, high = [wrong_on(range(30))] * 3, [wrong_on(range(4))] * 3
    shown = []
    for dmil, joint in ((low, high), (high, low)):
        table = table_of(tmp_path, joined(runs_of("joint", joint), runs_of("dmil", dmil)))
        print_table(table)
        shown.append([to_csv(table), to_markdown(table), leaderboard(table), capsys.readouterr().out])
    for worse, better in zip(*shown, strict=True):
        assert worse.count("65.0") + worse.count("0.65") == better.count("65.0") + better.count("0.65") > 0
    assert "−65.0 (−" in shown[0][1]
    assert "+65.0 (+" in shown[1][1]


def test_a_method_with_a_failed_seed_is_neither_ranked_nor_tied(tmp_path: Path) -> None:
    records, files = LEVEL
    failed = [record for record in records if (record.method, record.seed) != ("dmil", 2)]
    table = table_of(tmp_path, ([*failed, failed_record("dmil", 2)], files))
    line = line_of(table, "dmil")
    assert (line.rank, line.place, line.is_tied, line.gain, line.to_best) == (None, "", None, None, None)
    row = csv_rows(table)["dmil"]
    names = ("gain", "gain_ci_low", "gain_ci_high", "is_tied_with_best", "test_nll_mean", "test_ece_mean")
    assert [row[name] for name in names] == [""] * 6
    assert (line_of(table, "joint").rank, line_of(table, "joint").is_tied) == (1, True)
    text = leaderboard(table)
    assert "failed" in text
    assert "dmil, seed 2: loss is nan in epoch 3" in text


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_no_number(tmp_path: Path, value: float) -> None:
    records, files = LEVEL
    changed = [
        replace(record, metrics=record.metrics | {"test/acc": value})
        if (record.method, record.seed) == ("dmil", 1)
        else replace(record, metrics=record.metrics | {"test/nll": value, "peak_memory_mb": value})
        for record in records
    ]
    table = table_of(tmp_path, (changed, files))
    rows = csv_rows(table)
    assert (rows["dmil"]["status"], rows["dmil"]["gain"], rows["dmil"]["is_tied_with_best"]) == ("failed", "", "")
    assert (rows["joint"]["test_nll_mean"], rows["joint"]["peak_memory_mb"]) == ("", "")
    assert rows["joint"]["test_ece_mean"] == "0.100000"
    for text in (to_csv(table), to_markdown(table), leaderboard(table)):
        assert f"test/acc is not finite ({value})" in text or text == to_csv(table)
        assert not any(cell.strip() in ("nan", "inf") for cell in text.replace("&", ",").replace("|", ",").split(","))


def test_a_mean_over_other_seeds_is_not_silently_compared(tmp_path: Path) -> None:
    made = joined(
        runs_of("dmil", [wrong_on(range(4)), wrong_on(range(8)), wrong_on(range(8)), wrong_on(range(20))]),
        runs_of("joint", [wrong_on(range(6))] * 3, valid=0.9),
        runs_of("late_fusion", [wrong_on(range(6))] * 4),
    )
    table = table_of(tmp_path, made, seeds=dict.fromkeys(["dmil", "late_fusion"], range(4)))
    # dmil: 0.9, 0.8, 0.8, 0.5 -> 0.75; over the seeds 0, 1, 2 that joint has: 0.8333 - 0.85.
    line = line_of(table, "dmil")
    found = line.gain
    assert found
    assert (found.other, found.seeds, found.is_partial) == ("joint", (0, 1, 2), True)
    assert found.mean == pytest.approx(0.8 + 0.1 / 3 - 0.85)
    assert (line.place, cells(line)[4].endswith(") *")) == ("3 ≈ *", True)
    assert line_of(table, "late_fusion").place == "2 ≈ *"
    said = (
        "The rows do not have the same seeds: 0, 1, 2 for joint; 0, 1, 2, 3 for late_fusion, dmil. *: the mean is over"
    )
    assert said in caption(table)


def test_rows_that_share_no_seed_are_not_compared(tmp_path: Path) -> None:
    records, files = runs_of("joint", [wrong_on(range(6))] * 3)
    later = [made_record("dmil", seed, test_acc=0.5) for seed in (7, 8, 9)]
    table = table_of(tmp_path, ([*records, *later], files), seeds={"dmil": (7, 8, 9)})
    line = line_of(table, "dmil")
    assert (line.place, line.is_tied, line.gain, line.to_best) == ("2 *", None, None, None)
    assert csv_rows(table)["dmil"]["is_tied_with_best"] == ""


def test_without_predictions_there_is_a_gain_but_no_tie(tmp_path: Path) -> None:
    records, files = LEVEL
    lacking = {record.key for record in records if (record.method, record.seed) == ("dmil", 0)}
    table = table_of(tmp_path, (records, {key: frame for key, frame in files.items() if key not in lacking}))
    found = line_of(table, "dmil").gain
    assert found
    assert (found.mean, found.shown, found.is_level, found.why_not) == (0.0, None, None, "predictions missing")
    assert gain(line_of(table, "dmil")) == "0.0 (predictions missing)"
    assert ties(table) == {"dmil": True, "joint": None, "late_fusion": None}


def test_the_caption_says_what_was_drawn(tmp_path: Path) -> None:
    speakers = [f"speaker {i // 4}" for i in range(N)]
    made = joined(
        runs_of("joint", [wrong_on(range(8))] * 3, groups=speakers),
        runs_of("dmil", [wrong_on(range(8, 20))] * 3, groups=speakers),
    )
    grouped, alone = table_of(tmp_path, made), table_of(tmp_path, LEVEL)
    assert (grouped.n_groups, alone.n_groups) == (10, None)
    assert "10 groups of test samples (each whole, as its samples belong together) and the seeds" in caption(grouped)
    assert "40 test samples and the seeds of both rows, drawn 2,000 times together" in caption(alone)
    # Ten groups, dmil ahead on 2 and behind on 3: variance (5 - 10 / 100) / 9 / 10 = 0.233333^2, t quantile 2.262157.
    found = line_of(grouped, "dmil").gain
    assert found
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(2.262157 * 0.233333, rel=0.06)


def test_the_floor_has_a_gain_and_no_place(tmp_path: Path) -> None:
    table = table_of(tmp_path, joined(LEVEL, runs_of("constant", [wrong_on(range(20))] * 3)))
    line = line_of(table, "constant")
    assert (line.place, line.is_tied, gain(line, is_brief=True)) == ("", None, "−25.0")


def test_predictions_of_other_groups_are_not_silently_compared(tmp_path: Path) -> None:
    made = joined(LEVEL, runs_of("ensemble", [wrong_on(range(2))] * 3, groups=["other"] * N))
    with pytest.raises(UserError, match=r"hold different test samples \(groups differ\)"):
        table_of(tmp_path, made)
