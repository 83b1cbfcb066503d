"""CLEVR v1.0 from a small tree in its layout, and what can be wrong with one; both question datasets end to end."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks import registry
from benchmarks.methods import METHODS
from dmil.data import Splits
from tests.made_bench import bench_every_method
from tests.made_questions import COLOURS, assert_refused, colour_of, edit_json, made_clevr, made_vqa

clips = import_module("benchmarks.datasets._clips")
clevr = import_module("benchmarks.datasets.clevr")

Damage = Callable[[Path], object]

QUESTIONS = "questions/CLEVR_{}_questions.json"
PICTURE = "images/val/CLEVR_val_000002.png"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(clips, "n_cores", lambda: 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_clevr(tmp_path / "data")


@pytest.fixture
def splits(folder: Path) -> Splits:
    return registry.load_dataset("clevr", root=folder.parent)


def test_the_answers_are_the_28_of_the_paper() -> None:
    assert len(set(clevr.ANSWERS)) == len(clevr.ANSWERS) == 28


def test_every_question_has_its_picture_its_words_and_its_answer(splits: Splits) -> None:
    assert splits.task.class_names == clevr.ANSWERS
    assert {name: len(split) for name, split in splits.parts().items()} == {"train": 66, "valid": 6, "test": 18}
    vocabulary = ["are", "there", "things", "any", "color", "how", "is", "it", "many", "not", "or", "red", "what"]
    shown = {
        0: ["what", "color", "is", "it"],
        1: ["are", "there", "any", "red", "things", "or", "not"],
        2: ["how", "many", "things", "are", "there"],
    }
    for part, split in splits.parts().items():
        assert split.inputs["image"].shape == (len(split) // 3, 3, 224, 224)
        rows = zip(split.ids, split.groups, split.rows["image"], split.inputs["question"], split.target, strict=True)
        for name, group, row, tokens, target in rows:
            official, _, index = name.partition("-")
            image, kind = divmod(int(index), 3)
            assert (official, group) == ("val" if part == "test" else "train", f"CLEVR_{official}_{image:06d}")
            colour = colour_of(image)
            expected = torch.tensor(COLOURS[colour], dtype=torch.uint8)[:, None, None]
            assert (split.inputs["image"][row] == expected).all()
            assert clevr.ANSWERS[target] == [colour, "yes" if colour == "red" else "no", str(image % 11)][kind]
            numbers = [vocabulary.index(word) + 2 for word in shown[kind]]
            assert tokens.tolist() == numbers + [0] * (7 - len(numbers))


def test_no_picture_is_in_two_splits_and_a_part_says_that_it_is_one(splits: Splits) -> None:
    groups = [set(split.groups) for split in splits.parts().values()]
    assert [len(found) for found in groups] == [22, 2, 6]
    assert len(set.union(*groups)) == 30
    assert splits.card.warning is not None
    assert "questions 72 of 699,989 (train), 18 of 149,991 (val)" in splits.card.warning


def test_readers_see_the_questions(folder: Path, tmp_path: Path) -> None:
    texts = registry.describe("clevr", root=folder.parent)
    assert texts is not None
    assert texts["val-4"] == "Are there any red things; or not?"
    assert registry.describe("clevr", root=tmp_path) == {}


def entry(number: int, **values: object) -> Damage:
    return lambda folder: edit_json(
        folder / QUESTIONS.format("val"), lambda content: content["questions"][number].update(values)
    )


WRONG: list[tuple[Damage, str, str]] = [
    (lambda folder: (folder / "images").rename(folder / "pictures"), "images/train", "is missing: download CLEVR"),
    (lambda folder: (folder / PICTURE).unlink(), PICTURE, "is missing, but question val-8 is about it: unpack"),
    (
        lambda folder: (folder / PICTURE).write_bytes((folder / PICTURE).read_bytes()[:60]),
        PICTURE,
        "is damaged or no picture",
    ),
    (entry(3, answer="orange"), QUESTIONS.format("val"), "'orange', the answer to question 3, is none of yes, no, 0,"),
    (entry(3, answer=3), QUESTIONS.format("val"), "'answer' of entry 3 of 'questions' must be of type str, but is 3"),
    (
        entry(3, image_filename="../train/CLEVR_train_000000.png"),
        QUESTIONS.format("val"),
        "question 3 is about '../train/CLEVR_train_000000.png', which is no image of the val part",
    ),
    (entry(3, question_index=4), QUESTIONS.format("val"), "question_index 4 is there more than once"),
    (
        lambda folder: (folder / QUESTIONS.format("train")).write_text('{"scenes": []}'),
        QUESTIONS.format("train"),
        "is not a file of CLEVR questions with answers: it has no list 'questions'",
    ),
]


@pytest.mark.parametrize(("damage", "name", "message"), WRONG, ids=[message[:40] for _, _, message in WRONG])
def test_what_is_wrong_is_one_line_that_names_the_file(
    damage: Damage, name: str, message: str, folder: Path, tmp_path: Path
) -> None:
    damage(folder)
    assert_refused("clevr", folder, name, message)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "make"), [("vqa", made_vqa), ("clevr", made_clevr)])
def test_every_method_runs_on_pictures_and_questions(
    dataset: str, make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    make(data)
    entry = "{encoders: {image: cnn, question: transformer}, settings: {all: {width: 8}}}"
    assert bench_every_method(dataset, entry, data=data, folder=tmp_path, monkeypatch=monkeypatch) == set(METHODS)
