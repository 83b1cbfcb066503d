"""Recordings over time: windows cut from them, and what they are like in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def statistics(series: Tensor) -> Tensor:
    """(T, channels) -> (8 * channels,): mean, deviation, minimum, maximum and the means of four equal segments."""
    segments = [segment.mean(0) for segment in series.tensor_split(4)]
    return torch.cat([series.mean(0), series.std(0, correction=0), series.amin(0), series.amax(0), *segments])


def spectrum(series: Tensor, bands: Sequence[int]) -> Tensor:
    """(T, channels) -> (len(bands) - 1, channels) flat: log10 of the power in bands of frequencies, the mean left out.

    bands: first frequency of each band and the end of the last one, in cycles per T. Power below 1e-4 counts as 1e-4.
    """
    power = torch.fft.rfft(series - series.mean(0), dim=0).abs().square()
    found = [power[low:high].sum(0) for low, high in pairwise(bands)]
    return torch.cat(found).clamp_min(1e-4).log10()


def windows(times: Tensor, series: Tensor, starts: list[int], length: int) -> list[Tensor]:
    """Of a series (T, channels) the rows with ``start <= time < start + length``, for every start.

    times: (T,) in the unit of starts and length.
    """
    return [series[(times >= start) & (times < start + length)] for start in starts]
