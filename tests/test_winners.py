"""Which search's winner stands in the tuned settings: the larger one, unless what it found fits no longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import tuned
from benchmarks.tuned import Tuned
from sweeps.winners import keep_winner
from tests.made_search import opened
from tests.made_studies import BASE, made_population, made_study

ENCODERS = {"a": {"name": "mlp"}, "b": {"name": "mlp"}}
LEFT = "joint: tuned settings left as they are"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tuned, "TUNED_DIR", tmp_path / "tuned")
    return tmp_path


def search(folder: Path, name: str, n: int = 8, **changes: Any) -> str:
    """A study of n configurations of which the one numbered n - 2 wins; the line about its winner."""
    plan = made_study(n_trials=n, population=4, command=name, **{"encoders": ENCODERS} | changes)
    with opened(folder / name, plan) as study:
        while population := study.next():
            first = 4 * population.number
            scores = [0.9 if first + place == n - 2 else 0.5 for place in range(4)]
            study.finish(made_population(plan, population.number, scores=scores))
        return keep_winner(study)


def kept() -> Tuned:
    found = tuned.load("toy", "joint")
    assert found is not None
    return found


def test_a_winner_says_what_it_took(folder: Path) -> None:
    assert search(folder, "first").endswith("joint.yaml")
    found = kept()
    assert set(found.settings) == set(BASE)
    assert (found.valid_score, found.default_score) == (0.9, 0.5)
    assert found.valid_loss == pytest.approx(0.1)
    assert (found.n_configurations, found.seeds, found.n_epochs) == (8, (0, 1), 8 * 2 * 9)
    assert (found.encoders, found.suite, found.command) == (ENCODERS, "small", "first")


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 4},
        {"n": 4, "overrides": ("joint.depth=1",)},
        {"n": 12, "overrides": ("joint.depth=1",)},
        {"n": 12, "suite": "other"},
        {"suite": "other", "encoders": {"a": {"name": "gru"}, "b": {"name": "mlp"}}},
        {"n": 4, "code": "other", "torch": "9.9", "device": "cuda"},
    ],
    ids=str,
)
def test_what_is_there_stays(folder: Path, changes: dict[str, Any]) -> None:
    search(folder, "first")
    assert search(folder, "second", **changes).startswith(LEFT)
    assert kept().command == "first"


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 12},
        {"n": 8},
        {"n": 4, "encoders": {"a": {"name": "gru"}, "b": {"name": "mlp"}}},
        {"n": 4, "data_checksum": "other"},
        {"n": 4, "revision": 2},
        {"n": 4, "revision": 2, "suite": "other"},
    ],
    ids=str,
)
def test_what_is_there_gives_way(folder: Path, changes: dict[str, Any]) -> None:
    search(folder, "first")
    assert not search(folder, "second", **changes).startswith(LEFT)
    assert kept().command == "second"


def test_a_search_of_all_settings_replaces_one_with_some_by_hand(folder: Path) -> None:
    search(folder, "first", overrides=("joint.depth=1",))
    search(folder, "second", n=4)
    assert (kept().command, kept().overrides) == ("second", ())
