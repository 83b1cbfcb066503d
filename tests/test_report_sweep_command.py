"""``python -m reports --sweep``: from tracking to files, and bad input."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.outbox import Outbox
from benchmarks.tracking import Tracking
from reports.__main__ import main
from reports.sweep import build_sweeps
from tests.made_across import INDEX
from tests.made_studies import made_params, made_population, made_study, put_study


def deliver(folder: Path) -> None:
    """On toy two methods, one of them half way; on digits one."""
    few: dict[str, Any] = {"population": 2, "n_trials": 4}
    outbox = Outbox(folder / "outbox")
    joint, dmil, far = made_study(**few), made_study("dmil", **few), made_study(dataset="digits", **few)
    put_study(outbox, joint, made_population(joint, 0, pruned={1: 3}), made_population(joint, 1, pruned={0: 3}))
    put_study(outbox, dmil, made_population(dmil, 0, failed=(1,)))
    put_study(outbox, far)
    assert Tracking(folder, f"sqlite:///{folder / 'mlflow.db'}").deliver(outbox).error is None


def test_the_command_reads_tracking_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deliver(tmp_path)
    out = tmp_path / "out"
    bad = {
        "nope": "it knows digits (suite small), toy (suite small)",
        "toy --suite far": "it knows digits (suite small)",
    }
    bad["toy --dataset digits"] = "leave --dataset out, or say --sweep digits"
    for arguments, said in bad.items():
        assert main(["--sweep", *arguments.split(), "--out", str(out)]) == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert said in message
        assert message.count("\n") == 1
    assert not out.exists()
    assert main(["--sweep", "toy", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    folder = out / "sweeps" / "toy"
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == INDEX | {f"sweeps/toy/{name}" for name in ("index.html", "sweep.md", "sweep.csv", "sweep.tex")}
    assert all(str(folder / name) in printed for name in ("index.html", "sweep.md", "sweep.csv"))
    assert re.search(r"joint +4/4 +2 +2 +0 ", printed)
    assert re.search(r"dmil +2/4 +1 +0 +1 ", printed)
    assert "Not complete, the same command goes on: dmil (2 of 4)." in printed
    rows = list(csv.DictReader((folder / "sweep.csv").read_text().splitlines()))
    places = [(one["method"], one["number"]) for one in rows]
    assert places == [*(("dmil", str(i)) for i in range(2)), *(("joint", str(i)) for i in range(4))]
    assert float(rows[3]["setting.lr"]) == pytest.approx(made_params(1)["lr"])
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["--sweep", "--out", str(out)]) == 0
    assert {path.name for path in (out / "sweeps").iterdir()} == {"toy", "digits"}
    assert first == {path.name: path.read_bytes() for path in folder.iterdir()}, "the same store gives the same bytes"


def test_a_search_of_another_suite_hides_none_of_this_one(tmp_path: Path) -> None:
    """dmil was searched in both suites; the newest study of all is of the suite small."""
    few: dict[str, Any] = {"population": 2, "n_trials": 2}
    plans = [
        made_study("dmil", planned_at=1, code="first", **few),
        made_study("agm", planned_at=2, code="first", **few),
        made_study("dmil", planned_at=3, code="second", suite="other", **few),
        made_study("agm", planned_at=4, code="second", **few),
    ]
    outbox = Outbox(tmp_path / "outbox")
    for plan in plans:
        put_study(outbox, plan, made_population(plan, 0))
    tracking = Tracking(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert tracking.deliver(outbox).error is None
    (found,) = build_sweeps(tracking, None, None)
    assert found.suite == "small"
    assert sorted(one.plan.key for one in found.studies) == sorted((plans[0].key, plans[3].key))
    assert found.others == (f"dmil (suite other, {plans[2].key})",)
