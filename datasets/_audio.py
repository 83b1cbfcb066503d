"""Sound: recordings as samples at a given rate, and as the spectrograms of published protocols.

Processes that decode import this module: it holds nothing that takes long to import.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ._download import DataError
from ._media import check_content, damaged, opened

if TYPE_CHECKING:
    from numpy import float32, float64
    from numpy.typing import NDArray

STFT_RATE, STFT_SECONDS, STFT_WINDOW, STFT_HOP = 22050, 3, 512, 353
STFT_SHAPE = (1, STFT_WINDOW // 2 + 1, 1 + STFT_RATE * STFT_SECONDS // STFT_HOP)
STFT_FLOOR = 1e-7

FBANK_RATE, FBANK_WINDOW, FBANK_HOP, FBANK_SIZE = 16000, 400, 160, 512  # 25 ms every 10 ms
FBANK_BANDS, FBANK_FRAMES, FBANK_LOWEST = 128, 1024, 20.0
FBANK_SHAPE = (1, FBANK_BANDS, FBANK_FRAMES)
FBANK_MEAN, FBANK_DEVIATION = -4.503877, 5.141276  # published with the protocol
PREEMPHASIS = 0.97
EPSILON = 2.0**-23


def read_wave(path: Path, rate: int) -> NDArray[float64]:
    """A WAV file as (n,) samples in [-1, 1] at ``rate``, channels averaged. Raises DataError where it holds none."""
    import warnings

    import numpy as np
    from scipy.io import wavfile

    check_content(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", wavfile.WavFileWarning)  # among them: the file ends too early
            warnings.filterwarnings("ignore", "Chunk .* not understood", wavfile.WavFileWarning)
            own_rate, data = wavfile.read(path)
    except Exception as error:  # of many kinds, where a file is damaged
        raise damaged(path, error) from error
    if data.dtype == np.uint8:
        sound = (data.astype(np.float64) - 128) / 128
    elif data.dtype.kind == "i":
        sound = data.astype(np.float64) / -float(np.iinfo(data.dtype).min)
    else:
        sound = data.astype(np.float64)
    return _resampled(path, sound.mean(1) if sound.ndim == 2 else sound, own_rate, rate)


def read_sound(path: Path, rate: int) -> NDArray[float64]:
    """The sound of a video, like ``read_wave``. Raises DataError where it has none or cannot be decoded."""
    import av
    import numpy as np

    with opened(path) as container:
        if not container.streams.audio:
            raise DataError(f"{path} has no sound: leave the clip out (delete it) or get it again")
        to_mono = av.AudioResampler(format="dbl", layout="mono")
        frames = [part for frame in container.decode(audio=0) for part in to_mono.resample(frame)]
        frames += to_mono.resample(None) if frames else []
        own_rate = container.streams.audio[0].rate
    sound = np.concatenate([frame.to_ndarray()[0] for frame in frames]) if frames else np.zeros(0)
    return _resampled(path, sound, own_rate, rate)


def _resampled(path: Path, sound: NDArray[float64], own_rate: int, rate: int) -> NDArray[float64]:
    import numpy as np
    from scipy.signal import resample_poly

    if not len(sound):
        raise DataError(f"{path} is empty: there is no sound in it")
    if not np.isfinite(sound).all():
        raise DataError(f"{path} holds samples that are not finite: get the file again")
    factor = math.gcd(own_rate, rate)
    found: NDArray[float64] = sound if own_rate == rate else resample_poly(sound, rate // factor, own_rate // factor)
    return found


def log_spectrogram(sound: NDArray[float64]) -> NDArray[float32]:
    """Samples at 22050 Hz -> (1, 257, 188): log(|S| + 1e-7) of the first 3 s, as OGM-GE and its successors take it.

    What is shorter is repeated. Frequency k is that of k / 512 of the rate, frame t is centred on sample 353 t (Hann
    window; before the start and after the end there are zeros).
    """
    import numpy as np

    n_samples = STFT_RATE * STFT_SECONDS
    tiled = np.resize(sound, n_samples).clip(-1, 1)
    frames = _frames(np.pad(tiled, STFT_WINDOW // 2), STFT_WINDOW, STFT_HOP) * _hann(STFT_WINDOW, symmetric=False)
    magnitude = np.abs(np.fft.rfft(frames)).T
    found: NDArray[float32] = np.log(magnitude + STFT_FLOOR)[None].astype(np.float32)
    return found


def log_filterbank(sound: NDArray[float64]) -> NDArray[float32]:
    """Samples at 16 kHz -> (1, 128, 1024): log-mel energies as Kaldi computes them, scaled as published.

    25 ms (Hann) every 10 ms without a part of a frame at the end; each frame without its mean and with pre-emphasis;
    128 triangles on the mel scale from 20 Hz on. What is longer than 1024 frames is cut, what is shorter is filled with
    energies of 0 (a published oddity: that is far from silence); then (x + 4.503877) / (2 * 5.141276).
    """
    import numpy as np

    sound = np.pad(sound - sound.mean(), (0, max(0, FBANK_WINDOW - len(sound))))
    frames = _frames(sound, FBANK_WINDOW, FBANK_HOP)[:FBANK_FRAMES]
    frames = frames - frames.mean(1, keepdims=True)
    frames = frames - PREEMPHASIS * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    power = np.abs(np.fft.rfft(frames * _hann(FBANK_WINDOW, symmetric=True), FBANK_SIZE)) ** 2
    energies = np.log(np.maximum(power @ _mel_filters(), EPSILON))
    padded = np.pad(energies, ((0, FBANK_FRAMES - len(energies)), (0, 0)))
    found: NDArray[float32] = ((padded.T - FBANK_MEAN) / (2 * FBANK_DEVIATION))[None].astype(np.float32)
    return found


def _frames(sound: NDArray[float64], length: int, hop: int) -> NDArray[float64]:
    """(n,) -> (n_frames, length)."""
    from numpy.lib.stride_tricks import sliding_window_view

    found: NDArray[float64] = sliding_window_view(sound, length)[::hop]
    return found


@cache
def _hann(length: int, *, symmetric: bool) -> NDArray[float64]:
    from scipy.signal import get_window

    found: NDArray[float64] = get_window("hann", length, fftbins=not symmetric)
    return found


@cache
def _mel_filters() -> NDArray[float64]:
    """(257, 128); some of the lowest are so narrow that no frequency falls into them, as published."""
    import warnings

    from transformers.audio_utils import mel_filter_bank

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filter has all zero values", UserWarning)
        found: NDArray[float64] = mel_filter_bank(
            num_frequency_bins=FBANK_SIZE // 2 + 1,
            num_mel_filters=FBANK_BANDS,
            min_frequency=FBANK_LOWEST,
            max_frequency=FBANK_RATE / 2,
            sampling_rate=FBANK_RATE,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
    return found
