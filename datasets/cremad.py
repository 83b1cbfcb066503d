"""CREMA-D: six emotions in the voice and the face of 91 actors; split by actor, and as commonly done.

A family of datasets: ``cremad`` keeps the actors of the splits apart, ``cremad-common`` has the split of most
publications, in which every actor is in training and test. ``-fN`` sets the number of frames.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._audio import STFT_RATE, STFT_SHAPE, log_spectrogram, read_wave
from ._by_hand import ByHand
from ._clips import Column, build
from ._download import DataError
from ._files import Raw, fetch
from ._media import require_av
from ._video import read_frames

if TYPE_CHECKING:
    from torch import Tensor

    from dmil.data import Card, Split, Splits

FAMILY, COMMON = "cremad", "cremad-common"
NAMES = (FAMILY, COMMON)
N_FRAMES, MAX_FRAMES, SIZE = 3, 16, 224
GRAMMAR = (
    f"{FAMILY}[-common][-fN]: -common takes the usual split, which shares its actors; N is the number of frames of a "
    f"clip, 1 to {MAX_FRAMES} ({N_FRAMES} unless said)"
)
NAME = re.compile(f"{FAMILY}(?P<common>-common)?(?:-f(?P<n_frames>[1-9][0-9]?))?")

EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
CLIP = re.compile(r"(?P<actor>[0-9]{4})_[A-Z]{3}_(?P<emotion>[A-Z]{3})_[A-Z]{1,2}")
ACTORS = tuple(str(number) for number in range(1001, 1092))
N_VALID_ACTORS, N_TEST_ACTORS = 14, 14
VALID_SHARE = 0.1  # of the common training part
SOUNDS, VIDEOS = f"{FAMILY}/AudioWAV", f"{FAMILY}/VideoFlash"
LISTS = {"train": f"{FAMILY}/train.csv", "test": f"{FAMILY}/test.csv"}

_ADVICE = (
    "clone github.com/CheyneyComputerScience/CREMA-D with Git LFS, and put its folders AudioWAV and VideoFlash, or "
    f"links to them, into the folder {FAMILY} below the data root"
)
_LISTS_ADVICE = (
    f"{COMMON} takes train.csv and test.csv (lines like 1001_DFA_ANG_XX,ANG) from data/CREMAD of "
    "github.com/GeWu-Lab/OGM-GE_CVPR2022; the dataset cremad needs neither"
)


def canonical(name: str) -> str:
    """``cremad-f3`` -> ``cremad``. Raises ValueError, one line, for a name that means nothing."""
    return variant(name).name


def variant(name: str) -> Variant:
    """Raises ValueError, one line, for a name that means nothing."""
    found = NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"write {GRAMMAR}")
    n_frames = int(found["n_frames"] or N_FRAMES)
    if n_frames > MAX_FRAMES:
        raise ValueError(f"{n_frames} frames are too many: 1 to {MAX_FRAMES} are possible")
    return Variant(is_common=bool(found["common"]), n_frames=n_frames)


@dataclass(frozen=True)
class Variant:
    """One split and number of frames, with what the module of a dataset has."""

    is_common: bool
    n_frames: int

    LIBRARIES = ("torch", "numpy", "scipy", "pillow", "av")
    STREAMED = True
    __file__ = __file__

    @property
    def name(self) -> str:
        return (COMMON if self.is_common else FAMILY) + f"-f{self.n_frames}" * (self.n_frames != N_FRAMES)

    @property
    def RAW(self) -> tuple[Raw, ...]:  # noqa: N802, as in the module of a dataset
        lists = LISTS.values() if self.is_common else ()
        return (ByHand(SOUNDS, _ADVICE), ByHand(VIDEOS, _ADVICE), *(ByHand(path, _LISTS_ADVICE) for path in lists))

    @cached_property
    def CARD(self) -> Card:  # noqa: N802
        from ._cremad_card import card

        return card(self.name, is_common=self.is_common, n_frames=self.n_frames)

    def prepare(self, root: Path, folder: Path) -> Splits:
        """Raises DataError where files are missing, damaged or not named as expected, or the lists do not fit them."""
        from dmil.data import Splits, Task

        from ._cremad_card import with_count

        fetch(self.RAW, root)
        require_av()
        clips = read_clips(root)
        parts = common_parts(root, clips) if self.is_common else parts_by_actor(clips)
        columns = (Column("audio", STFT_SHAPE, "float32"), Column("video", (self.n_frames, 3, SIZE, SIZE)))
        splits = {}
        for part, names in parts.items():
            read, files = partial(read_clip, root, self.n_frames), partial(files_of, root)
            arrays = build(folder / part, names, columns, read, title=f"{self.name}, {part}", files=files)
            splits[part] = _split(names, arrays)
        task = Task("classification", len(EMOTIONS), tuple(EMOTIONS.values()))
        card = with_count(self.CARD, sum(map(len, parts.values())))
        return Splits(splits["train"], splits["valid"], splits["test"], task, card)


def read_clips(root: Path) -> list[str]:
    """Names of all clips, in order. Raises DataError for an unexpected one, an unknown emotion, a missing partner."""
    stems: dict[str, set[str]] = {}
    for folder, suffix in ((SOUNDS, ".wav"), (VIDEOS, ".flv")):
        paths = sorted(path for path in (root / folder).iterdir() if not path.name.startswith("."))
        for path in paths:
            found = CLIP.fullmatch(path.stem)
            if path.suffix != suffix or found is None or found["actor"] not in ACTORS:
                raise DataError(
                    f"{path} has an unexpected name: 1001_DFA_ANG_XX{suffix} is expected, actors 1001 to 1091"
                )
            if found["emotion"] not in EMOTIONS:
                known = ", ".join(EMOTIONS)
                raise DataError(f"{path} has the unknown emotion {found['emotion']!r}; known: {known}")
        stems[suffix] = {path.stem for path in paths}
    sounds, videos = stems.values()
    for missing, folder, suffix in ((videos - sounds, SOUNDS, ".wav"), (sounds - videos, VIDEOS, ".flv")):
        if missing:
            path, more = root / folder / f"{min(missing)}{suffix}", len(missing) - 1
            raise DataError(
                f"{path} is missing{f', and {more} more' * bool(more)}, but its partner is there: {_ADVICE}"
            )
    return sorted(sounds)


def parts_by_actor(clips: Sequence[str]) -> dict[str, list[str]]:
    """The clips of 63, 14 and 14 actors, who do not depend on what is there. Raises DataError where a part is empty."""
    parts = {part: [clip for clip in clips if clip[:4] in actors] for part, actors in split_actors().items()}
    for part, names in parts.items():
        if not names:
            raise DataError(f"there is no clip of any actor of the {part} split: {_ADVICE}")
    return parts


def split_actors() -> dict[str, set[str]]:
    import torch

    from dmil.seeds import generator

    order = torch.randperm(len(ACTORS), generator=generator("split", FAMILY)).tolist()
    actors = [ACTORS[i] for i in order]
    n_held = N_TEST_ACTORS + N_VALID_ACTORS
    return {
        "train": set(actors[n_held:]),
        "valid": set(actors[N_TEST_ACTORS:n_held]),
        "test": set(actors[:N_TEST_ACTORS]),
    }


def common_parts(root: Path, clips: Sequence[str]) -> dict[str, list[str]]:
    """The clips of both lists; a tenth of each class of the training list is validation. Raises DataError."""
    from dmil.seeds import generator

    from ._assemble import stratified

    listed = {part: _read_list(root / path, set(clips)) for part, path in LISTS.items()}
    if shared := sorted(set(listed["train"]) & set(listed["test"])):
        raise DataError(f"{root / LISTS['test']} names {shared[0]}, which {root / LISTS['train']} names as well")
    train = sorted(listed["train"])
    target = _labels(train)
    rarest = min(count for count in target.bincount().tolist() if count)
    if rarest < 2:
        raise DataError(f"{root / LISTS['train']} needs two clips of each emotion at least: {_LISTS_ADVICE}")
    share = {"valid": max(VALID_SHARE, 1 / rarest)}  # one of each class at least
    rows = stratified(target, share, rest="train", rng=generator("split", COMMON))
    return {
        "train": [train[i] for i in rows["train"]],
        "valid": [train[i] for i in rows["valid"]],
        "test": sorted(listed["test"]),
    }


def _read_list(path: Path, clips: set[str]) -> list[str]:
    """The clips that a list names. Raises DataError where a line is not a clip, which is there, and its emotion."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    for number, row in enumerate(rows, start=1):
        if len(row) != 2 or row[1] not in EMOTIONS:
            raise DataError(f"{path} row {number} is {','.join(row)!r}, not a clip and one of {', '.join(EMOTIONS)}")
        if row[0] not in clips:
            raise DataError(f"{path} row {number} names {row[0]}, of which there is no WAV and FLV file: {_ADVICE}")
        if row[0].split("_")[2] != row[1]:
            raise DataError(f"{path} row {number} says {row[1]}, but the name of clip {row[0]} says otherwise")
    names = [row[0] for row in rows]
    if not names or len(set(names)) < len(names):
        raise DataError(f"{path} {'names a clip twice' if names else 'is empty'}: {_LISTS_ADVICE}")
    return names


def read_clip(root: Path, n_frames: int, clip: str) -> dict[str, Any]:
    """Spectrogram (1, 257, 188), frames (n_frames, 3, 224, 224). Raises DataError where a file is damaged or empty."""
    sound, video = files_of(root, clip)
    return {"audio": log_spectrogram(read_wave(sound, STFT_RATE)), "video": read_frames(video, n_frames, SIZE)}


def files_of(root: Path, clip: str) -> tuple[Path, Path]:
    return root / SOUNDS / f"{clip}.wav", root / VIDEOS / f"{clip}.flv"


def _split(names: Sequence[str], arrays: dict[str, Tensor]) -> Split:
    from dmil.data import Split

    groups = tuple(f"actor {name[:4]}" for name in names)
    return Split(arrays, _labels(names), ids=tuple(names), groups=groups)


def _labels(names: Sequence[str]) -> Tensor:
    import torch

    order = list(EMOTIONS)
    return torch.tensor([order.index(name.split("_")[2]) for name in names])
