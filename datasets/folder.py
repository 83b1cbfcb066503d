"""A user's own data without any code: a folder below the data root with tables, arrays and a ``card.yaml``.

``folder-pets`` is what ``<data root>/pets/card.yaml`` describes. README.md, `Your own data`, shows one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ._download import DataError
from ._files import file_sha256
from ._folder_card import CARD_FILE, NOT_STATED, UserCard, read_card

if TYPE_CHECKING:
    from torch import Tensor

    from dmil.data import Card, Splits, Task

    from ._folder_read import Samples

FAMILY = "folder"
NAMES: tuple[str, ...] = ()
GRAMMAR = f"{FAMILY}-NAME: your own data, described by NAME/{CARD_FILE} below the data folder (README.md)"
PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LIBRARIES = ("torch", "numpy", "pandas", "pyarrow", "pyyaml")


def canonical(name: str) -> str:
    """Raises ValueError, one line, for a name that means nothing."""
    return variant(name).name


def variant(name: str) -> Variant:
    """The dataset that ``name`` means. Raises ValueError, one line, for a name that means nothing."""
    place = name.removeprefix(f"{FAMILY}-")
    if place == name or not PLACE.fullmatch(place):
        raise ValueError(f"write {GRAMMAR}; NAME is letters, digits, '.', '_' and '-'")
    return Variant(name, place)


def found(root: Path) -> list[str]:
    """Datasets of this family that lie below ``root``."""
    cards = sorted(root.glob(f"*/{CARD_FILE}"))
    return [f"{FAMILY}-{card.parent.name}" for card in cards if PLACE.fullmatch(card.parent.name)]


@dataclass(frozen=True)
class Described:
    """The folder as something that a dataset is prepared from: the card and every file that it names."""

    path: str

    def is_present(self, root: Path) -> bool:
        return (root / self.path / CARD_FILE).is_file()

    def fetch(self, root: Path) -> Path:
        """Raises DataError where the card is missing or wrong, or a file that it names is missing."""
        folder = root / self.path
        for file in read_card(folder / CARD_FILE).files:
            if not (folder / file).is_file():
                raise DataError(f"{folder / file} is missing, but {folder / CARD_FILE} names it")
        return folder


@dataclass(frozen=True)
class Variant:
    """One folder, with what the module of a dataset has. root: the data root in which it lies, where that is known."""

    name: str
    place: str
    root: Path | None = None

    LIBRARIES = LIBRARIES
    __file__ = __file__

    def at(self, root: Path) -> Variant:
        return replace(self, root=root)

    @property
    def RAW(self) -> tuple[Described, ...]:  # noqa: N802, as in the module of a dataset
        return (Described(self.place),)

    @cached_property
    def CARD(self) -> Card:  # noqa: N802
        """As far as it can be told without reading the data; a card that cannot be read has its say in ``prepare``."""
        from dmil.data import Card

        try:
            title = None if self.root is None else read_card(self.root / self.place / CARD_FILE).title
        except DataError:
            title = None
        return Card(
            name=self.name,
            title=title or f"described by {self.place}/{CARD_FILE}",
            source=NOT_STATED,
            licence=NOT_STATED,
            citation=NOT_STATED,
            split_rule="",
            preprocessing="",
        )

    def contents(self) -> dict[str, str]:
        """SHA-256 of the card and of every file that it names, as far as they are there."""
        if self.root is None:
            return {}
        folder = self.root / self.place
        try:
            files = (CARD_FILE, *read_card(folder / CARD_FILE).files)
        except DataError:
            files = (CARD_FILE,)
        return {f"{self.place}/{file}": file_sha256(folder / file) for file in files if (folder / file).is_file()}

    def prepare(self, root: Path) -> Splits:
        """Raises DataError where the card or a file is missing or not as it must be."""
        from dmil.data import Split

        from ._assemble import assemble
        from ._folder_read import read_modality, read_samples
        from ._folder_split import split_rows

        (raw,) = self.RAW
        folder = raw.fetch(root)
        told = read_card(folder / CARD_FILE)
        samples = read_samples(folder, told)
        ids, (target, task) = _ids(told, samples), _target(told, samples)
        inputs = {modality.name: read_modality(folder, modality, samples) for modality in told.modalities}
        groups = tuple(samples.columns[told.group]) if told.group else ()
        column = samples.columns[told.split.column] if told.split.column else None
        rows, rule = split_rows(samples.path, told.split, column, target, groups)
        if task.kind == "classification":
            _refuse_unlearnable(samples.path, told, target[rows["train"]], task)
            scaling = ""
        else:
            target, scaling = _scaled(samples.path, told, target, rows["train"])
        card = self.at(root)._card(told, inputs, rule, scaling)
        done = Split(inputs, target, ids=ids, groups=groups)
        return assemble(done, rows, task=task, card=card)

    def _card(self, told: UserCard, inputs: dict[str, Tensor], rule: str, scaling: str) -> Card:
        shapes = {name: "x".join(str(n) for n in x.shape[1:]) for name, x in inputs.items()}
        return replace(
            self.CARD,
            title=told.title,
            source=told.source,
            licence=told.licence,
            citation=told.citation,
            warning=told.warning,
            traps=told.traps,
            split_rule=rule,
            preprocessing=_preprocessing(told, inputs) + scaling,
            checksums=self.contents(),
            modalities={m.name: f"{m.about or m.file} ({shapes[m.name]})" for m in told.modalities},
        )


def _ids(told: UserCard, samples: Samples) -> tuple[str, ...]:
    """The samples' own, else the numbers of their rows. Raises DataError for one that stands there twice."""
    ids = samples.columns[told.id] if told.id else [f"row {row}" for row in range(1, samples.n + 1)]
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise DataError(f"{samples.path}: column {told.id!r} has {name!r} twice: ids must differ")
        seen.add(name)
    return tuple(ids)


