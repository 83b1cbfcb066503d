"""The speed of training on media, measured on sizes that take no time."""

from __future__ import annotations

import re

import pytest
import torch

from benchmarks import media_speed
from benchmarks.media_speed import Setting, compare, mapped

SMALL = Setting(n=6, batch_size=4, epochs=1, precision="float32", device="cpu", audio=(1, 12, 10), video=(2, 3, 9, 9))


def test_what_is_trained_on_lies_in_files_and_is_what_media_are() -> None:
    with mapped(SMALL) as (train, valid):
        assert (len(train), len(valid)) == (6, 1)
        assert train.shapes == {"audio": (1, 12, 10), "video": (2, 3, 9, 9)}
        assert train.inputs["video"].dtype == torch.uint8
        assert len(train.inputs["video"].unique()) > 100
        assert not torch.equal(train.inputs["audio"][0], valid.inputs["audio"][0])


@pytest.mark.slow
def test_both_contestants_train_and_are_compared_in_one_line() -> None:
    (line,) = compare(SMALL, rounds=2)
    found = re.fullmatch(
        r"from files: fit ([\d.]+) samples/s, tensors on the device ([\d.]+), ratio ([\d.]+) "
        r"\(([\d.]+) to ([\d.]+) in 2 rounds\)",
        line,
    )
    assert found is not None, line
    ours, plain, ratio, low, high = map(float, found.groups())
    assert ours > 0
    assert plain > 0
    assert low <= ratio <= high


def test_a_training_that_fails_has_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed:
        status, error = "failed", "no memory"

    monkeypatch.setattr(media_speed, "fit", lambda *_args, **_options: [Failed()])
    with mapped(SMALL) as (train, valid), pytest.raises(RuntimeError, match="failed: no memory"):
        media_speed.through_fit(SMALL, train, valid, resident=True)
