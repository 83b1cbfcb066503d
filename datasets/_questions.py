"""Questions about images: read and checked, split by image, put into numbers; each image decoded once."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from dmil.data import Card, Split, Splits, Task
from dmil.seeds import generator

from ._clips import Column, build
from ._download import DataError
from ._pictures import SIDE, file_of, read_square

PADDING, UNKNOWN = 0, 1
FIRST = 2  # number of the most frequent word
WORD = re.compile(r"\w+(?:'\w+)*")


@dataclass(frozen=True, slots=True)
class Question:
    """id: unique over all files. image: path of the image, below the folder of the dataset."""

    id: str
    image: str
    text: str
    answer: str


def read_entries(path: Path, key: str, wanted: Mapping[str, type], what: str) -> list[dict[str, Any]]:
    """The objects in the list ``key`` of a JSON file, each cut down to the keys of ``wanted`` (name -> type).

    The first of ``wanted`` tells them apart. All else is dropped while the file is read: some hold gigabytes of it.
    Raises DataError, which says what the file should be.
    """

    def cut(found: dict[str, Any]) -> dict[str, Any]:
        return {name: found[name] for name in (key, *wanted) if name in found}

    try:
        with path.open(encoding="utf-8") as file:
            content = json.load(file, object_hook=cut)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not {what}: it cannot be read as JSON ({error}); {_AGAIN}") from error
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path} is not {what}: it has no list {key!r}; {_AGAIN}")
    for number, entry in enumerate(entries):
        for name, kind in wanted.items():
            value = entry.get(name) if isinstance(entry, dict) else None
            if type(value) is not kind:
                raise DataError(
                    f"{path} is not {what}: {name!r} of entry {number} of {key!r} must be of type {kind.__name__}, but "
                    f"is {value!r}; {_AGAIN}"
                )
    first = next(iter(wanted))
    twice = [value for value, n in Counter(entry[first] for entry in entries).items() if n > 1]
    if twice:
        raise DataError(f"{path} is not {what}: {first} {twice[0]} is there more than once; {_AGAIN}")
    return entries


def incomplete(found: Mapping[str, int], official: Mapping[str, int]) -> str | None:
    """What must be said of results where files hold other numbers of questions than the published ones do."""
    wrong = [f"{n:,} of {official[part]:,} ({part})" for part, n in found.items() if n != official[part]]
    return f"Not the published dataset: questions {', '.join(wrong)}. Compare with nothing." if wrong else None


def by_image(questions: Sequence[Question], share: float, name: str) -> tuple[list[Question], list[Question]]:
    """The questions about most images, and those about a random ``share`` of the images (one or more), in order.

    Raises DataError where there is one image alone.
    """
    images = sorted({question.image for question in questions})
    if len(images) < 2:
        raise DataError(f"{name}: training questions are all about {images[0]}, but validation needs another image")
    order = torch.randperm(len(images), generator=generator("split", name)).tolist()
    chosen = {images[i] for i in order[: max(1, round(share * len(images)))]}
    kept = [question for question in questions if question.image not in chosen]
    return kept, [question for question in questions if question.image in chosen]


def words(text: str) -> list[str]:
    """``What's on the 2 red plates?`` -> what's, on, the, 2, red, plates."""
    return WORD.findall(text.lower())


def frequent(things: Iterable[str], least: int) -> list[str]:
    """Everything that occurs ``least`` times or more, the most frequent first, ties by alphabet."""
    counts = Counter(things)
    return sorted((thing for thing, n in counts.items() if n >= least), key=lambda thing: (-counts[thing], thing))


@dataclass(frozen=True)
class Vocabulary:
    """Words of training questions, the most frequent first. length: T, after which a question is cut."""

    known: tuple[str, ...]
    length: int

    @classmethod
    def of(cls, texts: Iterable[str], *, least: int, longest: int) -> Vocabulary:
        """Words that occur ``least`` times or more in texts cut to ``longest`` words; T is that of the longest."""
        split = [words(text)[:longest] for text in texts]
        length = max(1, *map(len, split))
        return cls(tuple(frequent((word for text in split for word in text), least)), length)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """int64 (N, T)."""
        number = {word: i for i, word in enumerate(self.known, start=FIRST)}
        rows = [[number.get(word, UNKNOWN) for word in words(text)[: self.length]] for text in texts]
        return torch.tensor([row + [PADDING] * (self.length - len(row)) for row in rows], dtype=torch.int64)


def images_of(folder: Path, questions: Iterable[Question]) -> list[str]:
    """Every image that a question is about, each once, sorted.

    Raises DataError where one is not below ``folder``: it names the first of them, and says how many there are.
    """
    asked = {question.image: question for question in questions}
    found: set[str] = set()
    for place in sorted({os.path.dirname(image) for image in asked}):
        try:
            found |= {f"{place}/{name}" for name in os.listdir(folder / place)}
        except OSError as error:
            raise DataError(f"{folder / place} cannot be read ({error.strerror}): {_AGAIN}") from error
    missing = sorted(set(asked) - found)
    if missing:
        more = f"; {len(missing) - 1:,} more are missing" if len(missing) > 1 else ""
        first = asked[missing[0]]
        raise DataError(f"{folder / first.image} is missing, but question {first.id} is about it{more}: {_AGAIN}")
    return sorted(asked)


def splits_of(
    raw: Path,
    folder: Path,
    parts: Mapping[str, Sequence[Question]],
    answers: Sequence[str],
    *,
    least: int,
    longest: int,
    card: Card,
) -> Splits:
    """The dataset of the questions of train, valid and test, whose answers are all among ``answers``, the classes.

    raw: what paths of images are relative to. folder: where decoded images go. least, longest: see ``Vocabulary.of``.
    Raises DataError where an image is missing or damaged.
    """
    vocabulary = Vocabulary.of((question.text for question in parts["train"]), least=least, longest=longest)
    images = {part: images_of(raw, questions) for part, questions in parts.items()}
    number = {answer: i for i, answer in enumerate(answers)}
    done = {}
    for part, questions in parts.items():
        place = {image: i for i, image in enumerate(images[part])}
        column = Column("image", (3, SIDE, SIDE))
        title, files = f"{card.name}, {part}", partial(file_of, raw)
        pixels = build(folder / part, images[part], [column], partial(read_square, raw), title=title, files=files)
        done[part] = Split(
            inputs={"image": pixels["image"], "question": vocabulary.encode([one.text for one in questions])},
            target=torch.tensor([number[one.answer] for one in questions]),
            ids=tuple(one.id for one in questions),
            groups=tuple(PurePosixPath(one.image).stem for one in questions),
            rows={"image": torch.tensor([place[one.image] for one in questions])},
        )
    task = Task("classification", len(answers), tuple(answers))
    return Splits(done["train"], done["valid"], done["test"], task, card)


_AGAIN = "unpack its archive again"
