"""LaTeX of every table: escaped, as many cells in every row, holes shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reports.__main__ import main
from reports.latex import HEADER, booktabs, escape, interactions, leaderboard, overview, several
from reports.overview import Overview
from reports.table import build_tables
from tests.made_runs import failed_record, three, three_methods
from tests.made_tables import known_table, tracking_of

# What pdfLaTeX with T1 fonts prints as it is.
PLAIN = re.compile(r"[\x20-\x7e\n]*")


def tabulars(text: str) -> list[list[str]]:
    """The rows of every table, headings first."""
    found = re.findall(r"\\begin\{tabular\}\{[lr]+\}\n(.*?)\\end\{tabular\}", text, re.DOTALL)
    return [[line for line in one.splitlines() if line.endswith(r" \\")] for one in found]


def check(text: str) -> None:
    """Every row as wide as its columns, braces and dollars in pairs, nothing special left, a caption each."""
    for places, one in zip(re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text), tabulars(text), strict=True):
        assert len(one) > 1
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in one} == {len(places)}
    body = text.removeprefix(HEADER)
    assert PLAIN.fullmatch(text), sorted(set(re.sub(r"[\x20-\x7e\n]", "", text)))
    assert not re.search(r"(?<!\\)[%#~^]", re.sub(r"\$\^\{.\}\$", "", body))
    assert not re.search(r"(?<!\\)_", body)
    assert len(re.findall(r"(?<!\\)\{", body)) == len(re.findall(r"(?<!\\)\}", body))
    assert len(re.findall(r"(?<!\\)\$", body)) % 2 == 0
    assert text.count(r"\begin{table}") == text.count(r"\caption{") == text.count(r"\label{tab:") == len(tabulars(text))


def test_a_table_by_hand() -> None:
    text = booktabs(
        ["method", "acc. %"], [["a_b", "1.0 ± 2.0"], ["[c]", ""]], "50 % of R&D", "x", bold={(0, 1), (1, 1)}
    )
    assert text.splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\footnotesize",
        r"\caption{50 \% of R\&D}",
        r"\label{tab:x}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"method & acc. \% \\",
        r"\midrule",
        r"a\_b & \textbf{1.0 $\pm$ 2.0} \\",
        r"{[}c] &  \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_everything_special_is_escaped() -> None:
    assert escape("\\input{a} #$~^_%&\n−1") == (
        r"\textbackslash{}input\{a\} \#\$\textasciitilde{}\textasciicircum{}\_\%\& $-$1"
    )


def test_the_leaderboard_shows_holes_and_bold_rows(tmp_path: Path) -> None:
    records = [
        *three("joint", 0.6, 0.7, 0.8),
        *three("late_fusion", 0.5, 0.5),
        failed_record("late_fusion", 2, "50% & _"),
    ]
    card = {"bayes_accuracy": 0.9, "warning": "labels leak into modality_1"}
    (table,) = build_tables(tracking_of(tmp_path, records, card=card))
    text = leaderboard(table)
    check(text)
    assert r"1 & joint & \textbf{70.0 $\pm$ 10.0} & 45.2 to 94.8 & baseline &" in text
    assert r" & late\_fusion &  &  &  &  &  &  & 2/3 & default & failed \\" in text
    assert r"Holes: late\_fusion, seed 2: 50\% \& \_." in text
    assert r"Warning: labels leak into modality\_1" in text
    assert "Student-t interval" in text
    assert text.count(r"\textbf") == 1


def test_interactions_and_overviews_are_tables_too(tmp_path: Path) -> None:
    table = known_table(tmp_path)
    text = interactions(table)
    check(text)
    assert re.findall(r"\\label\{tab:(.*)\}", text) == ["interactions-toy-accuracy", "interactions-toy-gates"]
    text = overview(Overview("small", (table,), ("digits",)))
    check(text)
    assert "no runs" in text
    assert "Holes: digits: no runs." in text
    assert len(tabulars(text)) == 3


def test_several_tables_share_one_header() -> None:
    one = {"headings": ["method"], "rows": [["a"]], "caption": "c"}
    text = several({"Test accuracy": one, "b": one}, "x")
    check(text)
    assert re.findall(r"\\label\{tab:(.*)\}", text) == ["x-test-accuracy", "x-b"]
    assert text.count(HEADER) == 1


def test_the_command_writes_them_beside_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, files = three_methods()
    made = tracking_of(tmp_path, records, files=files)
    monkeypatch.setattr("benchmarks.tracking.Tracking", lambda: made)
    monkeypatch.setattr("reports.page.to_html", lambda *_: "")
    (tmp_path / "out" / "small" / "toy").mkdir(parents=True)
    old = tmp_path / "out" / "small" / "toy" / "interactions.tex"
    old.write_text("of an older table")
    assert main(["--suite", "small", "--out", str(tmp_path / "out")]) == 0
    check((tmp_path / "out" / "small" / "toy" / "leaderboard.tex").read_text())
    check((tmp_path / "out" / "small" / "index.tex").read_text())
    assert not old.exists()
