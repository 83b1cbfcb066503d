"""Settings: types, ranges, names, which of them a stack may mix, and what two of them do to a new DMIL model."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.methods import METHODS
from dmil.data import Task
from dmil.model import Dmil, DmilCd, DmilFc, DmilId, DmilSettings
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
        ("lr", float("inf")),
        ("weight_decay", float("inf")),
        ("weight_decay", -0.1),
        ("dropout", -0.1),
        ("dropout", 1.0),
        ("batch_size", 0),
        ("width", 0),
        ("depth", 0),
        ("variational", -0.1),
        ("reconstruction", -0.1),
        ("reconstruction_joint", float("inf")),
        ("alignment", -1.0),
        ("component", float("nan")),
        ("component_joint", -1.0),
        ("beta", -1.0),
        ("gamma", -float("inf")),
        ("latent", 0),
        ("synergy_depth", -1),
        ("intra_epochs", -1),
        ("decomposition_epochs", -1),
        ("initial_logvar", -50.5),
        ("initial_logvar", float("inf")),
        ("initial_logvar", float("nan")),
    ],
)
def test_impossible_values(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"`{name} .* must hold, but got {name}={value}"):
        override(DmilSettings(), {name: value})
    if name in Settings().to_dict():
        with pytest.raises(ValueError, match=rf"`{name} .* must hold, but got {name}={value}"):
            override(Settings(), {name: value})


def test_bounds_themselves_are_possible_and_need_not_be_searched() -> None:
    """Zero switches a term or a stage off; what lies outside the search range may still be asked for."""
    least = {"initial_logvar": -50.0, "batch_size": 1, "width": 1, "depth": 1, "latent": 1}
    for name in DmilSettings().to_dict():
        assert getattr(override(DmilSettings(), {name: least.get(name, 0)}), name) == least.get(name, 0)
    assert DmilSettings(lr=1e30, alignment=1e30, initial_logvar=3.0, intra_epochs=1000).lr == 1e30


def test_a_setting_without_a_range_may_be_negative() -> None:
    @dataclass(frozen=True)
    class Own(Settings):
        offset: float = -3.0
        bias: float = tunable(-1.0, low=-2.0, high=0.0, least=-2)

    assert (Own().offset, Own(bias=-2.0).bias) == (-3.0, -2.0)
    with pytest.raises(ValueError, match=r"`bias >= -2` must hold, but got bias=-2\.1"):
        Own(bias=-2.1)
    with pytest.raises(ValueError, match=r"`offset .* must hold, but got offset=nan"):
        Own(offset=float("nan"))


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
            assert space["least"] <= space["low"]
        assert isinstance(setting.default, str) or space["least"] <= setting.default


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
        *("latent", "synergy_depth", "intra_epochs", "decomposition_epochs"),
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


@pytest.mark.parametrize("latent", [1, 3])
def test_a_decoder_has_a_hidden_unit_however_few_the_dimensions(latent: int) -> None:
    model: Any = Dmil(DmilSettings(latent=latent), {"text": 3, "audio": 4}, Task())
    assert {model.intra.decoder.hidden.weight.shape[-1], model.consistency.decoder.hidden.weight.shape[-1]} == {1}


def seeded(variant: type[Dmil], initial_logvar: float) -> dict[str, Tensor]:
    """Parameters as a model starts with, always the same random numbers."""
    torch.manual_seed(0)
    settings = DmilSettings(width=4, latent=6, initial_logvar=initial_logvar)
    return dict(variant(settings, {"text": 3, "audio": 4}, Task()).named_parameters())


LOGVAR_BIASES: dict[type[Dmil], tuple[str, ...]] = {  # of their columns the first half belongs to means
    Dmil: ("intra.bottleneck.map.bias", "consistency.shared.map.bias", "consistency.alone.map.bias"),
    DmilFc: (),
    DmilId: ("intra.bottleneck.map.bias",),
    DmilCd: ("consistency.shared.map.bias", "consistency.alone.map.bias"),
}


@pytest.mark.parametrize("initial_logvar", [-8.0, -1.5, 0.0])
@pytest.mark.parametrize("variant", LOGVAR_BIASES)
def test_initial_logvar_moves_the_start_of_the_log_variances_and_nothing_else(
    variant: type[Dmil], initial_logvar: float
) -> None:
    with torch.random.fork_rng(devices=[]):
        plain, shifted = seeded(variant, 0.0), seeded(variant, initial_logvar)
    for name, value in shifted.items():
        if name not in LOGVAR_BIASES[variant]:
            assert torch.equal(value, plain[name]), name
            continue
        half = value.shape[-1] // 2
        assert torch.equal(value[..., :half], plain[name][..., :half]), name
        assert torch.equal(value[..., half:], plain[name][..., half:] + initial_logvar), name


@pytest.mark.parametrize("initial_logvar", [-8.0, -1.5, 0.0])
def test_a_new_model_samples_with_its_initial_variance(initial_logvar: float) -> None:
    settings = DmilSettings(initial_logvar=initial_logvar, width=64, latent=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = Dmil(settings, {"text": 3, "audio": 4}, Task())
        z = torch.randn(2, 50, 64)
        predictive, residual = model.intra.bottleneck(z)
        means = z[..., :32]
        (redundant,) = model.consistency.shared(torch.cat([*means], 1))
        posterior, unique = model.consistency.alone(means)
    for part in (predictive, residual, redundant, posterior, unique):
        assert part.logvar.mean().item() == pytest.approx(initial_logvar, rel=0, abs=0.1)
        deviation = (part.sample - part.mean).square().mean().sqrt().item()
        assert deviation == pytest.approx(math.exp(initial_logvar / 2), rel=0.5)
