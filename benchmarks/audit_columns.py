"""On which rows was a dataset prepared? What its columns, and the words of its tokens, show of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.checks import ALARM, PASS, UNKNOWN, Check
from benchmarks.pooled import columns
from dmil.data import Split
from dmil.encoders import TOKENS, kind_of

Floats = NDArray[np.float64]
Parts = Mapping[str, Split]
# Rows of which splits -> the largest deviation of a column from mean 0 or deviation 1; None where no column can tell.
Scaling = dict[str, float | None]

N_ROWS = 200_000  # of which the columns are counted, roughly
NEAR = 0.005  # a column is nearly constant where all but this share of its rows at either end have one value
STANDARD = 1e-3  # how far from mean 0 and deviation 1 rounding, in float32, may leave a column
SCALED_ON = {"train": ("train",), "train and valid": ("train", "valid"), "all splits": ("train", "valid", "test")}


@dataclass(frozen=True)
class Moments:
    """Of each column over n rows: sum, sum of squares, smallest and largest value."""

    n: int
    total: Floats
    square: Floats
    low: Floats
    high: Floats

    def __add__(self, other: Moments) -> Moments:
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Moments(self.n + other.n, self.total + other.total, self.square + other.square, low, high)

    @property
    def largest(self) -> Floats:
        return np.maximum(np.abs(self.low), np.abs(self.high))


def moments(split: Split, modality: str) -> Moments | None:
    """None for a modality without columns."""
    blocks = (x for x in columns(split, modality) if len(x))
    found = [Moments(len(x), x.sum(0), np.square(x).sum(0), x.min(0), x.max(0)) for x in blocks]
    return sum(found[1:], found[0]) if found else None


def scaling(parts: Parts, modality: str) -> Scaling | None:
    """How far columns are from standard; None for a modality without columns.

    Columns that are constant in training are left out, and so are those that reach, in these rows, the largest value
    of all: they may be clipped.
    """
    known = {name: found for name, split in parts.items() if (found := moments(split, modality))}
    if len(known) < len(parts):
        return None
    clip = max(float(one.largest.max()) for one in known.values())
    varies = known["train"].high > known["train"].low
    result: Scaling = {}
    for on, names in SCALED_ON.items():
        rows = [known[name] for name in names]
        over = sum(rows[1:], rows[0])
        kept = varies & (over.largest < clip)
        mean = over.total[kept] / over.n
        std = np.sqrt(np.maximum(over.square[kept] / over.n - np.square(mean), 0))
        result[on] = float(max(np.abs(mean).max(), np.abs(std - 1).max())) if kept.any() else None
    return result


def counted(split: Split, modality: str) -> dict[str, int] | None:
    """How many columns a modality has, how many are constant and how many nearly so; None where it has none."""
    rows = sum(len(x) for x in columns(split, modality))
    found = list(columns(split, modality, step=-(-rows // N_ROWS) or 1))
    return counts(np.concatenate(found)) if rows else None


def counts(x: Floats) -> dict[str, int]:
    low, high = np.quantile(x, [NEAR, 1 - NEAR], axis=0, method="nearest")
    n_constant = int((np.ptp(x, axis=0) == 0).sum())
    return {"n": x.shape[1], "n_constant": n_constant, "n_nearly": int((low == high).sum()) - n_constant}


def unseen(parts: Parts, modality: str) -> int:
    """How many different tokens validation and test hold that training does not."""
    held = {name: set(torch.unique(split.expanded(modality)).tolist()) for name, split in parts.items()}
    return len((held["valid"] | held["test"]) - held["train"] - {0, 1})


def check(parts: Parts, measured: Mapping[str, Scaling], preprocessing: str) -> Check:
    """On which rows columns were standardised, and which words are known, can be read off them. Nothing else can."""
    name = "Preprocessing"
    stated = f"What the card states cannot be checked further: {preprocessing}."
    fits = {modality: _fitted_on(found) for modality, found in measured.items()}
    wrong = [f"{modality} over {on}" for modality, on in fits.items() if on not in ("train", "")]
    texts = [f"Columns are standardised over more than the training rows: {', '.join(wrong)}."] if wrong else []
    inputs = parts["train"].inputs
    words = {modality: unseen(parts, modality) for modality, x in inputs.items() if kind_of(x) == TOKENS}
    texts += [
        f"{n:,} tokens of {modality} have a number, but are not in training." for modality, n in words.items() if n
    ]
    if texts:
        return Check(name, ALARM, " ".join(texts))
    unknown = [modality for modality, on in fits.items() if not on]
    pixels = [modality for modality, x in inputs.items() if x.dtype == torch.uint8]
    others = [modality for modality in inputs if modality not in (*fits, *words, *pixels)]
    if unknown:
        texts.append(f"Columns of {', '.join(unknown)} do not show on which rows they were standardised, if they were.")
    if others:
        texts.append(f"{', '.join(others)} has no columns to read that off.")
    if any(fits.values()):
        texts.append(_measured({m: found for m, found in measured.items() if fits[m]}, everything=not unknown))
    texts += [f"Every token of {modality} that has a number is in training." for modality in words]
    texts += [f"Pixels of {modality} are as they were decoded: nothing was fitted to any rows." for modality in pixels]
    return Check(name, UNKNOWN if unknown or others else PASS, " ".join([*texts, stated]))


def _measured(found: Mapping[str, Scaling], *, everything: bool) -> str:
    which = "columns" if everything else f"columns of {', '.join(found)}"
    missed = [value for one in found.values() if (value := one["all splits"]) is not None]
    others = f"; over all rows they miss that by up to {max(missed):.2g}" if missed else ""
    return f"Measured: {which} have mean 0 and deviation 1 over the training rows{others}."


def _fitted_on(found: Scaling) -> str:
    """The rows over which all columns are standard, empty where none or several are."""
    on = [name for name, deviation in found.items() if deviation is not None and deviation < STANDARD]
    return on[0] if len(on) == 1 else ""
