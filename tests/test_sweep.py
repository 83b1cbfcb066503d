"""A sweep as its users start it: a process of its own in a checkout of its own, on digits; undisturbed without Ray,
killed with and without it."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from benchmarks.registry import load_dataset
from benchmarks.tracking import Tracking
from benchmarks.trials import StudyRow
from dmil.data import Splits
from sweeps.__main__ import main
from tests.made_checkout import Checkout
from tests.test_cluster import marked, wait_for

SIZE = ("--trials", "7", "--epochs", "3", "--population", "3")
SMALL = ("--dataset", "digits", "--methods", "joint,dmil", *SIZE, "--backend", "local")


def sweep(checkout: Checkout, *arguments: str, status: int = 0) -> str:
    return checkout.run("sweeps", "run", *SMALL, *arguments, status=status)


def studies(checkout: Checkout) -> dict[str, StudyRow]:
    uri = f"sqlite:///{checkout.folder / 'results' / 'mlflow.db'}"
    return {row.plan.method: row for row in Tracking(checkout.folder / "results", uri).studies("digits")}


def facts(row: StudyRow) -> list[tuple[Any, ...]]:
    """What tracking knows of every configuration, without times."""
    return [(t.number, t.population, t.params, t.status, t.score, t.pruned_at, t.epochs) for t in row.trials]


def outcome(checkout: Checkout) -> dict[str, list[tuple[Any, ...]]]:
    return {method: facts(row) for method, row in studies(checkout).items()}


def winners(checkout: Checkout) -> dict[str, Any]:
    folder = checkout.folder / "benchmarks" / "tuned" / "digits"
    found = {path.stem: yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml")}
    return {name: {k: v for k, v in one.items() if k not in ("tuned_at", "command")} for name, one in found.items()}


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout(root, tmp_path_factory.mktemp("undisturbed") / "checkout")
    output = sweep(checkout)
    assert "14 configurations trained, 0 were there already" in output
    return checkout


def test_everything_is_tracked_and_the_best_is_kept(undisturbed: Checkout) -> None:
    rows = studies(undisturbed)
    assert list(rows) == ["dmil", "joint"]
    for method, row in rows.items():
        assert [one.number for one in row.trials] == list(range(7))
        assert row.plan.n_trials == 7
        ended = [one for one in row.trials if one.status == "finished"]
        best = max(ended, key=lambda one: (one.score or 0, -(one.loss or 0)))
        kept = winners(undisturbed)[method]
        assert kept["valid_score"] == best.score
        assert {name: kept["settings"][name] for name in best.params} == best.params
        assert kept["sweep"] == row.plan.key
        assert kept["n_configurations"] == 7
        assert kept["seeds"] == [1000, 1001]
        assert kept["encoders"] == {"left": {"name": "mlp"}, "right": {"name": "mlp"}}


def test_the_same_command_again_trains_nothing(undisturbed: Checkout) -> None:
    before = outcome(undisturbed), winners(undisturbed)
    output = sweep(undisturbed)
    assert "0 configurations trained, 14 were there already" in output
    assert (outcome(undisturbed), winners(undisturbed)) == before


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["local", "ray"])
@pytest.mark.parametrize("n_done", [0, 1, 3])
def test_a_killed_driver_goes_on_to_the_same_end(
    root: Path, tmp_path: Path, undisturbed: Checkout, n_done: int, backend: str
) -> None:
    checkout = Checkout(root, tmp_path / "checkout")
    process = checkout.start("sweeps", "run", *SMALL, "--backend", backend)
    deadline = time.monotonic() + 120
    found = "population-*.json" if n_done else "optuna.db"
    while len(list(checkout.folder.glob(f"results/sweeps/digits/*/{found}"))) < max(1, n_done):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)  # its workers end a moment later
    sweep(checkout, "--backend", backend)
    assert outcome(checkout) == outcome(undisturbed)
    assert winners(checkout) == winners(undisturbed)
    left = checkout.query("select count(*) from runs where lifecycle_stage = 'active' and status = 'RUNNING'")
    assert left == [(0,)]


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(root: Path, tmp_path: Path, undisturbed: Checkout) -> None:
    checkout = Checkout(root, tmp_path / "checkout")
    mark = "MADE_SWEEP=" + uuid.uuid4().hex
    process = checkout.start("sweeps", "run", *SMALL, "--backend", "ray", **dict([mark.split("=")]))
    (victim, *_) = wait_for(lambda: marked(mark, "ray::ImplicitFunc.train"), 120)
    os.kill(victim, signal.SIGKILL)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert outcome(checkout) == outcome(undisturbed)
    assert winners(checkout) == winners(undisturbed)


@pytest.mark.slow
def test_two_sweeps_at_once_lose_nothing(root: Path, tmp_path: Path, undisturbed: Checkout) -> None:
    checkout = Checkout(root, tmp_path / "checkout")
    both = [checkout.start("sweeps", "run", *SMALL, "--methods", method) for method in ("joint", "dmil")]
    for process in both:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    assert outcome(checkout) == outcome(undisturbed)
    assert winners(checkout) == winners(undisturbed)


def test_a_second_command_on_the_same_study_is_told_so(undisturbed: Checkout) -> None:
    from fcntl import LOCK_EX, flock

    (folder,) = undisturbed.folder.glob("results/sweeps/digits/joint-*")
    with (folder / ".lock").open("w") as handle:
        flock(handle, LOCK_EX)
        output = sweep(undisturbed, status=2)
    assert output.strip().splitlines()[-1].startswith("error: another process is at work on the same study of joint")


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results and tuned files of this process go elsewhere."""
    monkeypatch.setattr("benchmarks.store.RESULTS", tmp_path / "results")
    monkeypatch.setattr("benchmarks.tuned.TUNED_DIR", tmp_path / "tuned")


