"""MEx: seven physiotherapy exercises, felt by an accelerometer on the thigh and seen by a depth camera from above."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from dmil.data import Card, Split, Splits, Task

from ._assemble import assemble
from ._download import DataError
from ._files import RawFolder, fetch
from ._series import spectrum, windows

FOLDER = RawFolder(
    path="mex",
    url="https://codeload.github.com/mitunkantipaul/Multimodal-Data-Fusion-Final-Project-2023/tar.gz/"
    "43fe1c7fd6a3b774fef7d30e744994ea8563e262",
    digest="d58ca1556487c64e5e0c1983e1c7e466585605748426b2d6a150b8b20782cb6c",
    n_files=160,
    strip="MEx",
    members=("MEx/act", "MEx/dc_0.05_0.05"),
)
RAW = (FOLDER,)
LIBRARIES = ("torch", "numpy")

ACCELEROMETER, DEPTH = "act", "dc_0.05_0.05"
N_RECORDINGS = 80
WINDOW, HOP = 5000, 2500  # ms
BANDS = (1, 2, 3, 5, 8, 13, 25, 50, 125)  # of the spectrum, in cycles per window: 0.2 to 25 Hz
PERIOD = {ACCELEROMETER: 10, DEPTH: 1000}  # ms between rows
WIDTH = {ACCELEROMETER: 3, DEPTH: 192}
TRAIN_SUBJECTS, TEST_SUBJECTS = ("01", "02", "03", "04", "05", "06", "07"), ("08", "09", "10")
N_VALID = 2
NAME = re.compile(r"act_(?P<subject>\d\d)_exercise_(?P<exercise>\d\d)_(?P<take>\d)\.csv")
EXERCISES = (
    "knee-rolling", "bridging", "pelvic tilt", "bilateral clam", "repeated extension in lying", "prone punches",
    "superman",
)  # fmt: skip

CARD = Card(
    name="mex",
    title="MEx, 7 physiotherapy exercises in windows of 5 s (thigh accelerometer, overhead depth camera)",
    source=FOLDER.url + " (10 of the 30 subjects of UCI dataset 500)",
    licence="CC BY 4.0",
    citation="Wijekoon, Wiratunga, Cooper: MEx: Multi-modal Exercises Dataset for Human Activity Recognition, "
    "arXiv 1908.08992, 2019.",
    split_rule="by subject: 8, 9, 10 test; of 1 to 7 two are validation, of all pairs the one whose shares of the "
    "exercises come closest to those of the seven (sum of absolute differences), the others train",
    preprocessing="windows of 5 s every 2.5 s, as long as both sensors last: 500 readings and 5 depth images of 12x16; "
    "per axis of the accelerometer mean, standard deviation, minimum, maximum and the logarithm of power in 8 bands "
    "from 0.2 to 25 Hz, per depth value median and standard deviation; every column standardised on the training rows "
    "and clipped to +-5",
    traps=(
        "Windows of one recording are near-copies: with some in training and others in test even logistic regression "
        "scores 1.00. Neither a recording nor a subject is in two splits here.",
        "Ten subjects only, three of them test: intervals must be taken over subjects, not windows, and are wide. "
        "Validation has two subjects: it tells good settings from bad ones, not from slightly better ones.",
        "Exercise 4 was recorded twice, once per side, with short recordings: it has no more windows than others.",
        "The depth images show the room as well; a model can learn the place of a subject's mat.",
    ),
    checksums={FOLDER.path: FOLDER.digest},
    modalities={
        "accelerometer": "3 axes x 4 statistics and 8 bands (36)",
        "depth": "12x16 depth values x 2 statistics (384)",
    },
)


@dataclass(frozen=True)
class Window:
    """What one window shows: features by modality."""

    subject: str
    exercise: int
    id: str
    features: dict[str, Tensor]


def prepare(root: Path) -> Splits:
    """Raises DataError where raw files are missing or not as pinned."""
    fetch(RAW, root)
    folder = root / FOLDER.path
    paths = sorted((folder / ACCELEROMETER).glob("*/*.csv"))
    if len(paths) != N_RECORDINGS:
        raise DataError(f"{folder / ACCELEROMETER} holds {len(paths)} recordings, but {N_RECORDINGS} are expected")
    found = [window for path in paths for window in _windows(folder, path)]
    target = torch.tensor([window.exercise for window in found])
    subjects = [window.subject for window in found]
    samples = Split(
        inputs={m: torch.stack([window.features[m] for window in found]) for m in CARD.modalities},
        target=target,
        ids=tuple(window.id for window in found),
        groups=tuple(f"subject {subject}" for subject in subjects),
    )
    task = Task("classification", len(EXERCISES), EXERCISES)
    return assemble(samples, split_rows(subjects, target), task=task, card=CARD)


def split_rows(subjects: Sequence[str], target: Tensor) -> dict[str, list[int]]:
    """Rows of each split; of all pairs of training subjects the best balanced one is validation."""

    def rows(chosen: Sequence[str]) -> list[int]:
        return [i for i, subject in enumerate(subjects) if subject in chosen]

    def shares(chosen: Sequence[str]) -> Tensor:
        counts = target[rows(chosen)].bincount(minlength=len(EXERCISES))
        return counts / counts.sum()

    def imbalance(chosen: Sequence[str]) -> float:
        return float((shares(chosen) - shares(TRAIN_SUBJECTS)).abs().sum())

    valid = min(combinations(TRAIN_SUBJECTS, N_VALID), key=imbalance)
    train = [subject for subject in TRAIN_SUBJECTS if subject not in valid]
    return {"train": rows(train), "valid": rows(valid), "test": rows(TEST_SUBJECTS)}


def _windows(folder: Path, path: Path) -> list[Window]:
    """The windows of one recording; ``path`` is the accelerometer's file."""
    name = NAME.fullmatch(path.name)
    if name is None:
        raise DataError(f"{path} has an unknown name: {_ADVICE}")
    both = {ACCELEROMETER: path, DEPTH: folder / DEPTH / name["subject"] / path.name.replace(ACCELEROMETER, DEPTH, 1)}
    series = {sensor: read_series(file, sensor) for sensor, file in both.items()}
    times = {sensor: torch.arange(len(x)) * PERIOD[sensor] for sensor, x in series.items()}
    starts = list(range(0, min(int(t[-1]) for t in times.values()) - WINDOW + 1, HOP))
    cut = {sensor: windows(times[sensor], series[sensor], starts, WINDOW) for sensor in series}
    recording = path.stem.removeprefix("act_")
    return [
        Window(
            subject=name["subject"],
            exercise=int(name["exercise"]) - 1,
            id=f"{recording}_{start}",
            features={"accelerometer": movement(felt), "depth": scene(seen)},
        )
        for start, felt, seen in zip(starts, cut[ACCELEROMETER], cut[DEPTH], strict=True)
    ]


