"""What a plan says of its samples: names of classes and, for mosi, what is said in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import registry
from benchmarks.errors import UserError
from benchmarks.run import describe_samples
from benchmarks.transfer import Transfer
from dmil.data import Card, Split, Splits, Task

mosi = import_module("benchmarks.datasets._mosi")

CARD = Card("toy", "Toy", "made up", "MIT", "none", "none", "none")


def made_splits() -> Splits:
    """Eight samples of four classes in each split."""
    split = Split(
        {"a": torch.zeros(8, 1)},
        torch.arange(8) % 4,
        ids=tuple(f"t{i}" for i in range(8)),
    )
    return Splits(split, split, split, Task(n_classes=4, class_names=("A", "B", "C", "D")), CARD)


def test_a_plan_says_what_classes_and_test_samples_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec: Any = SimpleNamespace(transfer=None, content={"dataset": "digits"})
    probed: Any = SimpleNamespace(transfer=Transfer((1, 2), (0, 3)), content={"dataset": "digits"})
    assert describe_samples(spec, made_splits()) == {"class_names": ["A", "B", "C", "D"]}
    assert describe_samples(probed, made_splits()) == {"class_names": ["A", "D"]}
    monkeypatch.setattr("benchmarks.run.describe", lambda name: {f"t{i}": f"text {i}" for i in range(1, 20)})
    assert describe_samples(probed, made_splits())["texts"] == {"t3": "text 3", "t4": "text 4", "t7": "text 7"}

    def refuse(name: str) -> dict[str, str]:
        raise UserError(f"dataset {name}: transcripts.csv is wrong")

    monkeypatch.setattr("benchmarks.run.describe", refuse)
    assert describe_samples(spec, made_splits())["texts"] == {}
    assert capsys.readouterr().err == (
        "warning: results will not show what samples say: dataset digits: transcripts.csv is wrong\n"
    )


def test_mosi_says_what_is_said(data_root: Path, require: Callable[[Path], Path], tmp_path: Path) -> None:
    path = require(data_root / "mosi" / "transcripts.csv")
    texts = registry.describe("mosi", root=data_root)
    assert texts
    assert texts == registry.describe("mosi-acl2017", root=data_root)
    assert set(texts) == set(mosi.read_utterances(data_root).ids)
    assert texts["03bSnISJMiM_1"] == "ANYHOW IT WAS REALLY GOOD"
    assert registry.describe("mosi", root=tmp_path) == {}, "prepared data need no raw files"
    (tmp_path / "mosi").mkdir()
    shutil.copyfile(path, tmp_path / "mosi" / path.name)
    with (tmp_path / "mosi" / path.name).open("a") as file:
        file.write("\n")
    with pytest.raises(UserError, match=r"dataset mosi: .*transcripts.csv has sha256"):
        registry.describe("mosi", root=tmp_path)


def test_other_datasets_have_no_texts() -> None:
    assert registry.describe("interactions") is None
    assert registry.describe("digits") is None
