"""Prepared datasets: made once from the raw files, then read from one safetensors file."""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

import dmil.data
import dmil.seeds
from dmil.data import Card, Split, Splits, Task

from . import _store
from ._files import Raw, cache_dir


class Loader(Protocol):
    """What makes a dataset: its module, or one variant of a family, whose ``__file__`` is that of the family."""

    __file__: str
    CARD: Card
    RAW: tuple[Raw, ...]
    LIBRARIES: tuple[str, ...]

    def prepare(self, root: Path) -> Splits: ...


def load(name: str, module: Loader, root: Path) -> Splits:
    """The prepared dataset, from the cache where it is there and undamaged, else from the raw files below ``root``.

    Raises DataError where raw files are missing or wrong, or the cache cannot be written.
    """
    path = location(name, module)
    stored = _store.load(path)
    if stored is not None:
        return _unpack(*stored)
    splits = module.prepare(root)
    _store.save(path, *_pack(splits))
    return splits


def location(name: str, module: Loader) -> Path:
    """Where ``name`` lies once prepared: a folder of its own, a file name that changes with all that makes it."""
    return cache_dir() / name / f"{key(module)}.safetensors"


def key(module: Loader) -> str:
    """16 hex digits over the code that prepares (raw checksums stand in it) and stores, and the libraries used."""
    ours = {Path(str(part.__file__)) for part in (dmil.data, dmil.seeds)}
    sources = _with_helpers(Path(module.__file__)) | _with_helpers(Path(__file__)) | ours
    parts = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sources}
    parts |= {library: version(library) for library in module.LIBRARIES}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _with_helpers(path: Path) -> set[Path]:
    """The file and every sibling that it imports, directly or through another one."""
    found, todo = set(), [path]
    while todo:
        file = todo.pop()
        if file in found:
            continue
        found.add(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                names = [node.module] if node.module else [alias.name for alias in node.names]
                todo += [path.parent / f"{name}.py" for name in names]
    return found


def _pack(splits: Splits) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors: dict[str, Tensor] = {}
    names: dict[str, Any] = {}
    for part, split in splits.parts().items():
        tensors |= {f"{part}/inputs/{m}": x for m, x in split.inputs.items()} | {f"{part}/target": split.target}
        if split.truth is not None:
            tensors[f"{part}/truth"] = split.truth
        names[part] = {"modalities": list(split.inputs), "ids": split.ids, "groups": split.groups}
    return tensors, {"parts": names, "task": asdict(splits.task), "card": splits.card.to_dict()}


def _unpack(tensors: dict[str, Tensor], record: dict[str, Any]) -> Splits:
    def split(part: str) -> Split:
        names = record["parts"][part]
        return Split(
            inputs={m: tensors[f"{part}/inputs/{m}"] for m in names["modalities"]},
            target=tensors[f"{part}/target"],
            ids=tuple(names["ids"]),
            groups=tuple(names["groups"]),
            truth=tensors.get(f"{part}/truth"),
        )

    task = Task(**record["task"] | {"class_names": tuple(record["task"]["class_names"])})
    card = record["card"]
    card |= {field: tuple(card[field]) for field in ("traps", "truth_names")}
    return Splits(split("train"), split("valid"), split("test"), task, Card(**card))
