"""What the reports say of the settings of each row and of how much tuning it had."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.record import RunRecord
from reports.leaderboard import COLUMNS, HEADINGS, cells, print_table, to_csv, to_markdown
from reports.overview import Overview, captions
from reports.page import to_html
from reports.table import Table, build_tables
from reports.tuning import provenance, sentence, warnings
from tests.made_runs import BUDGET, TUNING, deliver, made_tracking, three
from tests.made_tables import tracking_of

FEWER = TUNING | {"n_configurations": 16}
LONGER = TUNING | {"budget": BUDGET | {"epochs": 90}}
PATIENT = TUNING | {"budget": BUDGET | {"patience": 40}}
MEMBERS = {"members": {"unimodal_left": TUNING | {"command": ""}}}
SIZE = "64 configurations × 2 seeds of at most 60 epochs"
ALIKE = "Every method was tuned on validation data alone, each with"
ANOTHER = "Rows were tuned for another budget than they are trained with here:"
UNEQUAL = "The rows had unequal tuning: a difference between them may be one of the effort spent on their settings."


def table_of(folder: Path, *methods: str, **changes: Any) -> Table:
    records: list[RunRecord] = [run for method in methods for run in three(method, 0.6, 0.7, 0.8)]
    (table,) = build_tables(tracking_of(folder, records, **changes))
    return table


def shown(table: Table) -> dict[str, str]:
    return {line.method: cells(line)[HEADINGS.index("settings")] for line in table.lines}


def written(table: Table) -> dict[str, tuple[str, str]]:
    rows = csv.DictReader(to_csv(table).splitlines())
    return {row["method"]: (row["settings"], row["n_configurations"]) for row in rows}


def test_every_row_says_where_its_settings_come_from(tmp_path: Path) -> None:
    methods = ("constant", "unimodal_left", "unimodal_right", "ensemble", "joint", "dmil", "late_fusion", "lsmi")
    tuning = {"unimodal_left": TUNING, "ensemble": MEMBERS, "joint": TUNING, "dmil": LONGER, "late_fusion": TUNING}
    by_hand = ("late_fusion.lr=0.1",)
    table = table_of(tmp_path, *methods, tuning=tuning, overrides=by_hand, card={"bayes_accuracy": 0.9})
    assert shown(table) == {
        "bayes_limit": "",
        "constant": "",
        "unimodal_left": "tuned (64 × 2)",
        "unimodal_right": "default",
        "ensemble": "members",
        "joint": "tuned (64 × 2)",
        "dmil": "tuned (64 × 2) for 90 epochs",
        "late_fusion": "by hand",
        "lsmi": "default",
    }
    assert written(table) == {
        "bayes_limit": ("", ""),
        "constant": ("", ""),
        "unimodal_left": ("tuned", "64"),
        "unimodal_right": ("default", "0"),
        "ensemble": ("members", ""),
        "joint": ("tuned", "64"),
        "dmil": ("tuned", "64"),
        "late_fusion": ("by_hand", ""),
        "lsmi": ("default", "0"),
    }
    page = to_html(table, tracking_of(tmp_path, []))
    assert "set by hand: late_fusion.lr=0.1; the rest tuned (64 × 2)</td>" in page
    assert '<td class="text settings" data-value="64">tuned (64 × 2) for 90 epochs</td>' in page
    assert page.count('<td class="text settings" data-value="0">default</td>') == 2


def test_columns_of_others_stay_where_they_are() -> None:
    assert list(COLUMNS) == [
        *("dataset", "method", "n_seeds", "n_failed", "test_acc_mean", "test_acc_std", "test_acc_ci_low"),
        *("test_acc_ci_high", "test_macro_f1_mean", "valid_acc_mean", "synergy_mean", "n_params", "train_seconds"),
        *("status", "settings", "n_configurations", "gain", "gain_ci_low", "gain_ci_high", "is_tied_with_best"),
        *("test_nll_mean", "test_ece_mean", "peak_memory_mb"),
    ]


@pytest.mark.parametrize(
    ("tuning", "by_hand", "text", "warned"),
    [
        ({}, (), "No method was tuned: settings are the defaults or what the suite sets.", []),
        ({"joint": TUNING, "dmil": TUNING}, (), f"{ALIKE} {SIZE}.", []),
        ({"joint": TUNING}, (), f"Settings: default (dmil); tuned with {SIZE} (joint).", [UNEQUAL]),
        (
            {"joint": TUNING, "dmil": FEWER},
            (),
            f"Settings: tuned with {SIZE.replace('64', '16')} (dmil); tuned with {SIZE} (joint).",
            [UNEQUAL],
        ),
        (
            {"joint": LONGER, "dmil": LONGER},
            (),
            f"{ALIKE} {SIZE.replace('60', '90')}.",
            [f"{ANOTHER} dmil (for 90 epochs), joint (for 90 epochs)."],
        ),
        (
            {"joint": PATIENT, "dmil": TUNING},
            (),
            f"Settings: tuned with {SIZE} (dmil); tuned with {SIZE} (joint).",
            [
                UNEQUAL,
                f"{ANOTHER} joint (for at most 60 epochs, patience 40, learning rate times 0.5 after a plateau of 8 "
                "epochs, gradients clipped to norm 1.0).",
            ],
        ),
        (
            {"joint": TUNING, "dmil": TUNING},
            ("dmil.lr=1",),
            f"Settings: set by hand (dmil); tuned with {SIZE} (joint).",
            [],
        ),
        (
            {"joint": TUNING},
            ("dmil.lr=1",),
            f"Settings: set by hand (dmil); tuned with {SIZE} (joint).",
            [UNEQUAL],
        ),
        ({}, ("all.lr=1",), "Settings: set by hand (dmil, joint).", []),
    ],
)
def test_one_sentence_says_how_much_tuning_there_was(
    tuning: dict[str, Any],
    by_hand: tuple[str, ...],
    text: str,
    warned: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = table_of(tmp_path, "constant", "joint", "dmil", tuning=tuning, overrides=by_hand)
    assert sentence(table) == text
    assert warnings(table) == warned
    page, markdown = to_html(table, tracking_of(tmp_path, [])), to_markdown(table)
    for found in (text, *warned):
        assert page.index(found) < page.index("<table")
        assert markdown.index(found) < markdown.index("| # |")
    assert markdown.count("> **Warning.**") == len(warned)
    print_table(table)
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.index(text) < printed.index("synergy")
    assert all(f"Warning: {found}" in printed for found in warned)


def test_settings_for_other_encoders_are_named(tmp_path: Path) -> None:
    mlp, gru = {"name": "mlp"}, {"name": "gru", "layers": 1}
    tuning = {
        "unimodal_left": TUNING | {"encoders": {"left": mlp}},
        "joint": TUNING | {"encoders": {"left": mlp, "right": mlp}},
        "dmil": TUNING | {"encoders": {"left": mlp, "right": gru}},
        "late_fusion": TUNING,
    }
    table = table_of(tmp_path, *tuning, tuning=tuning, card={"encoders": {"left": mlp, "right": gru}})
    assert warnings(table) == ["Rows were tuned for other encoders than they have here: joint."]
    assert warnings(replace(table, card={})) == [], "runs of before suites chose encoders"


def test_an_ensemble_is_as_tuned_as_its_members(tmp_path: Path) -> None:
    methods, tuning = ("unimodal_left", "ensemble"), {"unimodal_left": TUNING, "ensemble": MEMBERS}
    table = table_of(tmp_path, *methods, tuning=tuning)
    assert sentence(table).startswith("Every method was tuned")
    assert warnings(table) == []
    ensemble = table.line("ensemble")
    assert ensemble
    assert provenance(ensemble) == "Tuned by their own sweeps: the members unimodal_left."


def test_the_page_says_all_about_a_rows_tuning(tmp_path: Path) -> None:
    tuning = {"joint": TUNING, "dmil": TUNING | {"default_score": None, "command": "with <b>"}}
    table = table_of(tmp_path, "joint", "dmil", tuning=tuning)
    page = to_html(table, tracking_of(tmp_path, []))
    assert (
        "Tuned with 64 configurations × seeds 1000, 1001, 2,345 epochs in all; budget of each run: at most 60 epochs, "
        "patience 20, learning rate times 0.5 after a plateau of 8 epochs, gradients clipped to norm 1.0. Validation "
        "score 0.8125 (loss 0.5000), untuned 0.7500. Sweep 5feed of suite leaderboard, 2026-01-02T03:04:05+00:00; "
        "method revision 1, code c0de, torch 2.13.0, cpu: python -m sweeps run --dataset toy"
    ) in page
    assert "untuned not known (failed)" in page
    assert "with &lt;b&gt;" in page


def test_the_terminal_table_fits_into_120_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    methods = ("constant", "late_fusion_learned", "unimodal_accelerometer")
    table = table_of(tmp_path, *methods, tuning=dict.fromkeys(methods[1:], TUNING), card={"bayes_accuracy": 0.9})
    print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    for method in methods[1:]:
        assert sum(method in line and "tuned (64 × 2)" in line and "complete" in line for line in lines) == 1
    print_table(table_of(tmp_path, *methods, tuning=dict.fromkeys(methods[1:], LONGER)))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    assert all(sum(f" {method} " in line and "3/3" in line for line in lines) == 1 for method in methods)


def test_a_suites_overview_says_it_where_rows_were_tuned(tmp_path: Path) -> None:
    plain = table_of(tmp_path, "joint", "dmil")
    tuned = table_of(tmp_path, "joint", "dmil", tuning={"joint": TUNING})
    assert captions(Overview("small", (plain,))) == []
    assert captions(Overview("small", (plain, tuned))) == [f"toy: {sentence(tuned)} {UNEQUAL}"]


def test_tuning_comes_back_from_mlflow_as_it_was_planned(tmp_path: Path) -> None:
    pair = made_tracking(tmp_path)
    deliver(pair, *three("joint", 0.6, 0.7, 0.8), *three("dmil", 0.6, 0.7, 0.8), tuning={"joint": TUNING})
    found = {row.method: row.tuning for row in pair[0].rows()}
    assert found == {"joint": json.loads(json.dumps(TUNING)), "dmil": {}}
    deliver(pair, *three("joint", 0.6, 0.7, 0.8), planned_at=2000)
    assert {row.method: row.tuning for row in pair[0].rows()} == {"joint": {}, "dmil": {}}, "the newer plan's"
