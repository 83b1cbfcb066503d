"""Bad input is one clear line and exit status 2, with nothing written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import registry, run, suite
from benchmarks.__main__ import main
from benchmarks.errors import UserError
from dmil.data import Splits


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command under test keeps its results."""
    folder = tmp_path / "results"
    monkeypatch.setattr("benchmarks.store.RESULTS", folder)
    return folder


@pytest.fixture
def own_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a text the only suite there is, under the name mine."""
    monkeypatch.setattr(suite, "SUITES_DIR", tmp_path)

    def write(text: str) -> None:
        (tmp_path / "mine.yaml").write_text(text)

    return write


def error_of(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    try:
        status = main(["run", *arguments])
    except SystemExit as stop:
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "mosy"), "did you mean 'mosi'"),
        (("--methods", "dmill"), "did you mean 'dmil'"),
        (("--methods", "unimodal_smell", "--dataset", "digits"), "this dataset has unimodal_left, unimodal_right"),
        (("--methods", ","), "no method"),
        (("--suite", "leaderbord"), "did you mean 'leaderboard'"),
        (("--set", "dmil.alignmnt=1"), "did you mean 'alignment'"),
        (("--set", "alignment=1"), "METHOD.SETTING=VALUE"),
        (("--set", "joint.lr=fast"), "takes float"),
        (("--set", "joint.width=0"), "`width >= 1` must hold"),
        (("--set", "joint@x.lr=1"), "number of a seed"),
        (("--set", "joint.lr=[1"), "cannot read the value"),
        (("--set", "joint@07.lr=1"), "number of a seed"),
        (("--set", "joint@5.lr=1", "--dataset", "digits"), "the seeds of this plan are 0 to 4"),
        (("--set", "unimodal_smell.lr=1", "--dataset", "digits"), "this dataset has unimodal_left"),
        (("--seeds", "0"), "1 or more"),
        (("--seeds", "many"), "invalid int value"),
        (("--epochs", "0"), "`epochs >= 1` must hold"),
        (("--trials", "8"), "unrecognized arguments"),
        (("--tuned", "7"), "invalid choice: '7'"),
        (("--device", "tpu"), "invalid choice"),
    ],
)
def test_bad_arguments(
    arguments: tuple[str, ...], message: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error_of(arguments, capsys)
    assert not results.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methodz: [joint]\n", "did you mean 'methods'"),
        ("methods: [joint]\n", "lacks seeds, budget, datasets"),
        ("methods: [joint\n", "not valid YAML"),
        ("- joint\n", "must be a mapping"),
        ("methods: joint\nseeds: 1\nbudget: {epochs: 3}\ndatasets: {digits: {}}\n", "methods must be a list"),
        ("methods: [joint]\nseeds: 1\nbudget: 5\ndatasets: {digits: {}}\n", "budget must be a mapping"),
        ("methods: [joint]\nseeds: 1\nbudget: {epochs: 3}\ndatasets: [digits]\n", "datasets must be a mapping"),
        (
            "methods: [joint]\nseeds: 1\nbudget: {epochs: 3}\ndatasets: {digits: {}}\nsettings: {joint: 3}\n",
            "settings of 'joint' must be a mapping",
        ),
        ("methods: [joint]\nseeds: true\nbudget: {epochs: 3}\ndatasets: {digits: {}}\n", "1 or more"),
        ("methods: [joint]\nseeds: 1\nbudget: {epoch: 3}\ndatasets: {digits: {}}\n", "did you mean 'epochs'"),
        ("methods: [joint]\nseeds: 0\nbudget: {epochs: 3}\ndatasets: {digits: {}}\n", "1 or more"),
    ],
)
def test_bad_suite(
    text: str,
    message: str,
    results: Path,
    own_suite: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    own_suite(text)
    assert message in error_of(("--suite", "mine", "--dataset", "digits"), capsys)
    assert not results.exists()


def test_missing_data_of_one_dataset_stops_a_suite_before_anything_is_trained(
    results: Path,
    own_suite: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "methods: [joint]\nseeds: 1\nbudget: {epochs: 1}\ndatasets: {digits: , mosi: }\n"
    own_suite(text)

    def load_dataset(name: str) -> Splits:
        if name == "mosi":
            raise UserError("dataset mosi: labels.csv is missing")
        return registry.load_dataset(name)

    monkeypatch.setattr(run, "load_dataset", load_dataset)
    assert "dataset mosi: labels.csv is missing" in error_of(("--suite", "mine"), capsys)
    assert not results.exists()


def test_a_fault_in_the_settings_of_a_later_dataset_is_found_before_data_is_read(
    results: Path,
    own_suite: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "methods: [joint]\nseeds: 1\nbudget: {epochs: 1}\ndatasets: {mosi: , digits: {budget: {epochs: 0}}}\n"
    own_suite(text)
    monkeypatch.delattr(run, "load_dataset")
    assert "`epochs >= 1` must hold" in error_of(("--suite", "mine"), capsys)
    assert not results.exists()


def test_a_method_without_a_representation_has_no_row_out_of_distribution(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = error_of(("--suite", "ood", "--dataset", "digits", "--methods", "joint,constant"), capsys)
    assert "constant has none; leave it out of the methods" in message
    assert not results.exists()


@pytest.mark.parametrize("uri", ["foo://x", "127.0.0.1:5000", "http://[::1"])
def test_bad_tracking_address(
    uri: str, results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert uri in error_of(("--dataset", "digits", "--methods", "constant"), capsys)
    assert not results.exists()


def test_results_that_cannot_be_written(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results.write_text("a file where a folder is needed")
    assert "cannot write results" in error_of(("--dataset", "digits", "--methods", "constant"), capsys)


def test_status_of_the_process(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "run", "--dataset", "mosy"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
