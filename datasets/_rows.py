"""Arrays in files, written row by row, each row with a checksum that says that it is there and undamaged."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._download import DataError, staged

RECIPE, SUMS = "recipe.json", "rows.sums"
N_SUM = 16  # bytes of the checksum of an item's rows
MISSING, STARTED = bytes(N_SUM), b"\xff" * N_SUM  # what stands in its place until the rows are written


@dataclass(frozen=True)
class Column:
    """One array: a row of ``shape`` per item, of the NumPy type ``dtype``."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "uint8"


@dataclass(frozen=True)
class Rows:
    """Arrays in the making. Each item has a checksum of its rows, which is written after them."""

    folder: Path
    columns: tuple[Column, ...]
    n_items: int

    def create(self, recipe: dict[str, Any]) -> None:
        """The files, as far as they are not there with their full size. Raises DataError where they have no room."""
        import numpy as np

        self.folder.mkdir(parents=True, exist_ok=True)
        shapes = {f"{c.name}.npy": ((self.n_items, *c.shape), np.dtype(c.dtype)) for c in self.columns}
        needed = sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in shapes.values())
        used = sum(path.stat().st_blocks * 512 for path in self.folder.iterdir())
        if (free := shutil.disk_usage(self.folder).free) < needed - used:
            gigabytes = f"{(needed - used) / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
            raise DataError(f"no room in {self.folder.parent}: {gigabytes}; choose another place (DMIL_CACHE)")
        for name, (shape, dtype) in shapes.items():
            try:
                np.load(self.folder / name, mmap_mode="r")
            except (OSError, ValueError):
                np.lib.format.open_memmap(self.folder / name, mode="w+", dtype=dtype, shape=shape)
        sums = self.folder / SUMS
        if not sums.is_file() or sums.stat().st_size != N_SUM * self.n_items:
            sums.write_bytes(MISSING * self.n_items)
        with staged(self.folder / RECIPE) as part:
            part.write_text(json.dumps(recipe))

    def sums(self) -> list[bytes]:
        """The checksum of each item, or what stands in its place."""
        data = (self.folder / SUMS).read_bytes()
        return [data[i : i + N_SUM] for i in range(0, len(data), N_SUM)]

    def mark(self, index: int, checksum: bytes) -> None:
        self._write(SUMS, index, checksum)

    def put(self, index: int, values: Mapping[str, Any], stamp: bytes = b"") -> None:
        """stamp: of the raw files, part of the checksum. Raises ValueError for a value that its column cannot hold."""
        data = {column.name: _row(column, values[column.name]) for column in self.columns}
        for name, row in data.items():
            self._write(f"{name}.npy", index, row)
        self.mark(index, _checksum([stamp, *data.values()]))

    def is_done(self, index: int, stamp: bytes = b"") -> bool:
        """Whether the rows are there, are what was written, and were made of raw files of this stamp."""
        with (self.folder / SUMS).open("rb") as file:
            file.seek(index * N_SUM)
            expected = file.read(N_SUM)
        if expected in (MISSING, STARTED):
            return False
        return expected == _checksum([stamp, *(self._read(column, index) for column in self.columns)])

    def _read(self, column: Column, index: int) -> bytes:
        import numpy as np

        row: bytes = np.load(self.folder / f"{column.name}.npy", mmap_mode="r")[index].tobytes()
        return row

    def _write(self, name: str, index: int, row: bytes) -> None:
        # buffered, for then a row is written whole, or there is an exception: an almost full disk takes a part of it
        with (self.folder / name).open("r+b") as file:
            file.seek(-(self.n_items - index) * len(row), 2)  # rows are the end of the file, whatever its header
            file.write(row)


def _row(column: Column, value: Any) -> bytes:
    import numpy as np

    array = np.asarray(value)
    if (array.shape, array.dtype) != (column.shape, np.dtype(column.dtype)):
        got = f"{array.dtype} {array.shape}"
        raise ValueError(f"column {column.name!r} has rows of {column.dtype} {column.shape}, but got {got}")
    return array.tobytes()


def _checksum(rows: Iterable[bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=N_SUM)
    for row in rows:
        digest.update(row)
    return digest.digest()
