"""CMU-MOSI and CMU-MOSEI: files that are missing, wrong or dangerous each give one line that names them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import registry
from benchmarks.encoders import checked
from benchmarks.errors import UserError
from benchmarks.methods import METHODS, left_out
from benchmarks.suite import load_suite
from tests.made_affect import made_content, write
from tests.made_checkout import Checkout


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_missing_file_is_one_line(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UserError) as error:
        registry.load_dataset("mosi-unaligned", root=tmp_path)
    path = tmp_path / "MOSI/Processed/unaligned_50.pkl"
    assert str(error.value).startswith(
        f"dataset mosi-unaligned: {path} is missing: get MOSI/Processed/unaligned_50.pkl"
    )
    assert registry.status("mosi-unaligned", root=tmp_path).missing == ("MOSI/Processed/unaligned_50.pkl",)
    assert not cache.exists()


def changed(part: str, key: str, change: Callable[[Any], Any]) -> dict[str, Any]:
    content = made_content()
    content[part][key] = change(content[part][key])
    return content


def put(index: int, value: Any) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[index] = value
        return array

    return change


def without(content: dict[str, Any], *path: str) -> dict[str, Any]:
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return content


FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "no dict": (lambda: [1, 2], "must hold the parts train, valid, test, but it is a list of 2"),
    "no valid": (lambda: without(made_content(), "valid"), "the parts train, valid, test, but it has train, test"),
    "no vision": (lambda: without(made_content(), "test", "vision"), "part test lacks vision: it has raw_text, audio"),
    "narrow audio": (
        lambda: changed("train", "audio", lambda x: x[..., :5]),
        "part train: audio must be an array of numbers (15, T, 74), but is float32 (15, 6, 5)",
    ),
    "flat text": (lambda: changed("train", "text", lambda x: x[0]), "text must be an array of numbers (15, T, 768)"),
    "too few rows": (lambda: changed("valid", "vision", lambda x: x[1:]), "(9, T, 35), but is float32 (8, 6, 35)"),
    "a list of features": (lambda: changed("train", "audio", list), "but is a list of 15"),
    "other words": (lambda: changed("train", "text_bert", lambda x: x[:, :2]), "text_bert must be an array (15, 3, 6)"),
    "a short part": (
        lambda: changed("test", "audio", lambda x: x[:, :5]), "audio has sequences of [5, 6] steps",
    ),
    "not aligned": (
        lambda: {p: x | {"vision": np.repeat(x["vision"], 2, 1)} for p, x in made_content().items()},
        "is not aligned",
    ),
    "a large label": (
        lambda: changed("test", "regression_labels", put(4, 3.5)),
        "part test: test-video1$_$1 has the label 3.5, but labels lie in [-3, 3]",
    ),
    "no number as label": (lambda: changed("train", "regression_labels", put(0, np.nan)), "has the label nan"),
    "labels as texts": (
        lambda: changed("train", "regression_labels", lambda x: [str(one) for one in x]), "must be 15 numbers",
    ),
    "too few labels": (lambda: changed("train", "regression_labels", lambda x: x[1:]), "but is float32 (14,)"),
    "a sample twice": (
        lambda: changed("valid", "id", put(1, "valid-video0$_$0")), "sample 'valid-video0$_$0' is there twice",
    ),
    "a video in two parts": (
        lambda: changed("test", "id", put(0, "train-video0$_$7")), "video 'train-video0' is in train and in test",
    ),
    "another name": (lambda: changed("train", "id", put(3, "sample 3")), "must be named video$_$number, but there is"),
    "names as numbers": (lambda: changed("train", "id", lambda x: np.arange(15)), "id must be a list of texts"),
    "no samples": (
        lambda: changed("valid", "id", lambda x: []), "samples must be named video$_$number, but there is none",
    ),
    "few texts": (lambda: changed("test", "raw_text", lambda x: x[2:]), "raw_text has 7 entries, but there are 9"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_one_line_that_names_it(fault: str, tmp_path: Path, cache: Path) -> None:
    make, message = FAULTS[fault]
    path = write(tmp_path, make())
    with pytest.raises(UserError) as error:
        registry.load_dataset("mosei", root=tmp_path)
    text = str(error.value)
    assert text.startswith(f"dataset mosei: {path}")
    assert message in text
    assert text.isprintable()
    assert not list(cache.rglob("*.npy"))


def test_lists_and_python_2_texts_do_as_well(tmp_path: Path, cache: Path) -> None:
    content = made_content()
    write(tmp_path, content)
    expected = registry.load_dataset("mosei", root=tmp_path)
    for part in content.values():
        part["id"] = [str(one).encode() for one in part["id"]]
        part["regression_labels"] = part["regression_labels"].reshape(-1, 1)
        del part["raw_text"]
    write(tmp_path / "other", content)
    found = registry.load_dataset("mosei", root=tmp_path / "other", recheck=True)
    assert found.test.ids == expected.test.ids
    assert torch.equal(found.test.inputs["audio"], expected.test.inputs["audio"])
    assert torch.equal(found.test.target, expected.test.target)


@pytest.fixture
def dangerous(tmp_path: Path) -> Path:
    """A data folder whose file would leave a mark, ``ran``, if it were run."""
    content: dict[str, Any] = made_content()
    content["train"]["annotations"] = np.array([Evil(tmp_path / "ran")] * 15, dtype=object)
    write(tmp_path / "evil", content)
    return tmp_path / "evil"


def test_a_dangerous_file_is_refused(dangerous: Path, cache: Path) -> None:
    for ask in (registry.load_dataset, registry.prepare, registry.describe):
        with pytest.raises(UserError, match=r"is refused, and nothing of it was run: it asks for posix\.system;"):
            ask("mosei", root=dangerous)
    assert not (dangerous.parent / "ran").exists()
    assert not cache.exists()


@pytest.mark.slow
def test_a_dangerous_file_is_refused_by_make_data(dangerous: Path, cache: Path, root: Path) -> None:
    """As a user meets it: one line, exit status 2, nothing run, nothing written."""
    command = [sys.executable, "-m", "benchmarks", "data", "--dataset", "mosei"]
    environment = os.environ | {"DMIL_DATA": str(dangerous)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "is refused, and nothing of it was run: it asks for posix.system;" in done.stderr
    assert not (dangerous.parent / "ran").exists()
    assert not cache.exists()


class Evil:
    """Unpickled, it runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "corpus", "alignment"), [
    ("mosei-vt", "mosei", "aligned"), ("mosei-regression", "mosei", "aligned"),
    ("mosi-unaligned", "mosi_sequences", "unaligned"),
])  # fmt: skip
def test_every_method_runs(dataset: str, corpus: str, alignment: str, tmp_path: Path, root: Path) -> None:
    write(tmp_path / "data", made_content(corpus, alignment), corpus, alignment)
    checkout = Checkout(root, tmp_path / "checkout")
    environment: dict[str, Any] = {"DMIL_DATA": str(tmp_path / "data"), "DMIL_CACHE": str(tmp_path / "cache")}
    prepared = checkout.run("benchmarks", "data", "--dataset", dataset, **environment)
    assert f"{dataset}: train 15, valid 9, test 9;" in prepared
    methods = ("--methods", ",".join(METHODS))
    printed = checkout.bench("--dataset", dataset, "--epochs", "2", "--seeds", "1", *methods, **environment)
    splits = registry.load_dataset(dataset, root=tmp_path / "data")
    out = left_out(METHODS, checked(load_suite("leaderboard", dataset).encoders, splits.train), splits.task)
    n_rows = len(METHODS) - len(out) - 1 + len(splits.train.inputs)  # each modality alone
    assert f"{n_rows} of {n_rows} runs trained" in printed
    assert set(out) <= {"factorcl", "pmr", "qmf"}
