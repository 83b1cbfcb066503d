"""CMU-MOSI and CMU-MOSEI as sequences: which variants there are, by name, and how one is prepared.

``<corpus>[-aligned or -unaligned][-vt][-nonzero or -regression]``. All variants of one file share its
prepared arrays.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._affect_rows import MODALITIES, Reader, Widths, moments, open_parts
from ._by_hand import ByHand

if TYPE_CHECKING:
    from torch import Tensor

    from dmil.data import Card, Split, Splits, Task

    from ._affect_rows import Part

ALIGNMENTS = ("aligned", "unaligned")
PAIRS = {"vt": ("text", "vision")}
TASKS = ("nonzero", "regression")
OPTIONS: dict[str, tuple[str, Any]] = {
    **{word: ("alignment", word) for word in ALIGNMENTS},
    **{word: ("modalities", names) for word, names in PAIRS.items()},
    **{word: ("labels", word) for word in TASKS},
}
GRAMMAR = (
    "OPTION is aligned or unaligned (which file), vt (vision and text alone), nonzero (neutral utterances left out) "
    "or regression (the score itself)"
)


@dataclass(frozen=True)
class Corpus:
    """What differs between the two. short: the name that aligned files go without. checksums: SHA-256, as MMSA states.

    file: the module, whose code is part of what prepared data are known by.
    """

    name: str
    title: str
    short: str
    folder: str
    file: str
    citation: str
    widths: Widths
    sensors: dict[str, str]
    checksums: dict[str, str]
    traps: tuple[str, ...]


def canonical(corpus: Corpus, name: str) -> str:
    """The one name of the variant that ``name`` means. Raises ValueError, one line, for a name that means nothing."""
    return variant(corpus, name).name


def variant(corpus: Corpus, name: str) -> Variant:
    """The variant that ``name`` means. Raises ValueError, one line, for a name that means nothing."""
    found = Variant(corpus)
    given: dict[str, str] = {}
    for part in name.split("-")[1:]:
        if part not in OPTIONS:
            close = difflib.get_close_matches(part, OPTIONS, n=1)
            hint = f", did you mean {close[0]!r}?" if close else "."
            raise ValueError(f"cannot read {part!r}{hint} Write {corpus.name}[-OPTION...]: {GRAMMAR}")
        option, value = OPTIONS[part]
        if option in given:
            raise ValueError(f"{given[option]!r} and {part!r} say different things; keep one of them")
        given[option] = part
        found = replace(found, **{option: value})
    return found


@dataclass(frozen=True)
class Variant:
    """One variant, with what the module of a dataset has.

    labels: ``nonneg`` (score < 0 against >= 0), ``nonzero`` (< 0 against > 0, the others left out) or ``regression``.
    """

    corpus: Corpus = field(repr=False)
    alignment: str = "aligned"
    modalities: tuple[str, ...] = MODALITIES
    labels: str = "nonneg"

    STREAMED = True
    LIBRARIES = ("torch", "numpy")

    @property
    def __file__(self) -> str:
        return self.corpus.file

    @property
    def name(self) -> str:
        first = self.corpus.short if self.alignment == "aligned" else f"{self.corpus.name}-{self.alignment}"
        pair = [word for word, names in PAIRS.items() if names == self.modalities]
        return "-".join((first, *pair, *(word for word in TASKS if word == self.labels)))

    @property
    def path(self) -> str:
        return f"{self.corpus.folder}/{self.alignment}_50.pkl"

    @cached_property
    def RAW(self) -> tuple[ByHand]:  # noqa: N802, as in the module of a dataset
        advice = (
            f"get {self.path} from MMSA (https://github.com/thuiar/MMSA, Datasets in its README) and put it there; it "
            "is converted without being run"
        )
        return (ByHand(self.path, advice),)

    @cached_property
    def CARD(self) -> Card:  # noqa: N802
        from ._affect_card import card

        return card(self)

    @property
    def task(self) -> Task:
        from dmil.data import SENTIMENT, Task

        if self.labels == "regression":
            return Task("regression", metrics=SENTIMENT)
        return Task("classification", 2, ("negative", "positive" if self.labels == "nonzero" else "non-negative"))

    def describe(self, root: Path) -> dict[str, str]:
        """Utterance -> what is said in it; empty where the file is not below ``root``. Raises DataError."""
        (raw,) = self.RAW
        if not raw.is_present(root):
            return {}
        parts = open_parts(raw.fetch(root), self.corpus.widths).values()
        return {name: text for part in parts for name, text in zip(part.ids, part.texts, strict=True) if text}

    def prepare(self, root: Path, folder: Path) -> Splits:
        """The arrays lie in the folder of the corpus's first variant, by the file's checksum. Raises DataError."""
        from dmil.data import Splits

        from ._affect_card import with_checksum
        from ._clips import Column, build
        from ._files import file_sha256

        path = self.RAW[0].fetch(root)
        parts = open_parts(path, self.corpus.widths)
        self._check_alignment(path, parts["train"])
        scales, checksum = moments(parts["train"]), file_sha256(path)
        shared = folder.parent.parent / Variant(self.corpus, self.alignment).name / folder.name / checksum[:12]
        splits = {}
        for name, part in parts.items():
            columns = [Column(m, (x.shape[1], x.shape[2] + 1), "float32") for m, x in part.features.items()]
            reader = Reader(path, name, self.corpus.widths, scales)
            title = f"{self.corpus.name}, {self.alignment}, {name}"
            arrays = build(shared / name, part.ids, columns, reader, title=title)
            _link(folder / name, shared / name)
            splits[name] = self._split(part, arrays)
        card = with_checksum(self.CARD, self.path, checksum)
        return Splits(splits["train"], splits["valid"], splits["test"], self.task, card)

    def _check_alignment(self, path: Path, part: Part) -> None:
        from ._download import DataError

        lengths = {modality: x.shape[1] for modality, x in part.features.items()}
        if self.alignment == "aligned" and len(set(lengths.values())) > 1:
            raise DataError(f"{path} is not aligned: it has {lengths} steps; is it the unaligned file?")

    def _split(self, part: Part, arrays: dict[str, Tensor]) -> Split:
        import torch

        from dmil.data import Split

        scores = torch.tensor(part.scores, dtype=torch.float64)
        kept = scores.nonzero().flatten() if self.labels == "nonzero" else torch.arange(len(scores))
        target = scores.float() if self.labels == "regression" else (scores >= 0).long()
        inputs = {modality: arrays[modality] for modality in self.modalities}
        whole = Split(inputs, target, ids=part.ids, groups=part.videos)
        if len(kept) == len(scores):
            return whole
        return replace(whole, rows={modality: torch.arange(len(scores)) for modality in inputs}).take(kept)


def _link(link: Path, target: Path) -> None:
    """Makes ``target`` reachable as ``link`` too. Raises DataError where that cannot be written."""
    from ._download import staged

    with staged(link) as part:
        part.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
