"""What must be known of a method beside its numbers reaches the page and the Markdown of every table that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.methods import METHODS
from reports.leaderboard import to_markdown
from reports.method_notes import method_notes
from reports.page import to_html
from reports.table import build_tables
from tests.made_runs import three
from tests.made_tables import tracking_of
from tests.test_report_markup import every, parse, problems, text_of

LEGEND = "†: what the numbers do not say of this method"


def test_notes_are_sentences_about_methods_that_exist() -> None:
    assert set(method_notes()) <= set(METHODS)
    for method, note in method_notes().items():
        assert "\n" not in note, method
        assert note.endswith("."), method


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("factorcl", "is a guess"),
        ("mmib", "likely, not certain"),
        ("mmml", "likely, not certain"),
        ("mmml", "cme"),
        ("mlb", "likely, not certain"),
        ("mmtm", "one module"),
        ("i2m2", "One of two starts"),
        ("umt", "third-party code"),
        ("gradient_blending", "third-party code"),
    ],
)
def test_doubts_and_reduced_forms_are_told(method: str, said: str) -> None:
    assert said in method_notes()[method]


def test_a_row_with_a_note_is_marked_and_its_details_tell(tmp_path: Path) -> None:
    tracking = tracking_of(tmp_path, [*three("joint", 0.6, 0.7, 0.8), *three("mmml", 0.5, 0.6, 0.7)])
    (table,) = build_tables(tracking)
    page, note = to_html(table, tracking), method_notes()["mmml"]
    assert problems(page) == []
    tree, _ = parse(page)
    marks = {one.get("title"): text_of(one) for one in every(tree, "span") if one.get("class") == "tag note"}
    assert marks == {note: "†"}
    details = {one.get("id"): one for one in every(tree, "div") if one.get("class") == "details"}
    assert f"† {note}" in [text_of(one) for one in every(details["row-mmml"], "p")]
    assert "†" not in text_of(details["row-joint"])
    assert LEGEND in page
    assert [line for line in to_markdown(table).splitlines() if note in line] == [f"- `mmml`: {note}"]


def test_without_such_a_row_nothing_is_marked(tmp_path: Path) -> None:
    tracking = tracking_of(tmp_path, three("joint", 0.6, 0.7, 0.8))
    (table,) = build_tables(tracking)
    assert "†" not in to_html(table, tracking) + to_markdown(table)
