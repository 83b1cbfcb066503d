"""The overview of a suite: matrix with holes, deficits, differences, figure, files and order."""

from __future__ import annotations

import csv
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UserError
from benchmarks.record import RunRecord
from reports import files
from reports.__main__ import main
from reports.leaderboard import to_markdown as leaderboard_markdown
from reports.mixture_figure import HEIGHT, LINE_HEIGHT, TOP, mixtures
from reports.overview import Overview, accuracies, deficits, differences, holes, short_names, to_csv, to_markdown
from reports.overview_page import to_html
from reports.page import to_html as page_of
from reports.table import build_tables
from reports.text import signed_limits
from tests.made_runs import (
    Pair,
    answers,
    deliver,
    failed_record,
    made_tracking,
    on,
    predictions,
    three,
    three_methods,
    with_valid,
)
from tests.made_tables import tracking_of


def two_datasets() -> list[RunRecord]:
    """On mix-a joint is ahead of dmil by 0.1, on mix-b dmil has a failed seed and ensemble no run at all."""
    first = [*three("joint", 0.6, 0.7, 0.8), *three("dmil", 0.5, 0.6, 0.7), *three("ensemble", 0.9, 0.9, 0.9)]
    first = [*with_valid(first[:6], 0.8), *with_valid(first[6:], 0.7)]
    second = [*three("joint", 0.7, 0.7, 0.7), *three("dmil", 0.8, 0.8), failed_record("dmil", 2, "boom")]
    return [*on("mix-a", *first), *on("mix-b", *second)]


def overview_of(folder: Path, records: list[RunRecord], **changes: Any) -> Overview:
    return Overview("small", tuple(build_tables(tracking_of(folder, records, **changes))), ("mix-c",))


def test_the_matrix_shows_every_hole(tmp_path: Path) -> None:
    found = accuracies(overview_of(tmp_path, two_datasets(), card={"bayes_accuracy": 0.95}))
    assert found["headings"] == ["method", "a", "b", "c"]
    assert found["rows"] == [
        ["Bayes limit", "95.0", "95.0", ""],
        ["ensemble", "90.0 ± 0.0", "–", "no runs"],
        ["joint", "70.0 ± 10.0 ★", "70.0 ± 0.0 ★", "no runs"],
        ["dmil", "60.0 ± 10.0", "failed 2/3", "no runs"],
    ]


def test_deficits_are_means_minus_the_limit(tmp_path: Path) -> None:
    overview = overview_of(tmp_path, two_datasets(), card={"bayes_accuracy": 0.95})
    assert deficits(overview)["rows"] == [
        ["ensemble", "−5.0", "–", "no runs"],
        ["joint", "−25.0", "−25.0", "no runs"],
        ["dmil", "−35.0", "failed 2/3", "no runs"],
    ]
    assert "## Deficit" in to_markdown(overview)
    assert "## Deficit" not in to_markdown(overview_of(tmp_path, two_datasets()))


def test_the_difference_is_paired_and_chosen_on_validation(tmp_path: Path) -> None:
    overview = overview_of(tmp_path, two_datasets())
    # ensemble is ahead on test, joint on validation; differences -0.1 for every seed
    assert differences(overview)["rows"] == [
        ["a", "dmil", "60.0", "joint", "70.0", "−10.0", "predictions missing", "3"],
        ["b", "", "", "joint", "70.0", "", "", ""],
    ]


def test_the_interval_of_the_difference_is_that_of_the_datasets_own_page(tmp_path: Path) -> None:
    records, files = three_methods()
    records += three("dmil", 0.5, 0.5, 0.5)
    frame = predictions(answers([1, 0, 1, 0]), [1] * 4)
    overview = overview_of(tmp_path, records, files=files | {record.key: frame for record in records[-3:]})
    gain = next(line.gain for line in overview.tables[0].lines if line.method == "dmil")
    assert gain
    assert gain.shown
    (row,) = csv.DictReader(line for line in to_csv(overview).splitlines() if ",dmil," in line or "minus" in line)
    assert (row["minus_strongest_ci_low"], row["n_pairs"]) == (f"{gain.shown[0]:.6f}", "3")
    assert differences(overview)["rows"][0][-2] == signed_limits(gain)


def test_the_suites_own_method_is_compared_wherever_it_is_there(tmp_path: Path) -> None:
    own = on("mix-a", *with_valid(three("dmil_pid", 0.8, 0.8, 0.8), 0.1))
    found = differences(overview_of(tmp_path, [*two_datasets(), *own]))
    assert [row[1] for row in found["rows"]] == ["dmil_pid", ""]
    assert found["caption"].startswith("DMIL: dmil_pid.")
    assert differences(overview_of(tmp_path, two_datasets()))["caption"].startswith(
        "DMIL: the variant with the highest"
    )


