"""The page, the files and the command line of the reports."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reports.__main__ import main
from reports.figures import axis_for, curve, dots
from reports.page import to_html
from reports.table import build_tables
from reports.text import signed_percent
from tests.made_across import INDEX
from tests.made_runs import Pair, bytes_under, deliver, failed_record, three, three_methods


def test_the_same_store_gives_the_same_bytes_without_the_outbox(pair: Pair, tmp_path: Path) -> None:
    records, files = three_methods()
    deliver(pair, *records, files=files)
    for name in ("first", "second"):
        assert main(["--dataset", "toy", "--out", str(tmp_path / name)]) == 0
        shutil.rmtree(tmp_path / "outbox", ignore_errors=True)
    first = bytes_under(tmp_path / "first")
    own = ("index.html", *(f"leaderboard.{kind}" for kind in ("csv", "md", "tex")))
    assert set(first) >= INDEX | {f"small/toy/{name}" for name in own}
    assert first == bytes_under(tmp_path / "second")


def test_page_is_self_contained_and_escapes(pair: Pair) -> None:
    deliver(pair, *three("joint", 0.6, 0.7, 0.8), *three("dmil", 0.5, 0.6, 0.7), card={"warning": "void <here>"})
    (table,) = build_tables(pair[0])
    page = to_html(table, pair[0])
    assert not re.search(r"<link|\bsrc=|url\(|@import", page)
    assert page.count("<script") == 1, "the page's own"
    assert "void &lt;here&gt;" in page
    assert "it is &lt;not&gt; real" in page
    assert page.index("void &lt;here&gt;") < page.index("Leaderboard</h2>"), "the warning stands on top"
    assert re.findall(r'>(\w+)</a> <span class="tag (star|best|tied)"', page) == [("joint", "star")]
    assert "<title id=" in page
    assert "joint: 60.0, 70.0, 80.0 percent" in page
    assert "dmil minus joint over 3 paired seeds: −10.0 points (95 % interval −10.0 to −10.0; it covers seeds" in page
    assert "dmil itself: rank 2 of 2 by test accuracy, at 60.0 %." in page
    assert "No method was tuned" in page
    assert page.count('<td class="text settings" data-value="0">default</td>') == 2
    budget = "at most 60 epochs, patience 20, learning rate times 0.5 after a plateau of 8 epochs, "
    assert f"<code>{budget}gradients clipped to norm 1.0</code>" in page
    assert "<dt>shared code revision</dt><dd><code>5ha12ed</code></dd>" in page
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
    text = (tmp_path / "out" / "small" / "toy" / "leaderboard.md").read_text()
    assert "> **Warning.** void" in text
    assert (
        "| 1 | joint | **70.0 ± 10.0** | 45.2 to 94.8 | baseline | 0.500 |  | 80.0 | 3/3 | default | complete |" in text
    )
    assert "- `dmil` seed 0: boom" in text
    printed = capsys.readouterr().out
    assert "70.0 ± 10.0" in printed
    assert str(tmp_path / "out" / "small" / "toy" / "index.html") in printed


def test_unknown_dataset_is_one_line_and_status_2(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(pair, *three("joint", 0.6, 0.7, 0.8))
    assert main(["--dataset", "nope", "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
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
    refused, allowed = capsys.readouterr().err.splitlines()
    assert refused.startswith("error: no report: no MLflow at http://127.0.0.1")
    assert allowed.startswith("no report: no MLflow at http://127.0.0.1")


def test_an_out_folder_that_cannot_be_written_is_one_line(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(pair, *three("joint", 0.6, 0.7, 0.8))
    (tmp_path / "out").write_text("a file")
    assert main(["--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: cannot write")


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


def test_any_row_far_below_does_not_squeeze_the_others(pair: Pair) -> None:
    deliver(
        pair,
        *three("joint", 0.78, 0.78, 0.79),
        *three("dmil", 0.77, 0.78, 0.78),
        *three("late_fusion", 0.78, 0.78, 0.78),
        *three("unimodal_audio", 0.54, 0.55, 0.56),
        *three("constant", 0.5, 0.5, 0.5),
    )
    (table,) = build_tables(pair[0])
    figure = dots(table)
    assert figure is not None
    assert {row["method"]: row["note"] for row in figure["rows"]} == {
        "joint": "strongest baseline",
        "late_fusion": "",
        "dmil": "",
        "unimodal_audio": "left of the scale",
        "constant": "left of the scale",
    }
    assert figure["rows"][0]["mean"] - figure["rows"][2]["mean"] > 10, "two thirds of a point are still to be seen"


@pytest.mark.parametrize("values", [[0.0], [1.0], [0.0, 1.0], [-0.6, 1.9], [0.05, 0.99], [0.7, 0.7001], [0.333, 0.334]])
def test_axis_stays_within_the_possible_and_has_few_ticks(values: list[float]) -> None:
    axis = axis_for(values)
    assert 0 <= axis.low < axis.high <= 1
    assert 2 <= len(axis.ticks) <= 8


def test_an_interval_beyond_the_possible_is_clipped(pair: Pair) -> None:
    deliver(pair, *three("joint", 0.2, 0.99, 0.5))
    figure = dots(build_tables(pair[0])[0])
    assert figure is not None
    assert figure["rows"][0]["interval"] == [2.0, 98.0]


def test_the_bayes_limit_is_an_expectation(pair: Pair) -> None:
    records, files = three_methods()
    deliver(pair, *records, files=files, card={"bayes_accuracy": 0.8})
    page = to_html(build_tables(pair[0])[0], pair[0])
    # sqrt(0.8 * 0.2 / 4) = 0.2
    assert "best expected accuracy of any method; on a finite test set" in page
    assert "(± 20.0 points for 4 samples)" in page


def test_bad_arguments_are_one_line(root: Path) -> None:
    command = [sys.executable, "-m", "reports", "--nope"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_an_interrupt_is_one_line_and_status_130(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        command = [sys.executable, "-m", "reports"]
        with subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True) as process:
            silent.settimeout(60)
            connection, _ = silent.accept()  # it waits for an answer now
            process.send_signal(signal.SIGINT)
            _, message = process.communicate(timeout=60)
            connection.close()
    assert (process.returncode, message) == (130, "interrupted; the same command starts over\n")


def test_a_reader_that_leaves_gets_no_traceback(
    pair: Pair, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(pair, *three("joint", 0.6, 0.7, 0.8))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    command = [sys.executable, "-m", "reports", "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        message = process.stderr.read()
    assert (process.returncode, message) == (1, "")
    assert (tmp_path / "out" / "small" / "toy" / "index.html").exists()


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
