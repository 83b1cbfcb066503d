"""Search spaces, read off the settings dataclasses: what is searched, and what a population must share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from dmil.method import Method
from dmil.settings import Settings, shared_settings

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Space = dict[str, dict[str, Any]]


def search_space(method: type[Method], fixed: Collection[str] = ()) -> Space:
    """Setting -> its choices, or its low and high and whether the scale is logarithmic.

    Left out: settings without a range, those that the method does not use, and ``fixed`` ones.
    """
    space: Space = {}
    for entry in fields(method.Settings):
        if entry.name in fixed or entry.name in method.unused:
            continue
        known = entry.metadata
        if known.get("choices"):
            space[entry.name] = {"choices": list(known["choices"])}
        elif known.get("low") is not None and known.get("high") is not None:
            space[entry.name] = {name: known[name] for name in ("low", "high", "log")}
    return space


def outside(space: Space, settings: Settings) -> list[str]:
    """The settings whose value is not in the space, each as a text."""
    values = {name: getattr(settings, name) for name in space}
    return [
        f"{name}={value} ({_shown(space[name])})" for name, value in values.items() if not _holds(space[name], value)
    ]


def shared_names(space: Space, settings: Settings) -> tuple[str, ...]:
    """Those of the space that all configurations of a population have in common: they change shapes or the loop."""
    shared = shared_settings(settings)
    return tuple(name for name in space if name in shared)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The space in Optuna's words."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        name: CategoricalDistribution(entry["choices"])
        if "choices" in entry
        else FloatDistribution(entry["low"], entry["high"], log=entry["log"])
        for name, entry in space.items()
    }


def _holds(entry: Mapping[str, Any], value: Any) -> bool:
    return value in entry["choices"] if "choices" in entry else entry["low"] <= value <= entry["high"]


def _shown(entry: Mapping[str, Any]) -> str:
    return ", ".join(map(str, entry["choices"])) if "choices" in entry else f"{entry['low']} to {entry['high']}"
