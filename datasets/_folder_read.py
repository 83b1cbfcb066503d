"""Tables and arrays of a user's own dataset, read strictly: every complaint names the file and the place in it."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ._download import DataError
from ._folder_card import KINDS, Modality, UserCard, one_of
from ._sequence import pad, shortened

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MOST_CHANNELS = 16  # of an image that is (N, C, H, W); a larger C is taken for a side


@dataclass(frozen=True)
class Samples:
    """The table of samples. columns: text of every cell, none empty where it was asked for; names: its own columns,
    which no modality may read as features."""

    path: Path
    n: int
    columns: dict[str, list[str]]
    names: dict[str, str]


def read_samples(folder: Path, card: UserCard) -> Samples:
    """Raises DataError where the table cannot be read, or lacks a column that the card names or a cell of one."""
    path = folder / card.samples
    names = {"target": card.target, "id": card.id, "group": card.group, "split": card.split.column}
    own = {key: name for key, name in names.items() if name is not None}
    wanted = {**own, **{f"lengths of {m.name}": m.lengths for m in card.modalities if m.lengths is not None}}
    frame = _table(path, text=None)
    if len(frame) == 0:
        raise DataError(f"{path} has no samples")
    columns = {}
    for key, name in wanted.items():
        one_of(f"{path}: column for {key}", name, frame.columns)
        columns[name] = _cells(path, frame[name])
    return Samples(path, len(frame), columns, own)


def read_modality(folder: Path, modality: Modality, samples: Samples) -> Tensor:
    """Row i for sample i: features (N, d), a sequence (N, T, d + 1), an image or a clip (N, .., C, H, W).

    Raises DataError where the file is not as the card says, or does not fit the samples.
    """
    path = folder / modality.file
    if modality.is_table:
        return _from_table(path, modality, samples)
    array = _array(path)
    kind = modality.kind or _kind(path, array)
    if kind in ("image", "clip"):
        return _pixels(path, array, kind, modality, samples.n)
    _expect(path, array.ndim == KINDS[kind], f"{kind} must have {KINDS[kind]} dimensions, but its shape is", array)
    _expect(
        path, len(array) == samples.n, f"{samples.n} rows are expected, one for each sample, but its shape is", array
    )
    x = torch.from_numpy(array.astype("float64"))
    for key, given in (("lengths", modality.lengths), ("channels_last", modality.channels_last)):
        if given and not (key == "lengths" and kind == "sequence"):
            raise DataError(f"{path}: {key} is not for {kind} (modality {modality.name!r})")
    if kind == "features":
        _finite(path, x)
        return x
    lengths = _lengths(modality, samples, array.shape[1])
    series = [one[:length] for one, length in zip(x, lengths, strict=True)]
    return _padded(path, series, modality.steps)


def numbers(path: Path, name: str, cells: Sequence[str]) -> Tensor:
    """Cells of a column as float64. Raises DataError where one is not a finite number."""
    found = []
    for row, cell in enumerate(cells, start=1):
        try:
            found.append(float(cell))
        except ValueError:
            found.append(math.nan)
        if not math.isfinite(found[-1]):
            raise DataError(f"{path}: column {name!r} must hold finite numbers, but row {row} has {cell!r}")
    return torch.tensor(found, dtype=torch.float64)


def _table(path: Path, *, text: Sequence[str] | None) -> pd.DataFrame:
    """text: columns whose cells stay as they are written; None for all."""
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        separator = "\t" if path.suffix == ".tsv" else ","
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, delimiter=separator)
            header, first = next(rows, []), next(rows, None)
        if len(set(header)) < len(header) or "" in header:
            raise DataError(f"{path}: the first row must name every column, each by a name of its own")
        if first is not None and len(first) != len(header):
            raise DataError(f"{path}: row 1 has {len(first)} cells, but there are {len(header)} columns")
        kinds: Any = str if text is None else dict.fromkeys(text, str)
        return pd.read_csv(
            path,
            sep=separator,
            dtype=kinds,
            keep_default_na=False,
            encoding="utf-8-sig",
            index_col=False,
            low_memory=False,
        )
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing, but the card names it") from error
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table ({' '.join(str(error).split())})") from error


def _cells(path: Path, column: pd.Series[Any]) -> list[str]:
    """Text of every cell: whole numbers of a typed table without a point. Raises DataError for an empty one."""
    cells = []
    for row, value in enumerate(column.tolist(), start=1):
        text = "" if value is None or value != value else str(value).strip()
        if not text:
            raise DataError(f"{path}: column {column.name!r} is empty in row {row}")
        cells.append(text.removesuffix(".0") if isinstance(value, float) else text)
    return cells


def _from_table(path: Path, modality: Modality, samples: Samples) -> Tensor:
    own = set(samples.names.values())
    key = samples.names.get("id")
    frame = _table(path, text=sorted(own))
    names = _feature_columns(path, modality, frame, own)
    values = torch.stack([_feature(path, frame[name]) for name in names], dim=1)
    has_ids = key is not None and key in frame.columns
    if modality.kind == "sequence":
        if not has_ids:
            raise DataError(
                f"{path}: the steps of a sequence need the ids of their samples: give the card `id`, a column "
                "of this table and of the samples"
            )
        rows = _rows_by_id(path, _cells(path, frame[key]), samples, are_steps=True)
        return _padded(path, [values[index] for index in rows], modality.steps)
    if has_ids:
        return values[[row for (row,) in _rows_by_id(path, _cells(path, frame[key]), samples, are_steps=False)]]
    if len(frame) != samples.n:
        raise DataError(f"{path} has {len(frame)} rows, but there are {samples.n} samples in {samples.path.name}")
    return values


def _feature_columns(path: Path, modality: Modality, frame: pd.DataFrame, own: set[str]) -> list[str]:
    for pattern in modality.columns:
        if not any(fnmatchcase(name, pattern) for name in frame.columns):
            one_of(f"{path}: column", pattern, frame.columns)
        if pattern in own:
            raise DataError(f"{path}: column {pattern!r} says target, id, group or split and cannot be a feature")
    patterns = modality.columns or ("*",)
    names = [n for n in frame.columns if n not in own and any(fnmatchcase(n, pattern) for pattern in patterns)]
    if not names:
        raise DataError(f"{path}: no column is left for modality {modality.name!r}")
    return names


def _feature(path: Path, column: pd.Series[Any]) -> Tensor:
    """(N,) float64. Raises DataError at the first cell that is no finite number."""
    if column.dtype.kind not in "fiub":
        return numbers(path, str(column.name), [str(value) for value in column.tolist()])
    x = torch.from_numpy(column.to_numpy(dtype="float64", copy=True))
    if not x.isfinite().all():
        row = int((~x.isfinite()).nonzero()[0])
        raise DataError(f"{path}: column {column.name!r} must hold finite numbers, but row {row + 1} has {x[row]}")
    return x


def _rows_by_id(path: Path, ids: list[str], samples: Samples, *, are_steps: bool) -> list[list[int]]:
    """Of every sample the rows that carry its id, in order: one row, or one and more steps."""
    rows: dict[str, list[int]] = {name: [] for name in samples.columns[samples.names["id"]]}
    for row, name in enumerate(ids):
        if name not in rows:
            raise DataError(f"{path}: row {row + 1} has the id {name!r}, which is no sample of {samples.path.name}")
        rows[name].append(row)
    for name, index in rows.items():
        if not index:
            raise DataError(f"{path}: sample {name!r} of {samples.path.name} has no row")
        if len(index) > 1 and not are_steps:
            raise DataError(
                f"{path}: the id {name!r} stands in {len(index)} rows; for steps of a sequence say `kind: sequence`"
            )
    return list(rows.values())


def _array(path: Path) -> np.ndarray[Any, Any]:
    import numpy as np

    try:
        array: np.ndarray[Any, Any] = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing, but the card names it") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as an array of numbers ({' '.join(str(error).split())})") from error
    if array.dtype.kind not in "fiub":
        raise DataError(f"{path} must hold numbers, but its type is {array.dtype}")
    _expect(
        path, 0 not in array.shape and array.ndim > 1, "two dimensions or more are expected, but its shape is", array
    )
    return array


def _kind(path: Path, array: np.ndarray[Any, Any]) -> str:
    """As the dimensions say; three of them in 8-bit numbers are images of one channel."""
    if array.ndim == 3 and array.dtype == "uint8":
        return "image"
    for kind, n_dims in KINDS.items():
        if array.ndim == n_dims:
            return kind
    raise DataError(f"{path} has shape {array.shape}: 2 dimensions are features, 3 a sequence, 4 an image, 5 a clip")


def _pixels(path: Path, array: np.ndarray[Any, Any], kind: str, modality: Modality, n: int) -> Tensor:
    """(N, .., C, H, W), 8-bit numbers as they are, others as float64."""
    if modality.lengths:
        raise DataError(f"{path}: lengths is not for {kind} (modality {modality.name!r})")
    if array.ndim == KINDS[kind] - 1:  # one channel, not written
        array = array[..., None, :, :]
    elif modality.channels_last and array.ndim == KINDS[kind]:
        array = array.swapaxes(-1, -2).swapaxes(-2, -3)
    shape = "(N, C, H, W)" if kind == "image" else "(N, F, C, H, W)"
    _expect(path, array.ndim == KINDS[kind], f"{kind} must be {shape}, but its shape is", array)
    _expect(path, len(array) == n, f"{n} rows are expected, one for each sample, but its shape is", array)
    if array.shape[-3] > MOST_CHANNELS:
        raise DataError(
            f"{path}: {array.shape[-3]} channels of {shape}; if channels come last, say `channels_last: true`"
        )
    if array.dtype == "uint8":
        return torch.from_numpy(array.copy())
    x = torch.from_numpy(array.astype("float64"))
    _finite(path, x)
    return x


def _lengths(modality: Modality, samples: Samples, n_steps: int) -> list[int]:
    if modality.lengths is None:
        return [n_steps] * samples.n
    cells = samples.columns[modality.lengths]
    lengths = numbers(samples.path, modality.lengths, cells).tolist()
    for row, length in enumerate(lengths, start=1):
        if length != int(length) or not 1 <= length <= n_steps:
            raise DataError(
                f"{samples.path}: column {modality.lengths!r} must hold lengths from 1 to {n_steps}, the steps of "
                f"{modality.file}, but row {row} has {length:g}"
            )
    return [int(length) for length in lengths]


def _padded(path: Path, series: list[Tensor], n_steps: int) -> Tensor:
    for row, one in enumerate(series, start=1):
        if not one.isfinite().all():
            raise DataError(f"{path}: sample {row} has steps that are not finite numbers")
    return pad([shortened(one, n_steps) for one in series])


def _finite(path: Path, x: Tensor) -> None:
    bad = (~x.isfinite()).flatten(1).any(1)
    if bad.any():
        first = int(bad.nonzero()[0]) + 1
        raise DataError(
            f"{path}: {int(bad.sum())} of {len(x)} rows hold values that are not finite, the first is row {first}"
        )


def _expect(path: Path, holds: bool, rule: str, array: np.ndarray[Any, Any]) -> None:
    if not holds:
        raise DataError(f"{path}: {rule} {array.shape}")
