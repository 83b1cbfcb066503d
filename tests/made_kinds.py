"""A small problem with a modality of every kind: features, sequence, tokens, images that samples share, clips."""

from __future__ import annotations

import torch

from dmil.data import Split, Task
from dmil.seeds import generator
from tests.made_problems import Problem

KINDS = ("features", "sequence", "tokens", "image", "clip")
N_IMAGES, PER_IMAGE = 12, 3
STEPS, CHANNELS, WORDS = 6, 3, 9


def made_kinds(*names: str) -> Problem:
    """Two classes; every modality shows the label. 36 samples in training and validation, three to an image."""
    rng = generator("made_kinds")
    train, valid = (_split(rng, names or KINDS) for _ in range(2))
    return Problem(train, valid, Task())


def _split(rng: torch.Generator, names: tuple[str, ...]) -> Split:
    n = N_IMAGES * PER_IMAGE
    rows = torch.arange(n) // PER_IMAGE
    of_image = torch.randint(2, (N_IMAGES,), generator=rng)
    target = of_image[rows]
    lengths = torch.randint(1, STEPS + 1, (n,), generator=rng)
    exists = torch.arange(STEPS) < lengths.unsqueeze(1)
    shown = torch.randn(n, STEPS, CHANNELS, generator=rng).double() + (2.0 * target - 1).view(-1, 1, 1)
    words = torch.randint(1, WORDS, (n, STEPS), generator=rng)
    words[:, 0] = target + 1
    words[-1, 0] = WORDS - 1
    pixels = torch.randint(0, 128, (N_IMAGES, 3, 12, 10), generator=rng) + 100 * of_image.view(-1, 1, 1, 1)
    frames = torch.randint(0, 128, (n, 2, 1, 8, 8), generator=rng) + 100 * target.view(-1, 1, 1, 1, 1)
    inputs = {
        "features": torch.randn(n, 4, generator=rng).double() + target.unsqueeze(1),
        "sequence": torch.cat([shown * exists.unsqueeze(2), exists.unsqueeze(2).double()], 2),
        "tokens": words * exists,
        "image": pixels.to(torch.uint8),
        "clip": frames.to(torch.uint8),
    }
    return Split({name: inputs[name] for name in names}, target, rows={"image": rows} if "image" in names else {})