@pytest.fixture
def shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on test targets are permuted."""

    def load(name: str) -> Splits:
        splits = load_dataset(name)
        order = torch.randperm(len(splits.test), generator=torch.Generator().manual_seed(0))
        splits.test.target.copy_(splits.test.target[order])
        return splits

    monkeypatch.setattr("sweeps.run.load_dataset", load)


@pytest.mark.usefixtures("shuffled", "apart")
def test_test_targets_change_nothing(undisturbed: Checkout, tmp_path: Path) -> None:
    """The data checksum, which covers the test split, makes it another study; what it finds is the same."""
    assert main(["run", *SMALL, "--methods", "joint", "--jobs", "1"]) == 0
    (row,) = Tracking(tmp_path / "results").studies("digits")
    assert facts(row) == outcome(undisturbed)["joint"]


@pytest.mark.usefixtures("apart")
def test_a_bad_address_of_the_store_ends_it_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense")
    assert main(["run", *SMALL]) == 2
    assert capsys.readouterr().err.startswith("error: MLFLOW_TRACKING_URI='nonsense' is no address")
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("apart")
def test_a_faulty_tuned_file_is_met_before_the_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tuned" / "digits" / "joint.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("tuned_at: 2024-13-45\n")
    assert main(["run", *SMALL]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: tuned settings {path}: cannot be read")
    assert error.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "--trials takes a whole number of 1 or more, but got 0"),
        (["--seeds", "0"], "--seeds takes a whole number of 1 or more"),
        (["--population", "-1"], "--population takes a whole number"),
        (["--ahead", "0"], "--ahead takes a whole number"),
        (["--jobs", "0"], "--jobs takes a whole number"),
        (["--dataset", "mosy"], "did you mean 'mosi'?"),
        (["--methods", "joynt"], "did you mean 'joint'?"),
        (["--methods", ","], "no method to tune"),
        (["--methods", "constant"], "nothing to tune"),
        (["--set", "joint.lrr=1"], "unknown setting 'lrr'"),
        (["--set", "joint@3.lr=1e-3"], "settings of single seeds"),
        (["--set", "joint.lr=2024-13-45"], "cannot read the value"),
        (["--methods", "joint", "--set", "dmil.latent=32"], "which is not tuned here"),
        (["--methods", "joint", *(f"--set=joint.{name}={value}" for name, value in (
            ("lr", 1e-3), ("weight_decay", 1e-2), ("dropout", 0.5), ("batch_size", 64), ("width", 128), ("depth", 1)
        ))], "empty search space"),
        (["--suite", "ood"], "probes on classes"),
        (["--epochs", "0"], "epochs"),
        (["--device", "cuda"], "cuda"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("apart")
def test_bad_input_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments == ["--device", "cuda"] and torch.cuda.is_available():
        pytest.skip("this machine has the device")
    assert main(["run", "--dataset", "digits", "--backend", "local", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "tuned").exists()
