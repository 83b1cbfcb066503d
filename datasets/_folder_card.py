"""card.yaml of a user's own dataset: what it may say, read strictly."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ._download import DataError

CARD_FILE, NOT_STATED = "card.yaml", "not stated"
TASKS = ("classification", "regression")
MODALITY = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
TABLES, ARRAYS = (".csv", ".tsv", ".parquet"), (".npy",)
KINDS = {"features": 2, "sequence": 3, "image": 4, "clip": 5}  # dimensions of the array
DEFAULT_SHARES = {"test": 0.2, "valid": 0.1}
DEFAULT_STEPS, MOST_STEPS = 100, 2000

# Key -> the types of its value; the first four must be there.
KEYS: dict[str, tuple[type, ...]] = {
    "title": (str,),
    "samples": (str,),
    "target": (str,),
    "modalities": (dict,),
    "task": (str,),
    "classes": (list,),
    "id": (str,),
    "group": (str,),
    "split": (str, dict),
    "source": (str,),
    "licence": (str,),
    "citation": (str,),
    "warning": (str,),
    "traps": (list,),
}
REQUIRED = tuple(KEYS)[:4]
SPLIT_KEYS: dict[str, tuple[type, ...]] = {
    "column": (str,),
    "test": (float, int),
    "valid": (float, int),
    "seed": (int,),
}
MODALITY_KEYS: dict[str, tuple[type, ...]] = {
    "file": (str,),
    "kind": (str,),
    "about": (str,),
    "columns": (list,),
    "lengths": (str,),
    "steps": (int,),
    "channels_last": (bool,),
}
WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


@dataclass(frozen=True)
class Rule:
    """How samples are split. column: says train, valid or test; what it does not say is drawn with ``seed``.

    shares: of all samples, for ``test`` and ``valid``, where they are drawn.
    """

    column: str | None
    shares: dict[str, float]
    seed: int


@dataclass(frozen=True)
class Modality:
    """Where a modality lies, and what it is where its array does not tell.

    columns: of a table, names or patterns such as ``gene_*``, empty for all. lengths: of a sequence, the column of the
    samples' table with the number of steps. steps: longer sequences are shortened to so many.
    """

    name: str
    file: str
    kind: str | None
    about: str
    columns: tuple[str, ...]
    lengths: str | None
    steps: int
    channels_last: bool

    @property
    def is_table(self) -> bool:
        return PurePosixPath(self.file).suffix in TABLES


@dataclass(frozen=True)
class UserCard:
    """What ``card.yaml`` says, in the words of its keys."""

    title: str
    samples: str
    target: str
    modalities: tuple[Modality, ...]
    task: str
    classes: tuple[str, ...]
    id: str | None
    group: str | None
    split: Rule
    source: str
    licence: str
    citation: str
    warning: str | None
    traps: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Every file of the dataset but the card, each once."""
        return tuple(dict.fromkeys((self.samples, *(modality.file for modality in self.modalities))))


def read_card(path: Path) -> UserCard:
    """Raises DataError, one line, where the file is missing or says anything that it may not."""
    content = _mapping(f"{path}:", _yaml(path), KEYS)
    if missing := [key for key in REQUIRED if key not in content]:
        raise DataError(f"{path}: lacks {', '.join(missing)}; it needs {', '.join(REQUIRED)}")
    task = content.get("task", TASKS[0])
    one_of(f"{path}: task", task, TASKS)
    if task == "regression" and "classes" in content:
        raise DataError(f"{path}: classes are for a classification, but task is regression")
    classes = tuple(_texts(f"{path}: classes", content.get("classes", [])))
    if "classes" in content and (len(classes) < 2 or len(set(classes)) < len(classes)):
        raise DataError(f"{path}: classes must be two or more different ones, but got {', '.join(classes) or 'none'}")
    found = tuple(_modality(path, str(name), told) for name, told in content["modalities"].items())
    if len(found) < 2:
        raise DataError(f"{path}: modalities must name two or more, but got {len(found)}")
    return UserCard(
        title=content["title"],
        samples=_file(f"{path}: samples", content["samples"], TABLES),
        target=content["target"],
        modalities=found,
        task=task,
        classes=classes,
        id=content.get("id"),
        group=content.get("group"),
        split=_rule(path, content.get("split", {})),
        warning=content.get("warning"),
        traps=tuple(_texts(f"{path}: traps", content.get("traps", []))),
        **{key: content.get(key, NOT_STATED) for key in ("source", "licence", "citation")},
    )


