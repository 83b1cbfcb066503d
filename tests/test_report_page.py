"""The page, the files and the command line of the reports."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reports.__main__ import main
from reports.figures import axis_for, curve, dots
from reports.leaderboard import signed_percent
from reports.page import to_html
from reports.table import build_tables
from tests.made_runs import Pair, bytes_under, deliver, failed_record, made_tracking, three, three_methods


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return made_tracking(tmp_path)


def test_the_same_store_gives_the_same_bytes_without_the_outbox(pair: Pair, tmp_path: Path) -> None:
    records, files = three_methods()
    deliver(pair, *records, files=files)
    for name in ("first", "second"):
        assert main(["--dataset", "toy", "--out", str(tmp_path / name)]) == 0
        shutil.rmtree(tmp_path / "outbox", ignore_errors=True)
    first = bytes_under(tmp_path / "first")
    assert set(first) == {"toy/leaderboard.csv", "toy/leaderboard.md", "toy/index.html"}
    assert first == bytes_under(tmp_path / "second")


def test_page_is_self_contained_and_escapes(pair: Pair) -> None:
    deliver(pair, *three("joint", 0.6, 0.7, 0.8), *three("dmil", 0.5, 0.6, 0.7), card={"warning": "void <here>"})
    (table,) = build_tables(pair[0])
    page = to_html(table, pair[0])
    assert not re.search(r"<script|<link|\bsrc=|url\(|@import", page)
    assert "void &lt;here&gt;" in page
    assert "it is &lt;not&gt; real" in page
    assert page.index("void &lt;here&gt;") < page.index("Leaderboard</h2>"), "the warning stands on top"
    assert page.count('<span class="badge">strongest baseline</span>') == 1
    assert len(re.findall(r"<circle", page)) == 6
    assert "<title id=" in page
    assert "joint: 60.0, 70.0, 80.0 percent" in page
    assert "Difference over 3 paired seeds: −10.0 points (95 % interval −10.0 to −10.0)." in page
    for text in (table.card["source"], "ab" * 32, "python -m benchmarks run --dataset toy", "c0ffee", "abc1234"):
        assert text in page
    assert all(run.key in page for line in table.lines if line.row for run in line.row.runs)


def test_page_shows_where_one_seed_has_settings_of_its_own(pair: Pair) -> None:
    spec = {"settings": {"lr": 1e6, "encoder": {"width": 64}}}
    deliver(pair, *three("joint", 0.6, 0.7), failed_record("joint", 2, "boom", spec=spec))
    (table,) = build_tables(pair[0])
    page = to_html(table, pair[0])
    assert page.count("lr = 1000000.0") == 1
    assert "encoder.width = 64" not in page


def test_markdown_names_warning_and_holes(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deliver(pair, *three("joint", 0.6, 0.7, 0.8), failed_record("dmil", 0, "boom"), card={"warning": "void"})
    assert main(["--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "toy" / "leaderboard.md").read_text()
    assert "> **Warning.** void" in text
    assert "| 1 | joint | 70.0 ± 10.0 | 45.2 to 94.8 | 0.500 |  | 80.0 | 3/3 | complete |" in text
    assert "- `dmil` seed 0: boom" in text
    printed = capsys.readouterr().out
    assert "70.0 ± 10.0" in printed
    assert str(tmp_path / "out" / "toy" / "index.html") in printed


def test_unknown_dataset_is_one_line_and_status_2(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(pair, *three("joint", 0.6, 0.7, 0.8))
    assert main(["--dataset", "nope", "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "holds no runs of dataset 'nope'; it knows toy (suite small)" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_unreachable_store_can_be_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    arguments = ["--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert main([*arguments, "--allow-unreachable"]) == 0
    assert capsys.readouterr().err.count("no report: no MLflow at http://127.0.0.1") == 2


def test_an_out_folder_that_cannot_be_written_is_one_line(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(pair, *three("joint", 0.6, 0.7, 0.8))
    (tmp_path / "out").write_text("a file")
    assert main(["--out", str(tmp_path / "out")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_help_is_fast_and_a_report_never_imports_torch(pair: Pair, tmp_path: Path, root: Path) -> None:
    def clock() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "reports", "--help"], cwd=root, check=True, capture_output=True)
        return time.perf_counter() - started

    assert min(clock() for _ in range(3)) < 0.5
    deliver(pair, *three("joint", 0.6, 0.7, 0.8))
    code = "import sys; from reports.__main__ import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, "--out", str(tmp_path / "out")], cwd=root, check=True)


def test_axis_ends_on_round_steps_and_holds_every_value() -> None:
    axis = axis_for([0.621, 0.784])
    assert axis.low == pytest.approx(0.6)
    assert axis.high == pytest.approx(0.8)
    assert axis.ticks == [0.6, 0.65, 0.7, 0.75, 0.8]
    assert axis.place(0.7) == 50.0
    flat = axis_for([0.5])
    assert flat.low < 0.5 < flat.high


def test_a_constant_row_far_below_does_not_squeeze_the_others(pair: Pair) -> None:
    deliver(pair, *three("joint", 0.90, 0.92, 0.91), *three("constant", 0.1, 0.1, 0.1))
    (table,) = build_tables(pair[0])
    figure = dots(table)
    assert figure is not None
    assert [len(row["dots"]) for row in figure["rows"]] == [3, 0]
    assert figure["rows"][1]["note"] == "left of the scale"
    assert figure["marks"] == [("floor", "constant", None, "10.0")]


def test_differences_carry_their_sign() -> None:
    assert [signed_percent(value) for value in (0.012, -0.0339, -0.0001, None)] == ["+1.2", "−3.4", "0.0", ""]


def test_curve_averages_the_epochs_all_seeds_reached() -> None:
    short = [{"valid/acc": 0.2}, {"valid/acc": 0.4}]
    long = [{"valid/acc": 0.4}, {"valid/acc": 0.6}, {"valid/acc": 1.0}]
    found = curve([short, long])
    assert found is not None
    # box: x = epoch / 2, y = 38 - 36 * (value - 0.2) / 0.8; means 0.3 and 0.5
    assert found["mean"] == "0.00,33.50 50.00,24.50"
    assert (found["low"], found["high"], found["n_epochs"]) == ("20.0", "100.0", 3)
    assert curve([[{"epoch": 0}]]) is None
