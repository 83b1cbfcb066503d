"""Which search a command asks for: what is set by hand wins, and another encoder is another study."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.registry import load_dataset
from benchmarks.suite import SettingsTable
from sweeps import plan
from sweeps.plan import PlannedStudy, check, plan_studies
from tests.made_search import smallest_search


def planned(settings: SettingsTable, *assignments: str, methods: tuple[str, ...] = ("joint",)) -> list[PlannedStudy]:
    """Studies of a suite with such settings on digits."""
    options = smallest_search("digits", methods, *assignments)
    return plan_studies(options, replace(check(options), settings=settings), load_dataset("digits"), device="cpu")


@pytest.mark.parametrize(
    ("settings", "assignment", "expected"),
    [
        ({"joint": {"width": 128}}, "all.width=64", 64),
        ({"all": {"width": 128}}, "joint.width=64", 64),
        ({"joint": {"width": 32}}, "joint.depth=2", 32),
    ],
)
def test_what_is_set_by_hand_overrules_the_suite(settings: SettingsTable, assignment: str, expected: int) -> None:
    (study,) = planned(settings, assignment)
    assert study.plan.base["width"] == expected
    assert study.plan.overrides == (assignment,)
    assert ("width" in study.plan.space) == ("width" not in assignment)


def test_by_hand_for_all_unimodal_rows_overrules_the_suite_for_one() -> None:
    studies = planned({"unimodal_left": {"width": 128}}, "unimodal.width=64", methods=("unimodal",))
    assert [study.plan.base["width"] for study in studies] == [64, 64]


def test_other_files_of_an_encoder_are_another_study(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def key(files: dict[str, dict[str, str]]) -> str:
        def found(choice: Any) -> dict[str, dict[str, str]]:
            asked.append(choice)
            return files

        monkeypatch.setattr(plan, "files_of", found)
        return planned({})[0].plan.key

    keys = [key({}), key({"left": {"weights": "a"}}), key({"left": {"weights": "b"}}), key({})]
    assert keys[0] == keys[3]
    assert len(set(keys)) == 3
    assert list(asked[0]) == ["left", "right"]
