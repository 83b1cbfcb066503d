"""VQA v2: questions that people asked about photographs, answered by other people; the paper's first synergy test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dmil.data import Card, Splits

from ._by_hand import ByHand
from ._download import DataError
from ._files import fetch
from ._questions import Question, by_image, frequent, incomplete, read_entries, splits_of

FOLDER = "vqa"
PARTS = ("train", "val")
_ADVICE = (
    "download balanced real images, questions and annotations of VQA v2 (training and validation) from "
    f"visualqa.org/download.html and unpack all six archives into the folder {FOLDER} below the data root"
)
QUESTIONS = {part: f"v2_OpenEnded_mscoco_{part}2014_questions.json" for part in PARTS}
ANNOTATIONS = {part: f"v2_mscoco_{part}2014_annotations.json" for part in PARTS}
IMAGES = {part: f"{part}2014" for part in PARTS}
RAW = tuple(
    ByHand(f"{FOLDER}/{name}", _ADVICE) for names in (QUESTIONS, ANNOTATIONS, IMAGES) for name in names.values()
)
LIBRARIES = ("torch", "numpy", "pillow")
STREAMED = True

OFFICIAL = {"train": 443_757, "val": 214_354}  # questions
VALID = 0.1  # of the images of training
LEAST_ANSWER = 9  # times that an answer must be the one of a training question
LEAST_WORD, LONGEST = 3, 24
OTHER = "(not in the list)"

CARD = Card(
    name="vqa",
    title="VQA v2, open questions about photographs (image, question)",
    source="visualqa.org, VQA v2 balanced real images; images of COCO 2014",
    licence="CC BY 4.0 (questions, answers); photographs under the terms of Flickr",
    citation="Goyal, Khot, Summers-Stay, Batra, Parikh: Making the V in VQA Matter: Elevating the Role of Image "
    "Understanding in Visual Question Answering, CVPR 2017. Images: Lin et al.: Microsoft COCO, ECCV 2014.",
    split_rule="test is the official validation part, for the answers of the official test part are not public; "
    "validation is all questions about a tenth of the images of the official training part, drawn by image",
    preprocessing="images squeezed to 224x224 (bicubic); questions in lower case, as words without punctuation, cut "
    f"off after {LONGEST} words; words that training questions use fewer than {LEAST_WORD} times are one unknown word; "
    "an answer is the most common one of ten people, as the annotations state it; the classes are the answers to "
    f"{LEAST_ANSWER} training questions or more",
    traps=(
        "Accuracy here is not the official one. Ours: right is the single most common of ten answers. Official: an "
        "answer that n of ten people gave is worth min(n / 3, 1), which is mostly more: the two cannot be compared.",
        "The usual list of 3129 answers counts the validation part as well, which is the test part here. Ours is made "
        "of training questions alone and therefore shorter.",
        "The question alone goes far: the most common answer, yes, has an official accuracy of 26 %, a network that "
        "sees no image 44 % (Goyal et al., Table 1). Compare with the unimodal rows, not with chance.",
        "DMIL's published numbers (ensemble 58.03, joint 67.69, DMIL 70.08 %) come without list of answers, split and "
        "score; they cannot be compared with any here.",
    ),
    modalities={"image": "3 x 224 x 224 pixels", "question": f"up to {LONGEST} words"},
)


def prepare(root: Path, folder: Path) -> Splits:
    """Raises DataError where files are missing, damaged or no VQA v2, or where training has no frequent answer."""
    fetch(RAW, root)
    raw = root / FOLDER
    found = {part: read(raw, part) for part in PARTS}
    train, valid = by_image(found["train"], VALID, CARD.name)
    answers = frequent((question.answer for question in train), LEAST_ANSWER)
    if not answers:
        raise DataError(f"{raw / ANNOTATIONS['train']}: no answer is that of {LEAST_ANSWER} training questions or more")
    known = set(answers)
    kept = [question for question in train if question.answer in known]
    parts = {"train": kept, "valid": _listed(valid, known), "test": _listed(found["val"], known)}
    n_outside = {part: sum(one.answer == OTHER for one in parts[part]) for part in ("valid", "test")}
    outside = (
        f"{len(answers):,} answers make the list. Questions with another one are left out of training "
        f"({len(train) - len(kept):,} of {len(train):,}) and wrong for every method in validation "
        f"({n_outside['valid']:,} of {len(valid):,}) and test ({n_outside['test']:,} of {len(found['val']):,}): they "
        "are of a last class that no training question has. This weighs on likelihood, F1 and calibration as well."
    )
    n_found = {part: len(found[part]) for part in PARTS}
    card = replace(CARD, traps=(outside, *CARD.traps), warning=incomplete(n_found, OFFICIAL))
    return splits_of(raw, folder, parts, (*answers, OTHER), least=LEAST_WORD, longest=LONGEST, card=card)


def describe(root: Path) -> dict[str, str]:
    """Test question -> its text; empty where its file is not there. Raises DataError where it is wrong."""
    path = root / FOLDER / QUESTIONS["val"]
    if not path.is_file():
        return {}
    return {_id("val", entry): entry["question"] for entry in _questions(path)}


def read(raw: Path, part: str) -> list[Question]:
    """The answered questions of one official part, in the order of their file.

    Raises DataError where a file is no such file, or questions and annotations do not belong together.
    """
    path, other = raw / QUESTIONS[part], raw / ANNOTATIONS[part]
    wanted = {"question_id": int, "image_id": int, "multiple_choice_answer": str}
    annotations = {
        one["question_id"]: one for one in read_entries(other, "annotations", wanted, "a file of VQA answers")
    }
    asked = []
    for entry in _questions(path):
        number = entry["question_id"]
        answered = annotations.pop(number, None)
        if answered is None:
            raise DataError(f"{other} has no annotation of question {number}, which {path.name} asks: {_PAIR}")
        if answered["image_id"] != entry["image_id"]:
            raise DataError(
                f"{other}: question {number} is about image {answered['image_id']}, but in {path.name} about "
                f"{entry['image_id']}: {_PAIR}"
            )
        image = f"{IMAGES[part]}/COCO_{part}2014_{entry['image_id']:012d}.jpg"
        answer = answered["multiple_choice_answer"].strip().lower()
        asked.append(Question(_id(part, entry), image, entry["question"], answer))
    if annotations:
        raise DataError(f"{other}: {path.name} has no question {min(annotations)}, which is answered there: {_PAIR}")
    return asked


def _questions(path: Path) -> list[dict[str, Any]]:
    wanted = {"question_id": int, "image_id": int, "question": str}
    return read_entries(path, "questions", wanted, "a file of VQA questions")


def _id(part: str, entry: dict[str, Any]) -> str:
    return f"{part}-{entry['question_id']}"


def _listed(questions: Sequence[Question], known: set[str]) -> list[Question]:
    """The same questions, an answer that is not known being ``OTHER``."""
    return [one if one.answer in known else replace(one, answer=OTHER) for one in questions]


_PAIR = "unpack the archives of questions and annotations again, both of VQA v2"
