"""Rows on a disk that takes a part of one, and what tells raw files apart."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

by_hand = import_module("benchmarks.datasets._by_hand")
rows_module = import_module("benchmarks.datasets._rows")

COLUMN = rows_module.Column("x", (1000,), "uint8")


@pytest.fixture
def limit() -> Iterator[Any]:
    """Of the size of files, as on a disk that is full from there on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def set_to(n_bytes: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))

    yield set_to
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_row_that_the_disk_takes_in_part_is_not_done(tmp_path: Path, limit: Any) -> None:
    import numpy as np

    rows = rows_module.Rows(tmp_path / "part", (COLUMN,), 3)
    rows.create({})
    row = np.arange(1000).astype(np.uint8)
    rows.put(0, {"x": row})
    limit((tmp_path / "part" / "x.npy").stat().st_size - 500)
    with pytest.raises(OSError, match="File too large"):
        rows.put(2, {"x": row})
    assert [rows.is_done(i) for i in range(3)] == [True, False, False]


def test_raw_files_are_told_apart_by_content_and_folders_by_names_and_sizes(tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def found() -> str:
        raw = [by_hand.ByHand("labels.txt", ""), by_hand.ByHand("clips", "")]
        value: str = by_hand.fingerprint(raw, tmp_path)
        return value

    write("labels.txt", "a 1")
    write("clips/b/2", "two")
    write("clips/a", "one")
    seen = [found()]
    write("clips/.hidden", "x")
    assert found() == seen[0]
    for name, text in (("labels.txt", "a 2"), ("clips/a", "longer"), ("clips/b/3", ""), ("clips/b2", "two")):
        write(name, text)
        seen.append(found())
    assert len(set(seen)) == len(seen)
