"""Opening files of sound and video with PyAV, and saying in one line what is wrong with one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ._download import DataError

if TYPE_CHECKING:
    from av.container import InputContainer

POINTER = b"version https://git-lfs"


def require_av() -> None:
    """Raises DataError where PyAV is not installed: said once, not for every file."""
    if find_spec("av") is None:
        raise DataError(
            "decoding video needs the library PyAV: run `make setup`, or `pip install -e '.[media]' -c constraints.txt`"
        )


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """A container whose streams decode in one thread. Raises DataError where it cannot be opened or decoded."""
    import av

    check_content(path)
    try:
        # what a file says of itself (title, author) may be in any encoding
        with av.open(str(path), metadata_errors="replace") as container:
            for stream in (*container.streams.audio, *container.streams.video):
                if stream.codec_context is None:
                    raise DataError(f"{path} has {stream.type} that no decoder is there for: get the file again")
                stream.codec_context.thread_count = 1
            yield container
    except (av.error.FFmpegError, OSError) as error:
        raise damaged(path, error) from error


def check_content(path: Path) -> None:
    """Raises DataError where a file is missing, is empty, or stands for one that Git LFS has not fetched."""
    try:
        with path.open("rb") as file:
            start = file.read(len(POINTER))
    except OSError as error:
        raise damaged(path, error) from error
    if not start:
        raise DataError(f"{path} is empty: get the file again")
    if start == POINTER:
        raise DataError(f"{path} is a pointer of Git LFS, not the file itself: run `git lfs pull` in its repository")


def damaged(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path} cannot be decoded ({reason}): get the file again, or leave the clip out")
