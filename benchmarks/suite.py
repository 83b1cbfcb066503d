"""Suites: YAML files that say which methods run on which datasets, with which seeds, budget and settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError, suggestion

SUITES_DIR = Path(__file__).parent / "suites"
DEFAULT_SUITE = "leaderboard"
KEYS = ("methods", "seeds", "budget", "settings", "datasets")
BUDGET_KEYS = ("epochs", "patience", "lr_patience", "lr_factor", "max_grad_norm")

SettingsTable = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Suite:
    """One suite resolved for one dataset. settings: "all", a method name or "method@seed" -> {setting: value}."""

    name: str
    dataset: str
    methods: tuple[str, ...]
    seeds: int
    budget: dict[str, Any]
    settings: SettingsTable


def suite_names() -> list[str]:
    return sorted(path.stem for path in SUITES_DIR.glob("*.yaml"))


def load_suite(name: str, dataset: str) -> Suite:
    """Reads ``suites/<name>.yaml`` for one of its datasets.

    Raises:
        UserError: unknown suite, unknown key, or a dataset that the suite does not list.
    """
    import yaml

    _known("suite", [name], suite_names())
    path = SUITES_DIR / f"{name}.yaml"
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"suite {path.name} is not valid YAML: {' '.join(str(error).split())}") from error
    _check_shapes(path.name, content)
    _known(f"key of suite {path.name}", content, KEYS)
    missing = [key for key in ("methods", "seeds", "budget", "datasets") if key not in content]
    if missing:
        raise UserError(f"suite {path.name} lacks {', '.join(missing)}")
    _known(f"dataset of suite {path.name}", [dataset], content["datasets"])
    own: dict[str, Any] = content["datasets"][dataset] or {}
    _check_shapes(f"{path.name}, dataset {dataset}", own)
    _known(f"key of dataset {dataset!r} in suite {path.name}", own, KEYS[:-1])
    budget = content["budget"] | own.get("budget", {})
    _known(f"budget key of suite {path.name}", budget, BUDGET_KEYS)
    return Suite(
        name=name,
        dataset=dataset,
        methods=tuple((content | own)["methods"]),
        seeds=(content | own)["seeds"],
        budget=budget,
        settings=merge(content.get("settings") or {}, own.get("settings") or {}),
    )


def _check_shapes(where: str, content: Any) -> None:
    """Raises UserError where a part of a suite has the wrong shape."""
    if not isinstance(content, dict):
        raise UserError(f"suite {where}: must be a mapping with the keys {', '.join(KEYS)}, but got {content!r}")
    for key, shape in {"methods": list, "budget": dict, "datasets": dict, "settings": dict}.items():
        value = content.get(key)
        if value is not None and not isinstance(value, shape):
            needed = "list" if shape is list else "mapping"
            raise UserError(f"suite {where}: {key} must be a {needed}, but got {value!r}")
    for who, values in (content.get("settings") or {}).items():
        if not isinstance(values, dict):
            raise UserError(f"suite {where}: settings of {who!r} must be a mapping, but got {values!r}")


def merge(*tables: Mapping[str, Mapping[str, Any]]) -> SettingsTable:
    """Settings tables joined, later ones winning value by value."""
    merged: SettingsTable = {}
    for table in tables:
        for who, values in table.items():
            merged[who] = merged.get(who, {}) | dict(values)
    return merged


def parse_assignments(texts: Iterable[str]) -> SettingsTable:
    """``["joint.lr=1e-2", "joint@3.lr=1e6"]`` as a settings table.

    Raises:
        UserError: for a text of another form.
    """
    import yaml

    table: SettingsTable = {}
    for text in texts:
        target, equals, value = text.partition("=")
        who, dot, setting = target.rpartition(".")
        if not (equals and dot and who and setting and value):
            raise UserError(
                f"cannot read setting {text!r}; write METHOD.SETTING=VALUE, METHOD@SEED.SETTING=VALUE "
                "or all.SETTING=VALUE, for example dmil.alignment=0.5"
            )
        try:
            table = merge(table, {who: {setting: yaml.safe_load(value)}})
        except yaml.YAMLError as error:
            raise UserError(f"cannot read the value of setting {text!r}") from error
    return table


def _known(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    allowed = list(known)
    for name in names:
        if name not in allowed:
            raise UserError(f"unknown {what}: {name!r}; {suggestion(name, allowed)}")
