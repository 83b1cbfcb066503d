"""Prepared datasets: made once from the raw files, then read from one safetensors file.

What a module with ``STREAMED = True`` prepares is too large for that: its media lie as memory-mapped arrays in a folder
beside the file, which holds the rest. See ``_clips`` for how such a module is written.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

import dmil.data
import dmil.seeds
from dmil.data import Card, Split, Splits, Task

from . import _store
from ._by_hand import fingerprint
from ._clips import content, open_arrays
from ._clips import recheck as recheck_rows
from ._download import DataError, staged
from ._files import Raw, cache_dir, fetch, missing
from ._workers import kept_processes


class Loader(Protocol):
    """What makes a dataset: its module, or one variant of a family, whose ``__file__`` is that of the family."""

    __file__: str
    CARD: Card
    RAW: tuple[Raw, ...]
    LIBRARIES: tuple[str, ...]

    def prepare(self, root: Path) -> Splits: ...


def load(name: str, module: Loader, root: Path, *, recheck: bool = False) -> Splits:
    """The prepared dataset, from the cache where it is there and undamaged, else from the raw files below ``root``.

    recheck: prepare a streamed dataset again where the raw files are there and are not those that it was made from.
    Raises DataError where raw files are missing or wrong, or the cache cannot be written.
    """
    path = location(name, module)
    stored = _store.load(path)
    if getattr(module, "STREAMED", False):
        return _load_streamed(path, stored, module, root, recheck=recheck)
    if stored is not None:
        return _unpack(*stored)
    splits = module.prepare(root)
    _store.save(path, *_pack(splits))
    return splits


def _load_streamed(path: Path, stored: _store.Stored | None, module: Any, root: Path, *, recheck: bool) -> Splits:
    """Like ``load``; ``path`` is that of the record, and ``stored`` its content."""
    folder = path.with_name(_folder_name(module))
    if stored is not None:
        is_outdated = recheck and not missing(module.RAW, root) and _raw_of(folder) != fingerprint(module.RAW, root)
        if not is_outdated and (splits := _reopen(folder, *stored)) is not None:
            return splits
    fetch(module.RAW, root)
    with _noted(folder, fingerprint(module.RAW, root)), kept_processes():  # its parts are made one after another
        splits = module.prepare(root, folder)
    tensors, record = _pack(splits)
    streamed = [f"{part}/inputs/{m}" for part, split in splits.parts().items() for m in _arrays(folder / part, split)]
    tensors = {name: tensor for name, tensor in tensors.items() if name not in streamed}
    contents = {part: content(folder / part) for part in splits.parts() if (folder / part).is_dir()}
    rest = _store.checksum(tensors, json.dumps([record["parts"], record["task"]]))
    digest = hashlib.sha256("".join([rest, *contents.values()]).encode()).hexdigest()
    _store.save(path, tensors, record | {"contents": contents, "digest": digest})
    return replace(splits, digest=digest)


def _folder_name(module: Loader) -> str:
    """Changes with the code that decodes, but not with that which merely stores the result."""
    return _digest(_hashes(_with_helpers(Path(module.__file__))) | _versions(module))


@contextmanager
def _noted(folder: Path, raw: str) -> Iterator[None]:
    """Notes which raw files the arrays below ``folder`` are made of; where others were noted, they are compared.

    Where nothing comes of it, nothing is left.
    """
    if folder.is_dir() and _raw_of(folder) != raw:
        recheck_rows(folder)
    with staged(folder / "raw") as part:
        part.write_text(raw)
    try:
        yield
    except DataError:
        if [path.name for path in folder.iterdir()] == ["raw"]:
            (folder / "raw").unlink()
            with suppress(OSError):  # not empty
                for empty in (folder, folder.parent, cache_dir()):
                    empty.rmdir()
        raise


def _raw_of(folder: Path) -> str | None:
    path = folder / "raw"
    return path.read_text() if path.is_file() else None


def _arrays(folder: Path, split: Split) -> list[str]:
    """The modalities of a split that lie in a folder of arrays."""
    return [modality for modality in split.inputs if (folder / f"{modality}.npy").is_file()]


def _reopen(folder: Path, tensors: dict[str, Tensor], record: dict[str, Any]) -> Splits | None:
    """None where an array is not there any more, is cut short, or is another one than was prepared."""
    for part, names in record["parts"].items():
        lost = [modality for modality in names["modalities"] if f"{part}/inputs/{modality}" not in tensors]
        arrays = open_arrays(folder / part) if lost else {}
        if arrays is None or not set(lost) <= set(arrays):
            return None
        if lost and content(folder / part) != record["contents"].get(part):
            return None
        tensors |= {f"{part}/inputs/{modality}": arrays[modality] for modality in lost}
    return replace(_unpack(tensors, record), digest=record["digest"])


def location(name: str, module: Loader) -> Path:
    """Where ``name`` lies once prepared: a folder of its own, a file name that changes with all that makes it."""
    return cache_dir() / name / f"{key(module)}.safetensors"


def key(module: Loader) -> str:
    """16 hex digits over the code that prepares (raw checksums stand in it) and stores, and the libraries used.

    Of a module with ``contents()``, file -> checksum, also over these: raw files that the user may edit at any time.
    """
    ours = {Path(str(part.__file__)) for part in (dmil.data, dmil.seeds)}
    sources = _with_helpers(Path(module.__file__)) | _with_helpers(Path(__file__)) | ours
    contents: dict[str, str] = module.contents() if hasattr(module, "contents") else {}
    return _digest(_hashes(sources) | _versions(module) | contents)


def _hashes(sources: Iterable[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sources}


def _versions(module: Loader) -> dict[str, str]:
    """Of the libraries used; an optional one may not be installed where the prepared data are read."""

    def found(library: str) -> str:
        try:
            return version(library)
        except PackageNotFoundError:
            return ""

    return {library: found(library) for library in module.LIBRARIES}


def _digest(parts: dict[str, str]) -> str:
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
        tensors |= {f"{part}/rows/{m}": index for m, index in split.rows.items()}
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
            rows={m: tensors[f"{part}/rows/{m}"] for m in names["modalities"] if f"{part}/rows/{m}" in tensors},
        )

    task: dict[str, Any] = {
        k: tuple(value) if isinstance(value, list) else value for k, value in record["task"].items()
    }
    card = record["card"]
    card |= {field: tuple(card[field]) for field in ("traps", "truth_names")}
    return Splits(split("train"), split("valid"), split("test"), Task(**task), Card(**card))
