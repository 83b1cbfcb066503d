"""Which samples of a user's own dataset train, validate and test: as a column says, or drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dmil.seeds import generator

from ._assemble import stratified
from ._download import DataError
from ._folder_card import Rule, one_of

PARTS = ("train", "valid", "test")
N_CANDIDATES = 200  # draws of whole groups, of which the best balanced one is taken


def split_rows(
    path: Path, rule: Rule, column: Sequence[str] | None, target: Tensor, groups: Sequence[str]
) -> tuple[dict[str, list[int]], str]:
    """Row numbers of each split, in order, and the rule in words for the card.

    path: the table of samples, for messages. column: what it says of each sample, None where all is drawn. target: (N,)
    int64 for classes, else float. groups: one for each sample, or none.

    Raises DataError where the column holds anything but train, valid and test, a split is empty, or a group straddles.
    """
    rng = generator("split", "folder", rule.seed)
    if column is None:
        rows = _drawn(path, range(len(target)), rule.shares, target, groups, rng)
        text = f"drawn{_how(target, groups)}: {_shares(rule.shares)} of the samples, seed {rule.seed}"
    else:
        rows = _given(path, rule, column)
        text = f"as the column {rule.column!r} says"
        missing = [part for part in ("test", "valid") if not rows[part]]
        shares = {part: rule.shares[part] for part in missing}
        if shares:
            drawn = _drawn(path, rows["train"], shares, target, groups, rng)
            text += f"; of its training samples drawn{_how(target, groups)}: {_shares(shares)}, seed {rule.seed}"
            rows |= drawn
    empty = [part for part in PARTS if not rows[part]]
    if empty:
        raise DataError(f"{path}: no sample is left for {' and '.join(empty)} among {len(target)}")
    _refuse_straddling(path, rows, groups)
    return {part: sorted(rows[part]) for part in PARTS}, text


def _given(path: Path, rule: Rule, column: Sequence[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {part: [] for part in PARTS}
    for row, part in enumerate(column):
        one_of(f"{path}: column {rule.column!r}, row {row + 1}: the split", part, PARTS)
        rows[part].append(row)
    for part in ("test", "valid"):
        if rows[part] and part in rule.shares:
            raise DataError(
                f"{path}: column {rule.column!r} names {part} samples, so split must not draw any: no `{part}`"
            )
        if not rows[part] and part not in rule.shares:
            raise DataError(
                f"{path}: column {rule.column!r} names no {part} samples; to draw some from its training samples, "
                f"write `split: {{column: {rule.column}, {part}: 0.1}}`"
            )
    return rows


def _drawn(
    path: Path,
    among: Sequence[int],
    shares: Mapping[str, float],
    target: Tensor,
    groups: Sequence[str],
    rng: torch.Generator,
) -> dict[str, list[int]]:
    """Parts with their shares of ``among``, the rest for training: whole groups, or samples of every class alike."""
    rows = list(among)
    labels = torch.zeros(len(rows), dtype=torch.int64) if target.is_floating_point() else target[rows]
    if not groups:
        parts = stratified(labels, dict(shares), rest="train", rng=rng)
    else:
        parts = _balanced_groups(path, labels, [groups[row] for row in rows], shares, rng)
    return {part: [rows[i] for i in index] for part, index in parts.items()}


def _balanced_groups(
    path: Path, labels: Tensor, groups: Sequence[str], shares: Mapping[str, float], rng: torch.Generator
) -> dict[str, list[int]]:
    """Of many draws of whole groups the one whose parts come closest to their shares of every class."""
    names = sorted(set(groups))
    if len(names) <= len(shares):
        raise DataError(f"{path}: {len(names)} groups cannot be split in {len(shares) + 1}; give more, or none")
    place = {name: i for i, name in enumerate(names)}
    number = torch.tensor([place[name] for name in groups])
    counts = torch.zeros(len(names), int(labels.max()) + 1, dtype=torch.float64)
    counts.index_put_((number, labels), torch.ones(len(labels), dtype=torch.float64), accumulate=True)
    of_class = counts.sum(0).clamp_min(1)
    wanted = torch.tensor(list(shares.values()), dtype=torch.float64)
    best, chosen = float("inf"), torch.zeros(0)
    for _ in range(N_CANDIDATES):
        order = torch.randperm(len(names), generator=rng)
        part = _fill(counts[order].sum(1), wanted)
        found = torch.stack([counts[order][part == i].sum(0) for i in range(len(wanted))])
        off = (found / of_class - wanted[:, None]).abs().sum() + (found.sum(1) / len(labels) - wanted).abs().sum()
        off += 1000 * (counts[order][part < 0].sum(0) == 0).sum()  # a class that cannot be learned
        if float(off) < best:
            best, chosen = float(off), torch.empty_like(part).index_copy_(0, order, part)
    of_row = chosen[number]
    rows = {name: (of_row == i).nonzero().flatten().tolist() for i, name in enumerate(shares)}
    return rows | {"train": (of_row < 0).nonzero().flatten().tolist()}


def _fill(sizes: Tensor, wanted: Tensor) -> Tensor:
    """Part of each group in turn: 0 until its share is reached most closely, one at least, then 1, then -1."""
    part, start = torch.full((len(sizes),), -1), 0
    for i, share in enumerate(wanted):
        last = len(sizes) - (len(wanted) - i)  # one group for each part that follows, and for training
        reached = sizes[start:last].cumsum(0) / sizes.sum()
        end = start + 1 + int((reached - share).abs().argmin())
        part[start:end], start = i, end
    return part


def _refuse_straddling(path: Path, rows: Mapping[str, Sequence[int]], groups: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for part, index in rows.items():
        for row in index if groups else ():
            other = seen.setdefault(groups[row], part)
            if other != part:
                raise DataError(
                    f"{path}: group {groups[row]!r} is in {other} and in {part}: a group belongs in one split"
                )


def _how(target: Tensor, groups: Sequence[str]) -> str:
    by = " by whole groups" if groups else ""
    return by if target.is_floating_point() else f"{by} with the shares of the classes"


def _shares(shares: Mapping[str, float]) -> str:
    return " and ".join(f"{share:g} {part}" for part, share in shares.items())
