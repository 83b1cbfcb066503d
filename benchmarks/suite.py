"""Suites: YAML files that say which methods run on which datasets, with which seeds, budget and settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError, suggestion
from benchmarks.registry import canonical

SUITES_DIR = Path(__file__).parent / "suites"
DEFAULT_SUITE = "leaderboard"
SHAPES: dict[str, type] = {
    "base": str,
    "methods": list,
    "seeds": object,
    "budget": dict,
    "settings": dict,
    "encoders": dict,
    "tuned": bool,
    "theorem": bool,
    "transfer": dict,
    "datasets": dict,
}
KINDS = {str: "text", list: "a list", dict: "a mapping", bool: "true or false"}
KEYS = tuple(SHAPES)
DATASET_KEYS = tuple(key for key in KEYS if key not in ("base", "datasets"))
BUDGET_KEYS = ("epochs", "patience", "lr_patience", "lr_factor", "max_grad_norm", "micro_batch", "precision")

SettingsTable = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Suite:
    """One suite resolved for one dataset. settings: "all", a method name or "method@seed" -> {setting: value}.

    tuned: whether tuned settings overrule these where there are some (``benchmarks.tuned``). by_hand: settings from
    the command line, which overrule both. theorem: whether each run also estimates the terms of DMIL's theorem.
    transfer: None, or which classes the representation is learned on before it is probed on the others
    (``benchmarks.transfer``). encoders: modality -> ``{"name": .., option: value}``; who is not named has the encoder
    that is usual for its kind (``dmil.encoders``).
    """

    name: str
    dataset: str
    methods: tuple[str, ...]
    seeds: int
    budget: dict[str, Any]
    settings: SettingsTable
    tuned: bool = False
    by_hand: SettingsTable = field(default_factory=dict)
    theorem: bool = False
    transfer: dict[str, Any] | None = None
    encoders: SettingsTable = field(default_factory=dict)


def suite_names() -> list[str]:
    return sorted(path.stem for path in SUITES_DIR.glob("*.yaml"))


def suite_datasets(name: str) -> list[str]:
    """The datasets that a suite names, in its order; a pattern such as ``interactions-*`` names none.

    Raises:
        UserError: unknown or faulty suite, or one without a dataset name.
    """
    found = [key for key in _read(name)["datasets"] if not _is_pattern(key)]
    if not found:
        raise UserError(f"suite {name}.yaml names no dataset, only patterns; say which one to run")
    return found


def load_suite(name: str, dataset: str) -> Suite:
    """Reads ``suites/<name>.yaml`` for one of its datasets.

    What the suite does not say itself comes from its ``base``; what it says of all its datasets is overruled by
    the entry of a pattern, and this by the entry of the dataset's own name. Budget and settings join value by value,
    encoders modality by modality.

    Raises:
        UserError: unknown suite, dataset or key, a value of the wrong shape, or a dataset that the suite does not list.
    """
    dataset = canonical(dataset)
    own = _read(name)["datasets"]
    if not _entries(own, dataset):
        raise UserError(f"unknown dataset of suite {name}.yaml: {dataset!r}; {suggestion(dataset, own)}")
    layers = _layers(name, dataset)
    said = {key: value for layer in layers for key, value in layer.items()}
    budget = {key: value for layer in layers for key, value in layer.get("budget", {}).items()}
    _known(f"budget key of suite {name}.yaml", budget, BUDGET_KEYS)
    return Suite(
        name=name,
        dataset=dataset,
        methods=tuple(said["methods"]),
        seeds=said["seeds"],
        budget=budget,
        settings=merge(*(layer.get("settings", {}) for layer in layers)),
        tuned=said.get("tuned", False),
        theorem=said.get("theorem", False),
        transfer=said.get("transfer"),
        encoders={name: chosen for layer in layers for name, chosen in _encoders(layer).items()},
    )


def _layers(name: str, dataset: str, above: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What a suite and its bases say of a dataset, later layers overruling earlier ones."""
    if name in above:
        raise UserError(f"suite {name}.yaml is its own base: {' -> '.join((*above, name))}")
    content = _read(name)
    base = _layers(content["base"], dataset, (*above, name)) if "base" in content else []
    common = {key: value for key, value in content.items() if key in DATASET_KEYS}
    return [*base, common, *_entries(content["datasets"], dataset)]


