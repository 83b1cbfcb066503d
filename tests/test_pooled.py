"""The audit of data that are no features: what a linear model is shown of them, and what their columns tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import leak_probe
from benchmarks.audit import audit
from benchmarks.audit_columns import unseen
from benchmarks.checks import ALARM, PASS, UNKNOWN
from benchmarks.pooled import Pool, columns
from dmil.data import Split, Splits
from tests.test_audit import SIZES, checks, made_splits, with_parts

Make = Callable[[str, Tensor, torch.Generator], Tensor]


def flat(x: Tensor, rows: Tensor | None = None, *, chosen: list[int] | None = None) -> list[list[float]]:
    n = len(x if rows is None else rows)
    split = Split({"m": x}, torch.zeros(n, dtype=torch.int64), rows={} if rows is None else {"m": rows})
    found = Pool.of(split, "m").rows(split, np.asarray(range(n) if chosen is None else chosen))
    assert found.dtype == np.float64
    return found.tolist()


def test_features_are_shown_as_they_are() -> None:
    x = torch.tensor([[1.0, 2], [3, 4], [5, 6]])
    assert flat(x, chosen=[2, 0]) == [[5, 6], [1, 2]]


def test_of_a_sequence_the_mean_over_steps_that_exist() -> None:
    x = torch.tensor([[[1.0, 10, 1], [3, 20, 1], [0, 0, 0]], [[7.0, 1, 1], [0, 0, 0], [0, 0, 0]], [[0.0, 0, 0]] * 3])
    assert flat(x) == [[2, 15], [7, 1], [0, 0]]


def test_of_tokens_which_are_there_the_most_frequent_first() -> None:
    assert flat(torch.tensor([[3, 3, 0], [2, 3, 0], [2, 3, 4]])) == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_of_an_image_means_over_a_grid_and_of_a_shared_one_the_same() -> None:
    x = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    x[0, 0, :2, :2] = torch.tensor([[10, 20], [30, 40]])
    x[1] = 7
    found = flat(x, torch.tensor([1, 0, 1]))
    assert found[0] == found[2] == [7] * 64
    assert found[1] == [25] + [0] * 63


def test_of_a_clip_the_mean_over_frames_as_well() -> None:
    x = torch.stack([torch.full((2, 8, 8), 4.0), torch.full((2, 8, 8), 8.0)]).unsqueeze(0)
    assert flat(x) == [[6.0] * 128]


def test_columns_are_those_of_samples_or_of_steps() -> None:
    target = torch.zeros(2, dtype=torch.int64)
    steps = torch.tensor([[[1.0, 1], [2, 1]], [[3, 1], [0, 0]]])
    split = Split({"s": steps, "t": torch.ones(2, 3, dtype=torch.int64), "i": torch.zeros(2, 1, 4, 4)}, target)
    assert np.concatenate(list(columns(split, "s"))).tolist() == [[1], [2], [3]]
    assert list(columns(split, "t")) == list(columns(split, "i")) == []


def with_other(make: Make) -> Splits:
    """Two classes; ``honest`` features beside a modality that ``make(split, target, rng)`` makes."""
    splits, rng = made_splits(), torch.Generator().manual_seed(1)
    parts = {
        part: replace(split, inputs={"honest": split.inputs["honest"], "other": make(part, split.target, rng)})
        for part, split in splits.parts().items()
    }
    return with_parts(splits, parts)


def sequence(part: str, target: Tensor, rng: torch.Generator) -> Tensor:
    x = torch.randn(len(target), 5, 3, generator=rng)
    return torch.cat([x, torch.ones(len(target), 5, 1)], 2)


def tokens(part: str, target: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randint(1, 9, (len(target), 6), generator=rng)


def image(part: str, target: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randint(0, 256, (len(target), 3, 10, 12), generator=rng, dtype=torch.uint8)


def clip(part: str, target: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(len(target), 2, 1, 9, 9, generator=rng)


@pytest.mark.parametrize("make", [sequence, tokens, image, clip])
def test_a_leak_is_found_in_every_kind_and_only_where_it_is(make: Make) -> None:
    def leaky(part: str, target: Tensor, rng: torch.Generator) -> Tensor:
        x = make(part, target, rng)
        if part != "test":
            x[:, 0] = torch.where(target.reshape(-1, *[1] * (x.dim() - 2)) == 1, 8, x[:, 0] % 8).to(x.dtype)
            if make is sequence:
                x[:, 0, -1] = 1
        return x

    assert checks(with_other(make))["Label leak"]["verdict"] == PASS
    found = checks(with_other(leaky))["Label leak"]
    assert found["verdict"] == ALARM
    assert "other" in found["text"]
    assert " Of other it sees " in found["text"]


def test_the_rows_of_a_standardisation_are_read_off_the_steps_of_a_sequence() -> None:
    def scaled(rows: tuple[str, ...]) -> Splits:
        raw = with_other(lambda part, target, rng: 3 * sequence(part, target, rng) + 1)
        both = torch.cat([raw.parts()[part].inputs["other"][..., :-1].flatten(0, 1) for part in rows])
        mean, std = both.mean(0), both.std(0, correction=0)
        parts = {}
        for part, split in raw.parts().items():
            x = (split.inputs["other"][..., :-1] - mean) / std
            x = torch.cat([x, torch.ones(*x.shape[:2], 1)], 2)
            parts[part] = replace(split, inputs=split.inputs | {"other": x})
        return with_parts(raw, parts)

    assert checks(scaled(("train",)))["Preprocessing"]["verdict"] == PASS
    found = checks(scaled(("train", "valid", "test")))["Preprocessing"]
    assert found["verdict"] == ALARM
    assert "more than the training rows: other over all splits." in found["text"]


def test_words_that_only_test_shows_betray_its_vocabulary() -> None:
    assert checks(with_other(tokens))["Preprocessing"]["verdict"] == PASS
    splits = with_other(lambda part, target, rng: tokens(part, target, rng) + (part == "test"))
    assert unseen(splits.parts(), "other") == 1
    found = checks(splits)["Preprocessing"]
    assert found["verdict"] == ALARM
    assert "1 tokens of other have a number, but are not in training." in found["text"]


def test_pixels_are_what_they_are_and_a_spectrogram_may_be_anything() -> None:
    raw = checks(with_other(image))["Preprocessing"]
    assert raw["verdict"] == PASS
    assert "columns have mean 0 and deviation 1" in raw["text"]
    assert "Pixels of other are as they were decoded" in raw["text"]
    spectrogram = checks(with_other(clip))["Preprocessing"]
    assert spectrogram["verdict"] == UNKNOWN
    assert "other has no columns to read that off." in spectrogram["text"]


def test_equal_pictures_are_found_even_where_samples_share_them() -> None:
    splits = with_other(image)
    parts = {}
    for part, split in splits.parts().items():
        few = split.inputs["other"][:20].clone()
        few[1] = 0  # nothing to see in any split: no repetition
        rows = {"other": torch.arange(SIZES[part]) % 20}
        parts[part] = replace(split, inputs={"honest": split.inputs["honest"], "other": few}, rows=rows)
    parts["test"].inputs["other"][3] = parts["train"].inputs["other"][5]
    found = audit(with_parts(splits, parts))
    assert found["repeats"]["test in train"] == {"all": 0, "honest": 0, "other": 5}
    assert found["repeats"]["valid in train"] == {"all": 0, "honest": 0, "other": 0}


def test_of_many_test_samples_some_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leak_probe, "N_MOST_TEST", 40)
    (honest, _) = leak_probe.probe(made_splits())
    assert (honest.test * 40) == round(honest.test * 40)
