"""A user's own data: every way to get the card or a file wrong is one line that names the place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.made_folder import STEPS, Edit, N, edit, put, refused, shown, write_pets


@pytest.fixture
def pets(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))
    return write_pets(tmp_path / "data" / "pets", shown(root)["yaml"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(title=None), "lacks title; it needs title, samples, target, modalities"),
        (put(title=3), "title must be text, but got 3 (put it in quotes)"),
        (put(titel="x"), "key 'titel' is unknown; did you mean 'title'?"),
        (put(task="regresion"), "task 'regresion' is unknown; did you mean 'regression'?"),
        (put(task="regression", classes=["cat", "dog"]), "classes are for a classification"),
        (put(task="regression"), "column 'species' must hold finite numbers, but row 1 has"),
        (put(classes=["cat", "dog"]), "which the card's classes lack"),
        (put(classes=["cat", "dog", "eel", "fox"]), "no training sample has species 'fox'"),
        (put(classes=[True, False]), "classes must be a list of texts, but it holds True"),
        (put(classes=["cat", "cat"]), "classes must be two or more different ones, but got cat, cat"),
        (put(target="specie"), "column for target 'specie' is unknown; did you mean 'species'?"),
        (put(target="name", id=None), "holds 120 classes in 120 samples; if it is a number to be predicted"),
        (put(id="owner"), "column 'owner' has 'owner "),
        (put(samples="samples.xlsx"), "samples: 'samples.xlsx' must end in .csv, .tsv, .parquet"),
        (put(samples="other.csv"), "other.csv is missing, but"),
        (put(samples="../pets/samples.csv"), "must lie in the card's folder or below it"),
        (put(look=None), "modalities must name two or more, but got 1"),
        (put(look=3), "modality 'look': must be a mapping with the keys file, kind"),
        (put(look={"kind": "features"}), "modality 'look' lacks file"),
        (put(look={"file": "look.csv", "lengths": "n_steps"}), "lengths is for arrays, but file is look.csv"),
        (put(look={"file": "look.csv", "columns": ["a", "e"]}), "look.csv: column 'e' is unknown"),
        (put(look={"file": "samples.csv", "columns": ["species"]}), "'species' says target, id, group or split"),
        (put(look={"file": "samples.csv", "columns": ["n_*", "species"]}), "'species' says target"),
        (put(sound={"file": "sound.npy", "steps": 0}), "steps must lie in 1..2000, but got 0"),
        (put(sound={"file": "sound.npy", "steps": True}), "steps must be a whole number, but got True"),
        (put(look={"file": "sound.npy", "kind": "clip"}), "clip must be (N, F, C, H, W), but its shape is"),
        (put(sound={"file": "sound.npy", "kind": "features"}), "features must have 2 dimensions, but its shape is"),
        (put(sound="sound.npy"), "steps that are not finite numbers"),
        (put(sound={"file": "sound.npy", "lengths": "steps"}), "column for lengths of sound 'steps' is unknown"),
        (put(**{"split": {"test": 1.5}}), "split test must be a share between 0 and 1, but got 1.5"),
        (put(**{"split": {"test": 0.6, "valid": 0.4}}), "split leaves nothing to train on"),
        (put(**{"split": {"tset": 0.2}}), "split key 'tset' is unknown; did you mean 'test'?"),
        (put(**{"split": "owner"}), "column 'owner', row 1: the split 'owner"),
        (put(**{"split": {"test": 0.001, "valid": 0.001}, "group": None}), "no sample is left for valid and test"),
    ],
)  # fmt: skip
def test_a_card_that_does_not_fit_is_one_line_that_names_the_place(pets: Path, change: Edit, message: str) -> None:
    edit(pets, change)
    refused(pets, message)


def text(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Replaces the first ``old`` in a file."""

    def change(place: Path) -> None:
        content = (place / name).read_text()
        assert old in content
        (place / name).write_text(content.replace(old, new, 1))

    return change


def array(name: str, value: Any) -> Callable[[Path], None]:
    return lambda place: np.save(place / name, value, allow_pickle=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda place: (place / "sound.npy").unlink(), "sound.npy is missing, but"),
        (lambda place: (place / "card.yaml").unlink(), "card.yaml is missing: it says what the dataset is"),
        (text("card.yaml", "title:", "title: ["), "card.yaml is not valid YAML"),
        (text("card.yaml", "id: name", "id: name\nid: owner"), "card.yaml: 'id' stands there twice"),
        (lambda place: (place / "card.yaml").write_text("pets"), "must be a mapping with the keys title, samples"),
        (text("samples.csv", "name,species", "name,name"), "the first row must name every column"),
        (text("samples.csv", "pet1,", "pet1,x,"), "cannot be read as a table"),
        (text("samples.csv", "pet0,", "pet0,x,"), "row 1 has 5 cells, but there are 4 columns"),
        (text("samples.csv", "pet1,", ","), "samples.csv: column 'name' is empty in row 2"),
        (text("samples.csv", "pet1,", "pet0,"), "has 'pet0' twice: ids must differ"),
        (text("samples.csv", "pet7,", "pet777,"), "which is no sample of samples.csv"),
        (text("look.csv", "pet7,", "pet8,"), "look.csv: "),
        (text("look.csv", "pet7,", "pet7,x"), "look.csv: column 'a' must hold finite numbers, but row"),
        (text("look.csv", "pet7,", "pet7,inf"), "look.csv: column 'a' must hold finite numbers, but row"),
        (array("sound.npy", np.zeros((N - 1, STEPS, 2))), "120 rows are expected, one for each sample"),
        (array("sound.npy", np.zeros((N, STEPS - 3, 2))), "must hold lengths from 1 to 6"),
        (array("sound.npy", np.zeros((N, 2))), "lengths is not for features"),
        (array("sound.npy", np.full((N, 2), "x")), "must hold numbers, but its type is <U1"),
        (array("sound.npy", np.array([print] * N)), "cannot be read as an array of numbers"),
        (lambda place: (place / "sound.npy").write_bytes(b""), "cannot be read as an array of numbers"),
        (lambda place: (place / "samples.csv").write_bytes(b"\xff\xfe"), "cannot be read as a table"),
        (lambda place: (place / "samples.csv").write_text("name,species,owner,n_steps\n"), "has no samples"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_one_line_that_names_it(
    pets: Path, change: Callable[[Path], None], message: str
) -> None:
    change(pets)
    refused(pets, message)
