"""UTD-MHAD: 27 human actions, seen by a wearable inertial sensor and by a Kinect's skeleton tracker."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dmil.data import Card, Split, Splits, Task
from dmil.seeds import generator

from ._assemble import assemble
from ._download import DataError
from ._files import RawFolder, fetch
from ._series import statistics

FOLDER = RawFolder(
    path="utd_mhad",
    url="https://codeload.github.com/woo-chia-wei/kinect-sequence-classification/tar.gz/"
    "65e9b13950d7971c8d1e49e960f6796bd0dc9257",
    digest="59f9481ebcea5d60037af1948a416d7bb37b4283465b37dde622aa6edf70806d",
    n_files=1723,
    strip="data",
    members=("data/Inertial", "data/Skeleton"),
)
RAW = (FOLDER,)
LIBRARIES = ("torch", "scipy")

N_CLIPS, N_JOINTS, HIP_CENTRE = 861, 20, 3
TRAIN_SUBJECTS, TEST_SUBJECTS = ("1", "3", "5", "7"), ("2", "4", "6", "8")
NAME = re.compile(r"a(?P<action>\d+)_s(?P<subject>\d)_t\d_inertial\.mat")
ACTIONS = (
    "swipe left", "swipe right", "wave", "clap", "throw", "cross arms", "basketball shot", "draw x",
    "draw circle clockwise", "draw circle counter-clockwise", "draw triangle", "bowling", "boxing", "baseball swing",
    "tennis swing", "arm curl", "tennis serve", "push", "knock", "catch", "pick up and throw", "jog", "walk",
    "sit to stand", "stand to sit", "lunge", "squat",
)  # fmt: skip

CARD = Card(
    name="utd_mhad",
    title="UTD-MHAD, 27 human actions (accelerometer, gyroscope, skeleton)",
    source=FOLDER.url,
    licence="offered for research; the repository that carries this copy states no licence",
    citation="Chen, Jafari, Kehtarnavaz: UTD-MHAD: A Multimodal Dataset for Human Action Recognition Utilizing a Depth "
    "Camera and a Wearable Inertial Sensor, ICIP 2015.",
    split_rule="the standard one by subject: 2, 4, 6, 8 test, 1, 3, 5, 7 train, of whom one (drawn) is validation",
    preprocessing="skeleton relative to the hip centre; per channel mean, standard deviation, minimum, maximum and the "
    "means of four equal segments; every column standardised on the training rows and clipped to +-5",
    traps=(
        "Folds that are not grouped by subject give 0.995: clips of one subject are near-copies.",
        "Training has three subjects here and four in the literature, which keeps no validation subject.",
        "Eight subjects only: intervals over clips understate what a ninth subject would change.",
    ),
    checksums={FOLDER.path: FOLDER.digest},
    modalities={
        "accelerometer": "3 axes x 8 statistics (24)",
        "gyroscope": "3 axes x 8 statistics (24)",
        "skeleton": "20 joints x 3 coordinates x 8 statistics (480)",
    },
)


@dataclass(frozen=True)
class Recording:
    """One clip. inertial: (T, 6), acceleration and rotation; skeleton: (frames, 20, 3), relative to the hip centre."""

    inertial: Tensor
    skeleton: Tensor


def prepare(root: Path) -> Splits:
    """Raises DataError where raw files are missing or not as pinned."""
    return assembled(root, _features, card=CARD)


def assembled(
    root: Path,
    describe: Callable[[Recording], dict[str, Tensor]],
    *,
    card: Card,
    n_blocks: Mapping[str, int] | None = None,
) -> Splits:
    """The dataset in which ``describe`` says what a clip shows: for each modality of ``card`` a tensor of one shape."""
    fetch(RAW, root)
    folder = root / FOLDER.path
    clips = [match for path in sorted((folder / "Inertial").iterdir()) if (match := NAME.fullmatch(path.name))]
    if len(clips) != N_CLIPS:
        raise DataError(f"{folder / 'Inertial'} holds {len(clips)} clips, but {N_CLIPS} are expected")
    shown = [describe(_recording(folder, clip.string)) for clip in clips]
    samples = Split(
        inputs={modality: torch.stack([one[modality] for one in shown]) for modality in card.modalities},
        target=torch.tensor([int(clip["action"]) - 1 for clip in clips]),
        ids=tuple(clip.string.removesuffix("_inertial.mat") for clip in clips),
        groups=tuple(f"subject {clip['subject']}" for clip in clips),
    )
    rows = _split_rows([clip["subject"] for clip in clips])
    task = Task("classification", len(ACTIONS), ACTIONS)
    return assemble(samples, rows, task=task, card=card, n_blocks=n_blocks)


def _split_rows(subjects: list[str]) -> dict[str, list[int]]:
    drawn = int(torch.randint(len(TRAIN_SUBJECTS), (), generator=generator("split", "utd_mhad")))
    held_out = TRAIN_SUBJECTS[drawn]
    members = {
        "train": [s for s in TRAIN_SUBJECTS if s != held_out],
        "valid": [held_out],
        "test": list(TEST_SUBJECTS),
    }
    return {part: [i for i, s in enumerate(subjects) if s in chosen] for part, chosen in members.items()}


def _recording(folder: Path, name: str) -> Recording:
    inertial = _read(folder / "Inertial" / name, "d_iner", shape=(None, 6))
    skeleton = _read(folder / "Skeleton" / name.replace("_inertial", "_skeleton"), "d_skel", shape=(N_JOINTS, 3, None))
    return Recording(inertial, (skeleton - skeleton[HIP_CENTRE]).permute(2, 0, 1))


def _features(recording: Recording) -> dict[str, Tensor]:
    return {
        "accelerometer": statistics(recording.inertial[:, :3]),
        "gyroscope": statistics(recording.inertial[:, 3:]),
        "skeleton": statistics(recording.skeleton.flatten(1)),
    }


def _read(path: Path, key: str, *, shape: tuple[int | None, ...]) -> Tensor:
    from scipy.io import loadmat

    try:
        array: Any = loadmat(path)[key]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): delete the folder to have it downloaded again") from error
    fits = array.ndim == len(shape) and all(want in (None, n) for want, n in zip(shape, array.shape, strict=True))
    if not fits:
        raise DataError(f"{path} has shape {array.shape}, but {shape} is expected (None: any length)")
    return torch.from_numpy(array.astype("float64"))
