"""The section on sanity: each check with its verdict on tables whose answer is known, and how the page shows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.checks import ALARM, PASS, UNKNOWN
from benchmarks.errors import UserError
from benchmarks.record import AUDIT
from reports.control import control_of
from reports.leaderboard import caption, to_markdown
from reports.samples import Answers
from reports.sanity import bayes_error, checks, gap_error
from reports.sanity_tables import section, tally
from reports.table import Table, build_tables
from tests.made_runs import made_plan, made_tracking, put, three, with_valid
from tests.made_tables import page_of, tracking_of

AUDITED: dict[str, Any] = {
    "checks": [
        {"name": "Sample ids", "verdict": PASS, "text": "No id is in two splits."},
        {"name": "Label leak", "verdict": ALARM, "text": "text <0.98> inside, 0.76 on test."},
    ],
    "splits": {
        "train": {"n": 1158, "n_groups": 50, "class_counts": [590, 568]},
        "valid": {"n": 100, "n_groups": None, "class_counts": [50, 50]},
        "test": {"n": 752, "n_groups": 31, "class_counts": list(range(12))},
    },
    "class_names": [],
    "repeats": {
        "valid in train": {"all": 0, "text": 0},
        "test in train": {"all": 3, "text": 5},
        "test in valid": {"all": 1, "text": 1},
    },
    "columns": {"text": {"n": 100, "n_constant": 2, "n_nearly": 7}},
    "scaling": {},
    "probe": [
        {
            "modality": "text",
            "inside": 0.98,
            "inside_error": 0.004,
            "test": 0.76,
            "test_error": 0.016,
            "n_unconverged": 2,
            "is_alarm": True,
        }
    ],
}


def table_with(folder: Path, *records: Any, card: dict[str, Any] | None = None, **changes: Any) -> Table:
    (table,) = build_tables(tracking_of(folder, [r for group in records for r in group], card=card))
    return replace(table, **changes)


def verdict(table: Table, name: str) -> tuple[str, str]:
    (found,) = [check for check in checks(table) if check.name == name]
    return found.verdict, found.text


def plain(folder: Path, **changes: Any) -> Table:
    return table_with(folder, three("joint", 0.8, 0.8, 0.8), three("constant", 0.6, 0.6, 0.6), **changes)


def test_a_method_below_the_constant_row_is_an_alarm(tmp_path: Path) -> None:
    floor = three("constant", 0.6, 0.6, 0.6)
    good = table_with(tmp_path, floor, three("joint", 0.8, 0.8, 0.8), three("dmil", 0.7, 0.7, 0.7))
    assert verdict(good, "Constant row") == (PASS, "The constant answer has 60.0 %. Every method is above it.")
    bad = table_with(tmp_path, floor, three("joint", 0.8, 0.8, 0.8), three("dmil", 0.6, 0.6, 0.6))
    assert verdict(bad, "Constant row") == (ALARM, "The constant answer has 60.0 %. Not above it: dmil 60.0 %.")


def test_a_useless_modality_alone_below_the_constant_row_is_said_but_no_alarm(tmp_path: Path) -> None:
    rows = three("constant", 0.6, 0.6, 0.6), three("joint", 0.8, 0.8, 0.8), three("unimodal_right", 0.5, 0.5, 0.5)
    found, text = verdict(table_with(tmp_path, *rows), "Constant row")
    assert found == PASS
    assert text.endswith("Not above it: unimodal_right 50.0 %. Every multimodal method is above it.")


def test_without_a_complete_constant_row_nothing_is_known(tmp_path: Path) -> None:
    rows = three("constant", 0.6, 0.6), three("joint", 0.8, 0.8, 0.8)
    assert verdict(table_with(tmp_path, *rows), "Constant row")[0] == UNKNOWN


def runs(*by_seed: Sequence[int], target: Sequence[int]) -> list[Answers]:
    """Samples of a seed, 1 where it was right."""
    n = len(target)
    ids = tuple(f"s{i:03d}" for i in range(n))
    labels = np.asarray(target)
    return [
        Answers(
            ids,
            labels,
            truth=None,
            is_right=np.asarray(right, dtype=bool),
            answer=np.where(right, labels, -1),
            confidence=np.ones(n, dtype=np.float32),
        )
        for right in by_seed
    ]


def test_balanced_accuracy_of_the_control_by_hand() -> None:
    """Classes 0 0 0 1. Recalls 2/3 and 1, 0 and 1, 1/3 and 0: balanced 5/6, 1/2 and 1/6."""
    found = control_of(runs([1, 1, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0], target=[0, 0, 0, 1]))
    assert found is not None
    assert [found.mean, found.chance, found.n_seeds] == pytest.approx([0.5, 0.5, 3])
    # Over seeds: variance 1/9, of the mean 1/27. Over samples nothing: those of a class are right alike.
    half = stats.t(2).ppf(0.995) * (1 / 27) ** 0.5
    assert [found.low, found.high] == pytest.approx([0.5 - half, 0.5 + half])
    assert found.is_at_chance is True


def test_samples_widen_the_interval_of_the_control() -> None:
    """Every seed is right on the same half of each class: nothing over seeds, 2 * (1/4 / 2) / 4 = 1/16 over samples."""
    found = control_of(runs(*[[1, 0, 1, 0]] * 3, target=[0, 0, 1, 1]))
    assert found is not None
    half = stats.t(2).ppf(0.995) / 4
    assert [found.low, found.high] == pytest.approx([0.5 - half, 0.5 + half])


def test_a_control_that_knows_labels_is_an_alarm_and_one_seed_is_too_few(tmp_path: Path) -> None:
    target = [0, 1] * 200
    rng = np.random.default_rng(0)
    leak = control_of(runs(*[(rng.random(400) < 0.7).astype(int).tolist() for _ in range(5)], target=target))
    chance = control_of(runs(*[(rng.random(400) < 0.5).astype(int).tolist() for _ in range(5)], target=target))
    found, text = verdict(plain(tmp_path, control=leak), "Label shuffle")
    assert found == ALARM
    assert re.search(r"balanced accuracy of 69\.7 % on the test set \(99 % interval .*\); chance is 50\.0 %\.", text)
    assert verdict(plain(tmp_path, control=chance), "Label shuffle")[0] == PASS
    alone = control_of(runs([1, 0], target=[0, 1]))
    assert verdict(plain(tmp_path, control=alone), "Label shuffle")[0] == UNKNOWN
    assert verdict(plain(tmp_path), "Label shuffle")[0] == UNKNOWN
    assert control_of([]) is None


def test_always_the_same_answer_is_at_chance() -> None:
    found = control_of(runs(*[[1, 0, 0, 1, 0, 0]] * 3, target=[0, 1, 2, 0, 1, 2]))
    assert found is not None
    assert [found.mean, found.low, found.high, found.chance] == pytest.approx([1 / 3] * 4)
    assert found.is_at_chance is True


def test_a_mean_above_the_bayes_limit_needs_more_than_noise_to_be_an_alarm(tmp_path: Path) -> None:
    """100 test samples at 0.8: standard error 0.04."""
    card = {"bayes_accuracy": 0.8}
    table = table_with(tmp_path, three("joint", 0.9, 0.9, 0.9), card=card, n_test=100)
    assert bayes_error(table) == pytest.approx(0.04)
    assert verdict(table, "Bayes limit")[0] == PASS
    high = table_with(tmp_path, three("joint", 0.93, 0.93, 0.93), card=card, n_test=100)
    found, text = verdict(high, "Bayes limit")
    assert found == ALARM
    assert "(12.0 points, 3 standard errors of 100 samples): joint 93.0 %." in text
    assert verdict(plain(tmp_path), "Bayes limit")[0] == UNKNOWN


def test_runs_without_an_audit_are_not_silently_fine(tmp_path: Path) -> None:
    table = plain(tmp_path)
    found, text = verdict(table, "Data")
    assert (found, text.split(":")[0]) == (UNKNOWN, "Not audited")
    assert "Not audited" in page_of(table, tmp_path)
    assert "- **not known** Data: Not audited" in to_markdown(table)


def test_checks_of_the_audit_are_shown_as_they_were_written(tmp_path: Path) -> None:
    table = plain(tmp_path, audit=AUDITED)
    assert verdict(table, "Label leak") == (ALARM, "text <0.98> inside, 0.76 on test.")
    assert "Data" not in [check.name for check in checks(table)]


def test_a_gap_needs_ten_points_and_four_standard_errors(tmp_path: Path) -> None:
    """Validation 0.9 of 100 samples, test 0.7 of 100: standard error sqrt(0.09 / 100 + 0.21 / 100) = 0.0548."""
    records = with_valid(three("joint", 0.7, 0.7, 0.7), 0.9)
    table = table_with(tmp_path, records, n_test=100, audit=AUDITED)
    assert gap_error(table.lines[0], table) == pytest.approx(0.0548, abs=1e-4)
    assert verdict(table, "Validation against test")[0] == PASS
    large = replace(table, n_test=100_000)  # 0.9 of 100: 0.03, four times that is 0.12
    found, text = verdict(large, "Validation against test")
    assert found == ALARM
    assert "by more than 10 points and 4 standard errors for joint +20.0 points." in text
    unknown = replace(table, audit=None)
    assert verdict(unknown, "Validation against test")[0] == ALARM, "the margin alone where a size is not known"
    near = table_with(tmp_path, with_valid(three("joint", 0.7, 0.7, 0.7), 0.79), n_test=100_000)
    assert verdict(near, "Validation against test")[0] == PASS


def test_tables_beneath_the_checks(tmp_path: Path) -> None:
    found = dict(section(plain(tmp_path, audit=AUDITED))["grids"])
    assert found["Linear model on each modality"]["rows"] == [["text", "98.0 ± 0.4", "76.0 ± 1.6", "+22.0", ALARM]]
    assert "2 of its fits had not converged" in found["Linear model on each modality"]["caption"]
    assert found["Splits"]["rows"] == [
        ["train", "1,158", "50", "590, 568", ""],
        ["valid", "100", "none", "50, 50", "train 0"],
        ["test", "752", "31", "0 to 11", "train 3, valid 1"],
    ]
    assert "text 100 columns, 2 constant, 7 nearly constant" in found["Splits"]["caption"]
    assert found["Validation against test"]["rows"] == [["joint", "80.0", "80.0", "0.0", PASS]]


def test_page_says_verdicts_in_words_and_escapes(tmp_path: Path) -> None:
    page = page_of(plain(tmp_path, audit=AUDITED), tmp_path)
    assert '<h2 id="sanity">Sanity checks</h2>' in page
    assert "text &lt;0.98&gt; inside, 0.76 on test." in page
    assert re.search(r'<strong class="alarm"><span aria-hidden="true">▲</span> alarm</strong> Label leak', page)
    assert re.search(
        r'<strong class="not-known"><span aria-hidden="true">\?</span> not known</strong> Bayes limit', page
    )


def test_the_tally_counts_every_verdict(tmp_path: Path) -> None:
    assert tally(checks(plain(tmp_path, audit=AUDITED))) == "7 checks: 3 pass, 1 alarm, 3 not known."


def test_the_control_is_neither_ranked_nor_a_baseline(tmp_path: Path) -> None:
    table = table_with(tmp_path, three("joint", 0.8, 0.8, 0.8), three("label_shuffle", 0.9, 0.9, 0.9))
    line = table.line("label_shuffle")
    assert line is not None
    assert (line.rank, line.is_competitor, line.is_conventional) == (None, False, False)
    assert table.n_ranked == 1
    assert "label_shuffle is joint_mlp trained on labels in random order" in caption(table)
    assert re.search(r"\| label_shuffle \|.*\| control \|", to_markdown(table))


def test_an_audit_travels_with_its_plan(tmp_path: Path) -> None:
    tracking, outbox = made_tracking(tmp_path)
    put(outbox, plan=made_plan({"joint": range(3)}))
    put(outbox, *three("joint", 0.6, 0.7, 0.8))
    assert tracking.deliver(outbox).error is None
    assert build_tables(tracking)[0].audit is None
    put(outbox, plan=made_plan({"joint": range(3)}, planned_at=2000, files={AUDIT: AUDITED}))
    assert tracking.deliver(outbox).error is None
    assert build_tables(tracking)[0].audit == AUDITED
    put(outbox, plan=made_plan({"joint": range(3)}, planned_at=3000, files={AUDIT: {"checks": []}}))
    assert tracking.deliver(outbox).error is None
    with pytest.raises(
        UserError, match=r"audit.json of run \w+ is damaged \(it lacks columns, probe, repeats, splits\)"
    ):
        build_tables(tracking)
