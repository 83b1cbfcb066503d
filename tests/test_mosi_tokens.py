"""MOSI as tokens: what MiniLM makes of them is the text of `mosi`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks import registry
from benchmarks.backbones import BACKBONES
from dmil.encoders import TOKENS, Source, kind_of

mosi_tokens = import_module("benchmarks.datasets.mosi_tokens")
minilm_files = import_module("benchmarks.datasets._minilm")


@pytest.fixture
def folder(data_root: Path) -> Path:
    if missing := registry.status("mosi-tokens", root=data_root).missing:
        pytest.skip(f"{', '.join(missing)} not below {data_root}: `make data DATASET=mosi` fetches it")
    found: Path = minilm_files.WEIGHTS.fetch(data_root)
    return found


@pytest.mark.usefixtures("folder")
def test_text_is_tokens_that_training_has_numbers_for() -> None:
    splits = registry.load_dataset("mosi-tokens")
    text = {name: split.inputs["text"] for name, split in splits.parts().items()}
    assert {name: kind_of(x) for name, x in text.items()} == dict.fromkeys(text, TOKENS)
    assert [tuple(x.shape) for x in text.values()] == [(1160, 126), (287, 126), (752, 126)]
    assert all(bool((x[:, 0] == 101).all()) for x in text.values())
    highest = {name: int(x.max()) for name, x in text.items()}
    assert max(highest.values()) == highest["train"]
    known = set(text["train"].unique().tolist())
    shares = [1 - torch.isin(x[x != 0], torch.tensor(sorted(known))).double().mean() for x in list(text.values())[1:]]
    assert [round(float(share), 2) for share in shares] == [0.09, 0.08]


@pytest.mark.slow
def test_what_minilm_says_of_them_is_what_mosi_holds(folder: Path) -> None:
    """Up to the standardisation of mosi: a column of one is a straight line over that of the other."""
    tokens, embedded = (registry.load_dataset(name).train for name in ("mosi-tokens", "mosi"))
    assert tokens.ids == embedded.ids
    assert torch.equal(tokens.inputs["audio"], embedded.inputs["audio"])
    ids = tokens.inputs["text"][:40]
    encoder = BACKBONES["minilm"](Source((126,), TOKENS, 30522), width=4, depth=1, dropout=0.0)
    mine, its = encoder.eval()[0](ids).double(), embedded.inputs["text"][:40].double()  # type: ignore[index]
    for column in (0, 100, 383):
        pair = torch.stack([mine[:, column], its[:, column]])
        assert torch.corrcoef(pair)[0, 1] > 0.9999


def test_texts_are_cut_and_filled(folder: Path) -> None:
    ids = mosi_tokens.token_ids(["good", "word " * 300], folder)
    assert ids.shape == (2, 256)
    assert ids[0].tolist() == [101, 2204, 102] + [0] * 253
    assert ids[1, -1] == 102
