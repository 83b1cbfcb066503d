"""The reference check: which numbers of others ours are held against, and with which verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.checks import ALARM, PASS, UNKNOWN
from benchmarks.methods import METHODS
from benchmarks.registry import canonical
from reports.references import Compared, Reference, compare, parse, references
from reports.sanity_tables import section
from reports.table import build_tables
from tests.made_runs import on, three
from tests.made_tables import tracking_of
from tests.test_report_sanity import AUDITED, plain, verdict


def entry(**changes: Any) -> dict[str, Any]:
    numbers = [{"what": "a number", "ours": "joint", "value": 0.79}]
    return {"dataset": "toy", "source": "somewhere", "evidence": "read", "numbers": numbers} | changes


@pytest.mark.parametrize(
    ("value", "rule", "expected"),
    [
        (0.79, {"tolerance": 0.02}, "as expected"),
        (0.75, {"tolerance": 0.02}, "off"),
        (0.80, {"difference": "another split"}, "not comparable"),
    ],
)
def test_verdicts_on_reference_numbers(tmp_path: Path, value: float, rule: dict[str, Any], expected: str) -> None:
    (reference,) = parse(entry(numbers=[{"what": "a number", "ours": "joint", "value": value}], **rule))
    assert Compared(reference, 0.80).verdict == expected


def test_without_a_number_of_ours_nothing_is_as_expected() -> None:
    (reference,) = parse(entry(tolerance=0.5))
    assert Compared(reference, None).verdict == "no number of ours"


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"tolerance": 0.1, "difference": "both"},
        {"tolerance": 0.1, "evidence": "remembered"},
        {"tolerance": 0.1, "numbers": [{"what": "in percent", "value": 79.0}]},
        {"tolerance": 0.1, "numbers": [{"what": "a typo", "our": "joint", "value": 0.79}]},
    ],
)
def test_an_entry_that_breaks_the_rules_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needs dataset|unknown evidence|a number has"):
        parse(entry(**broken))


def test_the_file_of_references_keeps_its_rules() -> None:
    found = references()
    assert {one.dataset for one in found} == {
        *("mosi", "mosi-acl2017", "utd_mhad", "mex", "rosmap"),
        *("cremad", "cremad-common", "kinetics_sounds", "ucf101", "ucf101-3", "mosei", "mosei-vt", "vqa", "clevr"),
        *("mosei-regression", "mosi-aligned-regression"),
    }
    for one in found:
        assert canonical(one.dataset) == one.dataset, "the name under which its runs are stored"
        assert one.ours is None or "/" in one.ours or one.ours.partition("_")[0] == "unimodal" or one.ours in METHODS
    assert all((one.tolerance is None) == bool(one.difference) for one in found)
    assert all(one.source and one.what for one in found)
    paper = [one for one in found if "Yang et al." in one.source]
    assert len(paper) == 42
    assert all(one.difference for one in paper), "none of the paper's numbers has the protocol of this suite"


def test_ours_are_rows_and_the_linear_model_of_the_audit(tmp_path: Path) -> None:
    records = [*three("constant", 0.621, 0.621, 0.621), *three("joint", 0.7, 0.7, 0.7)]
    (table,) = build_tables(tracking_of(tmp_path, on("mosi-acl2017", *records)))
    table = replace(table, audit=AUDITED)
    found = {one.reference.what: one for one in compare(table)}
    assert found['the constant answer "positive"'].verdict == "as expected"
    assert found["text, on test"].ours == 0.76
    assert found["text, cross-validated by video inside train"].ours == 0.98
    assert found["video, on test"].verdict == "no number of ours"
    whole = found["bc-LSTM, text, audio and video"]
    assert whole.ours == pytest.approx(0.7)
    assert whole.verdict == "not comparable"
    assert verdict(table, "Reference numbers")[0] == PASS
    off = replace(table, audit=AUDITED | {"probe": [AUDITED["probe"][0] | {"test": 0.60}]})
    assert verdict(off, "Reference numbers")[0] == ALARM
    assert verdict(off, "Reference numbers")[1].endswith("Off: text, on test.")
    assert compare(replace(table, transfer={"train_classes": [0]})) == []


def test_a_dataset_without_references_says_so(tmp_path: Path) -> None:
    table = plain(tmp_path)
    assert verdict(table, "Reference numbers") == (UNKNOWN, "No published number is known for this dataset.")
    assert "Reference numbers" not in [label for label, _ in section(table)["grids"]]


def test_only_incomparable_references_are_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Reference("toy", "theirs", "joint", 0.7, "somewhere", "read", None, "another split")
    monkeypatch.setattr("reports.references.references", lambda: (known,))
    assert verdict(plain(tmp_path), "Reference numbers") == (UNKNOWN, "1 numbers of others: 1 not comparable.")
