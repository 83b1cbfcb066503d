"""Finished runs wait here until tracking has them. An entry appears whole or not at all, whatever is killed when."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.errors import UserError
from benchmarks.record import RunRecord

HIDDEN = ".tmp"


class Outbox:
    """A folder of entries, each holding a ``plan.json``, run folders ``<key>/record.json``, or both."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """Yields an empty folder that becomes an entry when the block ends, and vanishes when the block raises.

        Raises UserError where the results folder cannot be written.
        """
        folder = self._hidden_folder()
        try:
            yield folder
            self._publish(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def entries(self) -> list[Path]:
        """Entries in the order they were written."""
        if not self.root.is_dir():
            return []
        self._clean()
        return sorted((path for path in self.root.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))

    def records(self) -> list[tuple[Path, RunRecord]]:
        """Every run of every entry with its folder, in order of writing. Raises UserError on an unreadable record."""
        return [(folder, record) for entry in self.entries() for folder, record in read_records(entry)]

    def find(self, key: str) -> Path | None:
        """Folder of the newest finished run with this key."""
        for entry in reversed(self.entries()):
            record = _load(entry / key)
            if record is not None and record.status == "finished":
                return entry / key
        return None

    def remove(self, entry: Path) -> None:
        """Deletes an entry; a kill half-way leaves a hidden folder, never half an entry."""
        doomed = self.root / self._hidden_name()
        entry.rename(doomed)
        shutil.rmtree(doomed)

    def _hidden_name(self) -> str:
        return "~".join((HIDDEN, socket.gethostname(), str(os.getpid()), uuid.uuid4().hex))

    def _hidden_folder(self) -> Path:
        folder = self.root / self._hidden_name()
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise unwritable(self.root.parent, error) from error
        self._clean()
        return folder

    def _publish(self, folder: Path) -> None:
        for path in (*folder.rglob("*"), folder):
            _flush(path)
        names = [int(entry.name) for entry in self.entries()]
        number = max(names, default=0) + 1
        while True:
            try:
                folder.rename(self.root / f"{number:08d}")
                break
            except OSError:
                # Another process took the number: a folder never replaces a filled one.
                if not (self.root / f"{number:08d}").exists():
                    raise
                number += 1
        _flush(self.root)

    def _clean(self) -> None:
        """Removes hidden folders whose process on this machine is gone."""
        for path in self.root.glob(f"{HIDDEN}~*"):
            _, host, pid, _ = path.name.split("~")
            if host == socket.gethostname() and not _is_alive(int(pid)):
                shutil.rmtree(path, ignore_errors=True)


def unwritable(results: Path, error: OSError) -> UserError:
    """The error for a results folder that cannot be written."""
    return UserError(
        f"cannot write results to {results} ({error.strerror}); make it a writable folder or run from another checkout"
    )


def read_records(entry: Path) -> list[tuple[Path, RunRecord]]:
    """The runs of one entry with their folders, sorted by method and seed."""
    loaded = ((path.parent, _load(path.parent)) for path in entry.glob("*/record.json"))
    found = [(folder, record) for folder, record in loaded if record is not None]
    return sorted(found, key=lambda pair: (pair[1].method, pair[1].seed))


def _load(folder: Path) -> RunRecord | None:
    """None where there is no such run, or a delivery in another process has just removed it."""
    try:
        return RunRecord.load(folder)
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{folder / 'record.json'} is not a run record of this version ({error}); move {folder.parent} away"
        ) from error


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