def movement(felt: Tensor) -> Tensor:
    """(500, 3) -> (36,): mean, deviation, minimum, maximum, and the spectrum, of each axis."""
    numbers = [felt.mean(0), felt.std(0, correction=0), felt.amin(0), felt.amax(0)]
    return torch.cat([*numbers, spectrum(felt, BANDS)])


def scene(seen: Tensor) -> Tensor:
    """(5, 192) -> (384,): median and deviation of each depth value."""
    return torch.cat([seen.median(0).values, seen.std(0, correction=0)])


def read_series(path: Path, sensor: str) -> Tensor:
    """(T, channels) float64, one row every ``PERIOD[sensor]`` from 0 on. Raises DataError where the file differs."""
    import numpy as np

    try:
        table = torch.from_numpy(np.loadtxt(path, delimiter=",", ndmin=2))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): {_ADVICE}") from error
    if table.shape[1] != 1 + WIDTH[sensor] or not table.isfinite().all():
        raise DataError(f"{path} must hold a time and {WIDTH[sensor]} finite numbers per row: {_ADVICE}")
    if not torch.equal(table[:, 0], torch.arange(len(table), dtype=table.dtype) * PERIOD[sensor]):
        raise DataError(f"{path} must have a row every {PERIOD[sensor]} ms from 0 on: {_ADVICE}")
    return table[:, 1:]


_ADVICE = "delete the folder to have it downloaded again"
