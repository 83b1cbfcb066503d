"""scikit-learn's handwritten digits, cut down the middle: real data that needs no download."""

from __future__ import annotations

from pathlib import Path

import torch

from dmil.data import Card, Split, Splits, Task
from dmil.seeds import generator

from ._assemble import assemble, stratified

RAW = ()
LIBRARIES = ("torch", "scikit-learn")
SHARES = {"train": 0.5, "valid": 0.2}  # the rest is test

CARD = Card(
    name="digits",
    title="Handwritten digits, left and right half as two modalities",
    source="sklearn.datasets.load_digits (1797 images of 8x8 pixels, shipped with scikit-learn)",
    licence="CC BY 4.0 (UCI dataset 80); scikit-learn is BSD-3-Clause",
    citation="Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.",
    split_rule="by image, within each class: 50 % train, 20 % validation, the rest test",
    preprocessing="every pixel standardised on the training rows and clipped to +-5; pixels constant in training "
    "set to 0",
    traps=(
        "scikit-learn's copy does not say who wrote a digit, so the split is by image and each writer is in every "
        "split: accuracy on writers never seen would be lower.",
    ),
    modalities={"left": "left half, 8x4 pixels (32)", "right": "right half, 8x4 pixels (32)"},
)


def prepare(root: Path) -> Splits:
    """Reads nothing below ``root``: the images come with scikit-learn."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(images).reshape(-1, 8, 8)
    target = torch.from_numpy(labels).long()
    samples = Split(
        inputs={"left": pixels[:, :, :4].reshape(-1, 32), "right": pixels[:, :, 4:].reshape(-1, 32)},
        target=target,
        ids=tuple(f"digit-{i:04d}" for i in range(len(target))),
    )
    names = tuple(str(digit) for digit in range(10))
    rows = stratified(target, SHARES, rest="test", rng=generator("split", "digits"))
    return assemble(samples, rows, task=Task("classification", 10, names), card=CARD)
