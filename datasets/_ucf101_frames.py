"""Frames and optical flow of UCF101, from videos and from extracted frames.

Processes that decode import this module: it holds nothing that takes long to import.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ._download import DataError
from ._pictures import SIDE, read_square, to_square
from ._video import chosen_frames, middles

if TYPE_CHECKING:
    from numpy import uint8
    from numpy.typing import NDArray

__all__ = ["SIDE", "locate", "read_clip"]

RGB, FLOW, DIFFERENCE = "rgb", "flow", "difference"
CHANNELS = {RGB: 3, FLOW: 2, DIFFERENCE: 3}
VIDEOS, FRAMES = "UCF-101", "jpegs_256"
FLOWS = ("tvl1_flow/u", "tvl1_flow/v")
N_MOMENTS = 3
ZERO = 128  # what stands for no difference
TOLERANCE = 0.1  # share by which the numbers of frames of a clip and of its flow may differ: decoders do
FRAME = re.compile(r"frame[0-9]{6}\.jpg")


def locate(raw: Path, pictures: str, action: str, name: str) -> tuple[Path, Path, Path]:
    """Where the pictures and both flows of a clip lie; they may not exist."""
    video = raw / VIDEOS / action / f"{name}.avi" if pictures == VIDEOS else _folder(raw / FRAMES, action, name)
    u, v = (_folder(raw / flow, action, name) for flow in FLOWS)
    return video, u, v


def _folder(parent: Path, action: str, name: str) -> Path:
    """Of the frames of a clip. The videos of HandstandPushups say HandStandPushups, the folders of frames do not."""
    other = parent / re.sub(r"^v_.+(?=_g[0-9]+_c)", f"v_{action}", name)
    return other if other.is_dir() else parent / name


def read_clip(raw: Path, pictures: str, modalities: Sequence[str], item: tuple[str, str]) -> dict[str, NDArray[uint8]]:
    """Each of ``modalities``, (3, channels, 224, 224), at the same three moments of the clip ``item``: class, name.

    Raises DataError where a file is missing or cannot be decoded, a clip has less than two frames, or its flow is not
    as long as it is.
    """
    import numpy as np

    source, *flows = locate(raw, pictures, *item)
    found, n_frames = _pairs(source, pictures)
    lengths = [count(folder) for folder in flows]
    if lengths[0] != lengths[1]:
        raise DataError(f"{flows[1]} holds {lengths[1]} frames, but {flows[0]} holds {lengths[0]}: {_AGAIN}")
    if abs(lengths[0] - (n_frames - 1)) > max(2, TOLERANCE * n_frames):
        raise DataError(f"{flows[0]} holds {lengths[0]} frames, but {source} has {n_frames}: {_AGAIN}")
    clip = {RGB: found[:, 0]}
    if FLOW in modalities:
        images = [
            [read_square(folder, frame(i))["image"][0] for folder in flows] for i in middles(lengths[0], N_MOMENTS)
        ]
        clip[FLOW] = np.stack([np.stack(both) for both in images])
    if DIFFERENCE in modalities:
        change = found[:, 1].astype(np.int16) - found[:, 0]
        clip[DIFFERENCE] = (change + ZERO).clip(0, 255).astype(np.uint8)
    return {modality: clip[modality] for modality in modalities}


def _pairs(source: Path, pictures: str) -> tuple[NDArray[uint8], int]:
    """The frame at each moment and the one after it, (3, 2, 3, 224, 224), and how many frames there are."""
    import numpy as np

    if pictures == VIDEOS:
        images, n_frames = chosen_frames(source, _wanted)
        squares = [to_square(image) for image in images]
    else:
        n_frames = count(source)
        squares = [read_square(source, frame(i))["image"] for i in _wanted(n_frames)]
    if not squares:
        raise DataError(f"{source} has fewer than two frames: {_AGAIN}")
    return np.stack(squares).reshape(N_MOMENTS, 2, CHANNELS[RGB], SIDE, SIDE), n_frames


def _wanted(n_frames: int) -> list[int]:
    """The frames at the moments of a clip, each with the next one: of 10 frames 1, 2, 4, 5, 7, 8; of 1 none."""
    return [i + step for i in middles(n_frames - 1, N_MOMENTS) for step in (0, 1)] if n_frames > 1 else []


def count(folder: Path) -> int:
    """How many frames a folder holds. Raises DataError where there is none, or one is missing in between."""
    try:
        names = {path.name for path in folder.iterdir() if FRAME.fullmatch(path.name)}
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}): {_AGAIN}") from error
    if not names:
        raise DataError(f"{folder} holds no frame, such as {frame(0)}: {_AGAIN}")
    for i in range(len(names)):
        if frame(i) not in names:
            raise DataError(f"{folder / frame(i)} is missing, but there are later ones: {_AGAIN}")
    return len(names)


def frame(index: int) -> str:
    """Name of the file of a frame; ``index`` counts from 0."""
    return f"frame{index + 1:06d}.jpg"


_AGAIN = "unpack its archive again"
