"""CLEVR v1.0: made questions about made images, with one right answer each; the paper's second synergy test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dmil.data import Card, Splits

from ._by_hand import ByHand
from ._download import DataError
from ._files import fetch
from ._questions import Question, by_image, incomplete, read_entries, splits_of

FOLDER = "CLEVR_v1.0"
PARTS = ("train", "val")
_ADVICE = (
    "download CLEVR_v1.0.zip (18 GB) from cs.stanford.edu/people/jcjohns/clevr and unpack it in the data root, which "
    f"makes the folder {FOLDER}"
)
QUESTIONS = {part: f"questions/CLEVR_{part}_questions.json" for part in PARTS}
IMAGES = {part: f"images/{part}" for part in PARTS}
RAW = tuple(ByHand(f"{FOLDER}/{name}", _ADVICE) for names in (QUESTIONS, IMAGES) for name in names.values())
LIBRARIES = ("torch", "numpy", "pillow")
STREAMED = True

OFFICIAL = {"train": 699_989, "val": 149_991}  # questions
VALID = 0.1  # of the images of training
LEAST_WORD, LONGEST = 1, 48
ANSWERS = (
    "yes", "no",
    *map(str, range(11)),
    "cube", "cylinder", "sphere",
    "large", "small",
    "metal", "rubber",
    "blue", "brown", "cyan", "gray", "green", "purple", "red", "yellow",
)  # fmt: skip

CARD = Card(
    name="clevr",
    title="CLEVR v1.0, questions about rendered scenes of simple solids (image, question)",
    source="cs.stanford.edu/people/jcjohns/clevr, CLEVR_v1.0.zip",
    licence="CC BY 4.0",
    citation="Johnson, Hariharan, van der Maaten, Fei-Fei, Zitnick, Girshick: CLEVR: A Diagnostic Dataset for "
    "Compositional Language and Elementary Visual Reasoning, CVPR 2017.",
    split_rule="test is the official validation part, for the answers of the official test part are not public; "
    "validation is all questions about a tenth of the images of the official training part, drawn by image",
    preprocessing="images squeezed from 480x320 to 224x224 (bicubic); questions in lower case, as words without "
    f"punctuation, cut off after {LONGEST} words; every word of the training questions has its number, any other is "
    "the unknown word; programs, scenes and question types are not used",
    traps=(
        "The question alone goes far: the most common answer of each type of question is right on 42 %, a recurrent "
        "network that sees no image on 47 % (Johnson et al., on the official test part). Compare with the unimodal "
        "rows, not with chance.",
        "Images, questions and answers come from one generator, and so do all splits: nothing here is about natural "
        "images or language.",
        "Encoders that pool the whole image into one vector before the question is heard stay far below models made "
        "for it (about 52 % against 95 % and more).",
        "DMIL's published numbers (ensemble 58.35, joint 62.65, DMIL 63.08 %) come without split and encoders; they "
        "cannot be compared with any here.",
    ),
    modalities={"image": "3 x 224 x 224 pixels", "question": f"up to {LONGEST} words"},
)


def prepare(root: Path, folder: Path) -> Splits:
    """Raises DataError where files are missing, damaged or not those of CLEVR v1.0."""
    fetch(RAW, root)
    raw = root / FOLDER
    found = {part: read(raw, part) for part in PARTS}
    train, valid = by_image(found["train"], VALID, CARD.name)
    parts = {"train": train, "valid": valid, "test": found["val"]}
    n_found = {part: len(found[part]) for part in PARTS}
    card = replace(CARD, warning=incomplete(n_found, OFFICIAL))
    return splits_of(raw, folder, parts, ANSWERS, least=LEAST_WORD, longest=LONGEST, card=card)


def describe(root: Path) -> dict[str, str]:
    """Test question -> its text; empty where its file is not there. Raises DataError where it is wrong."""
    raw = root / FOLDER
    return {one.id: one.text for one in read(raw, "val")} if (raw / QUESTIONS["val"]).is_file() else {}


def read(raw: Path, part: str) -> list[Question]:
    """The answered questions of one official part, in the order of their file.

    Raises DataError where the file is no such file, or holds an answer that is none of the 28.
    """
    path = raw / QUESTIONS[part]
    wanted = {"question_index": int, "image_filename": str, "question": str, "answer": str}
    asked = []
    for entry in read_entries(path, "questions", wanted, "a file of CLEVR questions with answers"):
        number, answer, name = entry["question_index"], entry["answer"], entry["image_filename"]
        if answer not in ANSWERS:
            raise DataError(f"{path}: {answer!r}, the answer to question {number}, is none of {', '.join(ANSWERS)}")
        if not name.startswith(f"CLEVR_{part}_") or "/" in name:
            raise DataError(f"{path}: question {number} is about {name!r}, which is no image of the {part} part")
        asked.append(Question(f"{part}-{number}", f"{IMAGES[part]}/{name}", entry["question"], answer))
    return asked
