"""The bench as its users start it: a process of its own in a checkout of its own."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.made_checkout import Checkout

SMALL = ("--dataset", "digits", "--seeds", "2", "--epochs", "4")
# Of a row that has just ended: the process is killed then.
SIGNS = ("constant  ", "unimodal_right ", "joint  ")
METHODS = ("--methods", "constant,ensemble,joint,dmil")


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Checkout:
    return Checkout(root, tmp_path / "checkout")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout(Path(__file__).parents[1], tmp_path_factory.mktemp("undisturbed") / "checkout")
    checkout.bench(*SMALL, *METHODS)
    return checkout


def test_the_same_command_again_trains_nothing_and_changes_no_byte(undisturbed: Checkout) -> None:
    first = undisturbed.leaderboard()
    assert "0 of 12 runs trained, 12 were there already" in undisturbed.bench(*SMALL, *METHODS)
    assert undisturbed.leaderboard() == first


def test_leaderboard_holds_every_method(undisturbed: Checkout) -> None:
    table = undisturbed.numbers().set_index("method")
    assert set(table.index) == {"constant", "unimodal_left", "unimodal_right", "ensemble", "joint", "dmil"}
    assert (table["status"] == "complete").all()
    assert (table["n_seeds"] == 2).all()
    accuracy = table["test_acc_mean"].to_dict()
    assert accuracy["joint"] > 2 * accuracy["constant"]


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("sign", [pytest.param(sign, marks=[pytest.mark.slow] * (sign != "joint  ")) for sign in SIGNS])
def test_kill_and_resume_gives_the_undisturbed_table(
    checkout: Checkout, undisturbed: Checkout, sign: str, jobs: str
) -> None:
    process = checkout.start("benchmarks", "run", *SMALL, *METHODS, "--jobs", jobs)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(sign):
            break
    time.sleep(0.15)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    checkout.bench(*SMALL, *METHODS, "--jobs", jobs)
    pd.testing.assert_frame_equal(checkout.numbers(), undisturbed.numbers())
    assert checkout.query("select count(*) from runs where status = 'RUNNING' and lifecycle_stage = 'active'") == [(0,)]
    finished = checkout.query(
        "select tags.value, count(*) from runs join tags using (run_uuid) where tags.key = 'key' "
        "and runs.status = 'FINISHED' and runs.lifecycle_stage = 'active' group by tags.value"
    )
    assert len(finished) == 12
    assert {count for _, count in finished} == {1}


def test_a_diverging_replica_is_a_hole_and_the_others_go_on(checkout: Checkout) -> None:
    output = checkout.bench(*SMALL, "--methods", "joint,constant", "--set", "joint@1.lr=1e6", status=1)
    assert "seed 1 failed: training loss or gradient not finite in epoch" in output
    checkout.leaderboard()
    table = pd.read_csv(checkout.folder / "reports/out/digits/leaderboard.csv").set_index("method")
    assert list(table[["n_seeds", "n_failed", "status"]].loc["joint"]) == [1, 1, "failed"]
    assert table.loc["constant", "status"] == "complete"
    page = (checkout.folder / "reports/out/digits/index.html").read_text()
    assert "not finite" in page
    again = checkout.bench(*SMALL, "--methods", "joint,constant", "--set", "joint@1.lr=1e6", status=1)
    assert "1 of 4 runs trained" in again


@pytest.mark.slow
def test_an_ensemble_with_a_failed_member_is_a_hole(checkout: Checkout) -> None:
    output = checkout.bench(*SMALL, "--methods", "ensemble", "--set", "unimodal_left@0.lr=1e6", status=1)
    assert "its member unimodal_left has no finished run for this seed" in output


def test_a_model_too_large_for_memory_is_a_hole(checkout: Checkout) -> None:
    huge = ("--set", "joint.width=100000000000")
    output = checkout.bench(*SMALL, "--methods", "joint,constant", *huge, status=1)
    assert "RuntimeError" in output
    assert "0 of 2 seeds" in output


@pytest.mark.slow
def test_where_a_process_of_a_row_is_killed_the_others_go_on_one_by_one(
    checkout: Checkout, undisturbed: Checkout
) -> None:
    process = checkout.start("benchmarks", "run", *SMALL, *METHODS, "--jobs", "2")
    assert process.stdout is not None
    while not (line := process.stdout.readline()).startswith(("joint", "unimodal")):
        assert process.poll() is None, line
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (victim, *_) = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(victim), signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "warning: a process that trained died" in output
    assert "Traceback" not in output
    pd.testing.assert_frame_equal(checkout.numbers(), undisturbed.numbers())


@pytest.mark.slow
def test_numbers_do_not_depend_on_what_trains_beside_them(checkout: Checkout, undisturbed: Checkout) -> None:
    """Nor on how many cores there are: without OMP_NUM_THREADS there is one thread each, with it as many as it says."""
    checkout.environment.pop("OMP_NUM_THREADS")
    checkout.bench(*SMALL, "--methods", "dmil")
    checkout.bench(*SMALL, *METHODS, "--jobs", "2")
    pd.testing.assert_frame_equal(checkout.numbers(), undisturbed.numbers())
    threads = "select distinct value from tags where key = 'n_threads'"
    assert checkout.query(threads) == [("1",)]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_interrupt_ends_at_once_and_the_same_command_goes_on(
    checkout: Checkout, undisturbed: Checkout, jobs: str
) -> None:
    process = checkout.start("benchmarks", "run", *SMALL, *METHODS, "--jobs", jobs)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("unimodal_left"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on from there" in output
    assert "Traceback" not in output
    assert "semaphore" not in output
    checkout.bench(*SMALL, *METHODS)
    pd.testing.assert_frame_equal(checkout.numbers(), undisturbed.numbers())


@pytest.mark.slow
def test_other_members_make_another_table(checkout: Checkout) -> None:
    checkout.bench(*SMALL, "--methods", "ensemble,joint")
    checkout.bench(*SMALL, "--methods", "ensemble", "--set", "unimodal.width=16", "--seeds", "1")
    table = checkout.numbers().set_index("method")
    assert set(table.index) == {"ensemble", "unimodal_left", "unimodal_right"}
    assert (table["n_seeds"] == 1).all()
    assert table["n_params"].to_dict()["ensemble"] == 2 * table["n_params"].to_dict()["unimodal_left"]


@pytest.mark.slow
def test_a_suite_runs_on_its_datasets_one_after_another(checkout: Checkout) -> None:
    suite = "base: leaderboard\nmethods: [joint, constant]\nseeds: 1\nbudget: {epochs: 1}\ndatasets: {digits: , %s: }\n"
    (checkout.folder / "benchmarks/suites/mine.yaml").write_text(suite % "interactions-s-n100")
    first = checkout.bench("--suite", "mine", "--jobs", "1", "--set", "joint.lr=1e9", status=1)
    lines = first.splitlines()
    assert [line for line in lines if " of 2)" in line] == ["digits (1 of 2)", "interactions-s-n100 (2 of 2)"]
    assert "2 datasets: 4 of 4 runs trained, 0 were there already" in first
    assert lines[-1] == "failed runs: digits (1)"
    again = checkout.bench("--suite", "mine", "--jobs", "1")
    assert "2 datasets: 2 of 4 runs trained, 2 were there already" in again
    assert "failed" not in again
    stored = "select t.value, count(*) from tags t join tags k using (run_uuid) where t.key = '%s' and k.key = 'key' %s"
    one_table = "and k.run_uuid in (select run_uuid from runs where status = 'FINISHED') group by t.value"
    assert checkout.query(stored % ("suite", one_table)) == [("mine", 5)]
    assert checkout.query(stored % ("dataset", one_table)) == [("digits", 2), ("interactions-s-n100", 3)]


@pytest.mark.slow
def test_a_seed_with_its_own_settings_stays_out_of_the_plain_row(checkout: Checkout) -> None:
    checkout.bench(*SMALL, "--methods", "joint")
    plain = checkout.numbers()
    checkout.bench(*SMALL, "--methods", "joint", "--set", "joint@1.width=16")
    assert not checkout.numbers().equals(plain)
    assert checkout.numbers()["status"].tolist() == ["complete"]
    checkout.bench(*SMALL, "--methods", "joint")
    pd.testing.assert_frame_equal(checkout.numbers(), plain)


def test_an_unreachable_server_costs_nothing(checkout: Checkout) -> None:
    nobody = "http://127.0.0.1:9"
    arguments = (*SMALL, "--methods", "constant,joint")
    output = checkout.bench(*arguments, MLFLOW_TRACKING_URI=nobody)
    assert "make sync" in output
    assert "0 of 4 runs trained, 4 were there already" in checkout.bench(*arguments, MLFLOW_TRACKING_URI=nobody)
    assert "4 runs sent, 0 left" in checkout.run("benchmarks", "sync")
    assert "0 runs sent, 0 left" in checkout.run("benchmarks", "sync")
    assert checkout.query("select count(*) from tags where key = 'key'") == [(4,)]


def test_permuted_test_targets_change_nothing_that_was_selected(checkout: Checkout, undisturbed: Checkout) -> None:
    loader = checkout.folder / "datasets" / "digits.py"
    loader.write_text(loader.read_text() + PERMUTE)
    checkout.bench(*SMALL, *METHODS)
    of_test = ("test_", "synergy", "gain", "is_tied")
    kept = [column for column in undisturbed.numbers().columns if not str(column).startswith(of_test)]
    pd.testing.assert_frame_equal(_by_method(checkout)[kept], _by_method(undisturbed)[kept])
    assert not _by_method(checkout)["test_acc_mean"].equals(_by_method(undisturbed)["test_acc_mean"])
    assert _kept_files(checkout) == _kept_files(undisturbed)


PERMUTE = """

_prepare = prepare


def prepare(root):
    from dataclasses import replace

    splits = _prepare(root)
    return replace(splits, test=replace(splits.test, target=splits.test.target.roll(1)))
"""


def _by_method(checkout: Checkout) -> pd.DataFrame:
    return checkout.numbers().sort_values("method", ignore_index=True)


def _kept_files(checkout: Checkout) -> dict[tuple[str, int], tuple[object, ...]]:
    """Per method and seed: validation metrics, selected epoch, and the weights of the checkpoint."""
    from safetensors import safe_open

    kept: dict[tuple[str, int], tuple[object, ...]] = {}
    for path in (checkout.folder / "results").rglob("spec.json"):
        spec = json.loads(path.read_text())
        spec = spec.get("spec", spec)
        with safe_open(path.with_name("checkpoint.safetensors"), "pt") as file:
            weights = {name: file.get_tensor(name).tolist() for name in sorted(file.keys())}
        history = json.loads(path.with_name("history.json").read_text())
        kept[spec["method"], spec["seed"]] = (weights, history)
    return kept