def _target(told: UserCard, samples: Samples) -> tuple[Tensor, Task]:
    """Class indices int64 (N,), or numbers float64 (N,). Raises DataError for a label that is not to be there."""
    import torch

    from dmil.data import Task

    from ._folder_read import numbers

    cells = samples.columns[told.target]
    if told.task == "regression":
        return numbers(samples.path, told.target, cells), Task("regression")
    names = told.classes or tuple(sorted(set(cells), key=_numerically))
    index = {name: i for i, name in enumerate(names)}
    for row, cell in enumerate(cells, start=1):
        if cell not in index:
            raise DataError(
                f"{samples.path}: column {told.target!r} has {cell!r} in row {row}, which the card's classes lack"
            )
    if len(names) < 2 or len(names) == samples.n:
        raise DataError(
            f"{samples.path}: column {told.target!r} holds {len(names)} classes in {samples.n} samples; "
            "if it is a number to be predicted, give the card `task: regression`"
        )
    return torch.tensor([index[cell] for cell in cells]), Task("classification", len(names), names)


def _numerically(text: str) -> tuple[float, str]:
    """Numbers by their value and before words."""
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text


def _scaled(path: Path, told: UserCard, target: Tensor, train: list[int]) -> tuple[Tensor, str]:
    """Standardised on the training rows, for a network starts near 0; float32. And what the card says of it."""
    mean, std = float(target[train].mean()), float(target[train].std(correction=0))
    if std == 0:
        raise DataError(f"{path}: column {told.target!r} has the same value in all training samples")
    text = f"; {told.target} less its mean {mean:.6g}, divided by its deviation {std:.6g}, both of the training rows: "
    return ((target - mean) / std).float(), text + "errors are in units of that deviation"


def _refuse_unlearnable(path: Path, told: UserCard, train: Tensor, task: Task) -> None:
    counts = train.bincount(minlength=task.n_classes).tolist()
    for name, n in zip(task.class_names, counts, strict=True):
        if n == 0:
            raise DataError(
                f"{path}: no training sample has {told.target} {name!r}; leave the class out or split otherwise"
            )


def _preprocessing(told: UserCard, inputs: dict[str, Tensor]) -> str:
    """How ``standardised`` treats what is there, and which sequences may have been shortened."""
    texts = []
    kinds = {x.dim() for x in inputs.values() if x.is_floating_point()}
    if 2 in kinds:
        texts.append("every column standardised on the training rows and clipped to +-5")
    for modality in told.modalities:
        if inputs[modality.name].dim() == 3:
            texts.append(f"{modality.name}: more than {modality.steps} steps are averaged to {modality.steps} segments")
    if 3 in kinds:
        texts.append("every feature of a sequence standardised over the training steps and clipped to +-5")
    if kinds & {4, 5}:
        texts.append("every channel of an image standardised over the training images and clipped to +-5")
    if any(not x.is_floating_point() for x in inputs.values()):
        texts.append("8-bit images divided by 255")
    return "; ".join(texts)
