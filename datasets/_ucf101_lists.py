"""The lists of UCF101: its classes, and which clips an official split trains and tests on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ._download import DataError

CLASSES = "classInd.txt"
CLASS_LINE = re.compile(r"([0-9]+)\s+(\S+)")
CLIP_LINE = re.compile(r"([^/\s]+)/(v_[^/\s]+_(g[0-9]+)_c[0-9]+)\.avi(?:\s+([0-9]+))?")


@dataclass(frozen=True, slots=True)
class Clip:
    """One video. name: of its file, without ``.avi``; group: clips of one class that were cut from one recording."""

    action: str
    name: str
    group: str

    @property
    def path(self) -> str:
        """Below the folder of the videos."""
        return f"{self.action}/{self.name}.avi"


def list_names(split: int) -> dict[str, str]:
    """Names of the official lists of one of the three splits."""
    return {"train": f"trainlist{split:02d}.txt", "test": f"testlist{split:02d}.txt"}


def read_lists(folder: Path, split: int) -> tuple[tuple[str, ...], dict[str, list[Clip]]]:
    """The classes in order, and the clips of ``train`` and ``test``, in the order of their list.

    Raises DataError, naming file and line, where a list cannot be read, a class or label is not in ``classInd.txt``, a
    clip stands twice, a group is on both sides, or a class has no clip on one of them.
    """
    classes = read_classes(folder / CLASSES)
    names = list_names(split)
    parts = {part: _read_clips(folder / name, classes) for part, name in names.items()}
    groups = {part: {clip.group for clip in clips} for part, clips in parts.items()}
    if both := groups["train"] & groups["test"]:
        raise DataError(f"{folder / names['test']}: group {min(both)} is also in {names['train']}; {_AGAIN}")
    for part, name in names.items():
        if absent := set(classes) - {clip.action for clip in parts[part]}:
            raise DataError(f"{folder / name} has no clip of class {min(absent)} of {CLASSES}; {_AGAIN}")
    return classes, parts


def read_classes(path: Path) -> tuple[str, ...]:
    """The classes, the one with number 1 first. Raises DataError where the numbers are not 1, 2, .."""
    found: list[str] = []
    for number, line in _lines(path):
        match = CLASS_LINE.fullmatch(line)
        if match is None or int(match[1]) != len(found) + 1 or match[2] in found:
            expected = f"class number {len(found) + 1} and a new name"
            raise DataError(f"{path} line {number}: {expected} must stand here, but got {line!r}; {_AGAIN}")
        found.append(match[2])
    if len(found) < 2:
        raise DataError(f"{path} names {len(found)} classes, but two or more are needed; {_AGAIN}")
    return tuple(found)


def _read_clips(path: Path, classes: tuple[str, ...]) -> list[Clip]:
    numbers = {name: i for i, name in enumerate(classes, start=1)}
    clips: dict[str, Clip] = {}
    for number, line in _lines(path):
        where = f"{path} line {number}"
        match = CLIP_LINE.fullmatch(line)
        if match is None:
            raise DataError(f"{where}: CLASS/v_CLASS_gXX_cYY.avi must stand here, but got {line!r}; {_AGAIN}")
        action, name, group, label = match.groups()
        if action not in numbers:
            raise DataError(f"{where}: class {action!r} is not in {CLASSES}; {_AGAIN}")
        if label is not None and int(label) != numbers[action]:
            in_range = 1 <= int(label) <= len(classes)
            what = f"that of {classes[int(label) - 1]}" if in_range else f"outside 1 to {len(classes)}"
            raise DataError(f"{where}: label {label} of {name} is {what}, but {action} has {numbers[action]}; {_AGAIN}")
        if name in clips:
            raise DataError(f"{where}: {name} stands there twice; {_AGAIN}")
        clips[name] = Clip(action, name, f"{action} {group}")
    return list(clips.values())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, and their numbers from 1 on."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): {_AGAIN}") from error
    return ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip())


_AGAIN = "unpack UCF101TrainTestSplits-RecognitionTask.zip again"
