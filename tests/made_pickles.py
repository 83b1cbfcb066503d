"""Pickles written by hand, instruction by instruction, and what is said of a file that is refused."""

from __future__ import annotations

import pickle
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

_pickles = import_module("benchmarks.datasets._pickles")
files = import_module("benchmarks.datasets._files")

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
"""An array without content."""


def read(folder: Path, content: bytes) -> Any:
    path = folder / "features.pkl"
    path.write_bytes(content)
    return _pickles.read_pickle(path)


def refusal(folder: Path, content: bytes) -> str:
    """The one line about a file that is not read."""
    with pytest.raises(files.DataError) as error:
        read(folder, content)
    text = str(error.value)
    assert text.startswith(str(folder / "features.pkl"))
    assert text.isprintable()
    assert len(text) < len(str(folder)) + 300
    return text


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value.encode())]) + value.encode()


def dtype(code: str) -> bytes:
    return b"cnumpy\ndtype\n" + text(code) + b"\x89\x88\x87R"


def array(code: str, shape: bytes, data: bytes) -> bytes:
    return b"\x80\x04" + ARRAY + b"(K\x01" + shape + dtype(code) + b"\x89" + data + b"tb."