def test_csv_has_a_row_per_dataset_and_method(tmp_path: Path) -> None:
    overview = overview_of(tmp_path, two_datasets(), card={"bayes_accuracy": 0.95})
    rows = {(row["dataset"], row["method"]): row for row in csv.DictReader(to_csv(overview).splitlines())}
    assert len(rows) == 5
    # t quantile for 2 degrees of freedom 4.302653; half width 4.302653 * 0.1 / sqrt(3) = 0.248414
    assert rows["mix-a", "dmil"] == {
        "suite": "small",
        "dataset": "mix-a",
        "method": "dmil",
        "n_seeds": "3",
        "n_failed": "0",
        "test_acc_mean": "0.600000",
        "test_acc_std": "0.100000",
        "test_acc_ci_low": "0.351586",
        "test_acc_ci_high": "0.848414",
        "valid_acc_mean": "0.800000",
        "bayes_accuracy": "0.950000",
        "deficit_mean": "-0.350000",
        "strongest_baseline": "joint",
        "minus_strongest_mean": "-0.100000",
        "minus_strongest_ci_low": "",
        "minus_strongest_ci_high": "",
        "n_pairs": "3",
        "status": "complete",
    }
    hole = rows["mix-b", "dmil"]
    assert (hole["status"], hole["n_failed"], hole["bayes_accuracy"]) == ("failed", "1", "0.950000")
    assert hole["test_acc_mean"] == hole["deficit_mean"] == hole["minus_strongest_mean"] == hole["n_pairs"] == ""
    assert rows["mix-a", "joint"]["minus_strongest_mean"] == "", "the baseline itself"


def test_holes_are_listed_and_the_page_escapes(tmp_path: Path) -> None:
    records = [*two_datasets()[:-1], *on("mix-b", failed_record("dmil", 2, "<script>boom"))]
    overview = overview_of(tmp_path, records, card={"title": "A <b>toy</b>", "warning": "void <here>"})
    assert holes(overview) == ["mix-b, dmil: seed 2: <script>boom", "mix-c: no runs"]
    page = to_html(overview)
    assert "&lt;script&gt;boom" in page
    assert "A &lt;b&gt;toy" in page
    assert "void &lt;here&gt;" in page
    assert not re.search(r"<link|\bsrc=|url\(|@import", page)
    assert page.count("<script") == 1, "the page's own"
    assert 'href="mix-a/index.html"' in page
    assert "- mix-b, dmil: seed 2: <script>boom" in to_markdown(overview)


def test_a_hole_interrupts_the_line_and_has_no_marker(tmp_path: Path) -> None:
    names = ("mix-a", "mix-b", "mix-c")
    records = [run for name in names for run in on(name, *three("joint", 0.7, 0.7, 0.7))]
    records += on("mix-a", *three("dmil", 0.8, 0.8, 0.8)) + on("mix-c", *three("dmil", 0.8, 0.8, 0.8))
    records += on("mix-b", *three("dmil", 0.8, 0.8))
    records += [run for name in names for run in on(name, *three("constant", 0.1, 0.1, 0.1))]
    records += [run for name in names for run in on(name, *three("unimodal_left", 0.1, 0.1, 0.1))]
    figure = mixtures(overview_of(tmp_path, records, card={"bayes_accuracy": 0.9}))
    assert figure
    found = {one["method"]: (len(one["points"]), len(one["steps"])) for one in figure["series"]}
    assert found == {"joint": (3, 2), "dmil": (2, 0)}, "floor and unimodal rows are left to the table"
    assert len(figure["limit"]) == 3
    assert figure["limit"][0][1] == pytest.approx(figure["limit"][1][0], abs=0.01), "one line over all datasets"
    assert [name for _, name in figure["names"]] == ["a", "b", "c"]
    assert "dmil: mix-a 80.0, mix-c 80.0" in figure["description"]


def test_positions_follow_the_values_and_labels_do_not_overlap(tmp_path: Path) -> None:
    methods = {"joint": 0.7, "joint_mlp": 0.7, "ensemble": 0.7, "late_fusion": 0.7, "dmil": 0.9, "dmil_fc": 0.701}
    records = [run for name, value in methods.items() for run in on("mix-a", *three(name, value, value, value))]
    figure = mixtures(overview_of(tmp_path, records, card={"bayes_accuracy": 0.9}))
    assert figure
    places = {one["method"]: one["points"][0]["y"] for one in figure["series"]}
    # the axis goes from 0.65 to 0.95: 0.05 are 330 / 6 = 55 pixels, 0.001 are 1.1
    assert places["dmil"] == figure["limit"][0][2] == TOP + 55
    assert places["joint"] == TOP + HEIGHT - 55
    assert places["dmil_fc"] == pytest.approx(TOP + HEIGHT - 56.1)
    texts = [label["y"] for label in figure["labels"]]
    assert len(texts) == 7
    assert all(b - a >= LINE_HEIGHT - 0.011 for a, b in pairwise(texts))
    assert TOP <= texts[0] <= texts[-1] <= TOP + HEIGHT
    looks = [(one["kind"], one["colour"], one["shape"]) for one in figure["series"]]
    assert len(set(looks)) == len(looks)
    assert len({(colour, shape) for _, colour, shape in looks}) == len(looks), "told apart without fill as well"


