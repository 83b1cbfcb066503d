"""Columns, gains and details of the page, against values computed by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.record import Row, SeedRun
from reports.curves import learning_curves
from reports.gain_figure import gains, verdict
from reports.line import Difference, Line, line_of
from reports.page import headline
from reports.page_details import details, provenance
from reports.page_table import columns, shown
from reports.statistics import summarise
from reports.table import Table
from tests.made_runs import CARD, TUNING
from tests.made_tables import tracking_of

HISTORY = [
    {"epoch": 1, "stage": "joint", "valid/acc": 0.5, "valid/loss": 0.6, "train/loss": 1.0},
    {"epoch": 2, "stage": "intra", "valid/acc": 0.7, "valid/loss": 0.4, "train/loss": 0.5},
    {"epoch": 3, "stage": "intra", "valid/acc": 0.6, "valid/loss": 0.5, "train/loss": 0.0},
]


def test_curves_lie_where_their_values_say() -> None:
    accuracy, loss = learning_curves({0: HISTORY, 1: HISTORY[:2]}, {0: 2})
    # epochs 1 to 3 over the whole width; 0.45 to 0.75 over the whole height, downwards
    assert [line["points"] for line in accuracy["lines"]] == ["0,833 500,167 1000,500", "0,833 500,167"]
    assert [(dot["x"], dot["y"]) for dot in accuracy["dots"]] == [(13 + 84 / 2, 16 + 120 / 6)], "what seed 0 kept"
    assert accuracy["stages"] == [(55.0, "intra from epoch 2")]
    assert accuracy["x_ticks"] == [(13.0, "1"), (55.0, "2"), (97.0, "3")]
    assert (accuracy["y_ticks"][0], accuracy["y_ticks"][-1]) == ((136.0, "45.0"), (16.0, "75.0"))
    assert accuracy["description"] == (
        "seed 0: 50.0 to 60.0 in 3 epochs, 70.0 at epoch 2, which was kept; seed 1: 50.0 to 70.0 in 2 epochs"
    )
    assert [(line["kind"], line["points"]) for line in loss["lines"]] == [
        ("train", "0,0 500,500 1000,1000"),
        ("train", "0,0 500,500"),
        ("valid", "0,400 500,600 1000,500"),
        ("valid", "0,400 500,600"),
    ]
    assert (accuracy["has_train"], loss["has_train"]) == (False, True)
    assert [tick for _, tick in loss["y_ticks"]] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]


def test_what_was_not_recorded_twice_has_no_curve() -> None:
    assert learning_curves({}, {}) == []
    assert learning_curves({0: []}, {}) == []
    assert learning_curves({0: HISTORY[:1]}, {0: 1}) == []
    (loss,) = learning_curves({0: [{"valid/loss": 0.1}, {"valid/loss": math.nan}, {"valid/loss": 0.3}]}, {})
    assert loss["lines"][0]["points"].split()[0].startswith("0,")
    assert len(loss["lines"][0]["points"].split()) == 2
    assert loss["stages"] == loss["dots"] == []


def test_a_stage_that_begins_at_another_epoch_for_each_seed_is_not_marked() -> None:
    other = [one | {"stage": "joint"} for one in HISTORY[:2]] + HISTORY[2:]
    (accuracy, _) = learning_curves({0: HISTORY, 1: other}, {})
    assert accuracy["stages"] == []


def made_line(method: str, mean: float, gain: tuple[float, float, float] | str | None, **changes: Any) -> Line:
    """gain: (mean, low, high), or why there is no interval."""
    if isinstance(gain, str):
        changes["gain"] = Difference("joint", 0.02, None, None, (0, 1), False, gain)
    elif gain:
        changes["gain"] = Difference("joint", *gain, (0, 1, 2), False)
    accuracies = summarise([mean, mean - 0.01, mean + 0.01])
    means: dict[str, float | None] = {"valid/acc": mean, "test/ece": 0.1, "n_params": 12345.0}
    row = Row("small", "toy", method, "g", "p", 1, "a command", "c0ffee", "parent", {}, ())
    return Line(method, "complete", 3, 0, accuracies, means=means, row=row, **changes)


def made_table(*lines: Line) -> Table:
    return Table("toy", "small", lines, CARD, 100)


AHEAD = made_line("dmil_pid", 0.83, (0.03, 0.01, 0.05), rank=1, is_tied=True)
BASELINE = made_line("joint", 0.80, None, rank=2, is_strongest=True, is_tied=False)
LEVEL = made_line("late_fusion", 0.80, (0.0, -0.01, 0.01), rank=3, is_tied=True)
BEHIND = made_line("dmil", 0.77, (-0.03, -0.05, -0.01), rank=4, is_tied=False)
FAR = made_line("unimodal_left", 0.50, (-0.30, -0.35, -0.25), rank=5)


def test_a_loss_is_drawn_and_told_like_a_gain() -> None:
    found = gains(made_table(AHEAD, BASELINE, LEVEL, BEHIND, FAR))
    assert found
    assert found["baseline"] == "joint"
    # the axis goes from -6 to 6: 2 + 96 * (3 + 6) / 12 = 74, and so on
    assert found["zero"] == 50
    ahead, level, behind, far = found["rows"]
    assert (ahead["mean"], ahead["interval"]) == (74.0, [58.0, 90.0])
    assert (behind["mean"], behind["interval"]) == (26.0, [10.0, 42.0])
    assert {name for name in ahead if ahead[name] == behind[name]} == {"kind", "is_off"}
    assert (ahead["text"], behind["text"]) == ("+3.0 (+1.0 to +5.0)", "−3.0 (−5.0 to −1.0)")
    assert (ahead["note"], behind["note"]) == ("ahead", "behind")
    assert level["note"] == "not told apart"
    assert (far["note"], far["is_off"], far["mean"], far["interval"]) == ("behind", True, None, None)
    assert "dmil: −3.0 (−5.0 to −1.0) points, behind" in found["description"]


def test_without_a_baseline_or_an_interval_the_figure_says_so() -> None:
    assert gains(made_table(BASELINE)) is None
    few = made_line("dmil", 0.82, "too few seeds", rank=1)
    found = gains(made_table(few, BASELINE))
    assert found
    assert [(row["note"], row["text"], row["interval"]) for row in found["rows"]] == [
        ("no interval", "+2.0 (too few seeds)", None)
    ]
    assert few.gain
    assert verdict(few.gain) == "no interval"


def test_the_headline_gives_the_interval_over_samples_and_seeds() -> None:
    told = (
        "dmil minus joint over 3 paired seeds: −3.0 points (95 % interval over test samples and seeds −5.0 to −1.0): "
    )
    assert f"{told}dmil is behind joint." in headline(made_table(BASELINE, BEHIND))


def test_rows_carry_their_marks_and_values() -> None:
    table = made_table(AHEAD, BASELINE, LEVEL, BEHIND)
    rows = {line.method: shown(line, table) for line in table.lines}
    assert {method: [text for _, text, _ in row["tags"]] for method, row in rows.items()} == {
        "dmil_pid": ["best"],
        "joint": ["★"],
        "late_fusion": ["tied"],
        "dmil": [],
    }
    names = [column.heading for column in columns(table)]
    assert "Source %" not in names
    assert "Peak MB" not in names
    cells = dict(zip(names, rows["dmil"]["cells"], strict=True))
    assert (cells["Test acc. %"]["text"], cells["Test acc. %"]["value"]) == ("77.0 ± 1.0", pytest.approx(0.77))
    assert (cells["Gain"]["text"], cells["Gain"]["value"]) == ("−3.0 (−5.0 to −1.0)", -0.03)
    assert (cells["Params"]["text"], cells["Params"]["value"]) == ("12,345", 12345.0)
    assert (cells["NLL"]["text"], cells["NLL"]["value"]) == ("", "")
    assert dict(zip(names, rows["joint"]["cells"], strict=True))["Gain"]["text"] == "baseline"


def test_a_row_knows_all_it_came_from(tmp_path: Path) -> None:
    tags = {"git_commit": "abc", "command": "an older command", "mlflow.user": "me"}
    runs = (
        SeedRun("k0", 0, "finished", "r0", metrics={"test/acc": 0.5, "best_epoch": 2, "epochs_run": 3}, tags=tags),
        SeedRun(
            "k1", 1, "finished", "r1", metrics={"test/acc": 0.6}, params={"lr": "9"}, tags=tags | {"git_commit": "abd"}
        ),
        SeedRun("k2", 2, "failed", "r2", "boom", tags={}),
        SeedRun("k3", 3, "missing"),
    )
    changes: dict[str, Any] = {"budget": {"epochs": 9}, "code": "5ha", "tuning": TUNING}
    row = Row("small", "toy", "joint", "g", "p", 1, "a command", "c0ffee", "parent", {"lr": "1"}, runs, **changes)
    found = details(line_of(row), tracking_of(tmp_path, []))
    assert (found["curve"], found["panels"]) == (None, [])
    assert [one["cells"][0] for one in found["runs"]] == ["0.5000", "0.6000", "", ""]
    assert [one["cells"][4] for one in found["runs"]] == ["2 of 3", "", "", ""]
    assert [one["status"] for one in found["runs"]] == ["finished", "finished", "seed 2: boom", "seed 3: no run yet"]
    assert found["runs"][1]["own_settings"] == [("lr", "9")]
    told = dict(found["provenance"])
    assert found["tuning"].startswith("Tuned with 64 configurations")
    assert told == {
        "command": ["a command"],
        "earlier command": ["an older command"],
        "data checksum": ["c0ffee"],
        "protocol": ["p"],
        "settings": ["group g"],
        "budget": ["at most 9 epochs"],
        "shared code revision": ["5ha"],
        "MLflow run of the row": ["parent"],
        "git_commit": ["abc (1 of 3 runs)", "abd (1 of 3 runs)"],
    }
    whole = dict(provenance(made_table(line_of(row))))
    assert (whole["command"], whole["git_commit"]) == (["a command"], told["git_commit"])
