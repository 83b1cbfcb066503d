"""Batches of a split on the device that trains, whether the split fits there or stays memory-mapped on disk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dmil.data import Inputs, Shared, Split

EVALUATION_ROWS = 4096
EVALUATION_NUMBERS = 1 << 23  # of one modality, in one block
LEAST_ROWS = 64
RESIDENT_SHARE = 0.3  # of the free memory of an accelerator
LARGEST_COPY = 1 << 31  # bytes


@dataclass(frozen=True)
class Batch:
    """index: which samples, (S, B); inputs and target: (S, B, ..)."""

    index: Tensor
    inputs: Inputs
    target: Tensor

    def parts(self, size: int) -> Iterator[Batch]:
        """The batch in pieces of ``size`` samples, 0 for all at once."""
        n = self.index.shape[1]
        if not 0 < size < n:
            yield self
            return
        for start in range(0, n, size):
            chosen = slice(start, start + size)
            inputs = {name: _piece(x, chosen) for name, x in self.inputs.items()}
            yield Batch(self.index[:, chosen], inputs, self.target[:, chosen])


class Feed:
    """A split as training and evaluation read it.

    resident: whether the whole split lies on the device; else batches are gathered one ahead in a thread and copied
    from pinned memory. None decides by the free memory of the device.
    """

    def __init__(
        self, split: Split, device: torch.device | str, dtype: torch.dtype, *, resident: bool | None = None
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.resident = _fits(split, self.device, dtype) if resident is None else resident
        self.split = split.to(device, dtype) if self.resident else split
        self.target = self.split.target.to(device)

    def __len__(self) -> int:
        return len(self.split)

    def orders(self, generators: Sequence[torch.Generator]) -> Tensor:
        """A random order for each replica, (S, N). Samples that share an object stand together: it is encoded once."""
        if not self.split.rows:
            return torch.stack([torch.randperm(len(self), generator=one) for one in generators])
        name, rows = next(iter(self.split.rows.items()))
        rows, n = rows.cpu(), len(self.split.inputs[name])
        return torch.stack([torch.randperm(n, generator=one)[rows].argsort(stable=True) for one in generators])

    def batches(self, orders: Tensor, size: int) -> Iterator[Batch]:
        """All samples in the order of each replica, (S, N), ``size`` at a time."""
        parts = orders.split(size, 1)
        if self.resident:
            yield from (self._gather(part.to(self.device)) for part in parts)
            return
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self._gather, parts[0])
            for following in (*parts[1:], None):
                batch = ahead.result()
                if following is not None:
                    ahead = pool.submit(self._gather, following)
                yield self._sent(batch)

    def blocks(self) -> Iterator[Inputs]:
        """All samples in order, as many at a time as memory allows: each modality (B, ..)."""
        largest = max(self._numbers(name) for name in self.split.inputs)
        size = min(EVALUATION_ROWS, max(LEAST_ROWS, EVALUATION_NUMBERS // largest))
        for start in range(0, len(self), size):
            chosen = slice(start, start + size)
            inputs: dict[str, Tensor | Shared] = {}
            for name, x in self.split.inputs.items():
                rows = self.split.rows.get(name)
                inputs[name] = x[chosen] if rows is None else _shared(x, rows[chosen])
            yield {name: self._moved(x) for name, x in inputs.items()}

    def _numbers(self, name: str) -> int:
        """How many numbers of a modality a sample brings into a block; one that it shares counts in part."""
        x = self.split.inputs[name]
        n = math.prod(x.shape[1:])
        return max(1, n * len(x) // len(self)) if name in self.split.rows else n

    def _gather(self, index: Tensor) -> Batch:
        inputs: dict[str, Tensor | Shared] = {}
        for name, x in self.split.inputs.items():
            rows = self.split.rows.get(name)
            inputs[name] = self._pinned(x[index]) if rows is None else self._pinned_shared(x, rows[index])
        return Batch(index, inputs, self.split.target[index])

    def _pinned_shared(self, x: Tensor, rows: Tensor) -> Shared:
        found = _shared(x, rows)
        return replace(found, values=self._pinned(found.values))

    def _pinned(self, x: Tensor) -> Tensor:
        return x.pin_memory() if not self.resident and self.device.type == "cuda" else x

    def _sent(self, batch: Batch) -> Batch:
        inputs = {name: self._moved(x) for name, x in batch.inputs.items()}
        target = batch.target.to(self.device, self.dtype if batch.target.is_floating_point() else None)
        return Batch(batch.index.to(self.device), inputs, target)

    def _moved(self, x: Tensor | Shared) -> Tensor | Shared:
        if isinstance(x, Shared):
            values = self._moved(x.values)
            assert isinstance(values, Tensor)
            return replace(x, values=values, index=x.index.to(self.device))
        return x.to(self.device, self.dtype if x.is_floating_point() else None, non_blocking=True)


def _shared(x: Tensor, rows: Tensor) -> Shared:
    """Objects of a batch, each once: of rows (B,) or (S, B); with S, short lists are filled up with their first."""
    if rows.dim() == 1:
        found, index = torch.unique(rows, return_inverse=True)
        return Shared(x[found], index)
    lists, index = zip(*(torch.unique(one, return_inverse=True) for one in rows), strict=True)
    return Shared(x[_filled(lists)], torch.stack(index), tuple(map(len, lists)))


def _piece(x: Tensor | Shared, chosen: slice) -> Tensor | Shared:
    """Some columns of a batch (S, B, ..)."""
    if not isinstance(x, Shared):
        return x[:, chosen]
    each = [_shared(values, index) for values, index in zip(x.values, x.index[:, chosen], strict=True)]
    lists = [one.values for one in each]
    return Shared(_filled(lists), torch.stack([one.index for one in each]), tuple(map(len, lists)))


def _filled(lists: Sequence[Tensor]) -> Tensor:
    """Tensors (n_i, ..) as one, (S, max n_i, ..): short ones repeat their first row."""
    n = max(len(one) for one in lists)
    return torch.stack([torch.cat([one, one[:1].expand(n - len(one), *one.shape[1:])]) for one in lists])


def _fits(split: Split, device: torch.device, dtype: torch.dtype) -> bool:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return sum(x.nbytes for x in split.inputs.values()) <= RESIDENT_SHARE * free
    # On a processor nothing moves; but numbers of another type become copies, of a memory-mapped file in memory too.
    copied = [x for x in split.inputs.values() if x.is_floating_point() and x.dtype != dtype]
    return sum(x.numel() for x in copied) * dtype.itemsize <= LARGEST_COPY
