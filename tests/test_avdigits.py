"""Spoken and written digits: the spectrogram of made sounds, names, the rule of every composition, the splits."""

from __future__ import annotations

import math
import wave
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks import registry
from benchmarks.errors import UserError
from dmil.data import Splits

Require = Callable[[Path], Path]

avdigits = import_module("benchmarks.datasets.avdigits")
draw = import_module("benchmarks.datasets._avdigits_draw")
logmel = import_module("benchmarks.datasets._logmel")
files = import_module("benchmarks.datasets._files")

R, U1, U2, S = range(4)


def tone(hertz: float, n_samples: int = 2000) -> torch.Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(n_samples, dtype=torch.float64) / logmel.RATE)


@pytest.mark.parametrize("hertz", [200.0, 440.0, 1000.0, 2500.0, 3700.0])
def test_a_pure_tone_is_loudest_in_the_band_around_it(hertz: float) -> None:
    """Bands are evenly spaced in mel, 2595 log10(1 + f / 700), from 60 to 4000 Hz."""

    def mel(f: float) -> float:
        return 2595 * math.log10(1 + f / 700)

    step = (mel(4000) - mel(60)) / (logmel.N_BANDS + 1)
    found = logmel.log_mel(tone(hertz)[None])
    assert found.shape == (1, 1 + (2000 - 256) // 80, 32)
    for frame in found[0]:
        centre = mel(60) + step * (1 + int(frame.argmax()))
        assert abs(centre - mel(hertz)) < 0.75 * step + 2595 / math.log(10) * 16 / (
            700 + hertz
        )  # half a FFT bin: 16 Hz


def test_power_is_measured_in_decades_above_a_floor() -> None:
    """Ten times the amplitude is two decades; silence is the floor."""
    loud, soft = logmel.log_mel(torch.stack([tone(1000), 0.1 * tone(1000)])).amax(-1)
    torch.testing.assert_close(loud - soft, torch.full_like(loud, 2.0))
    assert (logmel.log_mel(torch.zeros(1, 400).double()) == math.log10(logmel.FLOOR)).all()


def test_recordings_are_cut_or_padded_around_their_middle() -> None:
    sound = torch.arange(1.0, 6.0)
    assert logmel.centred(sound, 3).tolist() == [2, 3, 4]
    assert logmel.centred(sound, 5).tolist() == [1, 2, 3, 4, 5]
    assert logmel.centred(sound, 8).tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    frames = torch.arange(7.0)[:, None]
    assert logmel.pooled(frames, 3).tolist() == [[1], [4]]


def write(path: Path, *, rate: int = 8000, channels: int = 1, width: int = 2, data: bytes = b"\0\0\0\x40") -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


def test_a_wave_file_is_read(tmp_path: Path) -> None:
    assert logmel.read_wave(write(tmp_path / "a.wav")).tolist() == [0, 0.5]


def test_a_faulty_wave_file_is_one_line_that_names_it(tmp_path: Path) -> None:
    cut, text = write(tmp_path / "cut.wav", data=b"\0\1" * 100), tmp_path / "text.wav"
    cut.write_bytes(cut.read_bytes()[:-50])
    text.write_text("hello")
    faulty = {
        write(tmp_path / "fast.wav", rate=16000): "at 16000 Hz",
        write(tmp_path / "stereo.wav", channels=2): "2 channels",
        write(tmp_path / "short.wav", width=1, data=b"12"): "8 bits",
        write(tmp_path / "empty.wav", data=b""): "0 bytes for 0 samples",
        cut: "150 bytes for 100 samples",
        text: "cannot be read",
        tmp_path / "missing.wav": "cannot be read",
    }
    for path, message in faulty.items():
        with pytest.raises(files.DataError, match=message) as error:
            logmel.read_wave(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("avdigits", "mixed"),
        ("avdigits-u100", "u"),
        ("avdigits-r50u50", "u50r50"),
        ("avdigits-n8000-s", "s"),
        ("avdigits-n2000", "mixed-n2000"),
    ],
)
def test_every_mixture_has_one_name(name: str, expected: str) -> None:
    found = registry.canonical(name)
    assert found == f"avdigits-{expected}"
    assert avdigits.variant(name) == avdigits.variant(found)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("avdigits-mixd", "cannot read 'mixd', did you mean 'mixed'"),
        ("avdigits-", "cannot read ''"),
        ("avdigits-r-u", "'r' and 'u' say the same thing twice"),
        ("avdigits-r50", "sum to 50, but must sum to 100"),
        ("avdigits-n10", "n500 to 20000"),
        ("avdigits-3m", "cannot read '3m'"),
    ],
)
def test_a_malformed_name_is_one_line(name: str, message: str) -> None:
    for ask in (registry.canonical, registry.load_dataset, registry.status):
        with pytest.raises(UserError, match=message) as error:
            ask(name)
        assert "\n" not in str(error.value)


def test_names_mean_what_they_say() -> None:
    assert avdigits.variant("avdigits").weights == pytest.approx((1 / 3, 1 / 6, 1 / 6, 1 / 3))
    assert avdigits.variant("avdigits-u40r30s30").weights == pytest.approx((0.3, 0.2, 0.2, 0.3))
    assert avdigits.variant("avdigits-s-n2000").sizes["train"] == 2000


