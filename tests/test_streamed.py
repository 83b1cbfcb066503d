"""Datasets too large for one file: their media lie in memory-mapped arrays, made of files that the user puts there."""

from __future__ import annotations

import shutil
from collections import Counter
from importlib import import_module, util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from dmil.data import Splits
from tests.made_media import write_numbers

by_hand = import_module("benchmarks.datasets._by_hand")
cache = import_module("benchmarks.datasets._cache")
files = import_module("benchmarks.datasets._files")

STREAMED = """
from functools import partial
from pathlib import Path
import torch
from dmil.data import Card, Split, Splits, Task
from benchmarks.datasets._by_hand import ByHand
from benchmarks.datasets._clips import Column, build
from tests.made_media import read_number

RAW = (ByHand("numbers", "write them"),)
LIBRARIES = ("torch", "no-such-library")
STREAMED = True
CARD = Card("toy", "Toy", "made up", "MIT", "none", "none", "none", modalities={"x": "X", "y": "Y", "z": "Z"})
HAS_FILES = True
calls = []


def files_of(root: Path, item: str) -> list[Path]:
    return [root / "numbers" / item]


def prepare(root: Path, folder: Path) -> Splits:
    calls.append(root)
    columns = (Column("x", (2, 3), "float32"), Column("y", (1,)))
    items = sorted(path.name for path in (root / "numbers").glob("*.txt"))
    cuts = {"train": items[:2], "valid": items[2:4], "test": items[4:]}
    splits = {}
    for part, names in cuts.items():
        read = partial(read_number, root / "numbers" / ".log")
        files = partial(files_of, root) if HAS_FILES else None
        arrays = build(folder / part, names, columns, read, title=part, files=files)
        arrays["z"] = torch.ones(2, 5)
        n = len(names)
        rows = {"z": torch.zeros(n, dtype=torch.long)}
        splits[part] = Split(arrays, torch.zeros(n, dtype=torch.long), ids=tuple(names), rows=rows)
    return Splits(splits["train"], splits["valid"], splits["test"], Task(), CARD)
"""


@pytest.fixture
def streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A dataset of arrays, its raw files below ``tmp_path``."""
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "toy.py"
    path.write_text(STREAMED)
    spec = util.spec_from_file_location("streamed_toy", path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    write_numbers(tmp_path / "numbers", 6)
    return module


def test_a_streamed_dataset_comes_back_without_its_raw_files(streamed: ModuleType, tmp_path: Path) -> None:
    first = cache.load("toy", streamed, tmp_path)
    second = cache.load("toy", streamed, tmp_path / "not there")
    assert streamed.calls == [tmp_path]
    assert first.checksum() == second.checksum() == second.digest
    assert (second.task, second.card) == (first.task, first.card)
    for part, split in second.parts().items():
        assert list(split.inputs) == ["x", "y", "z"]
        assert all(torch.equal(x, first.parts()[part].inputs[m]) for m, x in split.inputs.items())
        assert split.rows["z"].tolist() == [0, 0]
    assert second.test.inputs["y"].flatten().tolist() == [4, 5]
    (record,) = (tmp_path / "cache" / "toy").glob("*.safetensors")
    assert record == cache.location("toy", streamed)
    assert record.stat().st_size < 5000


def test_the_digest_is_of_the_content(streamed: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same files elsewhere give the same; another number in one of them, of the same length, does not."""
    first = cache.load("toy", streamed, tmp_path).digest
    shutil.copytree(tmp_path / "numbers", tmp_path / "moved" / "numbers")
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "other"))
    assert cache.load("toy", streamed, tmp_path / "moved").digest == first
    (tmp_path / "numbers" / "5.txt").write_text("7")
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "third"))
    assert cache.load("toy", streamed, tmp_path).digest != first


def test_changed_raw_files_are_noticed_when_asked_for(streamed: ModuleType, tmp_path: Path) -> None:
    first = cache.load("toy", streamed, tmp_path)
    (tmp_path / "numbers" / "6.txt").write_text("6")
    assert cache.load("toy", streamed, tmp_path).digest == first.digest
    again = cache.load("toy", streamed, tmp_path, recheck=True)
    assert len(again.test) == 3
    assert again.digest != first.digest
    assert cache.load("toy", streamed, tmp_path, recheck=True).digest == again.digest
    assert len(streamed.calls) == 2
    assert len([path for path in (tmp_path / "cache" / "toy").iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize("has_files", [True, False])
def test_what_is_made_of_another_file_is_made_again(streamed: ModuleType, tmp_path: Path, has_files: bool) -> None:
    """Number 1 changes while the dataset is unfinished, for 5 is damaged; number 3 after it was finished."""
    streamed.__dict__["HAS_FILES"] = has_files
    raw = tmp_path / "numbers"
    (raw / "5.txt").write_text("no number")
    with pytest.raises(files.DataError, match="holds 'no number'"):
        cache.load("toy", streamed, tmp_path)
    (raw / "5.txt").write_text("5")
    (raw / "1.txt").write_text("11")
    assert numbers(cache.load("toy", streamed, tmp_path)) == [0, 11, 2, 3, 4, 5]
    (raw / "3.txt").write_text("33")
    assert numbers(cache.load("toy", streamed, tmp_path)) == [0, 11, 2, 3, 4, 5]
    assert numbers(cache.load("toy", streamed, tmp_path, recheck=True)) == [0, 11, 2, 33, 4, 5]
    n_reads = Counter((raw / ".log").read_text().split())
    assert sum(n_reads.values()) == (6 + 2 + 1 if has_files else 3 * 6)
    assert n_reads["0.txt"] == (1 if has_files else 3)


def numbers(splits: Splits) -> list[int]:
    return [int(y) for split in splits.parts().values() for y in split.inputs["y"].flatten()]


def test_a_lost_array_is_made_again(streamed: ModuleType, tmp_path: Path) -> None:
    first = cache.load("toy", streamed, tmp_path)
    (lost,) = (tmp_path / "cache" / "toy").glob("*/valid/x.npy")
    lost.unlink()
    again = cache.load("toy", streamed, tmp_path)
    assert again.digest == first.digest
    assert torch.equal(again.valid.inputs["x"], first.valid.inputs["x"])


def test_missing_files_are_one_line_of_advice(streamed: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(files.DataError) as error:
        cache.load("toy", streamed, tmp_path / "not there")
    assert str(error.value) == f"{tmp_path / 'not there' / 'numbers'} is missing: write them"
    assert not (tmp_path / "cache").exists()
    (tmp_path / "not there" / "numbers").mkdir(parents=True)
    with pytest.raises(files.DataError, match="there is nothing to prepare"):
        cache.load("toy", streamed, tmp_path / "not there")
    assert not (tmp_path / "cache").exists()


def test_names_and_sizes_make_a_fingerprint(tmp_path: Path) -> None:
    write_numbers(tmp_path / "a", 3)
    raw = by_hand.ByHand("a", "")
    prints = [by_hand.fingerprint([raw], tmp_path)]
    (tmp_path / "a" / ".hidden").write_text("not counted")
    assert by_hand.fingerprint([raw], tmp_path) == prints[0]
    (tmp_path / "a" / "0.txt").write_text("longer")
    prints.append(by_hand.fingerprint([raw], tmp_path))
    (tmp_path / "a" / "0.txt").rename(tmp_path / "a" / "9.txt")
    prints.append(by_hand.fingerprint([raw], tmp_path))
    assert len(set(prints)) == 3
