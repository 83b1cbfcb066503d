"""Spoken and written digits whose interaction is known: real recordings, real images, made into pairs.

Each sample is a recording of a spoken digit and an image of a written one. ``r``: both show the label. ``u1``: the
recording shows it and the image a random digit; ``u2``: the other way round. ``s``: the label is the sum of both modulo
10, so that neither alone says anything of it. What a digit counts for is marked, as the slots of ``interactions`` mark
it: by a tone before the word, and by a bar above the image. A family of datasets, named by their mixture.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._files import RawFolder, fetch
from ._mixture_names import Option, is_mixture, read_shares, write_shares

if TYPE_CHECKING:
    from dmil.data import Card, Splits

FAMILY = "avdigits"
NAMES = tuple(f"{FAMILY}-{mixture}" for mixture in ("mixed", "r", "u", "s"))
GRAMMAR = (
    f"{FAMILY}-MIXTURE[-OPTION]: MIXTURE is r, u, s, mixed or percentages such as r50s50 or u40r30s30; OPTION is n4000 "
    "(training pairs)"
)
N_TRAIN, N_VALID, N_TEST = 8000, 1000, 3000
SIZE = Option("n_train", "n{}", 500, 20_000)
EXAMPLES = ("mixed", "r", "u", "s", "u50r50", "n4000")

SPEAKERS = {"train": ("george", "jackson", "lucas"), "valid": ("nicolas",), "test": ("theo", "yweweler")}
FOLDER = RawFolder(
    path="fsdd/recordings",
    url="https://codeload.github.com/Jakobovski/free-spoken-digit-dataset/tar.gz/"
    "26eb9aaf76e81b692f806f9140c2d2777410d7a1",
    digest="20fa8645e6a509544e3159c5c37586fbe63f053302ccb9877a0f8c56e39c5bca",
    n_files=3000,
    strip="recordings",
    members=("recordings",),
)


def canonical(name: str) -> str:
    """The one name of the dataset that ``name`` means: ``avdigits-n8000`` -> ``avdigits-mixed``.

    Raises ValueError, one line, for a name that means nothing.
    """
    return variant(name).name


def variant(name: str) -> Variant:
    """The dataset that ``name`` means. Raises ValueError, one line, for a name that means nothing."""
    found = Variant()
    given: dict[str, str] = {}
    for part in name.split("-")[1:]:
        field, value = _read(part)
        if field in given:
            raise ValueError(f"{given[field]!r} and {part!r} say the same thing twice; keep one of them")
        given[field] = part
        found = replace(found, **{field: value})
    return found


def _read(part: str) -> tuple[str, Any]:
    """Which field of a variant a part sets, and to what."""
    if is_mixture(part):
        return "shares", read_shares(part)
    size = SIZE.read(part)
    if size is None:
        close = difflib.get_close_matches(part, EXAMPLES, n=1)
        hint = f", did you mean {close[0]!r}?" if close else "."
        raise ValueError(f"cannot read {part!r}{hint} Write {GRAMMAR}")
    return SIZE.field, size


@dataclass(frozen=True)
class Variant:
    """One mixture, with what the module of a dataset has. shares: percent of u, r and s, None for a third each."""

    shares: tuple[int, ...] | None = None
    n_train: int = N_TRAIN

    RAW = (FOLDER,)
    LIBRARIES = ("torch", "scikit-learn", "transformers")
    __file__ = __file__

    @property
    def name(self) -> str:
        size = [] if self.n_train == N_TRAIN else [SIZE.form.format(self.n_train)]
        return "-".join((FAMILY, write_shares(self.shares), *size))

    @property
    def weights(self) -> tuple[float, ...]:
        """Probability of r, u1, u2 and s."""
        u, r, s = (1 / 3,) * 3 if self.shares is None else (share / 100 for share in self.shares)
        return r, u / 2, u / 2, s

    @property
    def sizes(self) -> dict[str, int]:
        """Pairs of each split."""
        return {"train": self.n_train, "valid": N_VALID, "test": N_TEST}

    @cached_property
    def CARD(self) -> Card:  # noqa: N802, as in the module of a dataset
        from ._avdigits_card import card

        return card(self.name, self.weights, FOLDER, SPEAKERS, self.sizes)

    def prepare(self, root: Path) -> Splits:
        """Raises DataError where recordings are missing or not as pinned."""
        from dmil.data import Task

        from ._assemble import assemble
        from ._avdigits_draw import pairs

        fetch(self.RAW, root)
        samples, rows = pairs(root / FOLDER.path, SPEAKERS, self.sizes, self.weights)
        task = Task("classification", 10, tuple(str(digit) for digit in range(10)))
        return assemble(samples, rows, task=task, card=self.CARD)
