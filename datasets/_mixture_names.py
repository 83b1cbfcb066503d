"""Mixtures by name: ``interactions-u50r50-3m-c4`` and back, in one canonical form; torch is not needed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ._mixture import MAX_TRAIN, Mixture, Modality

FAMILY = "interactions"
NAMES = tuple(f"{FAMILY}-{mixture}" for mixture in ("mixed", "r", "u", "s", "u50r50", "r50s50", "u25r75"))
GRAMMAR = (
    f"{FAMILY}-MIXTURE[-OPTION...]: MIXTURE is r, u, s, mixed or percentages such as r50s50 or u40r30s30; OPTION is 3m "
    "(three modalities), c4 (classes), n50000 (training samples), unequal (x1 easy but less reliable, x2 hard but more "
    "reliable), silent (no distractors), distract30, flip10 or noise20 (percent)"
)
# `unequal`: x1 easy to learn but less reliable, x2 hard to learn but more reliable; a third modality is ordinary.
UNEQUAL = (Modality(flip=0.2), Modality(flip=0.02, veiled=True), Modality())

PURE = "urs"  # order of the parts in a name
NUMBER = "(0|[1-9][0-9]*)"
SHARES = re.compile(f"(?:[{PURE}]{NUMBER})+")


@dataclass(frozen=True)
class Recipe:
    """What a name says. shares: percent of u, r and s, None for a third each; distract, flip and noise in percent."""

    shares: tuple[int, ...] | None = None
    n_modalities: int = 2
    n_classes: int = 2
    n_train: int = 4000
    unequal: int = 0
    distract: int = 10
    flip: int = 5
    noise: int = 10


@dataclass(frozen=True)
class Option:
    """A part of a name that sets a field of ``Recipe``; a form without a place for a number sets 1."""

    field: str
    form: str
    low: int = 1
    high: int = 1

    def read(self, part: str) -> int | None:
        """The value that ``part`` gives, None if it is another option. Raises ValueError out of range."""
        found = re.fullmatch(self.form.format(NUMBER), part)
        if found is None:
            return None
        value = int(found[1]) if found.groups() else 1
        if not self.low <= value <= self.high:
            raise ValueError(f"{part!r} is out of range: {self.form.format(f'{self.low} to {self.high}')} is possible")
        return value


OPTIONS = (
    Option("n_modalities", "{}m", 2, 3),
    Option("n_classes", "c{}", 2, 15),
    Option("n_train", "n{}", 100, MAX_TRAIN),
    Option("unequal", "unequal"),
    Option("distract", "distract{}", 0, 100),
    Option("flip", "flip{}", 0, 50),
    Option("noise", "noise{}", 0, 20),
)
SYNONYMS = {"silent": "distract0"}
EXAMPLES = ("mixed", "r", "u", "s", "u50r50", "3m", "c4", "n50000", "unequal", "silent", "distract30", "flip10")


def canonical(name: str) -> str:
    """The one name of the dataset that ``name`` means: ``interactions-c4-r100-n4000`` -> ``interactions-r-c4``.

    Raises ValueError, one line, for a name that means nothing.
    """
    return "-".join((FAMILY, *_written(parse(name))))


def parse(name: str) -> Recipe:
    """Raises ValueError, one line, where ``name`` is malformed or its mixture cannot be computed."""
    recipe = Recipe()
    given: dict[str, str] = {}
    for part in name.split("-")[1:]:
        field, value = _read(part)
        if field in given:
            raise ValueError(f"{given[field]!r} and {part!r} say the same thing twice; keep one of them")
        given[field] = part
        recipe = replace(recipe, **{field: value})
    if recipe.unequal and "flip" in given:
        raise ValueError(f"'unequal' sets how often each modality flips; leave out {given['flip']!r}")
    build(recipe)  # what a mixture refuses, a name refuses
    return recipe


def build(recipe: Recipe) -> Mixture:
    """The settings behind a recipe; ``u`` is shared equally among the modalities."""
    n = recipe.n_modalities
    u, r, s = (1 / 3,) * 3 if recipe.shares is None else (share / 100 for share in recipe.shares)
    equal = (Modality(flip=recipe.flip / 100),) * n
    return Mixture(
        n_classes=recipe.n_classes,
        weights=(r, *(u / n,) * n, s),
        modalities=UNEQUAL[:n] if recipe.unequal else equal,
        distract=recipe.distract / 100,
        noise=recipe.noise / 100,
        n_train=recipe.n_train,
    )


def _read(part: str) -> tuple[str, Any]:
    """Which field of a recipe a part sets, and to what."""
    if is_mixture(part):
        return "shares", read_shares(part)
    for option in OPTIONS:
        value = option.read(SYNONYMS.get(part, part))
        if value is not None:
            return option.field, value
    close = difflib.get_close_matches(part, EXAMPLES, n=1)
    hint = f", did you mean {close[0]!r}?" if close else "."
    raise ValueError(f"cannot read {part!r}{hint} Write {GRAMMAR}")


def is_mixture(part: str) -> bool:
    """Whether ``part`` has the form of a mixture, such as ``r``, ``mixed`` or ``u50r50``."""
    return part in (*PURE, "mixed") or SHARES.fullmatch(part) is not None


def read_shares(part: str) -> tuple[int, ...] | None:
    """Percent of u, r and s in a mixture; None for ``mixed``. Raises ValueError, one line, unless they sum to 100."""
    if part == "mixed":
        return None
    found = [(kind, 100) for kind in part] if part in PURE else _pairs(part)
    shares = dict(found)
    if len(shares) < len(found):
        raise ValueError(f"mixture {part!r} names a kind twice; write each of r, u and s once at most")
    if sum(shares.values()) != 100:
        raise ValueError(f"the percentages of mixture {part!r} sum to {sum(shares.values())}, but must sum to 100")
    return tuple(shares.get(kind, 0) for kind in PURE)


def _pairs(part: str) -> list[tuple[str, int]]:
    return [(kind, int(percent)) for kind, percent in re.findall("([a-z])([0-9]+)", part)]


def write_shares(shares: tuple[int, ...] | None) -> str:
    """The one way to write a mixture."""
    if shares is None:
        return "mixed"
    shown = [(kind, share) for kind, share in zip(PURE, shares, strict=True) if share]
    return shown[0][0] if len(shown) == 1 else "".join(f"{kind}{share}" for kind, share in shown)


def _written(recipe: Recipe) -> Iterator[str]:
    """The parts of the canonical name: the mixture, then every option that is not at its default."""
    yield write_shares(recipe.shares)
    short = {long: short for short, long in SYNONYMS.items()}
    for option in OPTIONS:
        value = getattr(recipe, option.field)
        if value != getattr(Recipe, option.field):
            part = option.form.format(value)
            yield short.get(part, part)
