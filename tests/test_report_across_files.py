"""All datasets side by side: completeness, the files, and what the page says beside its tables."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from reports.across import Across
from reports.across_aggregate import aggregate
from reports.across_files import aggregates_csv, runs_csv, to_csv, to_latex, to_markdown
from reports.across_page import to_html
from reports.across_tables import completeness, effort
from reports.completeness import Cell, in_words, matrix
from tests.made_across import across_of, datasets_of, runs
from tests.made_runs import TUNING, failed_record, on


def page_of(across: Across) -> str:
    return to_html(across, aggregate(across))


def test_the_matrix_counts_expected_finished_and_failed(tmp_path: Path) -> None:
    records = [*runs("a", joint=0.8, dmil=0.9, constant=0.5), *runs("b", joint=[0.8, 0.8])]
    records += on("b", *(failed_record("dmil", seed, suite="leaderboard") for seed in (0, 1)))
    across = across_of(tmp_path, records)
    found = matrix(across.tables)
    assert [(name, [one.text for one in cells]) for name, cells in found.rows] == [
        ("constant (floor)", ["3/3", "–"]),
        ("joint", ["3/3", "2/3, 1 missing"]),
        ("dmil", ["3/3", "0/3, 2 failed, 1 missing"]),
        ("all methods", ["9/9", "2/6, 2 failed, 2 missing"]),
    ]
    assert [one.state for _, cells in found.rows for one in cells] == [
        *("complete", "unplanned", "complete", "incomplete", "complete", "failed", "complete", "failed")
    ]
    assert in_words(found) == "Of 15 expected runs 11 are finished, 2 failed and 2 not there yet."
    assert completeness(across)["rows"][2] == ["dmil", "3/3", "0/3, 2 failed, 1 missing"]
    page = to_html(across, None)
    assert '<td class="failed">0/3, 2 failed, 1 missing</td>' in page
    assert '<td class="unplanned">–</td>' in page
    whole = matrix(across_of(tmp_path, runs("a", joint=0.8)).tables)
    assert whole.total == Cell(3, 3, 0)
    assert in_words(whole) == "All 3 expected runs are finished."


def test_files_hold_what_the_page_shows(tmp_path: Path) -> None:
    across = across_of(tmp_path, [*datasets_of("ab"), *runs("b", ensemble=[0.7, 0.7])], tuning={"dmil": TUNING})
    found = aggregate(across)
    first, _ = csv.DictReader(io.StringIO(to_csv(across)))
    # dmil 0.89, 0.90, 0.91 and joint 0.79, 0.80, 0.81: 0.1 for every seed
    assert (first["dmil"], first["baseline"], first["minus_baseline_mean"], first["n_pairs"]) == (
        "dmil",
        "joint",
        "0.100000",
        "3",
    )
    assert (first["n_expected"], first["n_finished"], first["best_method"]) == ("12", "12", "dmil")
    assert first["settings"] == "default, tuned (64 × 2)" == effort(across.tables[0])
    methods = {row["method"]: row for row in csv.DictReader(io.StringIO(aggregates_csv(across, found)))}
    assert methods["joint"]["p_dmil_better"] == "1.000000"
    assert methods["dmil"]["p_dmil_better"] == ""
    # late_fusion: 0.75 on a and 0.85 on b; ranks 3 and 2
    assert methods["late_fusion"]["mean_rank"] == "2.5000"
    cells = {(row["dataset"], row["method"]): row for row in csv.DictReader(io.StringIO(runs_csv(across)))}
    assert (cells["b", "ensemble"]["n_missing"], cells["b", "ensemble"]["test_acc_mean"]) == ("1", "")
    assert (cells["a", "dmil"]["on_front_n_params"], cells["a", "joint"]["on_front_n_params"]) == ("yes", "no")
    assert cells["a", "constant"]["on_front_n_params"] == ""
    text = to_markdown(across, found)
    assert "- [a](a/index.html): dmil is 10.0 points above joint" in text
    assert "- b: dmil is" in text, "there is no page of it"
    assert "| ensemble | – | 2/3, 1 missing |" in text
    assert "- a: The rows had unequal tuning" in text
    latex = to_latex(across, found)
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") == 4
    assert r"late\_fusion" in latex


def test_the_page_escapes_and_links_what_is_there(tmp_path: Path) -> None:
    page = page_of(across_of(tmp_path, datasets_of("ab"), {"b": "void <here>"}, ("utd_mhad",)))
    assert "The &lt;a&gt;" in page
    assert "void &lt;here&gt;" in page
    assert "<here>" not in page
    assert page.count('href="a/index.html"') == 2
    assert 'href="b/index.html"' not in page
    assert "Names without a link have no page yet: <code>make report</code> writes all of them." in page
    assert "Datasets of the suite without runs: utd_mhad." in page
    assert not re.search(r"<link|\bsrc=|url\(|@import", page)


def test_other_seeds_are_not_silently_compared(tmp_path: Path) -> None:
    """Seeds 0 to 2 are planned for every row; a plan of other seeds for one of them shows."""
    across = across_of(tmp_path, datasets_of("ab"))
    assert "same seeds" not in to_html(across, aggregate(across))
    for run in next(line for line in across.tables[1].lines if line.method == "joint").row.runs:  # type: ignore[union-attr]
        object.__setattr__(run, "seed", run.seed + 10)
    page = to_html(across, aggregate(across))
    assert "On b the methods do not have the same seeds: 0, 1, 2 for dmil, late_fusion; 10, 11, 12 for joint." in page
    assert "dmil and joint (90.0 against 80.0 %) share no seed, so they are not compared." in page


def test_a_store_without_leaderboards_has_an_index(tmp_path: Path) -> None:
    page = page_of(across_of(tmp_path, []))
    assert "has no runs yet" in page
    assert "<h2" not in page
