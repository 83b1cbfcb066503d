"""Sort-of-CLEVR: made images of six coloured objects, and questions of which half are about relations between them.

Santoro et al., "A simple neural network module for relational reasoning", NeurIPS 2017, arXiv 1706.01427. Drawn here
from named seeds by the published rules, without the error of the common public generator: see the card.
"""

from __future__ import annotations

from pathlib import Path

import torch

from dmil.data import Card, Split, Splits, Task
from dmil.seeds import generator

from ._sort_draw import ANSWERS, KINDS, N_PER_KIND, QUESTIONS, answers, ask, draw, paint, vectors

NAME = "sort-of-clevr"
RAW = ()
LIBRARIES = ("torch",)
IMAGES = {"train": 9000, "valid": 800, "test": 1000}

CARD = Card(
    name=NAME,
    title="Sort-of-CLEVR: images of six coloured squares and circles, and questions about one of them or about all",
    source="datasets/sort_of_clevr.py (made from named seeds, no files)",
    licence="MIT, like the code",
    citation="Santoro, Raposo, Barrett, Malinowski, Pascanu, Battaglia, Lillicrap: A simple neural network module for "
    "relational reasoning, NeurIPS 2017, arXiv 1706.01427.",
    split_rule="by image: 9,000 train and 800 validation, together the 9,800 of the published protocol; 1,000 test "
    "instead of 200, for intervals are taken over images and 200 leave one percent either way. Of every image ten "
    "different questions of each kind, of the 18 that there are",
    preprocessing="images 3x75x75, 8 bits; the question as three one-hot codes: which of 6 colours it is about, which "
    "of 2 kinds it is, and which of the 3 of its kind. Non-relational: shape of the object; is it in the left half; is "
    "it in the top half. Relational: shape of the object closest to it; of the one furthest from it; how many others "
    "have its shape. Ten answers: yes, no, square, circle, 0 to 5",
    traps=(
        "The question alone is right on 0.505 of the non-relational and on 0.438 of the relational ones, whatever the "
        "model: the best guess is (1/2 + 33/65 + 33/65) / 3, where one of 65 columns and rows in the middle counts as "
        "left and top, and (1/2 + 1/2 + 10/32) / 3, where 10 of 32 is the share of the most common number.",
        "Counting goes far: who knows how many of the six are circles, left and top, but tells no colours apart, has "
        "0.656 on non-relational and 0.708 on relational questions; who also knows the shape of the object asked for "
        "has 0.792 on relational ones. Only what is above that shows a sense of distance.",
        "The public generator calls an object the closest to itself where all others are more than 31 pixels away, "
        "which gives 3.4 % of its answers on closest objects a wrong label. Here no object is its own neighbour, and "
        "what has no one answer, a square and a circle equally close or far, is not asked.",
        "Public numbers are of 200 test images and repeated questions, and some of that generator's labels: compare "
        "to a percent, not closer.",
        "Kinds of question are no compositions: a relational question needs both modalities, and so does a "
        "non-relational one. They are told apart for accuracy alone, and attribution is not defined.",
    ),
    modalities={"image": "3 x 75 x 75 pixels", "question": "colour, kind and which of its kind, one-hot (11)"},
    truth_names=tuple(KINDS),
)


def prepare(root: Path) -> Splits:
    """Reads nothing below ``root``."""
    train, valid, test = (_split(part, n) for part, n in IMAGES.items())
    return Splits(train, valid, test, Task("classification", len(ANSWERS), ANSWERS), CARD)


def _split(part: str, n: int) -> Split:
    """All questions about ``n`` images, those of an image one after another."""
    rng = generator(NAME, part)
    scenes = draw(n, rng)
    answered = answers(scenes)
    asked = ask(answered, rng)
    images = [f"{part}-{i:04d}" for i in range(n)]
    per_image = asked.shape[1]
    return Split(
        inputs={"image": paint(scenes), "question": vectors(asked.flatten())},
        target=answered.gather(1, asked).flatten(),
        ids=tuple(f"{images[i]}-{QUESTIONS[j]}" for i, row in enumerate(asked.tolist()) for j in row),
        groups=tuple(image for image in images for _ in range(per_image)),
        truth=torch.arange(len(KINDS)).repeat_interleave(N_PER_KIND).repeat(n),
        rows={"image": torch.arange(n).repeat_interleave(per_image)},
    )