def _encoders(layer: Mapping[str, Any]) -> SettingsTable:
    """``{audio: cnn, text: {name: transformer, heads: 2}}`` with every choice as a mapping."""
    chosen = layer.get("encoders", {})
    return {name: {"name": one} if isinstance(one, str) else dict(one) for name, one in chosen.items()}


def _entries(datasets: Mapping[str, dict[str, Any]], dataset: str) -> list[dict[str, Any]]:
    """The entries that speak of a dataset, those of patterns first."""
    patterns = [entry for key, entry in datasets.items() if _is_pattern(key) and fnmatchcase(dataset, key)]
    return [*patterns, *(entry for key, entry in datasets.items() if key == dataset)]


def _is_pattern(key: str) -> bool:
    return "*" in key


def _read(name: str) -> dict[str, Any]:
    """The checked content of a suite file: keys without a value left out, datasets under their full names."""
    import yaml

    _known("suite", [name], suite_names())
    path = SUITES_DIR / f"{name}.yaml"
    try:
        content = _checked(path.name, yaml.safe_load(path.read_text()), KEYS)
    except yaml.YAMLError as error:
        raise UserError(f"suite {path.name} is not valid YAML: {' '.join(str(error).split())}") from error
    needed = ("datasets",) if "base" in content else ("methods", "seeds", "budget", "datasets")
    missing = [key for key in needed if key not in content]
    if missing:
        raise UserError(f"suite {path.name} lacks {', '.join(missing)}")
    datasets: dict[str, Any] = {}
    for key, entry in content["datasets"].items():
        try:
            full = str(key) if _is_pattern(str(key)) else canonical(str(key))
        except UserError as error:
            raise UserError(f"suite {path.name}: {error}") from error
        if full in datasets:
            raise UserError(f"suite {path.name} names dataset {full!r} twice")
        where = f"{path.name}, dataset {key}"
        datasets[full] = _checked(where, {} if entry is None else entry, DATASET_KEYS)
    return content | {"datasets": datasets}


def _checked(where: str, content: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    """What a part of a suite says, keys without a value left out. Raises UserError for a key or shape unknown here."""
    if not isinstance(content, dict):
        raise UserError(f"suite {where}: must be a mapping with the keys {', '.join(keys)}, but got {content!r}")
    _known(f"key of suite {where}", content, keys)
    said = {key: value for key, value in content.items() if value is not None}
    for key, value in said.items():
        if not isinstance(value, SHAPES[key]):
            raise UserError(f"suite {where}: {key} must be {KINDS[SHAPES[key]]}, but got {value!r}")
    if "transfer" in said and tuple(said["transfer"]) != ("train_classes",):
        raise UserError(f"suite {where}: transfer must say train_classes and no more, but got {said['transfer']!r}")
    for modality, chosen in said.get("encoders", {}).items():
        if not isinstance(chosen, str) and not (isinstance(chosen, dict) and isinstance(chosen.get("name"), str)):
            raise UserError(
                f"suite {where}: the encoder of {modality!r} must be a name, or a mapping with a name and options, "
                f"but got {chosen!r}"
            )
    for who, values in said.get("settings", {}).items():
        if not isinstance(values, dict):
            raise UserError(f"suite {where}: settings of {who!r} must be a mapping, but got {values!r}")
    return said


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
        except (ValueError, yaml.YAMLError) as error:
            raise UserError(f"cannot read the value of setting {text!r}") from error
    return table


def _known(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    allowed = list(known)
    for name in names:
        if name not in allowed:
            raise UserError(f"unknown {what}: {name!r}; {suggestion(name, allowed)}")
