"""From one table of all samples to standardised splits; reading tables strictly."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dmil.data import Card, Split, Splits, Task

from ._download import DataError
from ._scaling import standardised


def assemble(
    samples: Split,
    rows: Mapping[str, Sequence[int]],
    *,
    task: Task,
    card: Card,
    n_blocks: Mapping[str, int] | None = None,
) -> Splits:
    """Cuts ``samples`` (all of them, unscaled) into the splits of ``rows`` (split name -> row numbers, in order).

    Inputs are standardised with mean and deviation of the training rows alone: see ``standardised``, which also says
    what ``n_blocks``, by modality, is for.
    """
    parts = {name: samples.take(torch.tensor(list(index), dtype=torch.long)) for name, index in rows.items()}
    scaled: dict[str, dict[str, Tensor]] = {name: {} for name in parts}
    for modality in samples.inputs:
        whole = {name: part.inputs[modality] for name, part in parts.items()}
        for name, x in standardised(whole, n_blocks=(n_blocks or {}).get(modality)).items():
            scaled[name][modality] = x
    done = {name: replace(part, inputs=scaled[name]) for name, part in parts.items()}
    return Splits(done["train"], done["valid"], done["test"], task, card)


def stratified(target: Tensor, shares: Mapping[str, float], *, rest: str, rng: torch.Generator) -> dict[str, list[int]]:
    """Row numbers of random parts of which each has its share of every class, rounded; what is left is ``rest``.

    target: (N,) class indices. Rows are in order within a part.
    """
    names = (*shares, rest)
    rows: dict[str, list[int]] = {name: [] for name in names}
    for label in range(int(target.max()) + 1):
        members = (target == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=rng)]
        ends = [round(share * len(members)) for share in shares.values()]
        cuts = [sum(ends[: i + 1]) for i in range(len(ends))]
        for name, part in zip(names, members.tensor_split(cuts), strict=True):
            rows[name] += part.tolist()
    return {name: sorted(index) for name, index in rows.items()}


def read_table(path: Path, *, n_rows: int, n_columns: int, encoding: str = "utf-8") -> list[list[str]]:
    """A CSV file without header. Raises DataError unless it has exactly this many rows and columns."""
    with path.open(newline="", encoding=encoding) as file:
        table = list(csv.reader(file))
    if len(table) != n_rows:
        raise DataError(f"{path} has {len(table)} rows, but {n_rows} are expected: {_ADVICE}")
    for number, row in enumerate(table, start=1):
        if len(row) != n_columns:
            raise DataError(f"{path} row {number} has {len(row)} columns, but {n_columns} are expected: {_ADVICE}")
    return table


def read_numbers(path: Path, *, n_rows: int, n_columns: int) -> Tensor:
    """Like ``read_table``, as a float64 tensor (n_rows, n_columns). Raises DataError where a cell is not a number."""
    table = read_table(path, n_rows=n_rows, n_columns=n_columns)
    try:
        numbers = torch.tensor([[float(cell) for cell in row] for row in table], dtype=torch.float64)
    except ValueError as error:
        raise DataError(f"{path}: {error}: {_ADVICE}") from error
    if not numbers.isfinite().all():
        raise DataError(f"{path} holds values that are not finite: {_ADVICE}")
    return numbers


_ADVICE = "delete the file to have it downloaded again"
