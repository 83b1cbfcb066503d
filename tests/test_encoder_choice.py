"""Which encoder a modality gets, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from dmil.data import Split
from dmil.encoders import ENCODERS, Source, sources_of
from tests.made_kinds import STEPS, made_kinds

SEQUENCE = Source((STEPS, 4), "sequence", encoder="gru")


def built(encoder: str, source: Source, **options: Any) -> nn.Module:
    return ENCODERS[encoder](source, width=8, depth=2, dropout=0.0, **options)


def test_defaults_and_options() -> None:
    train = made_kinds().train
    found = sources_of(train, {"sequence": {"name": "transformer", "heads": 2}})
    assert {name: (source.kind, source.encoder) for name, source in found.items()} == {
        "features": ("features", "mlp"),
        "sequence": ("sequence", "transformer"),
        "tokens": ("tokens", "transformer"),
        "image": ("image", "cnn"),
        "clip": ("clip", "cnn"),
    }
    assert (found["sequence"].options, found["tokens"].vocabulary) == ({"heads": 2}, 9)
    assert found["image"].shape == (3, 12, 10)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"text": {"name": "mlp"}}, "an encoder is chosen for 'text', but there are features, sequence"),
        ({"image": {"name": "cmn"}}, "unknown encoder 'cmn' for 'image'; did you mean 'cnn'?"),
        ({"image": {"name": "gru"}}, "'gru' reads sequence or tokens, but 'image' is image: cnn"),
        ({"image": {"name": "cnn", "chanels": 3}}, "unknown option 'chanels' .*; did you mean 'channels'?"),
        ({"features": {"name": "mlp", "heads": 3}}, "unknown option 'heads' of encoder 'mlp' .*; it takes none"),
    ],
)
def test_encoders_that_do_not_fit(chosen: Mapping[str, Mapping[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sources_of(made_kinds().train, chosen)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: built("cnn", Source((1, 8, 8), "image"), channels=6), "multiple of 8, but got 6"),
        (lambda: built("cnn", Source((1, 8, 4), "image"), stride=5), "images of 8x4 are smaller"),
        (lambda: built("transformer", SEQUENCE, heads=3), "`width` must be even and a multiple of `heads`"),
        (lambda: built("gru", SEQUENCE, parts=0), "`parts >= 1` must hold, but got parts=0"),
        (lambda: sources_of(Split({"x": torch.zeros(2, 3, dtype=torch.int32)}, torch.zeros(2))), "is no modality"),
        (lambda: sources_of(Split({"x": torch.zeros(2)}, torch.zeros(2))), "is no modality"),
    ],
)
def test_what_cannot_be_built(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
