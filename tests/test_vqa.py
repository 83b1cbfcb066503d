"""VQA v2 from a small tree in its layout, and what can be wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks import registry
from benchmarks.__main__ import main
from benchmarks.audit import audit
from benchmarks.checks import PASS
from benchmarks.errors import UserError
from dmil.data import Split, Splits
from tests.made_questions import COLOURS, assert_refused, colour_of, edit_json, made_vqa

clips = import_module("benchmarks.datasets._clips")
questions = import_module("benchmarks.datasets._questions")
vqa = import_module("benchmarks.datasets.vqa")

Damage = Callable[[Path], object]

TRAIN_QUESTIONS, VAL_QUESTIONS = (f"v2_OpenEnded_mscoco_{part}2014_questions.json" for part in ("train", "val"))
TRAIN_ANSWERS, VAL_ANSWERS = (f"v2_mscoco_{part}2014_annotations.json" for part in ("train", "val"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(clips, "n_cores", lambda: 1)  # another process takes longer to start than to do this


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_vqa(tmp_path / "data")


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    """In two processes."""
    place = tmp_path_factory.mktemp("vqa")
    made_vqa(place / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DMIL_CACHE", str(place / "cache"))
        patch.setattr(clips, "n_cores", lambda: 2)
        return registry.load_dataset("vqa", root=place / "data")


def image_number(group: str) -> int:
    return int(group.rpartition("_")[2])


def test_every_question_has_its_picture_its_words_and_its_answer(splits: Splits) -> None:
    vocabulary = ["it", "is", "color", "isn't", "or", "red", "what"]  # by frequency, then alphabet
    for part, split in splits.parts().items():
        assert split.inputs["image"].dtype == torch.uint8
        assert split.inputs["image"].shape == (len(set(split.groups)), 3, 224, 224)
        assert split.inputs["question"].shape == (len(split), 6)
        rows = zip(split.ids, split.groups, split.rows["image"], split.inputs["question"], split.target, strict=True)
        for name, group, row, tokens, target in rows:
            colour, kind = colour_of(image_number(group)), int(name[-1])
            assert name.split("-")[1] == str(1000 * image_number(group) + kind)
            seen = split.inputs["image"][row].float().mean((1, 2))
            assert (seen - torch.tensor(COLOURS[colour])).abs().max() < 4  # JPEG rounds
            answer = {1: colour, 2: "yes" if colour == "red" else "no", 3: vqa.OTHER}[kind]
            assert splits.task.class_names[target] == answer
            words = {
                1: ["what", "color", "is", "it"],
                2: ["is", "it", "red", "or", "isn't", "it"],
                3: ["what", "is", "it"],
            }
            shown = words[kind] if part != "test" or kind != 2 else ["is", "?", "?"]
            numbers = [vocabulary.index(word) + 2 if word in vocabulary else questions.UNKNOWN for word in shown]
            assert tokens.tolist() == numbers + [0] * (6 - len(shown))


def test_questions_with_a_rare_answer_are_not_trained_on_and_never_right(splits: Splits) -> None:
    assert set(splits.task.class_names[:-1]) == {"red", "blue", "yes", "no"}
    assert {name: len(split) for name, split in splits.parts().items()} == {"train": 44, "valid": 6, "test": 18}
    other = len(splits.task.class_names) - 1
    assert splits.task.class_names[other] == vqa.OTHER
    counts = [int((split.target == other).sum()) for split in splits.parts().values()]
    assert counts == [0, 2, 6]
    assert "4 answers make the list" in splits.card.traps[0]
    assert "(22 of 66)" in splits.card.traps[0]
    assert "validation (2 of 6) and test (6 of 18)" in splits.card.traps[0]
    assert splits.card.warning is not None
    assert "questions 72 of 443,757 (train), 18 of 214,354 (val)" in splits.card.warning


def test_no_picture_is_in_two_splits(splits: Splits) -> None:
    groups = {name: set(split.groups) for name, split in splits.parts().items()}
    assert [len(found) for found in groups.values()] == [22, 2, 6]
    assert len(set.union(*groups.values())) == 30
    assert all(name.startswith("COCO_val2014") for name in groups["test"])


def test_it_is_prepared_once_and_the_same_each_time(folder: Path, splits: Splits, tmp_path: Path) -> None:
    registry.load_dataset("vqa", root=folder.parent)
    again = registry.load_dataset("vqa", root=tmp_path / "elsewhere")
    assert (again.checksum(), again.card, again.task) == (splits.checksum(), splits.card, splits.task)
    for one, other in zip(again.parts().values(), splits.parts().values(), strict=True):
        assert torch.equal(one.inputs["image"], other.inputs["image"])
        assert torch.equal(one.inputs["question"], other.inputs["question"])
        assert torch.equal(one.rows["image"], other.rows["image"])


def test_the_audit_finds_nothing_and_says_what_it_looked_at(splits: Splits) -> None:
    found = {check["name"]: check for check in audit(splits)["checks"]}
    assert {name: check["verdict"] for name, check in found.items() if name != "Duplicates"} == dict.fromkeys(
        ("Sample ids", "Groups", "Preprocessing", "Label leak"), PASS
    )
    assert "Every token of question that has a number is in training" in found["Preprocessing"]["text"]
    assert "Of image it sees means over a grid of 8x8" in found["Label leak"]["text"]


def test_data_prints_it(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DMIL_DATA", str(folder.parent))
    assert main(["data", "--dataset", "vqa"]) == 0
    printed = capsys.readouterr().out
    assert "vqa: train 44, valid 6, test 18" in printed
    assert "warning: Not the published dataset" in printed


def test_readers_see_the_questions(folder: Path, tmp_path: Path) -> None:
    texts = registry.describe("vqa", root=folder.parent)
    assert texts is not None
    assert len(texts) == 18
    assert texts["val-101002"] == "Is this crimson?"
    assert registry.describe("vqa", root=tmp_path) == {}


def test_words_and_numbers_by_hand() -> None:
    assert questions.words("What's on the 2 RED plates?!") == ["what's", "on", "the", "2", "red", "plates"]
    assert questions.frequent("bbacca", 2) == ["a", "b", "c"]
    assert questions.frequent("bbaccc", 2) == ["c", "b"]
    vocabulary = questions.Vocabulary.of(["a b c d", "b", "a b"], least=2, longest=3)
    assert (vocabulary.known, vocabulary.length) == (("b", "a"), 3)
    assert vocabulary.encode(["b a x b", ""]).tolist() == [[2, 3, 1], [0, 0, 0]]
    # d is cut off everywhere: a number for it would be one that training never shows
    assert questions.Vocabulary.of(["a b c d"], least=1, longest=3).known == ("a", "b", "c")


def drop(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def write(name: str, data: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(data)


def cut_short(name: str) -> Damage:
    return lambda folder: write(name, (folder / name).read_bytes()[:-200])(folder)


def edit(name: str, change: Callable[[dict[str, list[dict[str, object]]]], object]) -> Damage:
    return lambda folder: edit_json(folder / name, change)


PICTURE = "val2014/COCO_val2014_000000000103.jpg"
WRONG: list[tuple[Damage, str, str]] = [
    (drop(TRAIN_QUESTIONS), TRAIN_QUESTIONS, "is missing: download balanced real images"),
    (lambda folder: (folder / "val2014").rename(folder / "val"), "val2014", "is missing: download"),
    (drop(PICTURE), PICTURE, "is missing, but question val-103003 is about it: unpack"),
    (cut_short(PICTURE), PICTURE, "is damaged or no picture"),
    (write(PICTURE, b"hello"), PICTURE, "is damaged or no picture (cannot identify image file"),
    (write(PICTURE, b""), PICTURE, "is empty: get the file again"),
    (write(VAL_ANSWERS, b'{"annotations": ['), VAL_ANSWERS, "is not a file of VQA answers: it cannot be read as JSON"),
    (write(VAL_ANSWERS, b"[1]"), VAL_ANSWERS, "is not a file of VQA answers: it has no list 'annotations'"),
    (write(VAL_ANSWERS, b"\xff\xfe"), VAL_ANSWERS, "cannot be read as JSON"),
    (
        lambda folder: write(TRAIN_QUESTIONS, (folder / TRAIN_ANSWERS).read_bytes())(folder),
        TRAIN_QUESTIONS,
        "is not a file of VQA questions: it has no list 'questions'",
    ),
    (
        edit(VAL_QUESTIONS, lambda content: content["questions"][4].pop("image_id")),
        VAL_QUESTIONS,
        "'image_id' of entry 4 of 'questions' must be of type int, but is None",
    ),
    (
        edit(VAL_QUESTIONS, lambda content: content["questions"].append(content["questions"][0])),
        VAL_QUESTIONS,
        "question_id 101001 is there more than once",
    ),
    (
        edit(VAL_QUESTIONS, lambda content: content["questions"].pop(0)),
        VAL_ANSWERS,
        f"{VAL_QUESTIONS} has no question 101001, which is answered there",
    ),
    (
        edit(VAL_ANSWERS, lambda content: content["annotations"].pop(0)),
        VAL_ANSWERS,
        f"has no annotation of question 106003, which {VAL_QUESTIONS} asks",
    ),
    (
        edit(VAL_ANSWERS, lambda content: content["annotations"][0].update(image_id=101)),
        VAL_ANSWERS,
        "question 106003 is about image 101, but in",
    ),
    (
        edit(
            TRAIN_ANSWERS,
            lambda content: [one.update(multiple_choice_answer=str(i)) for i, one in enumerate(content["annotations"])],
        ),
        TRAIN_ANSWERS,
        "no answer is that of 9 training questions or more",
    ),
]


@pytest.mark.parametrize(("damage", "name", "message"), WRONG, ids=[message[:40] for _, _, message in WRONG])
def test_what_is_wrong_is_one_line_that_names_the_file(
    damage: Damage, name: str, message: str, folder: Path, tmp_path: Path
) -> None:
    damage(folder)
    assert_refused("vqa", folder, name, message)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_repaired_picture_is_all_that_is_decoded_again(folder: Path) -> None:
    whole = (folder / PICTURE).read_bytes()
    cut_short(PICTURE)(folder)
    with pytest.raises(UserError, match=PICTURE):
        registry.load_dataset("vqa", root=folder.parent)
    (folder / PICTURE).write_bytes(whole)
    test: Split = registry.load_dataset("vqa", root=folder.parent).test
    assert test.inputs["image"].float().mean((2, 3)).amax(1).min() > 250
