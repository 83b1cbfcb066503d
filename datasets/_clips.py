"""Media decoded once, on all cores, into memory-mapped arrays; resumable after a kill at any moment.

    COLUMNS = (Column("audio", (1, 257, 188), "float32"), Column("video", (3, 3, 224, 224), "uint8"))

    def read_clip(raw: Path, item: str) -> dict[str, Any]:  # top level: spawned processes import it
        ...                                                 # DataError, naming the file, where it is damaged

    build(folder, ["a.flv", "b.flv"], COLUMNS, partial(read_clip, root / "cremad"), title="cremad, train")
    -> {"audio": (2, 1, 257, 188), "video": (2, 3, 3, 224, 224)}, memory-mapped

What items are tells one recipe from another, so let them be names *relative* to the raw folder (or tuples of such
names), and give ``read`` the folder by ``functools.partial``. Keep the module of ``read`` free of an eager
``import torch``: every process imports it.

A dataset made of such arrays says ``STREAMED = True`` and has ``prepare(root, folder) -> Splits`` instead of
``prepare(root)``. It calls ``build(folder / part, ...)`` once for each part (train, valid, test), with columns named
like the modalities, and makes each ``Split`` of whole arrays as they come back. ``_cache`` keeps all else (targets,
ids, groups, rows, small inputs such as tokens) in its record, opens ``folder/<part>/<modality>.npy`` again next time,
and sets ``Splits.digest``, a hash of content that covers every decoded row. ``RAW`` lists what is needed, mostly
``ByHand(...)``; where names or sizes of the files below have changed, ``make data`` prepares the dataset again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._download import DataError
from ._rows import MISSING, N_SUM, RECIPE, STARTED, SUMS, Column, Rows
from ._workers import WorkerDiedError, n_cores, spread

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Column", "build", "content", "open_arrays"]
log = logging.getLogger("dmil.datasets")

MIN_SHARE = 16  # items below which one more process is not worth its start
MAX_CHUNK = 32  # items given to a process at a time
MAX_DAMAGED = 20  # items that cannot be decoded, before the rest is left for later

Read = Callable[[Any], Mapping[str, Any]]
Files = Callable[[Any], Sequence[Path]]


def build(
    folder: Path,
    items: Sequence[Any],
    columns: Sequence[Column],
    read: Read,
    *,
    title: str,
    files: Files | None = None,
    jobs: int | None = None,
) -> dict[str, Tensor]:
    r"""``read(item)`` of every item, as rows of arrays below ``folder``: {column: (n_items, \*shape)}, memory-mapped.

    read: item -> {column: array}, picklable. items: picklable, with a ``repr`` that says what they are. files: item ->
    the raw files that it is made of, picklable; where one of them changes its size, the rows of its items are made
    again, without it those of all items. jobs: how many processes, by default as many as there are cores and work for.
    A bar on stderr shows ``title``.

    The folder appears under its name once it is complete; what is done until then is kept in a hidden one beside it,
    with the recipe (items and columns) in its name. The same call after a failure or a kill goes on from there, and a
    second process that makes the same call waits for the first. Writing to the tensors never changes the files.

    Raises:
        DataError: items cannot be decoded (all others are prepared first, unless there are many), a process dies over
            one, there are none, or the folder cannot be written.
        ValueError: ``read`` returns another shape or type than its column has.
    """
    if not items:
        raise DataError(f"{title}: there is nothing to prepare")
    recipe = {
        "columns": [asdict(column) for column in columns],
        "items": [repr(item) for item in items],
        "has_files": files is not None,
    }
    rows = Rows(_unfinished(folder, _hash(recipe)), tuple(columns), len(items))
    found = open_arrays(folder)
    if found is not None and _recipe_hash(folder) == _hash(recipe):
        return found
    try:
        with _locked(folder):
            if _recipe_hash(folder) != _hash(recipe) or open_arrays(folder) is None:
                _adopt(folder, rows.folder, _hash(recipe))
                rows.create(recipe)
                _fill(rows, items, partial(_decode, rows, read, files), title, jobs)
                _publish(rows.folder, folder)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"cannot write {folder} ({reason}): choose another place (DMIL_CACHE) or make room") from error
    found = open_arrays(folder)
    assert found is not None  # it has just been made
    return found


def open_arrays(folder: Path) -> dict[str, Tensor] | None:
    """The arrays of a finished folder by column, memory-mapped; None where it is not there or a file is cut short."""
    import numpy as np
    import torch

    try:
        recipe = json.loads((folder / RECIPE).read_text())
        if (folder / SUMS).stat().st_size != N_SUM * len(recipe["items"]):
            return None
        paths = {column["name"]: folder / f"{column['name']}.npy" for column in recipe["columns"]}
        # copy-on-write: torch wants memory that it may write to, and the file must not change
        return {name: torch.from_numpy(np.load(path, mmap_mode="c")) for name, path in paths.items()}
    except (OSError, ValueError):
        return None


def content(folder: Path) -> str:
    """SHA-256 of a finished folder: the names of its items and the checksums of all rows."""
    return hashlib.sha256((folder / RECIPE).read_bytes() + (folder / SUMS).read_bytes()).hexdigest()


def recheck(folder: Path) -> None:
    """To be called where raw files have changed, with the folder above those of ``build``, finished or not.

    The next ``build`` compares every row with its files; what was made without naming them is removed.
    """
    for path in folder.iterdir():
        if path.is_symlink():
            path.unlink()
        elif path.is_dir():
            recipe = _recipe(path)
            if recipe is None or not recipe["has_files"]:
                shutil.rmtree(path)
            elif not path.name.startswith("."):
                unfinished = _unfinished(path, _hash(recipe))
                if unfinished.exists():
                    shutil.rmtree(unfinished)
                path.rename(unfinished)


Chunk = Sequence[tuple[int, Any]]
Decode = Callable[[Chunk], tuple[int, list[str]]]


def _fill(rows: Rows, items: Sequence[Any], decode: Decode, title: str, jobs: int | None) -> None:
    """Decodes what is not there yet."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    for index, checksum in enumerate(rows.sums()):
        if checksum == STARTED:  # by a process that was killed
            rows.mark(index, MISSING)
    jobs = jobs or min(n_cores(), -(-len(items) // MIN_SHARE))
    size = min(MAX_CHUNK, -(-len(items) // (MIN_SHARE * jobs)))
    numbered = list(enumerate(items))
    chunks = [numbered[start : start + size] for start in range(0, len(items), size)]
    damaged: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(title, total=len(items))
        try:
            for n_done, found in spread(decode, chunks, jobs):
                progress.advance(bar, n_done)
                damaged += found
                if len(damaged) >= MAX_DAMAGED:
                    break
        except WorkerDiedError as error:
            suspects = [repr(items[i]) for i, checksum in enumerate(rows.sums()) if checksum == STARTED]
            when = f"while it read one of {', '.join(suspects)}" if suspects else "before it read anything"
            raise DataError(
                f"{title}: a process died (out of memory, or a file that crashes its decoder) {when}; start again to "
                "go on from there"
            ) from error
    if damaged:
        more = f" (and {len(damaged) - 1} more: {'; '.join(damaged[1:])})" if len(damaged) > 1 else ""
        raise DataError(damaged[0] + more)


def _decode(rows: Rows, read: Read, files: Files | None, chunk: Chunk) -> tuple[int, list[str]]:
    """How many items that were, and what is wrong with those that cannot be decoded."""
    damaged = []
    for index, item in chunk:
        stamp = b"" if files is None else json.dumps([_size(path) for path in files(item)]).encode()
        if rows.is_done(index, stamp):
            continue
        rows.mark(index, STARTED)
        try:
            values = read(item)
        except (DataError, OSError) as error:
            rows.mark(index, MISSING)
            damaged.append(str(error))
        else:
            rows.put(index, values, stamp)
    return len(chunk), damaged


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None  # reading it will say why


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock of a killed one is gone with it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _adopt(folder: Path, part: Path, recipe: str) -> None:
    """A finished folder of the same recipe that is damaged becomes unfinished: only what is damaged is made again."""
    if _recipe_hash(folder) == recipe and not part.exists():
        log.warning("%s is damaged and is made again", folder)
        folder.rename(part)


def _publish(part: Path, folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)


def _hash(recipe: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]


def _unfinished(folder: Path, recipe_hash: str) -> Path:
    return folder.with_name(f".{folder.name}.{recipe_hash}.part")


def _recipe(folder: Path) -> dict[str, Any] | None:
    try:
        recipe: dict[str, Any] = json.loads((folder / RECIPE).read_text())
    except (OSError, ValueError):
        return None
    return recipe


def _recipe_hash(folder: Path) -> str | None:
    recipe = _recipe(folder)
    return None if recipe is None else _hash(recipe)
