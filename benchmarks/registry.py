"""Which datasets there are, and the one door through which the suite gets them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from benchmarks.errors import UserError, suggestion

if TYPE_CHECKING:
    from dmil.data import Splits

# Visible name -> module in datasets/, which has CARD, RAW, LIBRARIES and prepare(root); and, where its samples are
# texts that a reader of results wants to see, describe(root): sample -> text, empty without the raw files.
DATASETS = {
    "clevr": "clevr",
    "digits": "digits",
    "mex": "mex",
    "mosi": "mosi",
    "mosi-acl2017": "mosi_acl2017",
    "sort-of-clevr": "sort_of_clevr",
    "mosi-tokens": "mosi_tokens",
    "utd_mhad": "utd_mhad",
    "utd_mhad-seq": "utd_mhad_seq",
    "vqa": "vqa",
}
# First part of a visible name -> module in datasets/ that makes a dataset of every such name: see `Family`.
FAMILIES = {
    "interactions": "interactions",
    "avdigits": "avdigits",
    "rosmap": "rosmap",
    "cremad": "cremad",
    "kinetics_sounds": "kinetics_sounds",
    "ucf101": "ucf101",
    "folder": "folder",
    "mosei": "mosei",
    "mosi": "mosi_sequences",  # all but the three datasets above
}
DEFAULT_DATASET = "interactions-mixed"

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerDied(Exception):
    """A process ended without a result."""


class Family(Protocol):
    """Datasets made by name, ``<family>-...``. What is asked of a bad name raises ValueError, one line."""

    @property
    def NAMES(self) -> tuple[str, ...]:  # noqa: N802, a constant of the module
        """Variants worth showing, in canonical form, the one that the family's bare name means first."""

    @property
    def GRAMMAR(self) -> str:  # noqa: N802
        """Which names there are, in one line."""

    def canonical(self, name: str) -> str:
        """The one name under which the dataset ``name`` is known."""

    def variant(self, name: str) -> Any:
        """What the module of a dataset has, for one variant; and ``__file__``, the code that it is made by.

        One that the user describes in files, not in its name, has ``at(root)`` too: the same, read from there.
        """


@dataclass(frozen=True)
class Status:
    """Whether a dataset can be used. missing: raw files that are not below the data root, empty if none is needed."""

    name: str
    title: str
    is_prepared: bool
    missing: tuple[str, ...]

    def __str__(self) -> str:
        if self.is_prepared:
            return "prepared"
        if self.missing:
            return f"missing: {', '.join(self.missing)}"
        return "present, not prepared yet"


def data_root() -> Path:
    """Where raw files lie: ``DMIL_DATA``, else ``data`` in the checkout."""
    return Path(os.environ.get("DMIL_DATA") or Path(__file__).parents[1] / "data")


def names() -> list[str]:
    """Every plain dataset and the named variants of every family."""
    return [*(name for prefix in FAMILIES for name in family(prefix).NAMES), *DATASETS]


def own_names() -> list[str]:
    """Datasets that the user has described in folders below the data root."""
    found: list[str] = _helper(FAMILIES["folder"]).found(data_root())
    return found


def family(prefix: str) -> Family:
    return cast(Family, _helper(FAMILIES[prefix]))


def canonical(name: str) -> str:
    """The name under which runs on dataset ``name`` are stored: ``interactions`` -> ``interactions-mixed``.

    Raises UserError where there is no such dataset.
    """
    if name in DATASETS:
        return name
    prefix = name.partition("-")[0]
    if prefix not in FAMILIES:
        hint = suggestion(name, dict.fromkeys([*FAMILIES, *DATASETS]), also=[*names(), *own_names()])
        raise UserError(f"unknown dataset {name!r}: {hint}; `list` shows variants")
    try:
        return family(prefix).canonical(name)
    except ValueError as error:
        raise UserError(f"unknown dataset {name!r}: {error}") from error


def load_dataset(name: str, *, root: Path | None = None, recheck: bool = False) -> Splits:
    """The prepared splits of ``name``; prepared, and its files downloaded, if need be.

    recheck: where raw files that the user put there have changed since, prepare it again.
    Raises UserError where the name is unknown or the raw files cannot be had, are wrong or cannot be stored.
    """
    name = canonical(name)
    root = root or data_root()
    module, cache, files = _loader(name, root), _helper("_cache"), _helper("_files")
    try:
        splits: Splits = cache.load(name, module, root, recheck=recheck)
    except files.DataError as error:
        raise UserError(f"dataset {name}: {error}") from error
    return splits


def describe(name: str, *, root: Path | None = None) -> dict[str, str] | None:
    """Sample -> its text; empty where the raw files are not there, None where the samples of ``name`` are no texts.

    Raises UserError where the name is unknown or a raw file is wrong.
    """
    name = canonical(name)
    root = root or data_root()
    module, files = _loader(name, root), _helper("_files")
    if not hasattr(module, "describe"):
        return None
    try:
        found: dict[str, str] = module.describe(root)
    except files.DataError as error:
        raise UserError(f"dataset {name}: {error}") from error
    return found


def prepare(name: str, *, root: Path | None = None) -> Splits:
    """Like ``load_dataset``, but verifies the checksums of raw files that are there even if the cache is complete."""
    name, root = canonical(name), root or data_root()
    module, files = _loader(name, root), _helper("_files")
    try:
        files.fetch((raw for raw in module.RAW if raw.is_present(root)), root)
    except files.DataError as error:
        raise UserError(f"dataset {name}: {error}") from error
    return load_dataset(name, root=root, recheck=True)


def status(name: str, *, root: Path | None = None) -> Status:
    """Looks at names of files only; hashes no data but a user's own. Raises UserError for an unknown name."""
    name, root = canonical(name), root or data_root()
    module = _loader(name, root)
    prepared: Path = _helper("_cache").location(name, module)
    missing = _helper("_files").missing(module.RAW, root)
    return Status(name, module.CARD.title, prepared.is_file(), missing)


def cache_folder(name: str) -> Path:
    """Where what is made of dataset ``name`` is kept. Raises UserError for an unknown name."""
    folder: Path = _helper("_files").cache_dir()
    return folder / canonical(name)


def estimator_problems() -> ModuleType:
    """Problems on which the estimators of ``dmil.interactions`` are judged; no dataset of any suite."""
    return _helper("estimator_problems")


def minilm_folder() -> Path:
    """Weights and tokenizer of MiniLM, verified; fetched if need be. Raises UserError where they cannot be had."""
    files = _helper("_files")
    try:
        folder: Path = _helper("_minilm").WEIGHTS.fetch(data_root())
    except files.DataError as error:
        raise UserError(f"encoder minilm: {error}") from error
    return folder


def _loader(name: str, root: Path) -> Any:
    """The module of a dataset, or the variant of a family, by its canonical name."""
    if name in DATASETS:
        return _helper(DATASETS[name])
    made = family(name.partition("-")[0]).variant(name)
    return made.at(root) if hasattr(made, "at") else made


def spread(work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterator[Result]:
    """``work(task)`` of every task, as they get done, in ``jobs`` processes like those that prepare media.

    Raises WorkerDied where a process dies, and whatever ``work`` raises.
    """
    workers = _helper("_workers")
    try:
        yield from workers.spread(work, tasks, jobs)
    except workers.WorkerDiedError as error:
        raise WorkerDied from error


def _helper(module: str) -> ModuleType:
    return import_module(f"benchmarks.datasets.{module}")
