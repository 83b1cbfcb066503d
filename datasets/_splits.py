"""Cutting samples into splits that share no group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._download import DataError

if TYPE_CHECKING:
    import torch


def held_out(groups: Sequence[str], classes: Sequence[str], *, share: float, rng: torch.Generator) -> list[int]:
    """Row numbers, in order, of whole groups that hold about ``share`` of every class; the other rows share no group.

    groups, classes: one per row; a group is of one class. Of each class so many groups, in random order, are taken
    that their rows come closest to the share: one at least, but not all of them.

    Raises DataError where a class has one group alone, or a group is of two classes.
    """
    import torch

    rows: dict[str, dict[str, list[int]]] = {}
    for i, (group, name) in enumerate(zip(groups, classes, strict=True)):
        rows.setdefault(name, {}).setdefault(group, []).append(i)
    owner: dict[str, str] = {}
    chosen: list[int] = []
    for name in sorted(rows):
        members = rows[name]
        for group in members:
            if owner.setdefault(group, name) != name:
                raise DataError(f"group {group!r} is of class {owner[group]!r} and of class {name!r}")
        if len(members) < 2:
            raise DataError(f"class {name!r} has one group alone, {min(members)!r}, but validation needs another one")
        order = sorted(members)
        order = [order[i] for i in torch.randperm(len(order), generator=rng).tolist()]
        wanted = share * sum(map(len, members.values()))
        sizes = [sum(len(members[group]) for group in order[:n]) for n in range(1, len(order))]
        n_taken = 1 + min(range(len(sizes)), key=lambda n: abs(sizes[n] - wanted))
        chosen += [i for group in order[:n_taken] for i in members[group]]
    return sorted(chosen)
