"""Whatever ``python -m reports`` writes is a function of the store alone: whole trees of files, byte by byte."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.outbox import Outbox
from benchmarks.record import AUDIT, SAMPLES, RunRecord
from benchmarks.suite import DEFAULT_SUITE
from benchmarks.trials import PopulationRecord, StudyPlan
from reports.__main__ import main
from tests.made_runs import (
    CARD,
    TUNING,
    bytes_under,
    client_of,
    failed_record,
    made_plan,
    made_tracking,
    on,
    put,
    stored,
    three,
    three_methods,
)
from tests.made_studies import made_population, made_study, put_study
from tests.made_tables import KNOWN_CARD, known_truth
from tests.test_report_sanity import AUDITED

# Entries of the outbox: a plan, which is always written first, then what belongs to it.
Entries = list[partial[None]]


def table(
    name: str, suite: str, records: Sequence[RunRecord], predictions: Mapping[str, Any], **changes: Any
) -> Entries:
    """``changes`` replace any field of the plan."""
    runs = [replace(run, suite=suite) for run in on(name, *records)]
    plan = made_plan({run.method: range(3) for run in runs}, dataset=name, suite=suite, **changes)
    stacks = [[run for run in runs if run.method == row.method] for row in plan.rows]
    return [partial(put, plan=plan), *(partial(_put_stack, runs=stack, predictions=predictions) for stack in stacks)]


def _put_stack(outbox: Outbox, runs: Sequence[RunRecord], predictions: Mapping[str, Any]) -> None:
    put(outbox, *runs, files=dict(predictions))


def study(method: str, population: int) -> Entries:
    """Two populations, of one seed."""
    plan = made_study(method, seeds=(0,), population=population, n_trials=2 * population)
    populations = [made_population(plan, i, pruned={2: 3}, failed=(4,)) for i in range(2)]
    return [partial(_put_study, plan=plan), *(partial(_put_study, plan=None, populations=[one]) for one in populations)]


def _put_study(outbox: Outbox, plan: StudyPlan | None, populations: Sequence[PopulationRecord] = ()) -> None:
    put_study(outbox, plan, *populations)


def content() -> list[Entries]:
    """A table of known truth with all that a plan can say of its data; one with holes, planned twice; one of another
    suite with a tuned row; a sweep of two methods."""
    known, known_files = known_truth()
    texts = {f"s{i}": f"text <{i}>" for i in range(6)}
    files = {SAMPLES: {"class_names": ["no", "yes"], "texts": texts}, AUDIT: AUDITED}
    some, some_files = three_methods()
    others = [
        *three("dmil", 0.5, 0.6),
        failed_record("dmil_pid", 1),
        *three("constant", 0.5, 0.5, 0.5),
        *three("label_shuffle", 0.5, 0.4, 0.5),
    ]
    older = [replace(run, protocol="older") for run in three("late_fusion", 0.1)]
    return [
        table("known", DEFAULT_SUITE, known, known_files, card=CARD | KNOWN_CARD, files=files),
        table("holes", DEFAULT_SUITE, [*some, *others], some_files, planned_at=2000),
        table("holes", DEFAULT_SUITE, older, {}, planned_at=1000, protocol="older"),
        table("holes", "small", some, some_files, tuning={"joint": TUNING}, overrides=("joint.lr=1",)),
        study("joint", 8),
        study("dmil", 2),
    ]


def made_store(folder: Path, *, is_reversed: bool = False) -> Path:
    """The content, its tables and studies, and the entries of each after its plan, in this order or the other."""
    folder.mkdir()
    tracking, outbox = made_tracking(folder)
    step = -1 if is_reversed else 1
    for plan, *others in content()[::step]:
        for entry in (plan, *others[::step]):
            entry(outbox)
    assert tracking.deliver(outbox).error is None
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_store(tmp_path_factory.mktemp("rebuild") / "results")


def reported(store: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Every file of every report of a store."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store / 'mlflow.db'}")
    assert main(["--out", str(out)]) == 0
    return bytes_under(out)


def different(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def test_rebuilding_from_the_store_alone_gives_the_same(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first = reported(store, out, monkeypatch)
    pages = {"index.html", "known/index.html", "holes/index.html", "small/holes/index.html", "sweeps/toy/index.html"}
    assert pages <= first.keys()
    assert not [name for name in first if Path(name).name.startswith(".")], "no drafts are left"
    assert different(first, reported(store, out, monkeypatch)) == [], "over what was there"
    shutil.rmtree(out)
    shutil.rmtree(store / "outbox", ignore_errors=True)
    assert different(first, reported(store, out, monkeypatch)) == []


def test_another_process_writes_the_same(
    store: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other hashes of text, another folder, another place on earth, another width of the terminal."""
    environment = os.environ | {"PYTHONHASHSEED": "1", "TZ": "Pacific/Apia", "COLUMNS": "41", "PYTHONPATH": str(root)}
    environment |= {"MLFLOW_TRACKING_URI": f"sqlite:///{store / 'mlflow.db'}", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "reports", "--out", "there"]
    subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, check=True)
    assert different(reported(store, tmp_path / "here", monkeypatch), bytes_under(tmp_path / "there")) == []


def test_no_file_names_a_place_on_this_machine(
    store: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in reported(store, tmp_path / "out", monkeypatch).items():
        for path in (store, root, tmp_path, Path(sys.prefix)):
            assert str(path).encode() not in content, name


@pytest.mark.slow
def test_the_order_of_delivery_does_not_matter(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another store differs in nothing but the ids that MLflow gives its runs."""
    again = made_store(tmp_path / "again", is_reversed=True)
    trees = [named(one, reported(one, tmp_path / one.name / "out", monkeypatch)) for one in (store, again)]
    assert different(*trees) == []


def named(store: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files with every run's id, and its first eight digits, replaced by who it is."""
    runs = [run for suite in (DEFAULT_SUITE, "small", "sweeps") for run in stored(client_of(store), suite=suite)]
    names: dict[str, str] = {}
    for run in runs:
        tags = run.data.tags
        # a seed that two suites plan is a run of the one that came first
        suite = "" if tags["level"] == "seed" else tags["suite"]
        name = " ".join((suite, *(tags.get(tag, "") for tag in ("level", "dataset", "method", "seed", "number"))))
        names |= {run.info.run_id: name, run.info.run_id[:8]: f"{name} short"}
    ids = re.compile("|".join(sorted(names, key=len, reverse=True)))
    return {file: ids.sub(lambda found: names[found[0]], content.decode()).encode() for file, content in files.items()}