def _yaml(path: Path) -> Any:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        _refuse_repeats(path, yaml.compose(text, yaml.SafeLoader))
        return yaml.safe_load(text)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: it says what the dataset is (README.md, `Your own data`)") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def _refuse_repeats(path: Path, node: Any) -> None:
    """YAML keeps the last of two equal keys without a word."""
    for pair in node.value if node is not None and node.id == "mapping" else ():
        keys = [key.value for key, _ in node.value]
        if keys.count(pair[0].value) > 1:
            raise DataError(f"{path}: {pair[0].value!r} stands there twice")
        _refuse_repeats(path, pair[1])


def _mapping(where: str, content: Any, keys: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """``content`` without keys that have no value. Raises DataError for an unknown key or a value of another type."""
    if not isinstance(content, dict):
        raise DataError(f"{where} must be a mapping with the keys {', '.join(keys)}, but got {content!r}")
    for key in content:
        one_of(f"{where} key", key, keys)
    said = {key: value for key, value in content.items() if value is not None}
    for key, value in said.items():
        fits = isinstance(value, keys[key]) and (bool in keys[key] or not isinstance(value, bool))
        if not fits or value == "":
            words = " or ".join(WORDS[kind] for kind in keys[key])
            quote = " (put it in quotes)" if str in keys[key] and isinstance(value, int | float) else ""
            raise DataError(f"{where} {key} must be {words}, but got {value!r}{quote}")
    return said


def one_of(where: str, value: object, known: Iterable[str]) -> None:
    names = list(known)
    if value not in names:
        close = difflib.get_close_matches(str(value), names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise DataError(f"{where} {value!r} is unknown; {hint}known: {', '.join(names)}")


def _texts(where: str, values: list[Any]) -> list[str]:
    """Numbers as the text that a table would hold; anything else is refused."""
    if wrong := [value for value in values if isinstance(value, bool | list | dict) or value in (None, "")]:
        raise DataError(f"{where} must be a list of texts, but it holds {wrong[0]!r}")
    return [str(value) for value in values]


def _file(where: str, text: str, suffixes: tuple[str, ...]) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{where}: {text!r} must lie in the card's folder or below it")
    if path.suffix not in suffixes:
        raise DataError(f"{where}: {text!r} must end in {', '.join(suffixes)}")
    return str(path)


def _rule(path: Path, told: str | dict[str, Any]) -> Rule:
    said = _mapping(f"{path}: split", {"column": told} if isinstance(told, str) else told, SPLIT_KEYS)
    given = {part: float(said[part]) for part in DEFAULT_SHARES if part in said}
    for part, share in given.items():
        if not 0 < share < 1:
            raise DataError(f"{path}: split {part} must be a share between 0 and 1, but got {share}")
    column = said.get("column")
    shares = given if column else DEFAULT_SHARES | given
    if sum(shares.values()) >= 1:
        raise DataError(f"{path}: split leaves nothing to train on: test and valid are {sum(shares.values()):g} of all")
    return Rule(column, shares, said.get("seed", 0))


def _modality(path: Path, name: str, told: Any) -> Modality:
    where = f"{path}: modality {name!r}"
    if not MODALITY.fullmatch(name):
        raise DataError(f"{where}: a name is letters, digits and _, and begins with a letter")
    said = _mapping(f"{where}:", {"file": told} if isinstance(told, str) else told, MODALITY_KEYS)
    if "file" not in said:
        raise DataError(f"{where} lacks file; keys: {', '.join(MODALITY_KEYS)}")
    file = _file(where, said["file"], (*ARRAYS, *TABLES))
    is_table, kind = PurePosixPath(file).suffix in TABLES, said.get("kind")
    if kind is not None:
        one_of(f"{where}: kind", kind, list(KINDS)[:2] if is_table else KINDS)
    no_use = [key for key in (("lengths", "channels_last") if is_table else ("columns",)) if key in said]
    if no_use:
        raise DataError(f"{where}: {no_use[0]} is for {'arrays' if is_table else 'tables'}, but file is {file}")
    steps = said.get("steps", DEFAULT_STEPS)
    if not 1 <= steps <= MOST_STEPS:
        raise DataError(f"{where}: steps must lie in 1..{MOST_STEPS}, but got {steps}")
    return Modality(
        name=name,
        file=file,
        kind=kind,
        about=said.get("about", ""),
        columns=tuple(_texts(f"{where}: columns", said.get("columns", []))),
        lengths=said.get("lengths"),
        steps=steps,
        channels_last=said.get("channels_last", False),
    )
