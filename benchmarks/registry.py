"""Which datasets there are, and the one door through which the suite gets them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from benchmarks.errors import UserError, suggestion

if TYPE_CHECKING:
    from dmil.data import Splits

# Visible name -> module in datasets/. The first one is the default.
DATASETS = {
    "interactions": "interactions",
    "digits": "digits",
    "mosi": "mosi",
    "mosi-acl2017": "mosi_acl2017",
    "utd_mhad": "utd_mhad",
}
DEFAULT_DATASET = next(iter(DATASETS))


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


def load_dataset(name: str, *, root: Path | None = None) -> Splits:
    """The prepared splits of ``name``; prepared, and its files downloaded, if need be.

    Raises UserError where the name is unknown or the raw files cannot be had, are wrong or cannot be stored.
    """
    module, cache, files = _loader(name), _helper("_cache"), _helper("_files")
    try:
        splits: Splits = cache.load(name, module, root or data_root())
    except files.DataError as error:
        raise UserError(f"dataset {name}: {error}") from error
    return splits


def prepare(name: str, *, root: Path | None = None) -> Splits:
    """Like ``load_dataset``, but verifies the checksums of raw files that are there even if the cache is complete."""
    module, files = _loader(name), _helper("_files")
    root = root or data_root()
    try:
        files.fetch((raw for raw in module.RAW if raw.is_present(root)), root)
    except files.DataError as error:
        raise UserError(f"dataset {name}: {error}") from error
    return load_dataset(name, root=root)


def status(name: str, *, root: Path | None = None) -> Status:
    """Looks at names of files only; reads and hashes no data. Raises UserError for an unknown name."""
    module = _loader(name)
    prepared: Path = _helper("_cache").location(name, module)
    missing = _helper("_files").missing(module.RAW, root or data_root())
    return Status(name, module.CARD.title, prepared.is_file(), missing)


def _loader(name: str) -> ModuleType:
    if name not in DATASETS:
        raise UserError(f"unknown dataset {name!r}: {suggestion(name, DATASETS)}")
    return _helper(DATASETS[name])


def _helper(module: str) -> ModuleType:
    return import_module(f"benchmarks.datasets.{module}")
