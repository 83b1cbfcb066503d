"""Short recordings as log-mel spectrograms of a fixed size."""

from __future__ import annotations

import wave
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ._download import DataError

RATE = 8000  # samples per second
FRAME, HOP = 256, 80  # samples: 32 ms every 10 ms
N_BANDS, LOWEST = 32, 60.0  # mel bands from this frequency (Hz) to half the rate
FLOOR = 1e-2  # power below it counts as silence
CHUNK = 500  # waves at a time


def read_wave(path: Path) -> Tensor:
    """One recording (n,), float64 in [-1, 1]. Raises DataError unless it is mono, 16 bit, at ``RATE``, not empty."""
    try:
        with wave.open(str(path)) as file:
            form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            n_samples, data = file.getnframes(), bytearray(file.readframes(file.getnframes()))
    except (wave.Error, EOFError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error or 'it ends too early'}): {_ADVICE}") from error
    if form != (1, 2, RATE) or not n_samples or len(data) != 2 * n_samples:
        raise DataError(
            f"{path} must hold mono sound of 16 bits at {RATE} Hz, but has {form[0]} channels of {8 * form[1]} bits at "
            f"{form[2]} Hz and {len(data)} bytes for {n_samples} samples: {_ADVICE}"
        )
    return torch.frombuffer(data, dtype=torch.int16).double() / 2**15


def centred(sound: Tensor, n_samples: int) -> Tensor:
    """(n,) -> (n_samples,): the middle of what is longer; silence on both sides of what is shorter."""
    before = (n_samples - len(sound)) // 2  # negative: what is cut off
    return F.pad(sound, (before, n_samples - len(sound) - before))


def log_mel(waves: Tensor) -> Tensor:
    """(N, n_samples) -> (N, n_frames, N_BANDS): log10 of the power in each band, never below ``log10(FLOOR)``."""
    window = torch.hann_window(FRAME, dtype=waves.dtype)
    parts = []
    for part in waves.split(CHUNK):
        spectrum = torch.fft.rfft(part.unfold(-1, FRAME, HOP) * window)
        power = spectrum.real.square() + spectrum.imag.square()
        parts.append((power @ filters().to(waves.dtype)).clamp_min(FLOOR).log10())
    return torch.cat(parts)


def pooled(spectrogram: Tensor, n_frames: int) -> Tensor:
    """(..., T, bands) -> (..., T // n_frames, bands): means over ``n_frames`` frames, what is left over dropped."""
    n_whole = spectrogram.shape[-2] // n_frames
    return spectrogram[..., : n_whole * n_frames, :].unflatten(-2, (n_whole, n_frames)).mean(-2)


@cache
def filters() -> Tensor:
    """Triangular mel filters (FRAME // 2 + 1, N_BANDS), float64."""
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(FRAME // 2 + 1, N_BANDS, LOWEST, RATE / 2, RATE)
    return torch.from_numpy(bank)


_ADVICE = "delete the folder to have it downloaded again"
