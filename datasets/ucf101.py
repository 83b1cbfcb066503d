"""UCF101: 101 actions in video clips, as frames, as optical flow and as frame differences; three official splits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ._by_hand import ByHand
from ._download import DataError
from ._files import Raw, fetch
from ._media import require_av
from ._ucf101_frames import CHANNELS, DIFFERENCE, FLOW, FLOWS, FRAMES, N_MOMENTS, RGB, SIDE, VIDEOS, locate, read_clip
from ._ucf101_lists import CLASSES, Clip, list_names, read_lists

if TYPE_CHECKING:
    from dmil.data import Card, Split, Splits

FAMILY = "ucf101"
NAMES = (FAMILY, f"{FAMILY}-3")
GRAMMAR = (
    f"{FAMILY}[-3][-splitN]: -3 adds the difference of frames to RGB and optical flow; N is 2 or 3, for an official "
    "split other than the first"
)
NAME = re.compile(f"{FAMILY}(?P<three>-3)?(?:-split(?P<split>[1-3]))?")

LISTS = "ucfTrainTestlist"
VALID_SHARE = 1 / 6  # 3 of the 18 groups of a class
OFFICIAL = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}  # clips of training and test
DESCRIPTIONS = {
    RGB: "RGB frames",
    FLOW: "optical flow, horizontal and vertical, 20 pixels a frame to either side being 0 and 255",
    DIFFERENCE: "difference of each RGB frame from the next one, plus 128",
}

_LISTS_ADVICE = (
    "unpack UCF101TrainTestSplits-RecognitionTask.zip (crcv.ucf.edu/data/UCF101.php) into the folder "
    f"{FAMILY} below the data root"
)
_PICTURES_ADVICE = (
    "unpack UCF101.rar (crcv.ucf.edu/data/UCF101.php) there, so that it holds CLASS/v_CLASS_gXX_cYY.avi; or put the "
    f"RGB frames of github.com/feichtenhofer/twostreamfusion beside it, as {FRAMES}/v_CLASS_gXX_cYY/frame000001.jpg"
)
_FLOW_ADVICE = (
    "unpack the optical flow of github.com/feichtenhofer/twostreamfusion (ucf101_tvl1_flow.zip, all three parts), so "
    "that this folder holds v_CLASS_gXX_cYY/frame000001.jpg; it is not computed here"
)


@dataclass(frozen=True)
class Pictures:
    """The videos, or the frames that were extracted from them: the latter where both are there."""

    path: str = f"{FAMILY}/{VIDEOS}"

    def is_present(self, root: Path) -> bool:
        return any((root / FAMILY / name).is_dir() for name in (FRAMES, VIDEOS))

    def fetch(self, root: Path) -> Path:
        """The folder that is there. Raises DataError where none is."""
        for name in (FRAMES, VIDEOS):
            if (root / FAMILY / name).is_dir():
                return root / FAMILY / name
        raise DataError(f"{root / self.path} is missing: {_PICTURES_ADVICE}")


def canonical(name: str) -> str:
    """``ucf101-split1`` -> ``ucf101``. Raises ValueError, one line, for a name that means nothing."""
    return variant(name).name


def variant(name: str) -> Variant:
    """Raises ValueError, one line, for a name that means nothing."""
    found = NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"write {GRAMMAR}")
    modalities = (RGB, FLOW, DIFFERENCE) if found["three"] else (RGB, FLOW)
    return Variant(modalities, int(found["split"] or 1))


@dataclass(frozen=True)
class Variant:
    """Two or three modalities of one official split, with what the module of a dataset has."""

    modalities: tuple[str, ...]
    split: int

    LIBRARIES = ("torch", "numpy", "pillow", "av")
    STREAMED = True
    __file__ = __file__

    @property
    def name(self) -> str:
        return FAMILY + "-3" * (DIFFERENCE in self.modalities) + f"-split{self.split}" * (self.split > 1)

    @property
    def RAW(self) -> tuple[Raw, ...]:  # noqa: N802, as in the module of a dataset
        lists = (CLASSES, *list_names(self.split).values())
        return (
            *(ByHand(f"{FAMILY}/{LISTS}/{name}", _LISTS_ADVICE) for name in lists),
            Pictures(),
            *(ByHand(f"{FAMILY}/{folder}", _FLOW_ADVICE) for folder in FLOWS),
        )

    @cached_property
    def CARD(self) -> Card:  # noqa: N802
        from dmil.data import Card

        n_train, n_test = OFFICIAL[self.split]
        return Card(
            name=self.name,
            title=f"UCF101, 101 actions in video clips ({', '.join(self.modalities)}), official split {self.split}",
            source="crcv.ucf.edu/data/UCF101.php; optical flow: github.com/feichtenhofer/twostreamfusion",
            licence="none stated; clips from YouTube, offered for research",
            citation="Soomro, Zamir, Shah: UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild, "
            "arXiv 1212.0402, 2012. Flow: Feichtenhofer, Pinz, Zisserman: Convolutional Two-Stream Network Fusion for "
            "Video Action Recognition, CVPR 2016.",
            split_rule=f"official split {self.split} ({n_train:,} clips for training, {n_test:,} for test), which "
            "holds out 7 of the 25 groups of every class; of the 18 others about three are validation, drawn class by "
            "class, so that they hold about a sixth of its clips; no group in two splits",
            preprocessing=f"{N_MOMENTS} moments of each clip, the middles of its thirds; at each the RGB frame, the "
            "flow to the next one as published (TV-L1, clipped at 20 pixels a frame, 8 bits: 128 is no motion)"
            + (", their difference plus 128, clipped to 8 bits" if DIFFERENCE in self.modalities else "")
            + f"; all of it squeezed to {SIDE}x{SIDE} (bicubic); frames come from {FRAMES} where that is there, else "
            "from the videos",
            traps=(
                "Clips of one group were cut from one recording: with a random split they are near-copies, and "
                "accuracy means nothing. No group is in two splits here.",
                "The background gives many classes away: RGB alone tells sports by their field. Compare with the "
                "unimodal rows.",
                "Published for RGB and flow: joint 81.80 % (BalanceBenchmark: validation is the test part, and its "
                "configuration starts from pretrained weights), joint 79.33 and DMIL 85.01 % (DMIL; split, weights and "
                "selection are not known here). They do not compare with networks that start from nothing.",
                "Datasets of this name with sound as second modality have 51 classes: nothing there compares.",
            ),
            modalities={
                m: f"{N_MOMENTS} x {DESCRIPTIONS[m]} ({N_MOMENTS}, {CHANNELS[m]}, {SIDE}, {SIDE})"
                for m in self.modalities
            },
        )

    def prepare(self, root: Path, folder: Path) -> Splits:
        """Raises DataError where files are missing, damaged or laid out otherwise, or where lists disagree."""
        from dmil.data import Splits, Task

        fetch(self.RAW, root)
        pictures = Pictures().fetch(root).name
        if pictures == VIDEOS:
            require_av()
        classes, official = read_lists(root / FAMILY / LISTS, self.split)
        parts = self._parts(official)
        for clips in parts.values():
            check_present(root / FAMILY, pictures, clips)
        train, valid, test = (
            self._split(root, pictures, folder / part, clips, classes) for part, clips in parts.items()
        )
        card = replace(self.CARD, warning=incomplete(official, self.split))
        return Splits(train, valid, test, Task("classification", len(classes), classes), card)

    def _parts(self, official: dict[str, list[Clip]]) -> dict[str, list[Clip]]:
        """Clips of train, valid and test."""
        from dmil.seeds import generator

        from ._splits import held_out

        train = official["train"]
        groups, actions = [clip.group for clip in train], [clip.action for clip in train]
        valid = held_out(groups, actions, share=VALID_SHARE, rng=generator("split", FAMILY, self.split))
        rest = sorted(set(range(len(train))) - set(valid))
        return {"train": [train[i] for i in rest], "valid": [train[i] for i in valid], "test": official["test"]}

    def _split(self, root: Path, pictures: str, folder: Path, clips: Sequence[Clip], classes: Sequence[str]) -> Split:
        import torch

        from dmil.data import Split

        from ._clips import Column, build

        columns = [Column(m, (N_MOMENTS, CHANNELS[m], SIDE, SIDE)) for m in self.modalities]
        read = partial(read_clip, root / FAMILY, pictures, self.modalities)
        items = [(clip.action, clip.name) for clip in clips]
        number = {name: i for i, name in enumerate(classes)}
        return Split(
            inputs=build(folder, items, columns, read, title=f"{self.name} {folder.name}"),
            target=torch.tensor([number[clip.action] for clip in clips]),
            ids=tuple(clip.name for clip in clips),
            groups=tuple(clip.group for clip in clips),
        )


def check_present(raw: Path, pictures: str, clips: Sequence[Clip]) -> None:
    """Raises DataError where a clip of a list, or its flow, is not on disk: it names the first, and says how many."""
    missing = [path for clip in clips for path in locate(raw, pictures, clip.action, clip.name) if not path.exists()]
    if missing:
        more = f" ({len(missing) - 1:,} more are missing)" if len(missing) > 1 else ""
        raise DataError(f"{missing[0]} is missing, but a list in {LISTS} names it{more}: unpack its archive again")


def incomplete(official: dict[str, list[Clip]], split: int) -> str | None:
    """What must be said of results where the lists are not the published ones."""
    found = (len(official["train"]), len(official["test"]))
    if found == OFFICIAL[split]:
        return None
    wanted = " and ".join(f"{n:,}" for n in OFFICIAL[split])
    return f"Not the published dataset: {found[0]:,} and {found[1]:,} clips instead of {wanted}. Compare with nothing."