def test_digits_say_what_the_composition_promises() -> None:
    label, composition, digits = draw.compose(20_000, (0.25,) * 4, torch.Generator().manual_seed(0))
    heard, seen = digits.T
    assert (heard[composition == R] == label[composition == R]).all()
    assert (seen[composition == R] == label[composition == R]).all()
    assert (heard[composition == U1] == label[composition == U1]).all()
    assert (seen[composition == U2] == label[composition == U2]).all()
    assert ((heard + seen)[composition == S] % 10 == label[composition == S]).all()
    for shown, kind in ((seen, U1), (heard, U2), (heard, S), (seen, S)):
        rows = composition == kind
        table = torch.zeros(10, 10).index_put((label[rows], shown[rows]), torch.ones(int(rows.sum())), accumulate=True)
        expected = table.sum() / 100
        assert float(((table - expected) ** 2 / expected).sum()) < 150  # chi-square of 99 cells, mean 99, deviation 14


def test_rows_show_the_digits_asked_for_and_no_pair_comes_twice() -> None:
    """Of each digit 4 recordings and 3 images that may be used: twelve pairs, of which eleven are wanted."""
    shown = (torch.arange(50) % 10, torch.arange(60) % 10)
    members = (torch.arange(10, 50), torch.arange(30))
    digits = torch.tensor([[3, 7]] * 11 + [[0, 0]])
    rows = draw.match_pairs(digits, members, shown, torch.Generator().manual_seed(0))
    assert len({tuple(pair) for pair in rows.tolist()}) == 12
    assert torch.equal(torch.stack([shown[side][rows[:, side]] for side in range(2)], dim=1), digits)
    assert rows[:, 0].min() >= 10
    assert rows[:, 1].max() < 30


def test_marks_tell_the_four_roles_apart() -> None:
    """Each tone is loudest in a band of its own, idle is silent; no two bars share a pixel."""
    tones, bars = draw.tones()[:, 0], draw.bars()
    assert len(set(tones[:3].argmax(1).tolist())) == 3
    assert (tones[3] == math.log10(logmel.FLOOR)).all()
    assert ((bars > 0).sum(0) <= 1).all()
    assert bars.sum(1).tolist() == [32, 32, 32, 0]
    told = {(draw.HEARD[c], draw.SEEN[c]) for c in range(4)}
    assert len(told) == 4, "the two marks together name the composition"
    assert draw.ROLES[draw.HEARD[U1]] == draw.ROLES[draw.SEEN[U2]] == "u"
    assert draw.ROLES[draw.SEEN[U1]] == draw.ROLES[draw.HEARD[U2]] == "idle"


@pytest.fixture(scope="module")
def mixed(data_root: Path, require: Require) -> Splits:
    require(data_root / "fsdd" / "recordings")
    return registry.load_dataset("avdigits-mixed", root=data_root)


def test_no_speaker_and_no_image_is_in_two_splits(mixed: Splits) -> None:
    speakers, images, recordings = [], [], []
    for part, split in mixed.parts().items():
        names = [i.split("+") for i in split.ids]
        speakers.append({recording.split("_")[1] for recording, _ in names})
        recordings.append({recording for recording, _ in names})
        images.append({image for _, image in names})
        assert speakers[-1] == set(avdigits.SPEAKERS[part]) == set(split.groups)
        assert len(set(split.ids)) == len(split)
    for sets in (speakers, images, recordings):
        assert len(set.union(*sets)) == sum(map(len, sets))
    assert len(set.union(*speakers)) == 6
    assert len(recordings[0]) > 0.9 * 500 * len(speakers[0])


def test_labels_follow_from_what_is_heard_and_seen(mixed: Splits) -> None:
    from sklearn.datasets import load_digits

    written = load_digits().target
    for split in mixed.parts().values():
        heard = torch.tensor([int(i[0]) for i in split.ids])
        seen = torch.tensor([int(written[int(i[-4:])]) for i in split.ids])
        assert split.truth is not None
        expected = torch.stack([heard, heard, seen, (heard + seen) % 10])[split.truth, torch.arange(len(split))]
        assert torch.equal(expected, split.target)
        share = split.truth.bincount(minlength=4) / len(split)
        assert (share - torch.tensor([1 / 3, 1 / 6, 1 / 6, 1 / 3])).abs().max() < 0.05
    assert mixed.card.truth_names == ("r", "u1", "u2", "s")


def test_pixels_and_marks_are_those_of_the_sample(mixed: Splits) -> None:
    """Standardising is monotone: a lit pixel of the bar is above zero, an unlit one below."""
    truth, image = mixed.test.truth, mixed.test.inputs["image"]
    assert truth is not None
    for composition, role in enumerate(draw.SEEN):
        lit = image[truth == composition, :8] > 0
        assert (lit == (draw.bars()[role] > 0)).all()


@pytest.mark.slow
def test_each_modality_alone_reads_its_digit(data_root: Path, require: Require) -> None:
    """Logistic regression on speakers and images never seen."""
    from sklearn.linear_model import LogisticRegression

    require(data_root / "fsdd" / "recordings")
    splits = registry.load_dataset("avdigits-r")
    for modality, least in (("audio", 0.5), ("image", 0.9)):
        model = LogisticRegression(C=0.01, max_iter=500).fit(splits.train.inputs[modality], splits.train.target)
        assert model.score(splits.test.inputs[modality], splits.test.target) > least
