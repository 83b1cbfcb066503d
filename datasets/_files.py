"""Raw files: where they come from, whether they are there, and the proof that their bytes are the pinned ones."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from ._download import CHUNK, Body, DataError, no_download, opened, staged


class Raw(Protocol):
    """Something a dataset is prepared from, below the data root."""

    @property
    def path(self) -> str: ...

    def is_present(self, root: Path) -> bool: ...

    def fetch(self, root: Path) -> Path: ...


@dataclass(frozen=True)
class RawFile:
    """One file: ``path`` below the data root, the address it comes from, its SHA-256."""

    path: str
    url: str
    sha256: str

    def is_present(self, root: Path) -> bool:
        return (root / self.path).is_file()

    def fetch(self, root: Path) -> Path:
        """The verified file; downloaded first if it is missing.

        Raises DataError where it is missing and cannot be had, or where its checksum is not the pinned one.
        """
        target = root / self.path
        if target.is_file():
            _compare(file_sha256(target), self.sha256, target, self.url)
            return target
        with opened(self.url, target) as body, staged(target) as part:
            with part.open("wb") as out:
                shutil.copyfileobj(body, out, CHUNK)
            _compare_download(file_sha256(part), self.sha256, target, self.url)
        return target


@dataclass(frozen=True)
class RawFolder:
    """A whole folder, taken from an archive (.tar.gz) at ``url``.

    members: prefixes inside the archive, below its top folder, all in ``strip``; digest: SHA-256 over the lines
    that ``find . -type f | LC_ALL=C sort | xargs sha256sum`` prints inside the folder.
    """

    path: str
    url: str
    digest: str
    n_files: int
    strip: str
    members: tuple[str, ...]

    def is_present(self, root: Path) -> bool:
        return len(_files_below(root / self.path)) == self.n_files

    def fetch(self, root: Path) -> Path:
        """The verified folder; downloaded first if it is missing. Raises DataError like ``RawFile.fetch``."""
        target = root / self.path
        if target.is_dir():
            _compare(folder_digest(target), self.digest, target, self.url, note=self._count(target))
            return target
        with opened(self.url, target) as body, staged(target) as part:
            try:
                self._extract(body, part)
            except (tarfile.TarError, zlib.error, EOFError) as error:
                raise no_download(self.url, target, f"not a complete archive: {error}") from error
            _compare_download(folder_digest(part), self.digest, target, self.url, note=self._count(part))
        return target

    def _count(self, folder: Path) -> str:
        return f" ({len(_files_below(folder))} files found, {self.n_files} expected)"

    def _extract(self, body: Body, folder: Path) -> None:
        """Plain files only, below the wanted prefixes only; links, devices and paths that climb out are passed over."""
        n_done = 0
        with tarfile.open(fileobj=cast(IO[bytes], body), mode="r|gz") as archive:
            for member in archive:
                inner = PurePosixPath(*PurePosixPath(member.name).parts[1:])
                if not member.isfile() or ".." in inner.parts or not any(inner.is_relative_to(m) for m in self.members):
                    continue
                out = folder / inner.relative_to(self.strip)
                out.parent.mkdir(parents=True, exist_ok=True)
                source = archive.extractfile(member)
                assert source is not None  # isfile() holds
                with source, out.open("wb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
                n_done += 1
                if n_done == self.n_files:
                    return


def fetch(raw: Iterable[Raw], root: Path) -> None:
    """Makes sure that everything in ``raw`` lies below ``root`` with the pinned checksum. Raises DataError."""
    for item in raw:
        item.fetch(root)


def missing(raw: Iterable[Raw], root: Path) -> tuple[str, ...]:
    """Paths of what is not there; looks at names only, hashes nothing."""
    return tuple(item.path for item in raw if not item.is_present(root))


def cache_dir() -> Path:
    """Where prepared data lie: ``DMIL_CACHE``, else ``.cache/prepared`` in the checkout."""
    return Path(os.environ.get("DMIL_CACHE") or Path(__file__).parents[1] / ".cache" / "prepared")


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """SHA-256 over one ``<sha256>  ./<path>`` line per file, sorted bytewise by path."""
    names = sorted(f"./{path.relative_to(folder).as_posix()}".encode() for path in _files_below(folder))
    lines = (f"{file_sha256(folder / name.decode())}  {name.decode()}\n" for name in names)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _compare(found: str, expected: str, target: Path, url: str, *, note: str = "") -> None:
    if found != expected:
        raise DataError(
            f"{target} has sha256 {found}, but {expected} is expected{note}: "
            f"delete it to have it downloaded again, or put the right one from {url} in its place"
        )


def _compare_download(found: str, expected: str, target: Path, url: str, *, note: str = "") -> None:
    if found != expected:
        raise DataError(
            f"what {url} sent has sha256 {found}, but {expected} is expected{note}: "
            f"nothing was kept; put the right one at {target} by hand"
        )


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
