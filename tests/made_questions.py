"""VQA v2 and CLEVR as they lie on disk, with a handful of pictures of one colour each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks import registry
from benchmarks.errors import UserError

COLOURS = {"red": (254, 0, 0), "blue": (0, 0, 254)}
N_TRAIN, N_VAL = 24, 6  # pictures


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    """``change`` works on the content in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def picture(path: Path, colour: str, size: tuple[int, int], mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, COLOURS[colour]).convert(mode).save(path)


def colour_of(number: int) -> str:
    return "red" if number % 2 else "blue"


def made_vqa(root: Path) -> Path:
    """Pictures 1 to 24 of training and 101 to 106 of validation, odd ones red, with three questions each.

    1: which colour; 2: whether it is red; 3: what it shows, answered with a word of its own.
    """
    folder = root / "vqa"
    for part, first, n in (("train", 1, N_TRAIN), ("val", 101, N_VAL)):
        questions, annotations = [], []
        for image in range(first, first + n):
            colour = colour_of(image)
            picture(folder / f"{part}2014" / f"COCO_{part}2014_{image:012d}.jpg", colour, (48, 32))
            asked = [
                ("What color is it?", colour),
                (
                    "Is it RED, or isn't it?" if part == "train" else "Is this crimson?",
                    "yes" if colour == "red" else "no",
                ),
                ("What is it?", f"thing {image}"),
            ]
            for number, (question, answer) in enumerate(asked, start=1):
                keys = {"image_id": image, "question_id": 1000 * image + number}
                questions.append({**keys, "question": question})
                answers = [{"answer": answer, "answer_confidence": "yes", "answer_id": i} for i in range(1, 11)]
                kind = {"question_type": "what", "answer_type": "other", "answers": answers}
                annotations.append({**keys, "multiple_choice_answer": answer, **kind})
        about = {"info": {"version": "2.0"}, "license": {}, "data_type": "mscoco", "data_subtype": f"{part}2014"}
        name = f"v2_OpenEnded_mscoco_{part}2014_questions.json"
        write_json(folder / name, about | {"task_type": "Open-Ended", "questions": questions})
        # the files list annotations in an order of their own
        name = f"v2_mscoco_{part}2014_annotations.json"
        write_json(folder / name, about | {"annotations": annotations[::-1]})
    return folder


def made_clevr(root: Path) -> Path:
    """Pictures 0 to 23 of training and 0 to 5 of validation, odd ones red, with three questions each."""
    folder = root / "CLEVR_v1.0"
    for part, n in (("train", N_TRAIN), ("val", N_VAL)):
        questions: list[dict[str, Any]] = []
        for image in range(n):
            name = f"CLEVR_{part}_{image:06d}.png"
            picture(folder / "images" / part / name, colour_of(image), (60, 40), "RGBA")
            asked = [
                ("What color is it?", colour_of(image)),
                ("Are there any red things; or not?", "yes" if colour_of(image) == "red" else "no"),
                ("How many things are there?", str(image % 11)),
            ]
            for question, answer in asked:
                program = [{"type": "scene", "inputs": [], "function": "scene", "value_inputs": []}]
                entry = {"split": part, "image_index": image, "image_filename": name, "question_family_index": 3}
                entry |= {"question": question, "answer": answer, "program": program}
                questions.append(entry | {"question_index": len(questions)})
        path = folder / "questions" / f"CLEVR_{part}_questions.json"
        write_json(path, {"info": {"split": part, "version": "1.0"}, "questions": questions})
    return folder


def assert_refused(dataset: str, folder: Path, name: str, message: str) -> None:
    """Loading from a damaged folder is refused in one line that names the file."""
    with pytest.raises(UserError) as error:
        registry.load_dataset(dataset, root=folder.parent)
    text = str(error.value)
    assert text.startswith(f"dataset {dataset}: {folder / name}")
    assert message in text
    assert "\n" not in text
