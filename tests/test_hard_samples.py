"""Samples that fusion wins and loses, of hand-made runs."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from benchmarks.errors import UserError
from benchmarks.record import SAMPLES, Row, RunRecord, SeedRun
from benchmarks.tracking import Tracking
from reports.hard_sample_tables import LONGEST, SHOWN, section, to_csv
from reports.hard_samples import Descriptions, HardSamples, descriptions, hard_samples
from reports.latex import hard_samples as to_latex
from reports.leaderboard import to_markdown
from reports.line import line_of
from reports.page import to_html
from reports.samples import Answers
from reports.table import Table, build_tables, in_order
from tests.made_runs import answers, made_plan, made_record, made_tracking, predictions, put, with_valid
from tests.made_tables import KNOWN_CARD, MadeTracking, one_large

N_SEEDS = 5
NAMES = Descriptions(("negative", "positive", "neutral"))
UNIMODAL = ["unimodal_x1", "unimodal_x2"]
# Of five seeds, how many are right on each of nine samples of class 1.
RIGHT = {
    "unimodal_x1": [0, 1, 0, 2, 5, 4, 0, 0, 0],
    "unimodal_x2": [0, 0, 0, 0, 5, 0, 5, 0, 0],
    "dmil": [5, 4, 3, 5, 0, 1, 2, 5, 5],
    "joint": [0, 0, 0, 0, 5, 5, 5, 0, 0],
}
# Probability of the answer of every method and seed on each sample.
SURE = [0.75, 0.99, 0.9, 0.9, 0.8, 0.95, 0.9, 0.875, 0.75]


def made_samples(n_right: Sequence[int]) -> dict[int, Answers]:
    """The first n_right seeds say 1, which is right; of the others even ones say 2, odd ones 0. Gates of even seeds are
    0.7 at R, of odd seeds at S."""
    n = len(n_right)
    found = {}
    for seed in range(N_SEEDS):
        is_right = np.asarray([seed < right for right in n_right])
        gate = np.asarray([[0.7, 0.2, 0.1] if seed % 2 == 0 else [0.1, 0.2, 0.7]] * n, dtype=np.float32)
        found[seed] = Answers(
            ids=tuple(f"s{i}" for i in range(n)),
            target=np.ones(n, dtype=np.int64),
            truth=None,
            is_right=is_right,
            answer=np.where(is_right, 1, 2 if seed % 2 == 0 else 0),
            confidence=np.asarray(SURE[:n], dtype=np.float32),
            components=("R", "U_x1", "S"),
            gate=gate,
        )
    return found


def found_in(
    right: dict[str, list[int]], shown: Sequence[str] = ("dmil", "joint"), valid: dict[str, float] | None = None
) -> HardSamples | None:
    """valid: validation accuracy, 0.5 where it is not named."""
    rows = []
    for method in right:
        metrics = {"test/acc": 0.5, "valid/acc": (valid or {}).get(method, 0.5)}
        runs = tuple(SeedRun("key", seed, "finished", metrics=metrics) for seed in range(N_SEEDS))
        rows.append(Row("small", "toy", method, "group", "p1", 1, "", "", "parent", {}, runs))
    lines, _ = in_order([line_of(row) for row in rows])
    samples = {method: made_samples(counts) for method, counts in right.items()}
    chosen = {f"role of {name}": next(line for line in lines if line.method == name) for name in shown}
    return hard_samples(lines, samples, UNIMODAL, chosen, NAMES)


def the(found: HardSamples | None) -> HardSamples:
    assert found
    return found


def test_most_seeds_decide_who_is_right_and_the_surest_comes_first() -> None:
    dmil, joint = the(found_in(RIGHT)).cases
    # s2: three of five seeds; s3: a unimodal row has two right; s6: lost with three of five. s0 and s8 are alike.
    assert [one.id for one in dmil.won] == ["s7", "s0", "s8", "s1"]
    assert [one.id for one in dmil.lost] == ["s4", "s5"], "both unimodal rows are right on s4, though s5 is surer"
    assert joint.won == joint.lost == ()
    counts = {one.line.method: (one.n_won, one.n_lost, one.lost_by) for one in the(found_in(RIGHT)).counts}
    assert counts == {
        "dmil": (4, 2, {"unimodal_x1": 2, "unimodal_x2": 1}),
        "joint": (0, 0, {"unimodal_x1": 0, "unimodal_x2": 0}),
    }
    assert dmil.role == "role of dmil"


def test_what_each_model_says_of_a_sample() -> None:
    won, lost = the(found_in(RIGHT)).cases[0].won[-1], the(found_in(RIGHT)).cases[0].lost[1]
    assert (won.id, won.label, won.text, won.truth) == ("s1", "positive", None, "")
    assert (won.own.answer, won.own.n_answer, won.own.n_right, won.own.n_seeds) == ("positive", 4, 4, 5)
    assert won.own.confidence == pytest.approx(0.99)
    assert [(one.method, one.answer, one.n_answer, one.is_right) for one in won.unimodal] == [
        ("unimodal_x1", "negative", 2, False),  # negative and neutral are as frequent
        ("unimodal_x2", "neutral", 3, False),
    ]
    assert won.gate == pytest.approx({"R": (3 * 0.7 + 2 * 0.1) / 5, "U_x1": 0.2, "S": (3 * 0.1 + 2 * 0.7) / 5})
    assert (lost.own.answer, lost.own.n_answer, lost.own.n_right, lost.own.is_right) == ("negative", 2, 1, False)
    assert [one.is_right for one in lost.unimodal] == [True, False]


def test_the_two_lists_follow_mirrored_rules() -> None:
    mirrored = {name: [N_SEEDS - right for right in counts] for name, counts in RIGHT.items()}
    found = the(found_in(mirrored)).cases[0]
    assert [one.id for one in found.won] == ["s4"], "s5 is right for unimodal_x2"
    assert [one.id for one in found.lost] == ["s7", "s0", "s8", "s1", "s3"], "on s3 unimodal_x2 alone is right"


def test_what_a_stronger_unimodal_row_knew_is_the_graver_loss() -> None:
    right = {"unimodal_x1": [5, 0, 5], "unimodal_x2": [0, 5, 5], "dmil": [0, 0, 0]}
    for stronger, expected in (("unimodal_x1", ["s2", "s0", "s1"]), ("unimodal_x2", ["s2", "s1", "s0"])):
        found = the(found_in(right, ["dmil"], {stronger: 0.6}))
        assert found.unimodal[0] == stronger
        assert [one.id for one in found.cases[0].lost] == expected


def test_nothing_is_said_where_a_unimodal_row_is_missing_or_nothing_is_fused() -> None:
    assert found_in({name: RIGHT[name] for name in ("unimodal_x1", "dmil")}, ["dmil"]) is None
    assert found_in({name: RIGHT[name] for name in UNIMODAL}, []) is None


class Described(MadeTracking):
    """Rows whose plan came with this content of ``samples.json``, none where it is None."""

    about: dict[str, Any] | None = None

    def run_json(self, run_id: str, name: str, kind: type) -> Any:
        return self.about if name == SAMPLES and self.about is not None else super().run_json(run_id, name, kind)


TEXTS = {"s0": "A LONG STORY " * 30, "s2": "<script>alert(1)</script> & MORE", "s3": 'SHE SAID "GREAT", THEN LEFT'}
ABOUT = {"class_names": ["negative", "<b>positive</b>"], "texts": TEXTS}


def fused_runs(n_extra: int = 0) -> tuple[list[RunRecord], dict[str, pd.DataFrame]]:
    """Five samples of class 1 and three seeds that agree: unimodal_x1 is right on 0 and 1, unimodal_x2 on 0, joint on
    both, dmil on the other three, and on n_extra more."""
    right = {"unimodal_x1": [1, 1, 0, 0, 0], "unimodal_x2": [1, 0, 0, 0, 0], "joint": [1, 1, 0, 0, 0]}
    right |= {"dmil": [0, 0, 1, 1, 1]}
    records, files = [], {}
    for method, hits in right.items():
        hits = [*hits, *[int(method == "dmil")] * n_extra]
        gate = one_large(["S"] * len(hits), method == "dmil")
        for seed in range(3):
            records.append(made_record(method, seed))
            files[records[-1].key] = predictions(answers(hits), [1] * len(hits), gate=gate)
    return records, files


def described(
    folder: Path, about: dict[str, Any] | None = ABOUT, runs: tuple[list[RunRecord], dict[str, Any]] | None = None
) -> tuple[Table, Tracking]:
    records, files = runs or fused_runs()
    made = Described(folder, records, files=files, card=KNOWN_CARD)
    made.about = about
    (table,) = build_tables(cast(Tracking, made))
    return table, cast(Tracking, made)


def test_the_csv_holds_every_sample_of_both_lists(tmp_path: Path) -> None:
    rows = list(csv.DictReader(to_csv(described(tmp_path)[0]).splitlines()))
    assert [(row["method"], row["list"], row["place"], row["id"]) for row in rows] == [
        ("dmil", "only_multimodal_right", "1", "s2"),
        ("dmil", "only_multimodal_right", "2", "s3"),
        ("dmil", "only_multimodal_right", "3", "s4"),
        ("dmil", "lost_by_fusion", "1", "s0"),
        ("dmil", "lost_by_fusion", "2", "s1"),
    ]
    assert rows[1] == {
        "dataset": "toy",
        "method": "dmil",
        "list": "only_multimodal_right",
        "place": "2",
        "id": "s3",
        "composition": "",
        "label": "<b>positive</b>",
        "n_seeds": "3",
        "n_right": "3",
        "answer": "<b>positive</b>",
        "n_answer": "3",
        "confidence": "0.8000",
        **{
            f"{name}_{what}": value
            for name in UNIMODAL
            for what, value in zip(
                ("n_seeds", "n_right", "answer", "n_answer", "confidence"),
                ("3", "0", "negative", "3", "0.8000"),
                strict=True,
            )
        },
        "gate_R": "0.1000",
        "gate_U_x1": "0.1000",
        "gate_U_x2": "0.1000",
        "gate_S": "0.7000",
        "text": 'SHE SAID "GREAT", THEN LEFT',
    }


def test_the_page_shows_both_lists_alike_and_escapes(tmp_path: Path) -> None:
    table, made = described(tmp_path)
    page = to_html(table, made)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page.lower()
    assert "alert(1)</script>" not in page
    assert "<b>positive" not in page
    assert "Right where every unimodal model is wrong: <span>3 of 5 (60.0 %)</span>" in page
    right = "unimodal_x1 on 2, unimodal_x2 on 1"
    assert f"Wrong where a unimodal model is right: <span>2 of 5 (40.0 %): right are {right}</span>" in page
    assert page.count('<div class="won">') == page.count('<div class="lost">') == 2, "of dmil and of joint"
    assert page.count("No such sample.") == 2, "joint wins and loses none"
    assert "dmil <span>best DMIL variant</span>" in page
    assert "joint <span>strongest multimodal baseline</span>" in page
    assert 'aria-label="Mean gate: R 10.0 %, U_x1 10.0 %, U_x2 10.0 %, S 70.0 %"' in page
    assert "under its licence" in page
    for quote in re.findall("<blockquote>(.*?)</blockquote>", page):
        assert len(quote) <= LONGEST + 30
    text = to_markdown(table)
    assert "| dmil | 3 | 60.0 | 2 | 40.0 | 2 | 1 |" in text
    assert "| joint | 0 | 0.0 | 0 | 0.0 | 0 | 0 |" in text
    assert r"dmil & 3 & 60.0 & 2 & 40.0 & 2 & 1 \\" in to_latex(table)


@pytest.mark.parametrize(
    ("about", "label", "texts"),
    [
        (None, "class 1", None),
        ({"class_names": ["no", "yes"]}, "yes", None),
        ({"class_names": [], "texts": {}}, "class 1", "Transcripts were not recorded"),
    ],
)
def test_what_a_plan_does_not_say_is_not_shown(
    tmp_path: Path, about: dict[str, Any] | None, label: str, texts: str | None
) -> None:
    table, made = described(tmp_path, about)
    page = to_html(table, made)
    assert f"<strong>{label}</strong>" in page
    assert "<blockquote>" not in page
    assert ("Transcripts" in page) == bool(texts)
    assert (texts or "") in page
    assert ("text" in to_csv(table).splitlines()[0].split(",")) == bool(texts)


@pytest.mark.parametrize("about", [{"class_names": "ab"}, {"texts": ["a"]}])
def test_a_damaged_description_is_an_error(tmp_path: Path, about: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"file samples.json of run parent is damaged"):
        described(tmp_path, about)


def test_a_long_list_is_cut_on_the_page_alone(tmp_path: Path) -> None:
    table, _ = described(tmp_path, runs=fused_runs(n_extra=20))
    shown = section(table)
    assert shown
    won, lost = shown["cases"][0]["lists"]
    assert (len(won["samples"]), won["n_more"], len(lost["samples"]), lost["n_more"]) == (SHOWN, 23 - SHOWN, 2, 0)
    assert to_csv(table).count("only_multimodal_right") == 23


def test_the_baseline_shown_is_multimodal_even_where_a_unimodal_row_is_stronger(tmp_path: Path) -> None:
    records, files = fused_runs()
    records = [run for one in records for run in with_valid([one], 0.9 if one.method == "unimodal_x1" else 0.7)]
    table, _ = described(tmp_path, runs=(records, files))
    assert table.strongest
    assert table.strongest.method == "unimodal_x1"
    assert [case.line.method for case in the(table.hard_samples).cases] == ["dmil", "joint"]


def test_compositions_are_named_where_they_are_known(tmp_path: Path) -> None:
    records, files = fused_runs()
    files = {key: frame.assign(truth=["r", "u1", "s", "s", "s"]) for key, frame in files.items()}
    table, made = described(tmp_path, runs=(records, files))
    case = the(table.hard_samples).cases[0]
    assert [one.truth for one in (*case.won, *case.lost)] == ["s", "s", "s", "r", "u1"]
    assert to_html(table, made).count("composition <strong>s</strong>") == 3


def test_what_a_plan_says_reaches_the_report(tmp_path: Path) -> None:
    tracking, outbox = made_tracking(tmp_path)
    put(outbox, plan=made_plan({"joint": range(3)}, files={SAMPLES: ABOUT}))
    assert tracking.deliver(outbox).error is None
    (row,) = tracking.rows()
    assert descriptions(tracking, row) == Descriptions(("negative", "<b>positive</b>"), TEXTS)
