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
from reports.gate_figures import BAR_LEFT, gate_bars
from reports.interaction_tables import gate_table, information_table, theorem_table, to_csv
from reports.interactions import ALL
from reports.leaderboard import to_markdown
from reports.page import render
from reports.samples import Answers, read_samples
from reports.statistics import entropy, rank_correlation
from reports.table import build_tables
from reports.ternary import LARGEST, cells, counts, legend, outline, point, shares, triangles
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
    hard = {path.with_name(f"hard_samples.{kind}") for kind in ("csv", "tex")}
    assert all(one.exists() for one in hard)
    deliver(pair, *three("joint", 0.6, 0.7, 0.8, protocol="p2"), protocol="p2", planned_at=2000)
    assert main(["--out", str(out)]) == 0
    assert not any(one.exists() for one in (path, *hard))


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
    assert not re.search(r"<link|\bsrc=|url\(|@import", page)
    assert 'class="owner"' not in page, "no component is known to be that of a composition <s>"


def test_bars_are_stacked_to_one(tmp_path: Path) -> None:
    table = known_table(tmp_path)
    (panel,) = gate_bars(interactions(table), 0.83)
    assert panel["notes"] == ["attribution 50.0 % (-21.7 to 121.7)", "Bayes limit 83.0 %"]
    for row, owner in zip(panel["rows"], ["R", "U_x1", "U_x2", "S"], strict=True):
        parts = row["segments"]
        assert parts[0]["x"] == BAR_LEFT
        assert parts[-1]["x"] + parts[-1]["width"] == pytest.approx(100, abs=0.01)
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
    assert isinstance(samples, Answers)
    found = reliability("joint", [samples, samples])
    assert [tuple(round(value, 6) for value in one) for one in found.bins] == [
        (0.55, 1.0, 0.25),
        (0.825, 0.5, 0.5),
        (1.0, 1.0, 0.25),
    ]


def test_gates_stand_in_the_triangle_where_their_weights_say() -> None:
    assert point(1, 0, 0) == (30, 212)
    assert point(0, 1, 0) == (230, 212)
    assert point(0, 0, 1) == pytest.approx((130, 212 - 100 * 3**0.5))
    assert point(1, 1, 1) == pytest.approx((130, 212 - 100 / 3**0.5)), "alike: the middle"
    gate = np.asarray([[0.1, 0.5, 0.2, 0.2], [1, 0, 0, 0]], dtype=np.float32)
    assert shares(gate, ("S", "U_a", "R", "U_b")) == pytest.approx(np.asarray([[0.2, 0.7, 0.1], [0, 0, 1]]))
    rounded = cells(np.asarray([[0.7, 0.2, 0.1], [0.04, 0.04, 0.92], [1 / 3, 1 / 3, 1 / 3], [0.26, 0.28, 0.46]]))
    assert rounded.tolist() == [[7, 2, 1], [1, 0, 9], [4, 3, 3], [3, 3, 4]]
    assert (rounded.sum(axis=1) == 10).all()


def test_triangles_count_every_seed_by_composition(tmp_path: Path) -> None:
    table = known_table(tmp_path, card={"bayes_attribution": 0.83})
    assert analysis(table, "dmil").ternary == {
        "r": {(7, 2, 1): 6},
        "u1": {(1, 8, 1): 1, (7, 2, 1): 2},
        "u2": {(1, 8, 1): 1, (7, 2, 1): 2},
        "s": {(1, 2, 7): 2, (7, 2, 1): 4},
    }
    assert analysis(table, "late_fusion").ternary == {}
    (panel,) = triangles(interactions(table))
    shown = {cell["title"]: [one["colour"] for one in cell["marks"]] for cell in panel["cells"]}
    assert shown == {
        "R 0.1, U 0.2, S 0.7: s 2": ["s"],
        "R 0.1, U 0.8, S 0.1: u1 1, u2 1": ["u", "u"],
        "R 0.7, U 0.2, S 0.1: r 6, u1 2, u2 2, s 4": ["r", "s", "u", "u"],
    }, "small marks are drawn last"
    assert panel["even"] == tuple(round(value, 1) for value in point(1, 2, 1)), "two of four components are unique"
    assert panel["words"].startswith(
        "samples of composition r: mean R 70.0, U 20.0, S 10.0 percent; "
        "more than half of the weight: R 100.0, U 0.0, S 0.0 percent of gates; samples of composition u1: mean R 50.0"
    )
    largest = panel["cells"][2]["marks"][0]["path"]
    assert f"a{LARGEST:.2f} {LARGEST:.2f} " in largest, "a circle of the largest area"
    page = page_of(table, tmp_path)
    assert page.count('<path class="u"') == 4 + 2, "marks and legend"
    assert "squares at S" in page


def test_compositions_differ_in_colour_or_shape(tmp_path: Path) -> None:
    found = legend(interactions(known_table(tmp_path)))
    assert [one["colour"] for one in found] == ["r", "u", "u", "s"]
    assert len({one["path"] for one in found}) == 4
    for shape in ("square", "diamond", "up", "down"):
        corners = [tuple(map(float, corner.split())) for corner in outline(shape, 50, 50, 20).strip("Mz").split("L")]
        pairs = zip(corners, corners[1:] + corners[:1], strict=True)
        area = abs(sum(x * y2 - x2 * y for (x, y), (x2, y2) in pairs)) / 2
        assert area == pytest.approx(np.pi * 20**2, rel=0.01), f"a {shape} is as large as a circle"


def test_a_triangle_without_known_compositions_has_one_kind_of_mark(tmp_path: Path) -> None:
    table = known_table(tmp_path, edit=unknown, card={"truth_names": ()})
    (panel,) = triangles(interactions(table))
    assert {one["colour"] for cell in panel["cells"] for one in cell["marks"]} == {"other"}
    assert panel["words"].startswith("all samples: mean R 56.7")
    assert "squares at S" not in page_of(table, tmp_path)


def test_components_that_are_not_r_u_and_s_have_no_triangle(tmp_path: Path) -> None:
    gate = {"M_x1": [0.5] * 6, "M_x2": [0.3] * 6, "S": [0.2] * 6}
    frame = predictions(answers([1] * 6), [1] * 6, truth=["r", "r", "u1", "u2", "s", "s"], gate=gate)
    table = known_table(tmp_path, dmil_other=frame)
    assert [panel["method"] for panel in triangles(interactions(table))] == ["dmil"]


def test_a_triangle_of_many_samples_stays_small(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).dirichlet([0.5] * 5, size=20_000).astype(np.float32)
    names = ("r", "u1", "u2", "u3", "s")
    masks = {name: np.arange(len(drawn)) % 5 == i for i, name in enumerate(names)}
    one = analysis(known_table(tmp_path), "dmil")
    components = ("R", "U_a", "U_b", "U_c", "S")
    full = replace(one, components=components, ternary=counts([drawn], components, masks))
    (panel,) = triangles(replace(interactions(known_table(tmp_path)), methods=(full,)))
    assert sum(count for by_cell in full.ternary.values() for count in by_cell.values()) == 20_000
    assert len(render("ternary.svg", {"panel": panel})) < 60_000
