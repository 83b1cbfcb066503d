"""Series of different lengths as one tensor. ``_scaling.standardised`` scales it over the steps that exist."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pad(series: Sequence[Tensor], length: int | None = None) -> Tensor:
    """(T_i, d) each, floating point -> (N, T, d + 1): zeros after the end, last feature 1 where the step exists.

    length: T, by default that of the longest. Raises ValueError for a series that is longer or empty.
    """
    lengths = [len(one) for one in series]
    if min(lengths) == 0:
        raise ValueError("a series needs one step or more")
    if length is not None and max(lengths) > length:
        raise ValueError(f"a series has {max(lengths)} steps, but {length} are allowed: shorten it first")
    out = series[0].new_zeros(len(series), length or max(lengths), series[0].shape[1] + 1)
    for row, one in zip(out, series, strict=True):
        row[: len(one), :-1] = one
        row[: len(one), -1] = 1
    return out


def shortened(series: Tensor, n_steps: int) -> Tensor:
    """(T, d) -> (min(T, n_steps), d): of a longer series the means of ``n_steps`` segments, as equal as they can be."""
    if len(series) <= n_steps:
        return series
    return torch.stack([segment.mean(0) for segment in series.tensor_split(n_steps)])


def summarised(series: Tensor, n_steps: int) -> Tensor:
    """(T, d) with T >= n_steps -> (n_steps, 2 d): mean and deviation of each of ``n_steps`` segments."""
    segments = series.tensor_split(n_steps)
    return torch.stack([torch.cat([one.mean(0), one.std(0, correction=0)]) for one in segments])
