"""Kinetics-Sounds: actions that can be heard and seen, from clips that the user has downloaded.

A family of datasets: ``kinetics_sounds`` has the 31 classes of most publications, ``kinetics_sounds-listed`` those that
a file beside the clips names, for copies with 32, 33 or 34.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._audio import FBANK_RATE, FBANK_SHAPE, log_filterbank, read_sound
from ._by_hand import ByHand
from ._clips import Column, build
from ._download import DataError
from ._files import Raw, fetch
from ._media import require_av
from ._video import read_frames

if TYPE_CHECKING:
    from torch import Tensor

    from dmil.data import Card, Split, Splits

FAMILY, LISTED = "kinetics_sounds", "kinetics_sounds-listed"
NAMES = (FAMILY, LISTED)
GRAMMAR = f"{FAMILY}[-listed]: -listed takes the classes that {FAMILY}/classes.txt names, instead of the usual 31"
PARTS = {"train": "train", "valid": "val", "test": "test"}
CLASS_LIST = f"{FAMILY}/classes.txt"
N_FRAMES, SIZE = 3, 224
CLIP = re.compile(r"(?P<video>[\w-]{11})_(?P<start>[0-9]+)_(?P<end>[0-9]+)\.(?:mp4|mkv|webm|avi)")

CLASSES = (
    "blowing nose", "blowing out candles", "bowling", "chopping wood", "dribbling basketball", "laughing",
    "mowing lawn", "playing accordion", "playing bagpipes", "playing bass guitar", "playing clarinet", "playing drums",
    "playing guitar", "playing harmonica", "playing keyboard", "playing organ", "playing piano", "playing saxophone",
    "playing trombone", "playing trumpet", "playing violin", "playing xylophone", "ripping paper", "shoveling snow",
    "shuffling cards", "singing", "stomping grapes", "tap dancing", "tapping guitar", "tapping pen", "tickling",
)  # fmt: skip

_ADVICE = (
    f"put the clips of Kinetics-400 (cut to 10 s) below the data root as {FAMILY}/{{train,val,test}}/CLASS/"
    "VIDEO_START_END.mp4, such as train/playing drums/-3Mwkq-7TV4_000002_000012.mp4"
)
_LIST_ADVICE = f"write one class a line there, named like the folders; the dataset {FAMILY} needs no list"


def canonical(name: str) -> str:
    """Raises ValueError, one line, for a name that means nothing."""
    return variant(name).name


def variant(name: str) -> Variant:
    """Raises ValueError, one line, for a name that means nothing."""
    if name not in NAMES:
        raise ValueError(f"write {GRAMMAR}")
    return Variant(is_listed=name == LISTED)


@dataclass(frozen=True)
class Clip:
    """One file. path: below the folder of the dataset."""

    path: str
    label: str
    video: str


@dataclass(frozen=True)
class Variant:
    """One list of classes, with what the module of a dataset has."""

    is_listed: bool

    LIBRARIES = ("torch", "numpy", "scipy", "transformers", "pillow", "av")
    STREAMED = True
    __file__ = __file__

    @property
    def name(self) -> str:
        return LISTED if self.is_listed else FAMILY

    @property
    def RAW(self) -> tuple[Raw, ...]:  # noqa: N802, as in the module of a dataset
        folders = tuple(ByHand(f"{FAMILY}/{folder}", _ADVICE) for folder in PARTS.values())
        return (*folders, ByHand(CLASS_LIST, _LIST_ADVICE)) if self.is_listed else folders

    @cached_property
    def CARD(self) -> Card:  # noqa: N802
        from ._kinetics_sounds_card import card

        return card(self.name, "the classes of classes.txt" if self.is_listed else f"{len(CLASSES)} classes")

    def prepare(self, root: Path, folder: Path) -> Splits:
        """Raises DataError where files are missing, damaged or laid out otherwise, or a video is in two splits."""
        from dmil.data import Splits, Task

        fetch(self.RAW, root)
        require_av()
        classes = read_classes(root / CLASS_LIST) if self.is_listed else CLASSES
        parts = {part: read_clips(root / FAMILY, name, classes) for part, name in PARTS.items()}
        check_parts(root / FAMILY, parts, classes)
        columns = (Column("audio", FBANK_SHAPE, "float32"), Column("video", (N_FRAMES, 3, SIZE, SIZE)))
        splits = {}
        for part, clips in parts.items():
            paths, read = [clip.path for clip in clips], partial(read_clip, root / FAMILY)
            files, title = partial(files_of, root / FAMILY), f"{self.name}, {part}"
            arrays = build(folder / part, paths, columns, read, title=title, files=files)
            splits[part] = _split(clips, arrays, classes)
        task = Task("classification", len(classes), tuple(classes))
        return Splits(splits["train"], splits["valid"], splits["test"], task, self.CARD)


def read_classes(path: Path) -> tuple[str, ...]:
    """The classes of a list, in its order. Raises DataError unless there are two at least, each once."""
    lines = [" ".join(line.split()) for line in path.read_text(encoding="utf-8-sig").splitlines()]
    names = tuple(_plain(line) for line in lines if line)
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{path} must name two classes at least, each once: {_LIST_ADVICE}")
    return names


def read_clips(folder: Path, part: str, classes: Sequence[str]) -> list[Clip]:
    """The clips of one part, by class and name. Raises DataError for an unknown class or a file of another name."""
    clips = []
    for path in _visible(folder / part):
        label = _plain(path.name)
        if label not in classes:
            raise DataError(f"{path} is none of the {len(classes)} classes of this dataset: {', '.join(classes)}")
        if not path.is_dir():
            raise DataError(f"{path} is no folder of clips: {_ADVICE}")
        for file in _visible(path):
            found = CLIP.fullmatch(file.name)
            if found is None:
                raise DataError(f"{file} has an unexpected name: {_ADVICE}")
            clips.append(Clip(f"{part}/{path.name}/{file.name}", label, found["video"]))
    return clips


def check_parts(folder: Path, parts: dict[str, list[Clip]], classes: Sequence[str]) -> None:
    """Raises DataError where a part is empty, a class has no clip to train on, or a video is in two parts."""
    owner: dict[str, tuple[str, Clip]] = {}
    for part, clips in parts.items():
        if not clips:
            raise DataError(f"{folder / PARTS[part]} holds no clip: {_ADVICE}")
        for clip in clips:
            other, first = owner.setdefault(clip.video, (part, clip))
            if other != part:
                raise DataError(f"{folder / clip.path} is of the same video as {folder / first.path}: keep one of them")
    if lost := [name for name in classes if name not in {clip.label for clip in parts["train"]}]:
        raise DataError(f"{folder / PARTS['train']} has no clip of {', '.join(lost)}: {_ADVICE}")


def read_clip(folder: Path, path: str) -> dict[str, Any]:
    """Spectrogram (1, 128, 1024) and frames (3, 3, 224, 224) of a clip. Raises DataError where one cannot be had."""
    sound = read_sound(folder / path, FBANK_RATE)
    return {"audio": log_filterbank(sound), "video": read_frames(folder / path, N_FRAMES, SIZE)}


def files_of(folder: Path, path: str) -> tuple[Path]:
    return (folder / path,)


def _split(clips: Sequence[Clip], arrays: dict[str, Tensor], classes: Sequence[str]) -> Split:
    import torch

    from dmil.data import Split

    target = torch.tensor([classes.index(clip.label) for clip in clips])
    ids = tuple(clip.path for clip in clips)
    return Split(arrays, target, ids=ids, groups=tuple(f"video {clip.video}" for clip in clips))


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _plain(name: str) -> str:
    return name.replace("_", " ")
