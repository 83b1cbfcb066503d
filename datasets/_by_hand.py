"""Raw files that the user puts on disk: no address to fetch them from, no pinned checksum."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ._download import DataError
from ._files import Raw, file_sha256


@dataclass(frozen=True)
class ByHand:
    """A file or a folder at ``path`` below the data root. advice: where to get it and how it must lie, one line."""

    path: str
    advice: str

    def is_present(self, root: Path) -> bool:
        return (root / self.path).exists()

    def fetch(self, root: Path) -> Path:
        """Where it lies. Raises DataError, with the advice, where it is missing."""
        target = root / self.path
        if not target.exists():
            raise DataError(f"{target} is missing: {self.advice}")
        return target


def fingerprint(raw: Iterable[Raw], root: Path) -> str:
    """SHA-256 over the bytes of files in ``raw``, and over names and sizes of all files, not hidden, in its folders.

    There may be millions of these: nothing is kept in memory. Raises DataError where one of ``raw`` is missing.
    """
    digest = hashlib.sha256()
    for one in raw:
        path = one.fetch(root)
        lines = _files(str(path), one.path) if path.is_dir() else [f"{one.path}:{file_sha256(path)}"]
        try:
            for line in lines:
                digest.update(f"{line}\n".encode(errors="surrogateescape"))
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read ({error.strerror}): make it readable") from error
    return digest.hexdigest()


def _files(folder: str, name: str) -> Iterator[str]:
    """Name and size of every file below ``folder``, itself called ``name``, in the order of their names."""
    with os.scandir(folder) as entries:
        found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir():
            yield from _files(entry.path, f"{name}/{entry.name}")
        else:
            yield f"{name}/{entry.name}:{entry.stat().st_size}"
