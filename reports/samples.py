"""What a run said about each sample, from its predictions file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import UserError


@dataclass(frozen=True)
class Samples:
    """Test samples in the order of their ids. ids: (N,); is_right: (N,), whether the likeliest class is the target."""

    ids: tuple[str, ...]
    is_right: NDArray[np.bool_]


@cache
def test_samples(path: Path, run: str) -> Samples:
    """Reads a run's ``predictions.parquet``. Raises UserError where it is damaged or holds no test probabilities."""
    from pyarrow import ArrowException

    try:
        return _read(path)
    except (ArrowException, OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"file {path.name} of {run} is damaged ({reason}); it lies at {path}") from error


def _read(path: Path) -> Samples:
    from pyarrow import parquet

    schema = parquet.read_schema(path)
    columns = sorted((name for name in schema.names if name.startswith("prob_")), key=lambda name: int(name[5:]))
    table = parquet.read_table(path, columns=["id", "split", "target", *columns])
    is_test = np.asarray(table["split"].to_pylist()) == "test"
    if not columns or not is_test.any():
        raise ValueError("no probabilities of test samples")
    probabilities = np.stack([table[name].to_numpy() for name in columns], axis=1)[is_test]
    ids = np.asarray(table["id"].to_pylist())[is_test]
    order = np.argsort(ids, kind="stable")
    is_right = probabilities.argmax(axis=1) == table["target"].to_numpy()[is_test]
    return Samples(tuple(ids[order].tolist()), is_right[order])


def same_samples(samples: list[Samples]) -> bool:
    """Whether all hold the same test samples."""
    return all(other.ids == samples[0].ids for other in samples)
