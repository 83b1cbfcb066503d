"""Getting bytes from an address to a place, whole or not at all."""

from __future__ import annotations

import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 18


class DataError(Exception):
    """A dataset cannot be used; the message is one line: what is wrong, where, and what to do."""


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target``: becomes ``target`` in one step when the block ends well, else vanishes.

    What a killed process left behind is removed by the next one. Raises DataError where nothing can be written.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for other in target.parent.glob(f".{target.name}.*.part"):
            if not _is_alive(int(other.name.split(".")[-2])):
                _remove(other)
        try:
            yield part
            part.replace(target)
        finally:
            _remove(part)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"cannot write {target} ({reason}): make its folder writable, or choose another one "
            "(DMIL_DATA for raw files, DMIL_CACHE for prepared ones)"
        ) from error


class Body:
    """The bytes of a response: shows progress, turns network trouble into DataError and notices a cut connection."""

    def __init__(self, response: http.client.HTTPResponse, advance: Callable[[int], None], target: Path) -> None:
        self._response, self._advance, self._target = response, advance, target
        self._left = response.length

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._response.read(None if size < 0 else size)
        except (OSError, http.client.HTTPException) as error:
            raise no_download(self._response.url, self._target, str(error)) from error
        if self._left is not None:
            self._left -= len(data)
            if not data and size and self._left > 0:
                reason = f"connection closed {self._left} bytes too early"
                raise no_download(self._response.url, self._target, reason)
        self._advance(len(data))
        return data


@contextmanager
def opened(url: str, target: Path) -> Iterator[Body]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    try:
        response = urllib.request.urlopen(url, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise no_download(url, target, f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise no_download(url, target, str(getattr(error, "reason", error))) from error
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with response, Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(target.name, total=response.length)
        yield Body(response, lambda n: progress.advance(bar, n), target)


def no_download(url: str, target: Path, reason: str) -> DataError:
    return DataError(f"{target} is missing and {url} cannot be downloaded ({reason}): put it there by hand")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
