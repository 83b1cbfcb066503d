"""All datasets side by side: verdicts, aggregates over complete cells alone, completeness, and the files."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from reports.across import BEST_UNIMODAL, standing
from reports.across_aggregate import aggregate
from reports.across_files import aggregates_csv, to_markdown
from reports.across_page import to_html
from reports.across_tables import datasets, why_nots
from reports.across_words import headline, left_out, notes, verdict
from reports.rank_figure import ranks
from tests.made_across import across_of, datasets_of, runs
from tests.made_runs import failed_record, on

NAMES = "abcdefgh"


def test_three_datasets_have_no_critical_difference_diagram_and_say_why(tmp_path: Path) -> None:
    across = across_of(tmp_path, datasets_of("abc"))
    found = aggregate(across)
    assert found
    assert found.test is None
    assert ranks(found, 3) is None
    (said,) = why_nots(across, found)
    assert said.startswith("No rank test and no critical-difference diagram: 3 datasets hold")
    page = to_html(across, found)
    assert said in page
    assert "Friedman" not in page
    assert said in to_markdown(across, found)


def test_eight_datasets_have_one_with_what_is_not_told_apart(tmp_path: Path) -> None:
    across = across_of(tmp_path, datasets_of(NAMES))
    found = aggregate(across)
    assert found
    # dmil is first on all eight; the other two take turns: ranks 1, 2.5, 2.5
    assert [(row.method, row.rank) for row in found.rows] == [("dmil", 1.0), ("joint", 2.5), ("late_fusion", 2.5)]
    figure = ranks(found, 8)
    assert figure
    assert len(figure["groups"]) == 1, "dmil stands alone"
    x1, x2, _ = figure["groups"][0]
    assert x1 == x2 == figure["methods"][1]["x"]
    assert "Not told apart: joint; late_fusion." in figure["description"]
    assert why_nots(across, found) == []
    page = to_html(across, found)
    assert "Critical-difference diagram: mean rank of each method over 8 datasets" in page
    # Friedman: 12 / (8 * 3 * 4) * (8² + 20² + 20²) - 3 * 8 * 4 = 12, chi-squared with 2 degrees of freedom: exp(-6)
    assert "p = 0.00248" in page


def test_eight_datasets_one_of_them_void_are_seven(tmp_path: Path) -> None:
    across = across_of(tmp_path, datasets_of(NAMES), warnings={"b": "validation is void"})
    found = aggregate(across)
    assert found
    assert found.test is None
    assert "7 datasets hold" in why_nots(across, found)[0]
    assert [table.dataset for table in across.sound] == list("acdefgh")
    text = "b is left out of all aggregates and counts, for its card carries a warning: validation is void"
    assert text in notes(across)
    page = to_html(across, found)
    assert text in page
    assert "Warning: validation is void" in page
    assert "above on 7 (a, c, d, e, f, g, h), below on 0" in page


def test_a_method_with_a_hole_in_one_dataset_is_in_no_aggregate(tmp_path: Path) -> None:
    records = [*datasets_of("abc")]
    records += [run for name in "abc" for run in runs(name, dmil_pid=0.95)]
    records = [run for run in records if (run.dataset, run.method, run.seed) != ("b", "dmil_pid", 1)]
    records += runs("a", ensemble=0.7)
    across = across_of(tmp_path, records)
    found = aggregate(across)
    assert found
    assert {row.method for row in found.rows} == {"dmil", "joint", "late_fusion"}
    assert left_out(across) == [
        "dmil_pid: incomplete (2 of 3 seeds) on b",
        "ensemble: not planned on b, not planned on c",
    ]
    assert "In no aggregate, for want of runs: dmil_pid: incomplete" in to_html(across, found)
    rows = csv.DictReader(io.StringIO(aggregates_csv(across, found)))
    assert "dmil_pid" not in {row["method"] for row in rows}


def test_a_method_that_failed_is_in_no_aggregate_either(tmp_path: Path) -> None:
    records = [run for run in datasets_of("ab") if (run.dataset, run.method, run.seed) != ("a", "joint", 0)]
    records += on("a", failed_record("joint", 0, suite="leaderboard"))
    across = across_of(tmp_path, records)
    found = aggregate(across)
    assert found
    assert left_out(across) == ["joint: failed (2 of 3 seeds) on a"]
    # and neither is a result that is not a number
    records = [*datasets_of("ab"), *runs("a", ensemble=[0.9, float("nan"), 0.9]), *runs("b", ensemble=0.9)]
    assert left_out(across_of(tmp_path, records)) == ["ensemble: failed (2 of 3 seeds) on a"]


def test_one_dataset_or_one_method_has_no_aggregate(tmp_path: Path) -> None:
    across = across_of(tmp_path, datasets_of("a"))
    assert aggregate(across) is None
    said = "No aggregates: they need 2 datasets without a warning, and there are runs of 1 dataset."
    assert why_nots(across, None) == [said]
    assert said in to_html(across, None)
    assert aggregates_csv(across, None).count("\n") == 1
    alone = across_of(tmp_path, [run for name in "ab" for run in runs(name, dmil=0.9)])
    assert alone.why_no_aggregate == "No aggregates: 1 method is complete on all 2 datasets."
    none = across_of(tmp_path, [*runs("a", dmil=0.9), *runs("b", joint=0.9)])
    assert none.why_no_aggregate == "No aggregates: no method is complete on all 2 datasets."


def test_the_interquartile_mean_starts_at_the_constant_row(tmp_path: Path) -> None:
    across = across_of(tmp_path, datasets_of("ab", dmil=0.9, joint=0.8))
    found = aggregate(across)
    row = found and found.row("dmil")
    assert row
    assert row.iqm
    # floor 0.5: runs 0.78, 0.8, 0.82 on both; the middle half of six drops one from either end
    assert row.iqm.value == pytest.approx(0.8)
    assert row.improvement is None, "over itself"
    without = across_of(tmp_path, [run for run in datasets_of("ab") if (run.dataset, run.method) != ("b", "constant")])
    found = aggregate(without)
    assert found
    assert [row.iqm for row in found.rows] == [None] * 3
    assert "No IQM: the constant row is not complete on b." in to_html(without, found)


def test_the_headline_says_how_many_each_side_chose_from(tmp_path: Path) -> None:
    across = across_of(tmp_path, [*datasets_of("ab"), *runs("a", dmil_pid=0.7), *runs("b", ensemble=[0.7, 0.7])])
    start = "Best DMIL variant (of 1 to 2) against strongest conventional baseline (of 2) on 2 datasets, both chosen by"
    assert headline(across, aggregate(across))[0].startswith(start), "what is not complete is not chosen from"


def test_the_best_unimodal_row_stands_for_the_unimodal_ones(tmp_path: Path) -> None:
    records = datasets_of("ab")
    records += runs("a", {"unimodal_text": 0.7, "unimodal_audio": 0.6}, unimodal_text=0.6, unimodal_audio=0.7)
    records += runs("b", unimodal_skeleton=0.65)
    across = across_of(tmp_path, records)
    lines = across.complete[BEST_UNIMODAL]
    assert [line.method for line in lines] == ["unimodal_text", "unimodal_skeleton"], "by validation, not by test"
    assert not any(name.startswith("unimodal_") for name in across.cells)
    hole = across_of(tmp_path, [run for run in records if (run.method, run.seed) != ("unimodal_audio", 2)])
    assert left_out(hole) == [f"{BEST_UNIMODAL}: incomplete (2 of 3 seeds) on a"]


MIRROR = {"above": "below", "below": "above"}


def shape(text: str) -> str:
    """A sentence without its numbers."""
    return re.sub(r"[−+\d.]+", "0", text)


def test_worse_is_said_as_plainly_as_better(tmp_path: Path) -> None:
    """dmil at 0.9 and joint at 0.8, then the other way round: the same sentences in the same places."""
    ahead = across_of(tmp_path, [run for name in "ab" for run in runs(name, dmil=[0.9, 0.9, 0.91], joint=0.8)])
    behind = across_of(tmp_path, [run for name in "ab" for run in runs(name, dmil=0.8, joint=[0.9, 0.9, 0.91])])
    first, second = (verdict(one.tables[0]) for one in (ahead, behind))
    assert first.startswith("dmil is 10.3 points above joint (90.3 against 80.0 %); difference over 3 paired seeds: ")
    assert second.startswith("dmil is 10.3 points below joint (80.0 against 90.3 %); difference over 3 paired seeds: ")
    assert re.sub("above|below", lambda word: MIRROR[word[0]], shape(first)) == shape(second)
    # differences 0.11, 0.10, 0.10: mean 0.10333, half width 4.302653 * 0.0057735 / sqrt(3) = 0.014342
    assert first.endswith("95 % interval +8.9 to +11.8 points.")
    assert second.endswith("95 % interval −11.8 to −8.9 points.")
    better, worse = (headline(one, aggregate(one)) for one in (ahead, behind))
    assert (
        "above on 2 (a, b), below on 0, level on 0. With an interval over seeds that leaves out 0: above on 2"
        in better[0]
    )
    assert (
        "above on 0, below on 2 (a, b), level on 0. With an interval over seeds that leaves out 0: above on 0"
        in worse[0]
    )
    assert "with a probability of 100.0 %, below with 0.0 %" in better[1]
    assert "with a probability of 0.0 %, below with 100.0 %" in worse[1]
    pages = [to_html(one, aggregate(one)) for one in (ahead, behind)]
    tags = [
        re.findall(
            r"<[^>]+>",
            page[page.index('<ul class="headline">') : page.index("</ul>", page.index('<ul class="headline">'))],
        )
        for page in pages
    ]
    assert tags[0] == tags[1], "no class, no place that depends on the sign"


def test_level_is_level_and_seeds_may_not_tell(tmp_path: Path) -> None:
    level = across_of(tmp_path, runs("a", dmil=[0.8, 0.8, 0.8003], joint=[0.8, 0.8, 0.8]))
    assert verdict(level.tables[0]).startswith("dmil is level with joint (80.0 against 80.0 %)")
    assert "above on 0, below on 0, level on 1 (a)." in headline(level, None)[0]
    loose = across_of(tmp_path, runs("a", dmil=[0.7, 0.8, 0.9], joint=[0.8, 0.8, 0.7]))
    found = standing(loose.tables[0])
    assert found
    assert (found.sign, found.is_told_apart) == (1, False)
    assert verdict(loose.tables[0]).endswith("so that seeds do not tell them apart.")
    # differences 0.0010, 0.0011, 0.0012: half width 4.302653 * 0.0001 / sqrt(3) = 0.00025; 0.085 to 0.135 %
    near = across_of(tmp_path, runs("a", dmil=[0.801, 0.8011, 0.8012], joint=[0.8, 0.8, 0.8]))
    assert "95 % interval +0.1 to +0.1 points." in verdict(near.tables[0])
    # 0.0004, 0.0006, 0.0008: half width 0.0005; 0.01 to 0.11 %, and what is shown as 0.0 does not leave out 0
    nearer = across_of(tmp_path, runs("a", dmil=[0.8004, 0.8006, 0.8008], joint=[0.8, 0.8, 0.8]))
    assert "95 % interval 0.0 to +0.1 points, so that seeds do not tell them apart." in verdict(nearer.tables[0])


def test_two_seeds_have_no_interval_and_a_hole_no_verdict(tmp_path: Path) -> None:
    lacking = across_of(tmp_path, [*runs("a", joint=0.8), *runs("a", dmil=[0.9, 0.9])])
    assert verdict(lacking.tables[0]) == "no comparison, for no DMIL variant is complete."
    neither = across_of(tmp_path, runs("a", constant=0.5))
    assert verdict(neither.tables[0]) == "no comparison, for no DMIL variant and no conventional baseline is complete."
    assert headline(lacking, None) == []
    row = datasets(lacking)["rows"][0]
    assert row == ["a", "joint", "80.0 ± 1.0", "joint", "80.0 ± 1.0", "", "", "", "", "", "5/6, 1 missing", "default"]
