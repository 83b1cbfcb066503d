"""A small problem with a modality of every kind: features, sequence, tokens, images that samples share, clips."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.methods import METHODS
from dmil.data import Split, Task
from dmil.seeds import generator
from dmil.selection import Budget
from dmil.train import FitResult, Replica, fit
from tests.made_problems import Problem, assert_close, small_settings

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


def fitted(name: str, problem: Problem, seeds: tuple[int, ...], **more: Any) -> list[FitResult]:
    """Small models, six epochs in double precision; ``more`` goes to ``fit``."""
    settings = small_settings(METHODS[name], lr=2e-2, dropout=0.2, batch_size=9)
    given: dict[str, Any] = {"budget": Budget(epochs=6, patience=3), "dtype": torch.float64}
    replicas = [Replica(seed, settings) for seed in seeds]
    return fit(METHODS[name], problem.train, problem.valid, problem.task, replicas=replicas, **given | more)


def same(one: FitResult, other: FitResult) -> None:
    assert (one.status, one.best_epoch) == (other.status, other.best_epoch) == ("finished", one.best_epoch)
    for mine, its in zip(one.history, other.history, strict=True):
        assert_close(mine, its, 1e-10)
    for name, value in one.method.state_dict().items():
        torch.testing.assert_close(value, other.method.state_dict()[name], rtol=0, atol=1e-9)
