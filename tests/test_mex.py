"""MEx: windows of a made recording by hand, the split by subject, and what logistic regression reaches."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks import registry

Require = Callable[[Path], Path]

mex = import_module("benchmarks.datasets.mex")
series = import_module("benchmarks.datasets._series")
files = import_module("benchmarks.datasets._files")


def table(path: Path, *, n_rows: int, period: int, value: Callable[[int], float], width: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (",".join([f"{i * period:.4f}", *[f"{value(i)}"] * width]) for i in range(n_rows))
    path.write_text("\n".join(rows) + "\n")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """10 s of which the depth camera saw the first 9: the accelerometer reads its row, the camera its time in s."""
    felt = tmp_path / "act" / "07" / "act_07_exercise_03_1.csv"
    seen = tmp_path / "dc_0.05_0.05" / "07" / "dc_0.05_0.05_07_exercise_03_1.csv"
    table(felt, n_rows=1001, period=10, value=float, width=3)
    table(seen, n_rows=10, period=1000, value=float, width=192)
    return felt


def test_windows_by_hand(recording: Path) -> None:
    """The camera's last image is that of second 9, so windows start at 0 and 2.5 s and none at 5 s."""
    found = mex._windows(recording.parents[2], recording)
    assert [(one.id, one.subject, one.exercise) for one in found] == [
        ("07_exercise_03_1_0", "07", 2),
        ("07_exercise_03_1_2500", "07", 2),
    ]
    first, second = (one.features["accelerometer"].reshape(12, 3) for one in found)
    # rows 0 to 499: mean 249.5, deviation sqrt((500^2 - 1) / 12); the second window differs by a constant only
    expected = torch.tensor([249.5, (249_999 / 12) ** 0.5, 0, 499], dtype=torch.float64)
    torch.testing.assert_close(first[:4], expected[:, None].expand(4, 3))
    shift = torch.tensor([250.0, 0, 250, 250, *[0] * 8]).double()
    torch.testing.assert_close(second - first, shift[:, None].expand(12, 3), atol=1e-6, rtol=0)
    images = torch.stack([one.features["depth"].reshape(2, 192)[:, 0] for one in found])
    # seconds 0 to 4, and 3 to 7, the whole seconds from 2.5 s on
    torch.testing.assert_close(images, torch.tensor([[2, 2**0.5], [5, 2**0.5]], dtype=torch.float64))


def test_a_window_starts_with_its_first_row_and_ends_before_its_last() -> None:
    times = torch.tensor([0, 10, 20, 30, 40])
    cut = series.windows(times, times[:, None] * 1.0, [0, 20], 20)
    assert [one.flatten().tolist() for one in cut] == [[0, 10], [20, 30]]


def test_the_spectrum_by_hand() -> None:
    """Of a wave of amplitude 2 with 3 turns in 100 samples, 3 has the power (100 * 2 / 2)^2 and the mean has no say."""
    wave = 2 * torch.sin(2 * math.pi * 3 * torch.arange(100, dtype=torch.float64) / 100)
    found = series.spectrum(torch.stack([wave + 7, 0 * wave], dim=1), (1, 3, 4, 50)).reshape(3, 2)
    torch.testing.assert_close(found, torch.tensor([[-4, -4], [4, -4], [-4, -4]], dtype=torch.float64))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1,2\n", "a time and 3 finite numbers"),
        ("0,1,2,nan\n", "a time and 3 finite numbers"),
        ("0,1,2,3\n20,1,2,3\n", "a row every 10 ms from 0 on"),
        ("0,1,2,3\n10,1,2\n", "cannot be read"),
        ("0,1,2,three\n", "cannot be read"),
    ],
)
def test_a_faulty_recording_is_one_line_that_names_it(recording: Path, text: str, message: str) -> None:
    recording.write_text(text)
    with pytest.raises(files.DataError, match=message) as error:
        mex._windows(recording.parents[2], recording)
    assert str(recording) in str(error.value)
    assert "\n" not in str(error.value)


def test_validation_is_the_best_balanced_pair_of_training_subjects() -> None:
    """Of 10 windows each so many are exercise 0, 42 of 70 in all: only subjects 1 and 7 together have 12 of 20."""
    first = dict(zip(mex.TRAIN_SUBJECTS, (10, 9, 8, 7, 6, 0, 2), strict=True)) | dict.fromkeys(mex.TEST_SUBJECTS, 5)
    subjects = [subject for subject in first for _ in range(10)]
    target = torch.tensor([int(i >= n) for n in first.values() for i in range(10)])
    rows = mex.split_rows(subjects, target)
    found = {part: [subjects[i] for i in index] for part, index in rows.items()}
    assert found["valid"] == ["01"] * 10 + ["07"] * 10
    assert set(found["train"]) == {"02", "03", "04", "05", "06"}
    assert set(found["test"]) == {"08", "09", "10"}


def test_mex(data_root: Path, require: Require) -> None:
    require(data_root / "mex")
    splits = registry.load_dataset("mex")
    assert sum(map(len, splits.parts().values())) == 1667
    assert set(splits.test.groups) == {"subject 08", "subject 09", "subject 10"}
    assert len(set(splits.valid.groups)) == 2
    everyone = torch.cat([splits.train.target, splits.valid.target]).bincount().double()
    valid = splits.valid.target.bincount().double()
    assert (valid / valid.sum() - everyone / everyone.sum()).abs().max() < 0.03
    recordings = [{i.rsplit("_", 1)[0] for i in split.ids} for split in splits.parts().values()]
    assert len(set.union(*recordings)) == sum(map(len, recordings)) == mex.N_RECORDINGS


@pytest.mark.slow
def test_mex_reaches_the_first_numbers(data_root: Path, require: Require) -> None:
    """Logistic regression, trained on subjects 1 to 7 and tested on 8 to 10 (shared numbers: 0.637, 0.701, 0.733)."""
    from sklearn.linear_model import LogisticRegression

    require(data_root / "mex")
    splits = registry.load_dataset("mex")

    def score(*modalities: str) -> float:
        def columns(*parts: str) -> tuple[Tensor, Tensor]:
            chosen = [splits.parts()[part] for part in parts]
            x = torch.cat([torch.cat([split.inputs[m] for m in modalities], dim=1) for split in chosen])
            return x, torch.cat([split.target for split in chosen])

        model = LogisticRegression(C=0.1, max_iter=2000).fit(*columns("train", "valid"))
        return float(model.score(*columns("test")))

    assert score("accelerometer") > 0.60
    assert score("depth") > 0.66
    assert score("accelerometer", "depth") > 0.70
