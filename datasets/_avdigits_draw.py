"""Pairs of a recording and an image, drawn so that the interaction of each is known."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from dmil.data import Split
from dmil.seeds import generator

from ._assemble import stratified
from ._download import DataError
from ._logmel import FRAME, HOP, RATE, centred, log_mel, pooled, read_wave

FAMILY = "avdigits"
COMPOSITIONS = ("r", "u1", "u2", "s")
ROLES = ("r", "u", "s", "idle")
HEARD = (0, 1, 3, 2)  # role of the spoken digit by composition
SEEN = (0, 3, 1, 2)  # role of the written one
N_DIGITS = 10

POOL, N_WORD_FRAMES = 5, 80
TONES = {"r": 500.0, "u": 1000.0, "s": 2000.0}  # Hz; idle is silent
LOUDNESS = 0.25  # root mean square of every tone and word
BARS = {"r": slice(0, 2), "u": slice(3, 5), "s": slice(6, 8)}  # pixels lit above the image; idle has none
WHITE = 16.0

N_RECORDINGS = 3000
NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[a-z]+)_\d+")
IMAGE_SHARES = {"train": 0.5, "valid": 0.2}  # the rest is test


def pairs(
    folder: Path, speakers: Mapping[str, Sequence[str]], sizes: Mapping[str, int], weights: Sequence[float]
) -> tuple[Split, dict[str, list[int]]]:
    """All samples, unscaled, and the rows of each split. No speaker and no image is in two splits.

    speakers, sizes: by split. weights: probability of each composition. Raises DataError where a recording is faulty.
    """
    names = sorted(path.stem for path in folder.glob("*.wav"))
    heard = [NAME.fullmatch(name) for name in names]
    if len(names) != N_RECORDINGS or not all(heard):
        raise DataError(f"{folder} must hold {N_RECORDINGS} recordings named <digit>_<speaker>_<number>.wav: {_ADVICE}")
    spoken = torch.tensor([int(match["digit"]) for match in heard if match])
    voices = [match["speaker"] for match in heard if match]
    words, (images, written) = spectrograms(folder, tuple(names)), _images()
    parts = stratified(written, IMAGE_SHARES, rest="test", rng=generator("split", FAMILY, "images"))
    drawn: list[Split] = []
    for part, n in sizes.items():
        recordings = torch.tensor([i for i, voice in enumerate(voices) if voice in speakers[part]])
        rng = generator(FAMILY, "pairs", part)
        label, composition, digits = compose(n, weights, rng)
        rows = match_pairs(digits, (recordings, torch.tensor(parts[part])), (spoken, written), rng)
        roles = torch.tensor([HEARD, SEEN])[:, composition]
        drawn.append(
            Split(
                inputs={
                    "audio": torch.cat([tones()[roles[0]], words[rows[:, 0]]], dim=1).flatten(1),
                    "image": torch.cat([bars()[roles[1]], images[rows[:, 1]]], dim=1),
                },
                target=label,
                ids=tuple(f"{names[i]}+digit-{j:04d}" for i, j in rows.tolist()),
                groups=tuple(voices[i] for i in rows[:, 0].tolist()),
                truth=composition,
            )
        )
    ends = torch.tensor([0, *sizes.values()]).cumsum(0).tolist()
    return _joined(drawn), {part: list(range(a, b)) for part, a, b in zip(sizes, ends, ends[1:], strict=False)}


def compose(n: int, weights: Sequence[float], rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Labels (n,), compositions (n,) and the digits (n, 2) that are heard and seen."""
    label = torch.randint(N_DIGITS, (n,), generator=rng)
    composition = torch.multinomial(torch.tensor(weights), n, replacement=True, generator=rng)
    other = torch.randint(N_DIGITS, (n,), generator=rng)
    rest = (label - other) % N_DIGITS
    choices = torch.stack(
        [torch.stack(both) for both in ((label, label), (label, other), (other, label), (other, rest))]
    )
    return label, composition, choices[composition, :, torch.arange(n)]


def match_pairs(digits: Tensor, members: Sequence[Tensor], shown: Sequence[Tensor], rng: torch.Generator) -> Tensor:
    """Rows (n, 2) of a recording and an image for each pair of digits (n, 2); no pair of rows comes twice.

    members: the rows to choose from; shown: the digit of every row. Both for recordings and images.
    """
    rows = torch.full_like(digits, -1)
    again = torch.arange(len(digits))
    while len(again):
        for side in range(2):
            for digit in range(N_DIGITS):
                wanted = again[digits[again, side] == digit]
                choice = members[side][shown[side][members[side]] == digit]
                rows[wanted, side] = choice[torch.randint(len(choice), (len(wanted),), generator=rng)]
        again = _repeated(rows)
    return rows


def _repeated(rows: Tensor) -> Tensor:
    """Which rows are equal to an earlier one."""
    _, inverse = rows.unique(dim=0, return_inverse=True)
    order = inverse.argsort(stable=True)
    same = inverse[order][1:] == inverse[order][:-1]
    return order[1:][same]


@lru_cache(maxsize=1)
def spectrograms(folder: Path, names: tuple[str, ...]) -> Tensor:
    """Words (N, frames, bands): the middle of each recording, as loud as all others, as pooled log-mel.

    Kept in memory, because all mixtures are made of the same words.
    """
    n_samples = FRAME + (N_WORD_FRAMES - 1) * HOP
    sounds = [read_wave(folder / f"{name}.wav") for name in names]
    waves = torch.stack([centred(_even(sound), n_samples) for sound in sounds])
    return pooled(log_mel(waves.float()), POOL)


def tones() -> Tensor:
    """(roles, 1, bands): what is heard before the word."""
    time = torch.arange(FRAME + (POOL - 1) * HOP, dtype=torch.float64) / RATE
    waves = [_even(torch.sin(2 * math.pi * TONES.get(role, 0.0) * time)) for role in ROLES]
    return pooled(log_mel(torch.stack(waves).float()), POOL)


def _even(sound: Tensor) -> Tensor:
    """The same sound at ``LOUDNESS``; silence stays silent."""
    return sound * (LOUDNESS / sound.square().mean().sqrt().clamp_min(1e-6))


def bars() -> Tensor:
    """(roles, 8): the row of pixels above the image."""
    row = torch.zeros(len(ROLES), 8, dtype=torch.float64)
    for role, lit in BARS.items():
        row[ROLES.index(role), lit] = WHITE
    return row


def _images() -> tuple[Tensor, Tensor]:
    """(1797, 64) pixels from 0 to 16 and the digits they show."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    return torch.from_numpy(images), torch.from_numpy(digits).long()


def _joined(parts: Sequence[Split]) -> Split:
    return Split(
        inputs={name: torch.cat([part.inputs[name] for part in parts]) for name in parts[0].inputs},
        target=torch.cat([part.target for part in parts]),
        ids=tuple(i for part in parts for i in part.ids),
        groups=tuple(group for part in parts for group in part.groups),
        truth=torch.cat([part.truth for part in parts if part.truth is not None]),
    )


_ADVICE = "delete the folder to have it downloaded again"