def test_intervals_need_seeds_and_stay_on_the_axis(tmp_path: Path) -> None:
    figure = mixtures(overview_of(tmp_path, on("mix-a", *three("joint", 0.2, 0.99, 0.5))))
    assert figure
    (point,) = figure["series"][0]["points"]
    assert (point["high"], point["low"]) == (TOP, TOP + HEIGHT)
    assert mixtures(overview_of(tmp_path, on("mix-a", *three("joint", 0.2)))) is None


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["interactions-r", "interactions-r50s50-unequal"], ["r", "r50s50-unequal"]),
        (["mix-a-3m", "mix-a-c4"], ["3m", "c4"]),
        (["interactions-mixed", "digits"], ["interactions-mixed", "digits"]),
        (["interactions-mixed"], ["interactions-mixed"]),
    ],
)
def test_names_lose_what_they_share(names: list[str], short: list[str]) -> None:
    assert short_names(names) == short


def suite_order(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def datasets(suite: str) -> list[str]:
        if not names:
            raise UserError(f"unknown suite {suite}")
        return list(names)

    monkeypatch.setattr(files, "suite_datasets", datasets)


def test_datasets_stand_in_the_suites_order_and_others_as_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [run for name in ("mix-a", "mix-b", "mix-c", "mix-d") for run in on(name, *three("joint", 0.6, 0.7, 0.8))]
    planned = {"mix-a": 3000, "mix-b": 2000, "mix-c": 1000, "mix-d": 4000}
    tables = build_tables(tracking_of(tmp_path, records, planned=planned))
    suite_order(monkeypatch, "mix-d", "mix-e", "mix-b")
    ordered, missing = files.in_order("small", tables)
    assert [table.dataset for table in ordered] == ["mix-d", "mix-b", "mix-c", "mix-a"]
    assert missing == ["mix-e"]
    suite_order(monkeypatch)
    assert [table.dataset for table in files.in_order("small", tables)[0]] == ["mix-c", "mix-b", "mix-a", "mix-d"]


def test_the_command_writes_pages_and_overview_of_a_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite_order(monkeypatch, "interactions-r", "interactions-mixed", "interactions-s")
    pair: Pair = made_tracking(tmp_path)
    for dataset in ("interactions-mixed", "interactions-r"):
        deliver(pair, *on(dataset, *three("joint", 0.6, 0.7, 0.8)), dataset=dataset)
    out = tmp_path / "out"
    assert main(["--suite", "small", "--out", str(out)]) == 0
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert {"small/index.html", "small/index.md", "small/index.csv"} <= found
    assert {"small/interactions-r/index.html", "small/interactions-mixed/leaderboard.csv"} <= found
    assert "| method | r | mixed | s |" in (out / "small" / "index.md").read_text()
    assert "no runs" in capsys.readouterr().out
    assert main(["--dataset", "interactions", "--out", str(tmp_path / "one")]) == 0
    written = {str(path.relative_to(tmp_path / "one")) for path in (tmp_path / "one").rglob("*.html")}
    expected = {"index.html", "small/interactions-mixed/index.html"}
    assert written == expected, "the alias, and no overview for a single dataset"


def test_the_leaderboard_stays_where_others_look_for_it(tmp_path: Path) -> None:
    records = [*on("mix-a", *three("joint", 0.6, 0.7, 0.8, suite="leaderboard"))]
    (table,) = build_tables(tracking_of(tmp_path, records))
    assert files.folder_of(table) == "mix-a"


def test_a_transfer_says_what_its_numbers_are(tmp_path: Path) -> None:
    spec = {"settings": {"lr": 0.1}, "transfer": {"train_classes": [0, 2], "probe_classes": [1, 3]}}
    records = three("joint", 0.6, 0.7, 0.8, spec=spec)
    for record in records:
        record.metrics["source/valid_acc"] = 0.9
    tracking = tracking_of(tmp_path, records)
    (table,) = build_tables(tracking)
    said = (
        "learned on the classes 0, 2 alone and then frozen; a linear probe, fitted on training samples of the classes"
    )
    text, page = leaderboard_markdown(table), page_of(table, tracking)
    assert said in text
    assert said in page
    assert "| 3/3 | default | complete | 90.0 |" in text
    assert "source valid acc. %" in text
    assert ">Source %</th>" in page
    assert said in to_html(Overview("small", (table,)))
    (plain,) = build_tables(tracking_of(tmp_path, three("joint", 0.6, 0.7, 0.8)))
    assert "source" not in leaderboard_markdown(plain)
    assert "out of distribution" not in to_markdown(Overview("small", (plain,)))
