"""``python -m reports`` with and without names: which pages it writes, and that the index leads to all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.suite import DEFAULT_SUITE
from reports.__main__ import main
from tests.made_across import INDEX
from tests.made_runs import Pair, bytes_under, deliver, made_record, made_tracking, on, put, three, three_methods
from tests.made_studies import made_population, made_study, put_study


def planned(pair: Pair, datasets: str, suite: str, at: int) -> None:
    """Tables planned one after the other."""
    for i, name in enumerate(datasets):
        joint, dmil = three("joint", 0.6, 0.7, 0.8, suite=suite), three("dmil", 0.7, 0.8, 0.9, suite=suite)
        deliver(pair, *on(name, *joint, *dmil), dataset=name, suite=suite, planned_at=at + i)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Leaderboards of a and b, then suite small on a and c; a sweep of toy. For reading alone."""
    folder = tmp_path_factory.mktemp("store")
    pair = made_tracking(folder)
    planned(pair, "ab", DEFAULT_SUITE, 1000)
    planned(pair, "ac", "small", 2000)
    study = made_study(population=2, n_trials=2)
    put_study(pair[1], study, made_population(study, 0))
    assert pair[0].deliver(pair[1]).error is None
    return folder


@pytest.fixture
def many(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store / 'mlflow.db'}")


def links_of(page: Path) -> set[str]:
    return {link for link in re.findall(r'href="([^"]+)"', page.read_text()) if not link.startswith("#")}


def written(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def test_everything_is_rebuilt_and_linked(many: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["--out", str(out)]) == 0
    pages = {name for name in written(out) if name.endswith(".html")}
    folders = {"a", "b", "small", "small/a", "small/c", "sweeps/toy"}
    assert pages == {"index.html", *(f"{name}/index.html" for name in folders)}
    assert links_of(out / "index.html") == {f"{name}/index.html" for name in folders}
    assert written(out) >= INDEX
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith("runs.csv")
    assert "Best DMIL variant (of 1) against strongest conventional baseline (of 1) on 2 datasets" in printed
    first = bytes_under(out)
    assert main(["--out", str(out)]) == 0
    assert main(["--dataset", "c", "--out", str(out)]) == 0
    assert main(["--sweep", "toy", "--out", str(out)]) == 0
    assert bytes_under(out) == first


def test_one_report_refreshes_the_index_as_far_as_there_are_pages(
    many: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["--dataset", "b", "--out", str(out)]) == 0
    assert links_of(out / "index.html") == {"b/index.html"}
    assert "The &lt;" not in (out / "index.html").read_text()
    assert "Names without a link have no page yet" in (out / "index.html").read_text()
    assert "Best DMIL variant" not in capsys.readouterr().out
    assert main(["--suite", "small", "--out", str(out)]) == 0
    assert links_of(out / "index.html") == {f"{name}/index.html" for name in ("b", "small", "small/a", "small/c")}
    assert main(["--sweep", "--out", str(out)]) == 0
    assert "sweeps/toy/index.html" in links_of(out / "index.html")


def test_the_suite_planned_last_stands_for_a_dataset(many: None, tmp_path: Path) -> None:
    assert main(["--dataset", "a", "--out", str(tmp_path / "out")]) == 0
    assert written(tmp_path / "out") >= {"small/a/index.html"}
    assert not (tmp_path / "out" / "a").exists()


def test_a_table_that_cannot_be_read_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Predictions of other samples on c: no page of it, no overview that would call it a dataset without runs. And
    runs of d whose plan has not arrived yet: they do not stop the index."""
    pair = made_tracking(tmp_path)
    planned(pair, "b", DEFAULT_SUITE, 1000)
    planned(pair, "a", "small", 2000)
    records, files = three_methods()
    key = records[0].key
    files[key] = files[key].assign(id=lambda frame: "other " + frame["id"])
    deliver(pair, *on("c", *records), files=files, dataset="c")
    (early,) = on("d", made_record("joint", suite=DEFAULT_SUITE))
    put(pair[1], early)
    assert pair[0].deliver(pair[1]).error is None
    out = tmp_path / "out"
    assert main(["--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert re.match(r"error: not everything could be reported: d \(leaderboard\): .*; c \(small\): ", said)
    assert said.count("\n") == 1
    pages = {name for name in written(out) if name.endswith(".html")}
    assert pages == {f"{name}index.html" for name in ("", "b/", "small/a/")}
    assert main(["--dataset", "c", "--out", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()
    assert main(["--dataset", "b", "--out", str(tmp_path / "other")]) == 0
    assert "their plan has not arrived yet: d." in (tmp_path / "other" / "index.html").read_text()


def test_sweeps_alone_have_an_index_and_nothing_has_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracking, outbox = made_tracking(tmp_path)
    out = tmp_path / "out"
    assert main(["--out", str(out)]) == 2
    assert "MLflow holds no runs; it knows nothing yet" in capsys.readouterr().err
    assert not out.exists()
    study = made_study(population=2, n_trials=2)
    put_study(outbox, study, made_population(study, 0))
    assert tracking.deliver(outbox).error is None
    assert main(["--out", str(out)]) == 0
    assert links_of(out / "index.html") == {"sweeps/toy/index.html"}
    for name in ("index.html", "index.md", "index.tex"):
        text = (out / name).read_text()
        assert "Completeness" not in text
        assert "Of 0" not in text
