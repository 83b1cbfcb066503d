"""``python -m reports --sweep``: from tracking to files, bad input, and the page in a browser."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.outbox import Outbox
from benchmarks.tracking import Tracking
from benchmarks.trials import FAILED, FINISHED, PRUNED
from reports.__main__ import main
from reports.sweep_page import to_html
from tests.made_studies import made_params, made_population, made_study, put_study
from tests.made_trials import study, sweep, trial

# What a browser makes of the page: pixels it is too wide, figures without size, marks outside their figure.
MEASURE = """<script>
const rect = one => one.getBoundingClientRect();
const figures = [...document.querySelectorAll("svg[role=img]")].map(one => [one, rect(one)]);
const isOut = (one, box) => rect(one).left < box.left - 1 || rect(one).right > box.right + 1
  || rect(one).top < box.top - 4 || rect(one).bottom > box.bottom + 1;
document.title = JSON.stringify({
  "wide": document.documentElement.scrollWidth - document.documentElement.clientWidth,
  "figures": figures.length,
  "flat": figures.filter(([_, box]) => box.width < 100 || box.height < 100).length,
  "out": figures.flatMap(([one, box]) => [...one.querySelectorAll("circle, text, polyline, path, rect")]
    .filter(mark => isOut(mark, box)).map(mark => mark.outerHTML.slice(0, 80))),
});
</script>"""


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
    assert written == {f"sweeps/toy/{name}" for name in ("index.html", "sweep.md", "sweep.csv")}
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


@pytest.mark.parametrize("width", [500, 1300])
def test_a_browser_draws_every_mark_inside_its_figure(width: int, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium")
    kinds = (FINISHED, PRUNED, PRUNED, FAILED)
    trials = [trial(i, None if i % 4 == 3 else 0.5 + i / 100, kinds[i % 4]) for i in range(16)]
    found = sweep(study(*trials), study(*trials[:9], method="dmil"), study(trial(0, 0.6), method="unimodal_text"))
    page = tmp_path / "index.html"
    page.write_text(to_html(found).replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--window-size={width},900", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    (title,) = re.findall("<title>(.*?)</title>", done.stdout.split("<style>")[0])
    # two figures over all methods, and for each of the three its orders, survivors and three settings
    assert json.loads(title) == {"wide": 0, "figures": 2 + 3 * 5, "flat": 0, "out": []}
