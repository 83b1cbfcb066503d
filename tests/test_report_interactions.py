"""The interaction analysis of hand-made runs, against values computed by hand (see ``known_truth``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.errors import UserError
from reports.gate_figures import gate_bars
from reports.interaction_tables import BY_TRUTH, accuracy_table, to_csv
from reports.interactions import owners_of
from reports.leaderboard import to_markdown
from reports.samples import Samples, read_samples
from tests.made_runs import (
    answers,
    failed_record,
    predictions,
)
from tests.made_tables import (
    TRUTHS,
    analysis,
    csv_rows,
    interactions,
    known_table,
    known_truth,
    page_of,
    table_of,
    without,
)


def test_csv_has_the_values_computed_by_hand(tmp_path: Path) -> None:
    rows = csv_rows(known_table(tmp_path, card={"bayes_attribution": 0.83, BY_TRUTH: {"s": 0.9}}))
    assert [name for method, name in rows if method == "dmil"] == ["all", *TRUTHS]
    # attribution 5/6, 2/6, 2/6: mean 0.5, half width 4.302653 * 0.288675 / sqrt(3) = 0.717109
    assert rows["dmil", "all"] == {
        "dataset": "toy",
        "method": "dmil",
        "composition": "all",
        "n_samples": "6",
        "n_seeds": "3",
        "n_failed": "0",
        "accuracy_mean": "0.722222",  # 5/6, 4/6, 4/6
        "accuracy_std": "0.096225",
        "synergy_mean": "0.111111",  # 2/6, 0, 0
        "gate_R_mean": "0.566667",  # (2 * 0.7 + 4 * 0.1) / 6 = 0.3, 0.7, 0.7
        "gate_U_x1_mean": "0.166667",
        "gate_U_x2_mean": "0.100000",
        "gate_S_mean": "0.166667",
        "attribution_mean": "0.500000",
        "attribution_ci_low": "-0.217109",
        "attribution_ci_high": "1.217109",
        "bayes_accuracy": "0.950000",
        "bayes_attribution": "0.830000",
        "gate_entropy_bits": "1.356780",  # -0.7 log2 0.7 - 0.3 log2 0.1
        "lsmi_agreement_mean": "",
        "status": "complete",
    }
    found = {name: rows["dmil", name] for name in TRUTHS}
    assert [row["accuracy_mean"] for row in found.values()] == ["0.833333", "1.000000", "1.000000", "0.333333"]
    assert [row["attribution_mean"] for row in found.values()] == ["1.000000", "0.333333", "0.000000", "0.333333"]
    assert [row["synergy_mean"] for row in found.values()] == ["0.000000", "0.000000", "0.000000", "0.333333"]
    assert (found["s"]["gate_R_mean"], found["s"]["gate_S_mean"]) == ("0.500000", "0.300000")
    assert [row["bayes_accuracy"] for row in found.values()] == ["", "", "", "0.900000"]
    assert [row["bayes_attribution"] for row in found.values()] == [""] * 4
    assert rows["late_fusion", "u2"]["accuracy_mean"] == "1.000000"
    assert rows["late_fusion", "all"]["gate_R_mean"] == rows["late_fusion", "all"]["attribution_mean"] == ""
    assert rows["unimodal_x1", "s"]["synergy_mean"] == "", "defined for multimodal predictions only"


def test_the_gate_of_every_method_is_explained(tmp_path: Path) -> None:
    table = known_table(tmp_path)
    assert analysis(table, "dmil").why_not == ""
    assert analysis(table, "unimodal_x1").why_not == "no components"
    assert "M_x1, M_x2 are not weighed" in analysis(table, "late_fusion").why_not
    text = to_markdown(table)
    assert "| Bayes limit |" not in text.partition("## Interactions")[2], "not known of a composition"
    known = to_markdown(known_table(tmp_path, card={"bayes_attribution": 0.83, BY_TRUTH: {"s": 0.9}}))
    assert "| Bayes limit |  |  |  | 90.0 | 83.0 |  | limit |" in known
    assert "| dmil | 83.3 ± 28.9 | 100.0 ± 0.0 | 100.0 ± 0.0 | 33.3 ± 57.7 | 50.0 | -21.7 to 121.7 | complete |" in text
    assert "samples: r 2, u1 1, u2 1, s 2" in text
    assert "naming the most frequent composition every time has 33.3 %" in text
    assert "- Attribution is not defined for unimodal_x1, unimodal_x2 (no components)." in text


@pytest.mark.parametrize(
    ("components", "truths", "reason"),
    [
        (("R", "U_x1", "U_x2", "S"), TRUTHS, ""),
        (("R", "U_a", "U_b", "U_c", "S"), ("r", "u1", "u2", "u3", "s"), ""),
        (("R", "U_a", "U_b", "S"), (), ""),
        (("M_x1", "M_x2", "S"), TRUTHS, "may be redundant or unique"),
        (("R", "U_x1", "U_x2"), TRUTHS, "none of them stands for synergy"),
        (("R", "U_x1", "U_x2", "S"), ("r", "u1", "u2", "u3", "s"), "do not correspond one to one"),
        (("R", "U_x1", "U_x2", "S", "W"), TRUTHS, "do not correspond one to one"),
    ],
)
def test_components_own_compositions_or_it_is_said_why_not(
    tmp_path: Path, components: tuple[str, ...], truths: tuple[str, ...], reason: str
) -> None:
    owners = owners_of(components, truths)
    assert bool(owners) == (not reason)
    assert (list(owners.values()) == list(components)) == (not reason)
    if truths == TRUTHS:
        gate = {name: [1 / len(components)] * 6 for name in components}
        frame = predictions(answers([1] * 6), [1] * 6, truth=["r", "r", "u1", "u2", "s", "s"], gate=gate)
        one = analysis(known_table(tmp_path, dmil_other=frame), "dmil_other")
        assert reason in one.why_not
        assert (one.attribution is None) == bool(reason)
        assert one.parts["r"].gate == pytest.approx(dict.fromkeys(components, 1 / len(components)))


def test_a_failed_seed_leaves_a_hole(tmp_path: Path) -> None:
    records, files = known_truth()
    hole = next(i for i, one in enumerate(records) if (one.method, one.seed) == ("dmil", 1))
    records[hole] = failed_record("dmil", 1, "boom")
    table = table_of(tmp_path, records, files)
    row = csv_rows(table)["dmil", "r"]
    assert (row["n_seeds"], row["n_failed"], row["status"]) == ("2", "1", "failed")
    assert "gate_R_mean" not in row
    assert row["accuracy_mean"] == row["attribution_mean"] == row["synergy_mean"] == ""
    assert analysis(table, "dmil").parts == {}
    assert "| dmil |  |  |  |  |  |  | failed |" in to_markdown(table)
    assert gate_bars(interactions(table), None) == []


def test_missing_predictions_leave_a_hole_and_say_so(tmp_path: Path) -> None:
    records, files = known_truth()
    del files[next(record.key for record in records if (record.method, record.seed) == ("dmil", 2))]
    table = table_of(tmp_path, records, files)
    assert analysis(table, "dmil").parts == {}
    assert "| dmil |  |  |  |  |  |  | predictions missing |" in to_markdown(table)
    assert next(line.synergy for line in table.lines if line.method == "dmil") is None, "no mean over two of three"


@pytest.mark.parametrize(
    ("column", "values", "what"),
    [("id", list("abcdef"), "ids"), ("target", [0] * 6, "targets"), ("truth", ["r"] * 6, "true compositions")],
)
def test_other_samples_are_not_silently_compared(tmp_path: Path, column: str, values: list[Any], what: str) -> None:
    records, files = known_truth()
    files[records[-1].key] = files[records[-1].key].assign(**{column: values})
    with pytest.raises(UserError, match=rf"late_fusion \(seed 2\).*different test samples \({what} differ\)"):
        table_of(tmp_path, records, files)


def test_samples_stored_in_another_order_are_matched_by_id(tmp_path: Path) -> None:
    mixed = iter(range(100))
    table = known_table(tmp_path, edit=lambda frame: frame.sample(frac=1, random_state=next(mixed)))
    assert analysis(table, "dmil").parts["s"].attribution == analysis(table, "dmil").parts["u1"].attribution
    assert csv_rows(table)["dmil", "all"]["attribution_mean"] == "0.500000"


def test_validation_samples_do_not_count(tmp_path: Path) -> None:
    def with_valid(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([frame, frame.assign(split="valid", truth="s", target=0)])

    assert csv_rows(known_table(tmp_path, edit=with_valid))["dmil", "all"]["attribution_mean"] == "0.500000"


def test_old_files_without_gates_keep_working(tmp_path: Path) -> None:
    table = known_table(tmp_path, edit=without("gate_", "logit_"))
    one = analysis(table, "dmil")
    assert (one.why_not, one.attribution, one.is_gated) == ("no components", None, False)
    assert one.parts["r"].result
    assert one.parts["r"].result.mean == pytest.approx(5 / 6)
    assert "gate_" not in to_csv(table).splitlines()[0].replace("gate_entropy_bits", "")
    assert 'class="gates"' not in page_of(table, tmp_path)


def test_each_file_of_predictions_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[Path] = []

    def counted(path: Path, run: str) -> Samples:
        paths.append(path)
        return read_samples(path, run)

    monkeypatch.setattr("reports.table.read_samples", counted)
    page_of(known_table(tmp_path), tmp_path)
    assert len(paths) == len(set(paths)) == 12


def test_one_composition_only_is_one_column(tmp_path: Path) -> None:
    table = known_table(tmp_path, edit=lambda frame: frame.assign(truth="r"))
    assert interactions(table).truths == ("r",)
    shown = accuracy_table(table)
    assert shown["headings"] == ["method", "acc. r %", "attribution %", "95 % interval", "status"]
    assert csv_rows(table)["dmil", "r"]["attribution_mean"] == "0.777778"  # 2/6, 1, 1
