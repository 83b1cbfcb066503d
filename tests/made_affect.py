"""A small file in the layout of MMSA's feature files for CMU-MOSI and CMU-MOSEI."""

from __future__ import annotations

import pickle
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

CORPORA = {name: import_module(f"benchmarks.datasets.{name}").CORPUS for name in ("mosei", "mosi_sequences")}
SIZES = {"train": 15, "valid": 9, "test": 9}
N_STEPS = {"aligned": {"text": 6, "audio": 6, "vision": 6}, "unaligned": {"text": 6, "audio": 9, "vision": 8}}
SCORES = (-3.0, -1.0, 0.0, 1 / 3, 2.0, 3.0)


def made_content(corpus: str = "mosei", alignment: str = "aligned") -> dict[str, dict[str, Any]]:
    """Three parts of videos of three utterances each; padded with zeros, and with the flaws of the real files."""
    rng = np.random.default_rng(0)
    return {part: _part(rng, part, n, dict(CORPORA[corpus].widths), alignment) for part, n in SIZES.items()}


def _part(rng: np.random.Generator, part: str, n: int, widths: dict[str, int], alignment: str) -> dict[str, Any]:
    steps = N_STEPS[alignment]
    words = rng.integers(3, steps["text"] + 1, n)
    lengths = {m: words if alignment == "aligned" else rng.integers(2, steps[m] + 1, n) for m in ("audio", "vision")}
    scores = np.array([SCORES[i % len(SCORES)] for i in range(n)], dtype="f4")
    data = {m: rng.normal(1, 2, (n, steps[m], width)).astype("f4") for m, width in widths.items()}
    for m, length in lengths.items():
        data[m] += scores[:, None, None]
        data[m][np.arange(steps[m])[None] >= length[:, None]] = 0
    data["vision"][0] = 0  # no face at all
    data["vision"][1, 1] = 0  # a lost one
    data["audio"][2, 0, 1] = -np.inf
    data["audio"][2, 1] = -np.inf
    mask = (np.arange(steps["text"])[None] < words[:, None]).astype("i8")
    found = {
        "raw_text": np.array([f"WORDS OF {part} {i}" for i in range(n)], dtype=object),
        "audio": data["audio"],
        "vision": data["vision"],
        "id": np.array([f"{part}-video{i // 3}$_${i % 3}" for i in range(n)]),
        "text": data["text"],
        "text_bert": np.stack([100 + mask, mask, 0 * mask], axis=1),
        "annotations": np.array(["Negative" if score < 0 else "Positive" for score in scores]),
        "classification_labels": np.sign(scores) + 1,
        "regression_labels": scores,
    }
    if alignment == "unaligned":
        found |= {f"{m}_lengths": lengths[m].tolist() for m in ("audio", "vision")}
    return found


def write(root: Path, content: Any, corpus: str = "mosei", alignment: str = "aligned") -> Path:
    """Puts the file where its users have it."""
    path = root / CORPORA[corpus].folder / f"{alignment}_50.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, 4))
    return path
