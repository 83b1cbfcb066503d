"""The speed of training on media, measured on sizes that take no time."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

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
@pytest.mark.parametrize(("compiled", "name"), [(False, "from files: fit"), (True, "torch.compile")])
def test_both_contestants_train_and_are_compared_in_one_line(
    monkeypatch: pytest.MonkeyPatch, compiled: bool, name: str
) -> None:
    asked: list[nn.Module] = []

    def compile_nothing(model: nn.Module, **_options: object) -> nn.Module:  # the compiler takes minutes
        asked.append(model)
        return model

    monkeypatch.setattr(torch, "compile", compile_nothing)
    (line,) = compare(SMALL, rounds=2, compiled=compiled)
    assert len(asked) == 2 * compiled
    found = re.fullmatch(
        rf"{name} ([\d.]+) samples/s, tensors on the device ([\d.]+), ratio ([\d.]+) "
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
