"""The sweep report on budgets: whether every method had the same, what is not complete, and what counts nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from reports.sweep_page import to_html
from reports.sweep_tables import summary, to_csv, to_markdown
from tests.made_studies import made_study
from tests.made_trials import column, mixed, study, sweep, trial


def test_equal_budgets_are_said_to_be_equal() -> None:
    found = sweep(study(*mixed()), study(*mixed(), method="dmil"))
    assert found.warnings == []
    assert found.statement == (
        "Every method had the same budget: 4 configurations × 2 seeds (0, 1), epochs 9, patience 20, lr_patience 8, "
        "lr_factor 0.5, max_grad_norm 1.0; populations of 8, of which the best go on: 1/2 after 1/9 of the epochs and "
        "1/8 after 1/3 of the epochs, the last time within the last stage of training; the default configuration stays "
        "in any case. The first configuration is the default one."
    )
    assert sweep(study(*mixed(), rungs=())).statement.startswith("Budget: 4 configurations")
    assert "populations of 8, none dropped early." in sweep(study(*mixed(), rungs=())).statement


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_trials": 3}, "configurations 4 for joint, 3 for dmil"),
        ({"seeds": (0, 1, 2)}, "seeds [0, 1] for joint, [0, 1, 2] for dmil"),
        ({"budget": {"epochs": 12}}, "epochs 9 for joint, 12 for dmil"),
        ({"population": 4}, "population 8 for joint, 4 for dmil"),
        ({"rungs": ()}, "halving of which the best go on: 1/2 after"),
        ({"data_checksum": "0ther"}, "data c0ffee for joint, 0ther for dmil"),
        ({"device": "cuda"}, "device cpu for joint, cuda for dmil"),
    ],
)
def test_unequal_budgets_are_a_warning(change: dict[str, Any], said: str) -> None:
    found = sweep(study(*mixed()), study(*mixed()[:3], method="dmil", **({"n_trials": 4} | change)))
    assert any(f"Not the same for every method: {said}" in text for text in found.warnings)
    page, text = to_html(found), to_markdown(found)
    assert "Not the same for every method" in page
    assert "> **Warning.** Not the same for every method" in text
    assert "had the same budget" not in page + text


def test_a_study_at_work_is_not_complete() -> None:
    found = sweep(study(*mixed()), study(trial(1, 0.5), trial(2, 0.6), method="dmil", n_trials=4))
    assert found.warnings == ["Not complete, the same command goes on: dmil (2 of 4)."]
    assert found.statement.startswith("Planned for every method: 4 configurations")
    assert column(found, "status") == ["complete", "not complete"]
    assert column(found, "default") == ["60.0", ""]
    assert column(found, "gain") == ["+20.0", ""]


def test_a_space_with_fewer_configurations_than_planned_is_complete() -> None:
    small = {"width": {"choices": [64, 128]}}
    trials = [trial(i, 0.5, params={"width": width}) for i, width in enumerate((128, 64))]
    (text,) = sweep(study(*trials, space=small, n_trials=16)).warnings
    assert text == "joint has tried all 2 configurations that its space holds."


def test_configurations_beyond_those_planned_last_count_nowhere() -> None:
    longer = [*mixed(), trial(4, 0.9), trial(5, 0.95)]
    found, short = sweep(study(*longer, n_trials=4)), sweep(study(*mixed()))
    (text,) = found.warnings
    assert text == "joint has tried 2 more than the 4 configurations planned last; they are left out here."
    assert text in to_html(found)
    assert summary(found) == summary(short)
    assert to_csv(found) == to_csv(short)
    assert to_html(found).partition("What was found</h2>")[2] == to_html(short).partition("What was found</h2>")[2]
    # those planned last need not all be there
    gap = study(trial(0, 0.6), trial(2, 0.7), trial(4, 0.9), n_trials=4)
    assert (gap.n_tried, gap.n_more, gap.is_complete, gap.best) == (2, 1, False, 0.7)


def test_settings_by_hand_for_some_methods_are_unequal_conditions() -> None:
    wide = {"overrides": ("all.width=64",), "base": made_study().base | {"width": 64}}
    common = sweep(study(*mixed(), **wide), study(*mixed(), method="dmil", **wide))
    assert common.warnings == []
    assert common.statement.startswith("Every method had the same budget")
    by_name = [
        study(*mixed(), method=name, **wide | {"overrides": (f"{name}.width=64",)}) for name in ("joint", "dmil")
    ]
    assert sweep(*by_name).warnings == [], "named one by one, the same value is the same condition"
    more = wide | {"overrides": ("all.width=64", "dmil.lr=1e-2"), "base": made_study().base | {"width": 64, "lr": 0.01}}
    for changes_of_joint, said in (
        (wide, "lr=0.01, width=64 for dmil, width=64 for joint"),
        ({}, "lr=0.01, width=64 for dmil, none for joint"),
    ):
        found = sweep(study(*mixed(), **changes_of_joint), study(*mixed(), method="dmil", **more))
        assert found.warnings == [f"Not the same for every method: settings set by hand {said}."]
        assert "had the same budget" not in to_html(found) + to_markdown(found)
