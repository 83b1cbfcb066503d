"""Settings: types, ranges, names, and which of them a stack may mix."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pytest
import torch

from benchmarks.methods import METHODS
from dmil.model import DmilSettings
from dmil.settings import Settings, override, shared_settings, stack_settings, tunable


@pytest.mark.parametrize(
    ("name", "value", "result"),
    [
        ("lr", 1, 1.0),
        ("lr", "1e-3", 1e-3),
        ("lr", 0.0, 0.0),
        ("dropout", 0, 0.0),
        ("weight_decay", "0", 0.0),
        ("width", "32", 32),
        ("width", 32.0, 32),
    ],
)
def test_values_take_the_type_of_the_default(name: str, value: Any, result: Any) -> None:
    got = getattr(override(Settings(), {name: value}), name)
    assert got == result
    assert type(got) is type(result)


@pytest.mark.parametrize("value", ["many", 32.5, True, None, [32], "1e2", float("inf"), float("nan")])
def test_a_value_of_another_type_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match="setting 'width' takes int, but got"):
        override(Settings(), {"width": value})


@pytest.mark.parametrize("value", ["fast", True, None, [0.1]])
def test_a_fraction_must_be_a_number(value: Any) -> None:
    with pytest.raises(ValueError, match="setting 'lr' takes float, but got"):
        override(Settings(), {"lr": value})


def test_an_unknown_name_is_an_error_with_a_hint() -> None:
    with pytest.raises(ValueError, match=r"unknown setting 'alignement'; did you mean 'alignment'\? known: lr, "):
        override(DmilSettings(), {"alignement": 1.0})
    with pytest.raises(ValueError, match="unknown setting 'zzz'; known: lr, "):
        override(Settings(), {"zzz": 1.0})


def test_override_leaves_the_original_and_the_rest_alone() -> None:
    settings = DmilSettings()
    changed = override(settings, {"alignment": 0})
    assert settings == DmilSettings()
    assert changed.to_dict() == settings.to_dict() | {"alignment": 0.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", -1e-3),
        ("lr", float("nan")),
        ("weight_decay", -0.1),
        ("dropout", -0.1),
        ("dropout", 1.0),
        ("batch_size", 0),
        ("width", 0),
        ("depth", 0),
    ],
)
def test_impossible_values(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"`{name} .* must hold, but got {name}={value}"):
        override(Settings(), {name: value})


def test_impossible_ranges() -> None:
    with pytest.raises(ValueError, match=r"`low <= default <= high` must hold, but got \(low=1, default=0.5, high=2\)"):
        tunable(0.5, low=1, high=2)
    with pytest.raises(ValueError, match="one of its choices, but got 3 and"):
        tunable(3, choices=(1, 2))


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_has_a_range_or_choices_around_its_default(name: str) -> None:
    for setting in fields(METHODS[name].Settings()):
        space = setting.metadata
        if space["choices"]:
            assert setting.default in space["choices"]
        else:
            assert space["low"] <= setting.default <= space["high"]
            assert not space["log"] or space["low"] > 0


@pytest.mark.parametrize("name", METHODS)
def test_what_methods_have_in_common_has_the_same_range_everywhere(name: str) -> None:
    own = {f.name: f for f in fields(METHODS[name].Settings())}
    for setting in fields(Settings()):
        assert own[setting.name].metadata == setting.metadata
        assert own[setting.name].default == setting.default


def test_settings_of_a_stack_are_tensors_with_one_number_per_replica() -> None:
    first, second = DmilSettings(lr=0.5, alignment=0.0), DmilSettings(lr=0.25)
    stacked: Any = stack_settings([first, second], torch.float64, "cpu")
    assert torch.equal(stacked.lr, torch.tensor([0.5, 0.25], dtype=torch.float64))
    assert torch.equal(stacked.alignment, torch.tensor([0.0, second.alignment], dtype=torch.float64))
    assert stacked.width == first.width
    assert set(shared_settings(first)) == {
        *("batch_size", "width", "depth"),
        *("synergy_depth", "intra_epochs", "decomposition_epochs"),
    }


def test_a_whole_number_in_the_first_replica_does_not_become_everyones() -> None:
    stacked: Any = stack_settings([DmilSettings(alignment=1), DmilSettings(alignment=0.1)], torch.float64, "cpu")
    assert stacked.alignment.tolist() == [1.0, 0.1]


def test_what_cannot_be_stacked_is_shared_even_where_nothing_says_so() -> None:
    @dataclass(frozen=True)
    class Own(Settings):
        n_rounds: int = tunable(3, low=1, high=9)
        is_greedy: bool = tunable(True, choices=(True, False))

    assert {"n_rounds", "is_greedy"} <= set(shared_settings(Own()))
    stacked: Any = stack_settings([Own(), Own()], torch.float32, "cpu")
    assert (stacked.n_rounds, stacked.is_greedy) == (3, True)
