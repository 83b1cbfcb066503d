"""Sound and video from real files: what is computable by hand, and every kind of damaged file."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.made_media import NO_AV, RATE, grey, tone, write_video, write_wave

pytest.importorskip("av", reason=NO_AV)

audio = import_module("benchmarks.datasets._audio")
files = import_module("benchmarks.datasets._files")
media = import_module("benchmarks.datasets._media")
video = import_module("benchmarks.datasets._video")


@pytest.mark.parametrize("bits", ["uint8", "int16", "int32", "float32"])
def test_a_wave_is_read_at_its_loudness_whatever_its_type(tmp_path: Path, bits: str) -> None:
    from scipy.io import wavfile

    sound = tone(440)
    scale = {"uint8": 127, "int16": 2**15 - 1, "int32": 2**31 - 1, "float32": 1}[bits]
    stored = (sound * scale + 128 * (bits == "uint8")).astype(bits)
    wavfile.write(tmp_path / "a.wav", RATE, stored)
    assert audio.read_wave(tmp_path / "a.wav", RATE) == pytest.approx(sound, abs=0.02)


def test_channels_are_averaged_and_the_rate_changed(tmp_path: Path) -> None:
    """Left 0.6, right -0.2 of the same tone: 0.2 of it, at 22050 Hz."""
    left_and_right = np.stack([0.6 * tone(500, loudness=1), -0.2 * tone(500, loudness=1)], axis=1)
    write_wave(tmp_path / "a.wav", left_and_right)
    found = audio.read_wave(tmp_path / "a.wav", 22050)
    expected = tone(500, rate=22050, loudness=0.2)
    assert found.shape == expected.shape
    assert found[2000:-2000] == pytest.approx(expected[2000:-2000], abs=2e-3)


def test_a_tone_lands_in_its_bin() -> None:
    """Bin 40 of 257 at 22050 Hz; a Hann window of 512 has the sum 256, so that the magnitude is 0.5 / 2 * 256."""
    found = audio.log_spectrogram(tone(40 * 22050 / 512, seconds=1.5, rate=22050))
    assert (found.shape, found.dtype) == ((1, 257, 188), np.float32)
    assert (found[0, :, 2:-2].argmax(0) == 40).all()
    assert found[0, 40, 100] == pytest.approx(np.log(64), abs=1e-3)
    assert found[0, 40, 50] == pytest.approx(np.log(64), abs=1e-3)
    assert found[0, 100, 50] < np.log(0.01)


def test_a_short_sound_is_repeated_a_long_one_cut_a_loud_one_clipped() -> None:
    """An impulse at second 0.5 of 1 s comes back at 1.5 and 2.5: near frames 31, 93 and 156, and nowhere else."""
    sound = np.zeros(22050)
    sound[11025] = 7.0
    loudest = audio.log_spectrogram(sound)[0].max(0)
    peaks = [round((i + 0.5) * 22050 / 353) for i in range(3)]
    assert (loudest[peaks] > -1).all()
    assert loudest.max() <= 0 + 1e-6  # clipped to 1
    silent = np.ones(188, bool)
    for peak in peaks:
        silent[peak - 2 : peak + 3] = False
    assert loudest[silent] == pytest.approx(np.log(1e-7))
    assert np.array_equal(audio.log_spectrogram(np.concatenate([sound] * 5)), audio.log_spectrogram(sound))


def test_the_filterbank_is_that_of_kaldi() -> None:
    """As transformers computes it for its audio spectrogram transformer, frame by frame."""
    from transformers.audio_utils import spectrogram, window_function

    sound = tone(1000) + 0.1 * np.random.default_rng(0).standard_normal(RATE)
    expected = spectrogram(
        sound - sound.mean(),
        window_function(400, "hann", periodic=False),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=audio._mel_filters(),
        log_mel="log",
        mel_floor=2.0**-23,
        remove_dc_offset=True,
    )
    found = audio.log_filterbank(sound) * 2 * 5.141276 - 4.503877
    assert expected.shape == (128, 98)
    assert found[0, :, :98] == pytest.approx(expected, abs=1e-4)
    assert found[0, :, 98:] == pytest.approx(0, abs=1e-5)
    assert audio.log_filterbank(np.tile(sound, 20)).shape == audio.log_filterbank(sound[:100]).shape == (1, 128, 1024)


def test_a_tone_lands_in_its_mel_band() -> None:
    """1000 Hz is 1127 ln(1 + 1000/700) = 1000 mel; 129 steps from 31.7 (20 Hz) to 2840 mel (8000 Hz): band 43."""
    mels = [1127 * np.log1p(hertz / 700) for hertz in (20, 1000, 8000)]
    band = round((mels[1] - mels[0]) / (mels[2] - mels[0]) * 129) - 1
    assert band == 43
    assert (audio.log_filterbank(tone(1000))[0, :, :98].argmax(0) == band).all()


@pytest.mark.parametrize(("name", "codec"), [("a.flv", "flv1"), ("a.mp4", "mpeg4")])
def test_frames_are_the_middles_of_equal_parts(tmp_path: Path, name: str, codec: str) -> None:
    """Of 9 frames those of number 1, 4 and 7; of 2 the first, the second, the second."""
    write_video(tmp_path / name, grey(range(20, 200, 20)), codec=codec)
    found = video.read_frames(tmp_path / name, 3, 32)
    assert (found.shape, found.dtype) == ((3, 3, 32, 32), np.uint8)
    assert found.mean((1, 2, 3)) == pytest.approx([40, 100, 160], abs=4)
    write_video(tmp_path / name, grey([50, 150]), codec=codec)
    assert video.read_frames(tmp_path / name, 3, 32).mean((1, 2, 3)) == pytest.approx([50, 150, 150], abs=4)


def test_the_middle_is_kept_in_rgb(tmp_path: Path) -> None:
    """48 x 96: black at left and right, in the middle 48 x 48 of which the upper half is red, the lower half blue."""
    image = np.zeros((48, 96, 3), np.uint8)
    image[:24, 24:72, 0] = image[24:, 24:72, 2] = 255
    write_video(tmp_path / "a.flv", [image] * 3, codec="flv1")
    (found,) = video.read_frames(tmp_path / "a.flv", 1, 24)
    upper, lower = found[:, 2:10, 2:-2].mean((1, 2)), found[:, 14:22, 2:-2].mean((1, 2))
    assert upper == pytest.approx([255, 0, 0], abs=25)
    assert lower == pytest.approx([0, 0, 255], abs=25)


def test_the_sound_of_a_video(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", grey([50] * 25), codec="mpeg4", sound=tone(1000))
    found = audio.read_sound(tmp_path / "a.mp4", RATE)
    assert abs(len(found) - RATE) < 2048  # AAC has frames of 1024 samples
    spectrum = np.abs(np.fft.rfft(found[4000:12000] * np.hanning(8000)))
    assert spectrum.argmax() == 500  # in steps of 2 Hz
    assert spectrum.max() == pytest.approx(0.5 / 2 * 4000, rel=0.05)


def cut(path: Path, n_bytes: int) -> bytes:
    return path.read_bytes()[:n_bytes]


def read_wave(path: Path) -> Any:
    return audio.read_wave(path, RATE)


def read_sound(path: Path) -> Any:
    return audio.read_sound(path, RATE)


def read_frames(path: Path) -> Any:
    return video.read_frames(path, 3, 32)


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / f"good.{name}" for name in ("wav", "flv", "mp4")}
    write_wave(found["wav"], tone(440))
    write_video(found["flv"], grey([50] * 5), codec="flv1")
    write_video(found["mp4"], grey([50] * 5), codec="mpeg4", sound=tone(440))
    return found


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


@pytest.mark.parametrize("read", [read_wave, read_sound, read_frames])
@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (POINTER, "git lfs pull"), (b"no media at all" * 99, "cannot be decoded")],
)
def test_what_is_no_media_is_one_line(
    tmp_path: Path, read: Callable[[Path], Any], content: bytes, message: str
) -> None:
    path = tmp_path / "bad.flv"
    path.write_bytes(content)
    says(read, path, message)


def says(read: Callable[[Path], Any], path: Path, message: str) -> None:
    with pytest.raises(files.DataError, match=message) as error:
        read(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_what_is_missing_or_cut_short_is_one_line(good: dict[str, Path], tmp_path: Path) -> None:
    readers: list[Callable[[Path], Any]] = [read_wave, read_sound, read_frames]
    for read in readers:
        says(read, tmp_path / "none", "cannot be decoded .*No such file")
    cases: list[tuple[str, Callable[[Path], Any], int, str]] = [
        ("wav", read_wave, 20_000, "cannot be decoded"),
        ("wav", read_wave, 30, "cannot be decoded"),
        ("flv", read_frames, 20, "cannot be decoded"),
        ("mp4", read_frames, 500, "cannot be decoded"),
        ("mp4", read_sound, 500, "cannot be decoded"),
    ]
    for name, read, n_bytes, message in cases:
        path = tmp_path / f"cut.{name}"
        path.write_bytes(cut(good[name], n_bytes))
        says(read, path, message)


def test_what_is_empty_or_lacks_a_stream_is_one_line(good: dict[str, Path], tmp_path: Path) -> None:
    says(read_sound, good["flv"], "has no sound")
    says(read_frames, good["wav"], "has no picture")
    write_wave(tmp_path / "empty.wav", np.zeros(0))
    says(read_wave, tmp_path / "empty.wav", "is empty: there is no sound")
    n_metadata = int.from_bytes(good["flv"].read_bytes()[14:17])  # after the header of 13 bytes and the type of a tag
    (tmp_path / "empty.flv").write_bytes(cut(good["flv"], 13 + 11 + n_metadata + 4))
    says(read_frames, tmp_path / "empty.flv", "is empty|cannot be decoded .End of file")


def test_a_garbled_video_is_one_line(good: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(good["mp4"].read_bytes())
    start = data.index(b"mdat") + 4
    data[start : start + 2000] = b"\xa5" * 2000
    (tmp_path / "bad.mp4").write_bytes(data)
    says(read_frames, tmp_path / "bad.mp4", "cannot be decoded|is empty")


def test_values_that_are_not_finite_are_one_line(tmp_path: Path) -> None:
    from scipy.io import wavfile

    wavfile.write(tmp_path / "a.wav", RATE, np.array([0, np.nan, 1], np.float32))
    says(read_wave, tmp_path / "a.wav", "not finite")


def test_a_chunk_that_nobody_knows_is_passed_over(good: dict[str, Path]) -> None:
    """As many editors write them; SciPy would warn, and say of a file cut short no more than that."""
    data = good["wav"].read_bytes()
    good["wav"].write_bytes(data[:12] + b"odd \x04\x00\x00\x00abcd" + data[12:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_wave(good["wav"])) == RATE


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    media.require_av()
    monkeypatch.setattr(media, "find_spec", lambda name: None)
    with pytest.raises(files.DataError, match=r"PyAV: run `make setup`, or `pip install -e '\.\[media\]' -c constr"):
        media.require_av()
