"""Tuned settings in the bench: what it refuses, who gets them, and that no table mixes them with others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import suite, tuned
from benchmarks.__main__ import main
from benchmarks.errors import UserError
from benchmarks.methods import TABLE
from benchmarks.plan import Spec
from benchmarks.record import Plan
from benchmarks.registry import load_dataset
from benchmarks.run import Options, make_benches, run_benches
from benchmarks.suite import DEFAULT_SUITE, load_suite, suite_datasets, suite_names
from benchmarks.tracking import Tracking
from dmil.settings import override
from reports.table import Table, build_tables
from tests.made_runs import empty_store
from tests.made_tuned import made_tuned

TOY = "interactions-s-n100"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where benches under test keep their results, with a tracking store that is there already."""
    (tmp_path / "mlflow.db").write_bytes(empty_store())
    monkeypatch.setattr("benchmarks.store.RESULTS", tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"data_checksum": "0" * 64},
            "joint.yaml was tuned on other data (checksum 0000000000000000 instead of {checksum}); tune again with "
            "`make sweep DATASET=digits METHODS=joint` or run with TUNED=0",
        ),
        ({"revision": 7}, "joint.yaml was tuned for another version of the method (revision 7 instead of 1); tune"),
    ],
)
def test_what_was_tuned_on_other_data_or_another_method_is_refused(
    change: dict[str, Any], message: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned.save(replace(made_tuned(), **change))
    arguments = ["run", "--dataset", "digits", "--methods", "joint", "--seeds", "1", "--epochs", "1"]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert message.format(checksum=load_dataset("digits").checksum()[:16]) in captured.err
    assert not results.exists()
    (bench,) = make_benches(Options("digits", methods=("joint",), tuned=False), results)
    assert bench.specs[0].settings == TABLE["joint"].Settings()


def test_another_code_revision_alone_is_fine(results: Path) -> None:
    tuned.save(replace(made_tuned(lr=0.5), code="another"))
    (spec,) = specs_of(Options("digits", methods=("joint",), seeds=1), results)
    assert spec.settings.lr == 0.5


@pytest.fixture
def own_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a text the suite mine, for digits."""
    monkeypatch.setattr(suite, "SUITES_DIR", tmp_path)

    def write(text: str) -> None:
        rest = "methods: [ensemble, joint, dmil]\nseeds: 2\nbudget: {epochs: 3}\ndatasets: {digits: }\n"
        (tmp_path / "mine.yaml").write_text(text + rest)

    return write


def specs_of(options: Options, results: Path) -> Sequence[Spec]:
    (bench,) = make_benches(options, results)
    return bench.specs


def plan_of(options: Options, results: Path) -> Plan:
    (bench,) = make_benches(options, results)
    return bench.plan


MINE = Options("digits", "mine")


def test_the_suite_is_overruled_by_tuned_settings_and_these_by_hand(
    own_suite: Callable[[str], None], results: Path
) -> None:
    own_suite("tuned: true\nsettings: {all: {lr: 0.2, depth: 3}, joint@1: {width: 8}, dmil: {width: 64}}\n")
    tuned.save(made_tuned("joint", lr=0.3, width=256))
    tuned.save(made_tuned("unimodal_left", lr=0.4))
    options = replace(MINE, assignments=("joint.batch_size=16", "joint@0.lr=0.5", "all.dropout=0.25"))
    found = {(spec.row.name, spec.seed): spec for spec in specs_of(options, results)}
    default = TABLE["joint"].Settings()
    wanted = {"lr": 0.3, "width": 256, "batch_size": 16, "dropout": 0.25}
    assert found["joint", 1].settings == override(default, wanted), "the suite's depth and width are gone"
    assert found["joint", 0].settings == override(default, wanted | {"lr": 0.5})
    assert found["unimodal_left", 0].settings == override(default, {"lr": 0.4, "dropout": 0.25})
    assert found["unimodal_right", 0].settings == override(default, {"lr": 0.2, "depth": 3, "dropout": 0.25})
    assert (found["dmil", 0].settings.width, found["dmil", 0].settings.lr) == (64, 0.2)
    members = [member.settings for member in found["ensemble", 0].members]
    assert members == [found[name, 0].settings for name in ("unimodal_left", "unimodal_right")]


def test_a_row_keeps_where_its_settings_come_from(own_suite: Callable[[str], None], results: Path) -> None:
    own_suite("tuned: true\n")
    made = made_tuned("unimodal_left", lr=0.4)
    tuned.save(made)
    (bench,) = make_benches(MINE, results)
    rows = {row.method: row.tuning for row in bench.plan.rows}
    assert rows["joint"] == rows["unimodal_right"] == {}
    found = rows["unimodal_left"]
    assert (found["sweep"], found["n_configurations"], found["seeds"]) == ("5feed", 64, [1000, 1001])
    assert (found["budget"]["epochs"], found["valid_score"], found["default_score"]) == (60, 0.8125, 0.8)
    assert (found["tuned_at"], found["code"], found["revision"]) == (made.tuned_at, "c0de", 1)
    assert rows["ensemble"] == {"members": {"unimodal_left": found | {"command": ""}}}
    bench.plan.save(results)
    assert Plan.load(results).rows == bench.plan.rows


def test_a_suite_says_whether_it_is_tuned_and_the_command_line_overrules_it(
    own_suite: Callable[[str], None], results: Path
) -> None:
    def widths(options: Options) -> set[int]:
        return {spec.settings.width for spec in specs_of(options, results) if spec.row.name == "joint"}

    own_suite("")
    tuned.save(made_tuned(width=256))
    assert widths(MINE) == widths(replace(MINE, tuned=False)) == {128}
    assert widths(replace(MINE, tuned=True)) == {256}
    own_suite("tuned: true\n")
    assert widths(MINE) == {256}
    assert widths(replace(MINE, tuned=False)) == {128}


def test_the_leaderboards_alone_are_tuned() -> None:
    found = {name: {load_suite(name, one).tuned for one in suite_datasets(name)} for name in suite_names()}
    assert found == {name: {name in (DEFAULT_SUITE, "field")} for name in suite_names()}


def test_a_table_holds_rows_planned_with_tuned_settings_or_without(
    own_suite: Callable[[str], None], results: Path
) -> None:
    own_suite("tuned: true\n")
    without = replace(MINE, tuned=False)
    assert plan_of(MINE, results).protocol == plan_of(without, results).protocol, "there are none yet"
    plain = plan_of(without, results).protocol
    tuned.save(made_tuned("joint", lr=0.3))
    first = plan_of(MINE, results).protocol
    tuned.save(made_tuned("unimodal_left", lr=0.4))
    second = plan_of(MINE, results).protocol
    assert plan_of(without, results).protocol == plain
    assert len({plain, first, second}) == 3
    assert plan_of(replace(MINE, methods=("joint",)), results).protocol == second, "one row joins the table of all"
    assert plan_of(replace(MINE, assignments=("joint.lr=1",)), results).protocol == second
    assert plan_of(replace(MINE, assignments=("unimodal.lr=1",)), results).protocol != second
    assert plan_of(replace(MINE, assignments=("all.lr=1",)), results).protocol != second


def test_tuned_settings_have_seen_the_classes_that_a_suite_keeps_back(
    own_suite: Callable[[str], None], results: Path
) -> None:
    own_suite("transfer: {train_classes: 0.5}\n")
    with pytest.raises(UserError, match="keeps classes from the methods that tuned settings were chosen on; run with"):
        make_benches(replace(MINE, tuned=True), results)


def bench(results: Path, *assignments: str, methods: str = "constant,unimodal,joint", **changes: Any) -> Table:
    """Runs a small bench to its end and reads the table back from MLflow; prints how many runs it trained."""
    options = Options(TOY, methods=tuple(methods.split(",")), seeds=2, epochs=1, device="cpu", assignments=assignments)
    assert run_benches(make_benches(replace(options, **changes), results)) == 0
    (table,) = build_tables(Tracking(results))
    assert {line.method: line.reasons for line in table.lines if line.reasons} == {}, "every row is complete"
    return table


def accuracies(table: Table) -> dict[str, list[float]]:
    return {line.method: line.seed_scores for line in table.lines if line.row}


def n_trained(capsys: pytest.CaptureFixture[str]) -> str:
    return next(line.split(",")[0] for line in capsys.readouterr().out.splitlines() if "runs trained" in line)


def test_tables_stay_complete_where_only_the_unimodal_rows_change(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = bench(results)
    assert n_trained(capsys) == "8 of 8 runs trained"
    other = bench(results, "unimodal.width=16")
    assert n_trained(capsys) == "4 of 8 runs trained", "constant and joint have the same keys as before"
    assert accuracies(other)["joint"] == accuracies(first)["joint"]
    widths = {line.method: line.row.settings["width"] for line in other.lines if line.row}
    assert (widths["unimodal_x1"], widths["unimodal_x2"], widths["joint"]) == ("16", "16", "128")
    again = bench(results)
    assert n_trained(capsys) == "0 of 8 runs trained"
    assert accuracies(again) == accuracies(first)
    assert accuracies(bench(results, "unimodal.width=16")) == accuracies(other)
    assert n_trained(capsys) == "0 of 8 runs trained"


def test_a_row_with_settings_for_one_seed_is_complete_too(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = bench(results, methods="joint")
    bench(results, "joint@1.width=16", methods="joint")
    assert accuracies(bench(results, methods="joint")) == accuracies(first)
    assert "0 of 2 runs trained" in capsys.readouterr().out


def test_tuned_and_default_tables_of_one_suite_stay_apart(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    methods = "constant,ensemble,joint"
    plain = bench(results, methods=methods)
    tuned.save(made_tuned("unimodal_x1", TOY, width=16))
    tuned.save(made_tuned("joint", TOY, width=32))
    capsys.readouterr()
    found = bench(results, methods=methods)
    assert n_trained(capsys) == "6 of 10 runs trained", "unimodal_x1, joint and the ensemble, two seeds each"
    rows = {line.method: line.row for line in found.lines if line.row}
    assert {name for name, row in rows.items() if row.tuning} == {"unimodal_x1", "ensemble", "joint"}
    assert rows["joint"].tuning["n_configurations"] == 64
    assert set(rows["ensemble"].tuning["members"]) == {"unimodal_x1"}
    assert (rows["joint"].settings["width"], rows["unimodal_x1"].settings["width"]) == ("32", "16")
    without = bench(results, methods=methods, tuned=False)
    assert n_trained(capsys) == "0 of 10 runs trained"
    assert accuracies(without) == accuracies(plain)
    assert not any(line.row.tuning for line in without.lines if line.row)
    assert accuracies(bench(results, methods=methods)) == accuracies(found)
    one = bench(results, methods="joint", tuned=False)
    assert accuracies(one) == accuracies(plain), "it joins the table without tuned settings"
