"""The leaderboard of a regression: errors, of which the smaller are the better, from runs whose answer is known."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.checks import ALARM, PASS, UNKNOWN
from benchmarks.suite import DEFAULT_SUITE
from reports.control import control_of, distances
from reports.figures import dots
from reports.gain_figure import gains
from reports.latex import leaderboard
from reports.leaderboard import COLUMNS, caption, headings, print_table, row, to_csv, to_markdown
from reports.measure import ACCURACY, ERROR, decimals_for
from reports.page import headline, to_html
from reports.pareto import panels
from reports.references import Reference, compare, parse
from reports.samples import Estimates
from reports.sanity_tables import section
from reports.table import Table, build_tables
from reports.tuning import provenance
from tests.made_regression import TARGET, Made, error_record, estimates, runs_off_by
from tests.made_runs import TUNING, answers, failed_record, made_record, predictions
from tests.made_tables import tracking_of, without
from tests.test_report_sanity import AUDITED, verdict

# Chosen on validation: joint and dmil. On test data dmil is better, late_fusion worse.
Floats = NDArray[np.float64]
ERRORS = {"joint": [0.5] * 3, "dmil": [0.4] * 3, "late_fusion": [0.875] * 3, "constant": [1.25] * 3}


def table_of(folder: Path, made: Made, **changes: Any) -> Table:
    (table,) = build_tables(tracking_of(folder, made[0], files=made[1], **changes))
    return table


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return table_of(tmp_path, runs_off_by(ERRORS))


def rows_of(table: Table) -> dict[str, dict[str, str]]:
    return {one["method"]: one for one in csv.DictReader(to_csv(table).splitlines())}


def test_the_smallest_error_is_first(table: Table) -> None:
    assert table.measure.is_error
    places = {line.method: line.place for line in table.lines}
    assert list(places.items()) == [("dmil", "1"), ("joint", "2"), ("late_fusion", "3"), ("constant", "")]
    assert headings(table)[2:8] == ("test MAE", "95 % interval", "gain", "corr.", "acc-2 %", "acc-7 %")
    shown = row(table.lines[1], table)
    assert shown[2:9] == ("0.500 ± 0.000", "0.500 to 0.500", "baseline", "+0.500", "75.0 / 80.0", "40.0", "0.500")


def test_the_csv_keeps_its_columns_and_adds_those_of_errors(table: Table) -> None:
    found = rows_of(table)["dmil"]
    assert tuple(found)[: len(COLUMNS)] == COLUMNS
    assert [found[name] for name in ("test_acc_mean", "test_acc_ci_low", "valid_acc_mean", "synergy_mean")] == [""] * 4
    assert (found["test_mae_mean"], found["test_mae_std"]) == ("0.400000", "0.000000")
    assert (found["valid_mae_mean"], found["test_corr_mean"]) == ("0.400000", "0.500000")
    assert (found["test_acc2_non0_mean"], found["test_acc7_mean"]) == ("0.800000", "0.400000")
    assert rows_of(table)["constant"]["test_mae_ci_low"] == "", "a floor has no interval"


def test_a_gain_is_above_zero_where_the_error_is_smaller(table: Table) -> None:
    """The strongest baseline has 0.5: dmil is 0.1 better, late_fusion 0.375 worse, the same on every sample."""
    assert table.strongest
    assert table.strongest.method == "joint"
    gained = {line.method: line.gain for line in table.lines if line.gain}
    assert gained["dmil"].mean == pytest.approx(0.1, abs=1e-6)
    assert gained["dmil"].is_level is False
    assert float(rows_of(table)["late_fusion"]["gain"]) == pytest.approx(-0.375, abs=1e-6)
    assert float(rows_of(table)["late_fusion"]["gain_ci_high"]) < 0
    assert "dmil is ahead of joint" in " ".join(headline(table))
    assert "MAE of joint minus MAE of dmil over 3 paired seeds: +0.100" in " ".join(headline(table))


def test_the_interval_is_over_samples_and_seeds_and_knows_no_largest_difference(tmp_path: Path) -> None:
    """dmil is off by 20 everywhere, joint by 10 and 30 in turns: alike on average, each sample 10 to one side."""
    records, files = runs_off_by({"joint": [20.0] * 3, "dmil": [20.0] * 3, "late_fusion": [90.0] * 3})
    uneven = estimates([y + (10 if i % 2 else 30) for i, y in enumerate(TARGET)])
    files |= {record.key: uneven for record in records if record.method == "joint"}
    table = table_of(tmp_path, (records, files))
    (line,) = [line for line in table.lines if line.method == "joint"]
    assert line.to_best
    assert (line.is_tied, line.to_best.mean) == (True, 0.0)
    # Standard error 10 / sqrt(39), t quantile 2.022691 for 39 degrees of freedom; the bootstrap draws, hence 6 %.
    assert line.to_best.high == pytest.approx(2.022691 * 10 / math.sqrt(39), rel=0.06)
    (worst,) = [line for line in table.lines if line.method == "late_fusion"]
    assert worst.to_best
    assert worst.to_best.shown == pytest.approx((-70, -70))


def test_what_asks_for_right_answers_is_left_out_and_the_caption_says_why(table: Table, tmp_path: Path) -> None:
    assert (table.hard_samples, table.reliability) == (None, ())
    assert all(line.synergy is None for line in table.lines)
    assert "so a regression has none of them" in caption(table)
    page = to_html(table, tracking_of(tmp_path, []))
    for name in ("calibration", "fusion"):
        assert f'<h2 id="{name}">' not in page
    shown = page.partition("<main")[2].partition('<h2 id="data"')[0]
    assert "accuracy" not in shown.lower()
    assert "constant answers with the median" in page


def test_every_file_shows_errors(table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(table)
    assert "gain: MAE below that of the strongest baseline" in capsys.readouterr().out
    assert "| 1 | dmil | **0.400 ± 0.000** |" in to_markdown(table)
    assert r"1 & dmil & \textbf{0.400 $\pm$ 0.000}" in leaderboard(table)


def test_scores_of_a_sentiment_are_shown_where_the_task_asks_for_them(tmp_path: Path) -> None:
    records = [error_record("joint", seed, 0.5, 0.5) for seed in range(3)]
    plain = [replace(one, metrics={k: v for k, v in one.metrics.items() if "acc" not in k}) for one in records]
    found = table_of(tmp_path, (plain, {}))
    assert headings(found)[5:7] == ("corr.", "valid MAE")
    assert "Acc-2" not in caption(found)


def test_better_is_to_the_right_and_upwards(table: Table) -> None:
    found = dots(table)
    assert found
    places = {one["method"]: one["mean"] for one in found["rows"]}
    assert places["dmil"] > places["joint"]
    assert places["late_fusion"] is None, "left of the scale"
    assert found["title"] == "Test MAE of every seed on toy"
    drawn = gains(table)
    assert drawn
    ahead = {one["method"]: one["mean"] > drawn["zero"] for one in drawn["rows"]}
    assert ahead == {"dmil": True, "late_fusion": False}
    heights = {one["title"].split()[0]: one["y"] for one in panels(table)[0]["points"]}
    assert heights["dmil"] < heights["joint"], "pixels from the top"
    assert panels(table)[0]["notes"] == ["Below the scale: late_fusion 0.875 (0.875 to 0.875) at 2.5 s"]


def test_a_row_that_is_far_off_stands_left_of_the_scale(tmp_path: Path) -> None:
    made = runs_off_by(
        {"joint": [0.5, 0.52, 0.54], "dmil": [0.4] * 3, "late_fusion": [0.45] * 3, "constant": [9.0] * 3}
    )
    found = dots(table_of(tmp_path, made))
    assert found
    assert [one["method"] for one in found["rows"] if "left of the scale" in one["note"]] == ["constant"]
    assert ("floor", "constant", None, "9.000") in found["marks"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_error_that_is_not_finite_is_a_failure(tmp_path: Path, value: float) -> None:
    records = [error_record("joint", seed, value if seed == 1 else 0.5, 0.5) for seed in range(3)]
    (line,) = table_of(tmp_path, (records, {})).lines
    assert (line.status, line.result, line.reasons) == ("failed", None, (f"seed 1: test/mae is not finite ({value})",))


def test_a_row_without_any_result_is_one_of_a_regression_too(tmp_path: Path) -> None:
    records, files = runs_off_by(ERRORS)
    failed = [failed_record("dmil_pid", seed) for seed in range(3)]
    table = table_of(tmp_path, ([*records, *failed], files))
    line = table.line("dmil_pid")
    assert line
    assert (line.status, line.measure.is_error) == ("failed", True)
    assert to_csv(table).splitlines()[-1].startswith("toy,dmil_pid,0,3,")


def test_a_classification_has_no_column_of_errors(tmp_path: Path) -> None:
    record = made_record("joint", 0)
    (table,) = build_tables(tracking_of(tmp_path, [record], files={record.key: predictions(answers([1]), [1])}))
    assert table.measure is ACCURACY
    assert to_csv(table).splitlines()[0] == ",".join(COLUMNS)


def test_gates_are_shown_and_errors_by_composition(tmp_path: Path) -> None:
    gate = {f"gate_{name}": np.float32(0.25) for name in ("R", "U_left", "U_right", "S")}
    truth = ["r" if i % 2 else "s" for i in range(len(TARGET))]
    records, files = runs_off_by({"dmil": [0.4] * 3, "joint": [0.5] * 3})
    files = {key: frame.assign(truth=truth, **gate) for key, frame in files.items()}
    table = table_of(tmp_path, (records, files), card={"truth_names": ("r", "s")})
    text = to_markdown(table)
    assert "| method | MAE r | MAE s |" in text
    assert "| dmil | 0.400 ± 0.000 | 0.400 ± 0.000 |" in text
    bare = {key: without("truth", "gate_")(frame) for key, frame in files.items()}
    assert table_of(tmp_path, (records, bare)).interactions is None


def said(prediction: Sequence[float] | Floats, target: Sequence[float] | Floats) -> Estimates:
    ids = tuple(f"s{i}" for i in range(len(target)))
    return Estimates(ids, np.asarray(target), truth=None, prediction=np.asarray(prediction, dtype=np.float64))


def test_mean_distances_by_hand() -> None:
    assert distances(np.asarray([0.0, 2.0, 9.0]), np.asarray([3.0, 1.0])).tolist() == [2.0, 1.0, 7.0]


def test_chance_of_the_control_by_hand() -> None:
    """Targets 0, 4. Of predictions 0, 4 the error is 0, in random order 2; of 4, 0 it is 4, of 2, 2 it is always 2."""
    right, wrong, flat = (said(prediction, [0, 4]) for prediction in ([0, 4], [4, 0], [2, 2]))
    found = control_of([right, wrong, flat])
    assert found
    assert (found.mean, found.chance, found.n_seeds, found.is_at_chance) == (2, 2, 3, True)
    few = control_of([right, right])
    assert few
    assert (few.mean, few.chance, few.low, few.is_at_chance) == (0, 2, None, None)


def test_a_control_that_knows_targets_is_an_alarm(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    target = rng.standard_normal(200)
    known = [said(target + 0.5 * rng.standard_normal(200), target) for _ in range(3)]
    other = [said(rng.standard_normal(200), target) for _ in range(3)]
    table = table_of(tmp_path, runs_off_by(ERRORS))
    alarm = verdict(replace(table, control=control_of(known)), "Label shuffle")
    assert alarm[0] == ALARM
    assert alarm[1].startswith("Trained on labels in random order, label_shuffle has an MAE of 0.405")
    assert "what the same predictions have in random order; the constant answer has 1.250." in alarm[1]
    assert verdict(replace(table, control=control_of(other)), "Label shuffle")[0] == PASS


def test_no_better_than_the_constant_answer_is_an_alarm(tmp_path: Path) -> None:
    made = runs_off_by({"joint": [0.75] * 3, "constant": [0.5] * 3})
    found = verdict(table_of(tmp_path, made), "Constant row")
    assert found == (ALARM, "The constant answer has an MAE of 0.500. Not below it: joint 0.750.")
    good = verdict(table_of(tmp_path, runs_off_by(ERRORS)), "Constant row")
    assert good == (PASS, "The constant answer has an MAE of 1.250. Every method is below it.")


def test_a_validation_error_far_below_the_test_error_is_an_alarm(tmp_path: Path) -> None:
    """The constant row has 1.25: a tenth of it is 0.125. Without spread over samples there is no standard error."""
    audit = AUDITED | {"splits": {part: AUDITED["splits"][part] | {"class_counts": None} for part in AUDITED["splits"]}}
    for valid, expected in ((0.30, ALARM), (0.40, PASS)):
        table = replace(table_of(tmp_path, runs_off_by(ERRORS, {"joint": valid})), audit=audit)
        assert verdict(table, "Validation against test")[0] == expected
    grids = dict(section(table)["grids"])
    assert grids["Validation against test"]["headings"] == ["method", "valid MAE", "test MAE", "gap", "verdict"]
    assert grids["Validation against test"]["rows"][1][1:4] == ["0.400", "0.500", "+0.100 ± 0.000"]
    assert "samples per class" not in grids["Splits"]["headings"]
    without_floor = {name: values for name, values in ERRORS.items() if name != "constant"}
    assert verdict(table_of(tmp_path, runs_off_by(without_floor)), "Validation against test")[0] == UNKNOWN


def test_reference_numbers_name_their_metric(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [{"what": "theirs", "ours": "joint", "metric": name, "value": 0.52} for name in ("mae", "acc7", "acc")]
    known = parse({"dataset": "toy", "source": "a table", "evidence": "read", "tolerance": 0.05, "numbers": numbers})
    monkeypatch.setattr("reports.references.references", lambda: tuple(known))
    found = [(one.ours, one.verdict) for one in compare(table)]
    assert found == [(0.5, "as expected"), (pytest.approx(0.4), "off"), (None, "no number of ours")]
    rows = dict(section(table)["grids"])["Reference numbers"]["rows"]
    assert rows[0][1:4] == ["0.500 (joint)", "0.520", "−0.020"]
    assert rows[1][1:4] == ["40.0 (joint)", "52.0", "−12.0"]
    assert rows[2][1:4] == ["none", "52.0", ""]
    assert [one[5] for one in rows[:2]] == [
        f"same protocol; within {margin} is as expected" for margin in ("0.05", "5 points")
    ]


@pytest.mark.parametrize(
    "broken", [{"metric": "mea"}, {"metric": "mae", "value": -1.0}, {"metric": "corr", "value": 1.2}]
)
def test_a_reference_number_of_no_known_metric_is_refused(broken: dict[str, Any]) -> None:
    numbers = [{"what": "theirs", "value": 0.5} | broken]
    with pytest.raises(ValueError, match="a number has"):
        parse({"dataset": "toy", "source": "a table", "evidence": "read", "tolerance": 0.05, "numbers": numbers})
    assert Reference("toy", "theirs", None, 1.2, "", "", None, "", "mae").is_share is False


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.9], 3), ([1.9], 3), ([2.1], 2), ([0.19], 4), ([4321.0], 0), ([5e-4], 6), ([0.0], 3), ([], 3)],
)
def test_errors_have_as_many_decimals_as_their_size_asks_for(values: list[float], expected: int) -> None:
    assert decimals_for(values) == expected


def test_small_errors_keep_their_digits(tmp_path: Path) -> None:
    scaled = {name: [1e-4 * value for value in values] for name, values in ERRORS.items()}
    found = table_of(tmp_path, runs_off_by(scaled))
    assert row(found.lines[0], found)[2] == "0.0000400 ± 0.0000000"
    drawn = dots(found)
    assert drawn
    assert len({text for _, text in drawn["ticks"]}) == len(drawn["ticks"])
    assert ERROR.of_score(0.0) == "0.000"


def test_tuned_settings_are_said_to_have_an_error(tmp_path: Path) -> None:
    tuning = {"joint": TUNING | {"valid_score": -0.8125, "default_score": -0.9}}
    (table,) = build_tables(tracking_of(tmp_path, runs_off_by({"joint": [0.5] * 3})[0], tuning=tuning))
    assert "Validation MAE 0.8125 (loss 0.5000), untuned 0.9000." in provenance(table.lines[0])
    assert table.suite != DEFAULT_SUITE
