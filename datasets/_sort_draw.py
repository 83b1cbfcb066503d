"""Scenes of Sort-of-CLEVR: six objects, one per colour; their picture; questions about them and the answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "orange": (255, 156, 0),
    "grey": (128, 128, 128),
    "yellow": (255, 255, 0),
}
WHITE = 255
SIDE, HALF = 75, 5  # pixels of an image, and from the centre of an object to its edge
DISC = 30  # squared distance from the centre up to which a pixel belongs to a circle
APART = 100  # least squared distance between two centres

KINDS = {"non-relational": ("shape", "left", "top"), "relational": ("closest", "furthest", "count")}
QUESTIONS = tuple(f"{colour}-{what}" for asked in KINDS.values() for what in asked for colour in COLOURS)
N_PER_KIND = 10
ANSWERS = ("yes", "no", "square", "circle", "0", "1", "2", "3", "4", "5")
YES, SQUARE, NONE = (ANSWERS.index(answer) for answer in ("yes", "square", "0"))
UNDECIDED = -1


@dataclass(frozen=True)
class Scenes:
    """centres: (N, 6, 2) int64, column and row of the pixel; is_circle: (N, 6). Objects in the order of ``COLOURS``."""

    centres: Tensor
    is_circle: Tensor

    def __len__(self) -> int:
        return len(self.centres)


def draw(n: int, rng: torch.Generator) -> Scenes:
    """Objects placed one after another, each anew until it is far enough from those before it."""
    centres = torch.empty(n, 0, 2, dtype=torch.int64)
    for _ in COLOURS:
        centre = torch.empty(n, 1, 2, dtype=torch.int64)
        todo = torch.arange(n)
        while len(todo):
            centre[todo, 0] = torch.randint(HALF, SIDE - HALF, (len(todo), 2), generator=rng)
            apart = (centres[todo] - centre[todo]).square().sum(-1)
            todo = todo[(apart < APART).any(1)]
        centres = torch.cat([centres, centre], 1)
    return Scenes(centres, torch.rand(n, len(COLOURS), generator=rng) < 0.5)


def paint(scenes: Scenes) -> Tensor:
    """(N, 3, 75, 75) uint8, red, green and blue on white; where two objects meet, the later colour is on top."""
    images = torch.full((len(scenes), SIDE, SIDE, 3), WHITE, dtype=torch.uint8)
    steps = torch.arange(-HALF, HALF + 1)
    disc = steps.square()[:, None] + steps.square() <= DISC
    for k, colour in enumerate(COLOURS.values()):
        covered = disc | ~scenes.is_circle[:, k, None, None]
        image, row, column = covered.nonzero(as_tuple=True)
        x, y = scenes.centres[image, k].unbind(-1)
        images[image, y + steps[row], x + steps[column]] = torch.tensor(colour, dtype=torch.uint8)
    return images.permute(0, 3, 1, 2).contiguous()


def answers(scenes: Scenes) -> Tensor:
    """(N, 36) index into ``ANSWERS`` for every one of ``QUESTIONS``.

    ``UNDECIDED`` where a square and a circle are equally close, or equally far. No object is the closest to itself.
    """
    x, y = scenes.centres.unbind(-1)
    apart = (scenes.centres[:, :, None] - scenes.centres[:, None]).square().sum(-1)
    other = ~torch.eye(len(COLOURS), dtype=torch.bool)
    alike = (scenes.is_circle[:, :, None] == scenes.is_circle[:, None]) & other
    found = [
        SQUARE + scenes.is_circle.long(),
        YES + (x > SIDE // 2).long(),
        YES + (y > SIDE // 2).long(),
        _shape_of_first(apart.masked_fill(~other, 2 * SIDE**2), scenes.is_circle),
        _shape_of_first(-apart, scenes.is_circle),
        NONE + alike.sum(-1),
    ]
    return torch.cat(found, 1)


def _shape_of_first(apart: Tensor, is_circle: Tensor) -> Tensor:
    """(N, 6): shape of whichever is first in ``apart`` (N, 6, 6), seen from each object."""
    is_first = apart == apart.amin(-1, keepdim=True)
    n_circles, n_squares = ((is_first & mask[:, None]).sum(-1) for mask in (is_circle, ~is_circle))
    return torch.where((n_circles > 0) & (n_squares > 0), UNDECIDED, SQUARE + (n_circles > 0).long())


def ask(answered: Tensor, rng: torch.Generator) -> Tensor:
    """(N, 20) index into ``QUESTIONS``: ten different ones of each kind, none undecided. answered: (N, 36)."""
    order = torch.rand(answered.shape, generator=rng).masked_fill(answered == UNDECIDED, 2.0)
    n = answered.shape[1] // len(KINDS)
    chosen = order.unflatten(1, (len(KINDS), n)).argsort(-1)[..., :N_PER_KIND]
    return (chosen + n * torch.arange(len(KINDS))[:, None]).flatten(1)


def vectors(questions: Tensor) -> Tensor:
    """Questions (N,) -> (N, 11): colour (6), kind (2) and which of its three questions (3), each one-hot."""
    what, colour = questions // len(COLOURS), questions % len(COLOURS)
    kind, sub = what // 3, what % 3
    codes = [F.one_hot(colour, len(COLOURS)), F.one_hot(kind, len(KINDS)), F.one_hot(sub, 3)]
    return torch.cat(codes, 1).float()
