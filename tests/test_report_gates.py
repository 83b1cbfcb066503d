"""What reports show of gates, of estimated information and of calibration, from hand-made runs (``known_truth``)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.__main__ import main
from reports.calibration import reliability
from reports.gate_figures import BAR_LEFT, BAR_WIDTH, gate_bars
from reports.interaction_tables import gate_table, information_table, theorem_table, to_csv
from reports.interactions import ALL
from reports.leaderboard import to_markdown
from reports.samples import read_samples
from reports.statistics import entropy, rank_correlation
from reports.table import build_tables
from tests.made_runs import (
    answers,
    deliver,
    failed_record,
    made_record,
    made_tracking,
    predictions,
    three,
)
from tests.made_tables import (
    KNOWN_CARD,
    analysis,
    csv_rows,
    interactions,
    known_table,
    known_truth,
    one_large,
    page_of,
    table_of,
    unknown,
    without,
)


def test_nothing_is_shown_where_nothing_is_known(tmp_path: Path) -> None:
    table = known_table(tmp_path, edit=lambda frame: without("gate_", "logit_")(unknown(frame)))
    assert table.interactions is None
    assert "## Interactions" not in to_markdown(table)
    assert 'id="interactions"' not in page_of(table, tmp_path)


def test_the_file_is_written_where_something_is_known_and_removed_where_not(tmp_path: Path) -> None:
    records, files = known_truth()
    out, path = tmp_path / "out", tmp_path / "out" / "small" / "toy" / "interactions.csv"
    pair = made_tracking(tmp_path)
    deliver(pair, *records, files=files, card=KNOWN_CARD)
    assert main(["--out", str(out)]) == 0
    assert path.read_text() == to_csv(build_tables(pair[0])[0])
    deliver(pair, *three("joint", 0.6, 0.7, 0.8, protocol="p2"), protocol="p2", planned_at=2000)
    assert main(["--out", str(out)]) == 0
    assert not path.exists()


def test_unknown_truth_shows_how_the_gate_is_distributed(tmp_path: Path) -> None:
    table = known_table(tmp_path, edit=unknown, card={"truth_names": ()})
    found = interactions(table)
    one = analysis(table, "dmil")
    assert found.truths == ()
    assert list(one.parts) == [ALL]
    assert one.attribution is None
    assert one.largest == pytest.approx({"R": 7 / 9, "U_x1": 1 / 9, "U_x2": 0, "S": 1 / 9})
    shown = gate_table(found)
    assert shown["headings"] == ["method", "R %", "U_x1 %", "U_x2 %", "S %", "entropy, bits", "status"]
    assert shown["rows"] == [
        ["dmil", "56.7 / 77.8", "16.7 / 11.1", "10.0 / 0.0", "16.7 / 11.1", "1.36", "complete"],
    ]
    assert list(csv_rows(table)) == [(line.method, "all") for line in table.lines if line.row]
    page = page_of(table, tmp_path)
    assert "Distribution of the gate" in page
    assert "share by largest gate" in page


def test_the_estimator_is_listed_and_compared_but_no_competitor(tmp_path: Path) -> None:
    info = {"r": [2, 3, 0, 0, 0, 0], "u1": [0, 0, 1, 0, 0, 0], "u2": [0, 0, 0, 1, 0, 0], "s": [0, 0, 0, 0, 1, 1]}
    frame = predictions(answers([1] * 6), [1] * 6, truth=["r", "r", "u1", "u2", "s", "s"], info=info)
    table = known_table(tmp_path, lsmi=frame)
    line = table.line("lsmi")
    assert line
    assert (line.rank, line.is_conventional, line.synergy) == (None, False, None)
    assert table.strongest is not line
    assert "| lsmi | 75.0 ± 0.0 |" in to_markdown(table)
    assert "| estimator |" in to_markdown(table)
    assert "an estimator, not a competitor, and not ranked" in page_of(table, tmp_path)
    found = interactions(table).information
    assert found
    assert found.means["r"].mean == pytest.approx(5 / 6)
    assert found.largest == pytest.approx({"r": 1 / 3, "u1": 1 / 6, "u2": 1 / 6, "s": 1 / 3})
    assert found.attribution
    assert found.attribution.mean == 1.0
    one = analysis(table, "dmil")
    assert one.agreement
    assert one.agreement.share.mean == pytest.approx(0.5), "5/6, 2/6, 2/6, as with the truth"
    assert set(one.agreement.ranks.values()) == {None}, "constant gates of seeds 1 and 2"
    shown = information_table(interactions(table))
    assert shown
    assert ["gate of dmil", "50.0", *["constant"] * 4] in shown["rows"]
    assert csv_rows(table)["dmil", "all"]["lsmi_agreement_mean"] == "0.500000"


def test_an_estimator_with_a_hole_is_not_compared(tmp_path: Path) -> None:
    records, files = known_truth()
    own = [made_record("lsmi", 0), made_record("lsmi", 1), failed_record("lsmi", 2)]
    frame = predictions(answers([1] * 6), [1] * 6, truth=["r", "r", "u1", "u2", "s", "s"])
    frame = frame.assign(info_r=1.0, info_u1=0.0, info_u2=0.0, info_s=0.0)
    table = table_of(tmp_path, [*records, *own], files | {one.key: frame for one in own[:2]})
    assert interactions(table).information is None
    assert analysis(table, "dmil").agreement is None


def test_terms_of_the_theorem_are_averaged_over_seeds(tmp_path: Path) -> None:
    terms = {"i_zy_given_c": 0.4, "h_c_given_z": 0.3, "i_yc": 0.1, "bound": 0.2, "i_zy": 0.25}
    named = {f"test/theorem_{name}": value for name, value in terms.items()}
    with_terms = [
        replace(run, metrics=run.metrics | {name: value + run.seed / 10 for name, value in named.items()})
        for run in three("joint", 0.6, 0.7, 0.8)
    ]
    table = table_of(tmp_path, [*with_terms, *three("dmil", 0.6, 0.7, 0.8)], {})
    shown = theorem_table(table)
    assert shown
    assert shown["rows"] == [["joint", "0.500", "0.400", "0.200", "0.300", "0.350"]]


def test_the_page_marks_the_owner_and_escapes(tmp_path: Path) -> None:
    def rename(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.assign(truth=frame["truth"].replace("s", "<s>"))
        return frame.rename(columns=lambda name: name.replace("U_x1", "U_<b>"))

    table = known_table(
        tmp_path, edit=rename, card={"truth_names": ("r", "u1", "u2", "<s>"), "bayes_attribution": 0.83}
    )
    page = page_of(table, tmp_path)
    assert "<s>" not in page
    assert "<b>" not in page
    assert "U_&lt;b&gt;" in page
    assert not re.search(r"<script|<link|\bsrc=|url\(|@import", page)
    assert 'class="owner"' not in page, "no component is known to be that of a composition <s>"


def test_bars_are_stacked_to_one(tmp_path: Path) -> None:
    table = known_table(tmp_path)
    (panel,) = gate_bars(interactions(table), 0.83)
    assert panel["notes"] == ["attribution 50.0 % (-21.7 to 121.7)", "Bayes limit 83.0 %"]
    for row, owner in zip(panel["rows"], ["R", "U_x1", "U_x2", "S"], strict=True):
        parts = row["segments"]
        assert parts[0]["x"] == BAR_LEFT
        assert parts[-1]["x"] + parts[-1]["width"] == pytest.approx(BAR_LEFT + BAR_WIDTH, abs=0.01)
        assert [part["title"].split(":")[0] for part in parts if part["is_owner"]] == [owner]
        assert [part["role"] for part in parts] == ["r", "u1", "u2", "s"]
    assert panel["words"].startswith("r: R 70.0, U_x1 10.0, U_x2 10.0, S 10.0; u1: R 50.0")
    assert page_of(table, tmp_path).count('class="owner"') == 4


def test_entropy_and_rank_correlation_by_hand() -> None:
    gate = np.asarray([[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]], dtype=np.float32)
    assert entropy(gate) == 1.0
    one = np.asarray([1, 2, 3], dtype=np.float32)
    assert rank_correlation(one, np.asarray([10, 30, 20], dtype=np.float32)) == pytest.approx(0.5)
    assert rank_correlation(one, np.ones(3, dtype=np.float32)) is None


def test_reliability_by_hand(tmp_path: Path) -> None:
    frame = predictions([[0.2, 0.8], [0.15, 0.85], [0.45, 0.55], [0.0, 1.0]], [1, 0, 1, 1], gate=one_large(["R"] * 4))
    frame.to_parquet(tmp_path / "predictions.parquet")
    samples = read_samples(tmp_path / "predictions.parquet", "run x")
    found = reliability("joint", [samples, samples])
    assert [tuple(round(value, 6) for value in one) for one in found.bins] == [
        (0.55, 1.0, 0.25),
        (0.825, 0.5, 0.5),
        (1.0, 1.0, 0.25),
    ]
