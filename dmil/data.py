"""What a method is trained on: tasks, splits and the card that says where they come from."""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

KINDS = ("classification", "regression")
SENTIMENT = ("acc2_has0", "f1_has0", "acc2_non0", "f1_non0", "acc7")
"""What ``Task.metrics`` can ask for (``dmil.metrics.SENTIMENT``): scores of a sentiment from -3 to 3."""


@dataclass(frozen=True)
class Shared:
    """A batch in which several samples see the same object: sample i sees ``values[index[i]]``.

    values: (..., U, *shape), each object once; index: int64 (..., B). counts: of a stack, how many objects each replica
    has; those behind them, which no sample sees, fill up to U. Empty where all have U.
    """

    values: Tensor
    index: Tensor
    counts: tuple[int, ...] = ()


Inputs: TypeAlias = Mapping[str, Tensor | Shared]


@dataclass(frozen=True)
class Task:
    """What is predicted. ``n_outputs`` is the width of every prediction head.

    metrics: of a regression, what is reported beside error and correlation; names of ``SENTIMENT``.
    """

    kind: str = "classification"
    n_classes: int = 2
    class_names: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown task kind {self.kind!r}; known: {', '.join(KINDS)}")
        if self.kind == "classification" and self.n_classes < 2:
            raise ValueError(f"`n_classes >= 2` must hold, but got n_classes={self.n_classes}")
        if self.class_names and len(self.class_names) != self.n_classes:
            raise ValueError(f"{self.n_classes} classes, but {len(self.class_names)} class names")
        if self.metrics and self.kind != "regression":
            raise ValueError(f"further metrics are for a regression, but got {', '.join(self.metrics)}")
        if unknown := [name for name in self.metrics if name not in SENTIMENT]:
            raise ValueError(f"unknown metrics {', '.join(unknown)}; known: {', '.join(SENTIMENT)}")

    @property
    def n_outputs(self) -> int:
        return self.n_classes if self.kind == "classification" else 1


@dataclass(frozen=True)
class Split:
    """Samples of one split, row i of every tensor belonging together.

    inputs: per modality one tensor, which says by its type and rank what it holds: features (float, (N, d)); a
    sequence (float, (N, T, d + 1), whose last feature is 1 where the step exists and 0 where it is padding); tokens
    (int64, (N, T), 0 for padding); an image (float, or uint8 read as x / 255, (N, C, H, W)); a clip of F frames
    (the same, (N, F, C, H, W)). rows: for modalities of which samples share objects, as several questions share an
    image, int64 (N,): sample i has row ``rows[m][i]`` of ``inputs[m]``, which then holds each object once.
    target: (N,), int64 class index or float value; ids: unique sample names; groups: what must not straddle splits
    (video, subject), one per sample; truth: (N,) int64 index into ``Card.truth_names``, the true interaction of a
    sample where known.
    """

    inputs: dict[str, Tensor]
    target: Tensor
    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    truth: Tensor | None = None
    rows: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("a split needs at least one modality")
        for name, index in self.rows.items():
            n = len(self.inputs[name]) if name in self.inputs else 0
            if len(index) and not (int(index.min()) >= 0 and int(index.max()) < n):
                raise ValueError(f"rows of {name!r} must lie in 0..{n - 1}, but got {index.min()}..{index.max()}")
        lengths = {name: len(self.rows.get(name, x)) for name, x in self.inputs.items()}
        lengths |= {"ids": len(self.ids)} if self.ids else {}
        lengths |= {"groups": len(self.groups)} if self.groups else {}
        lengths |= {"truth": len(self.truth)} if self.truth is not None else {}
        wrong = {name: n for name, n in lengths.items() if n != len(self)}
        if wrong:
            raise ValueError(f"every part of a split needs {len(self)} rows like its target, but got {wrong}")

    def __len__(self) -> int:
        return len(self.target)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one sample of each modality."""
        return {name: tuple(x.shape[1:]) for name, x in self.inputs.items()}

    @property
    def dims(self) -> dict[str, int]:
        """Last dimension of each modality: of features, their number."""
        return {name: x.shape[-1] for name, x in self.inputs.items()}

    def only(self, modalities: Iterable[str]) -> Split:
        """The same samples with some modalities alone, in the given order."""
        names = tuple(modalities)
        rows = {name: self.rows[name] for name in names if name in self.rows}
        return replace(self, inputs={name: self.inputs[name] for name in names}, rows=rows)

    def take(self, index: Tensor) -> Split:
        """The samples at the positions ``index`` (int64 (n,)), in its order; shared objects are kept as they are."""
        chosen = index.tolist()
        return Split(
            inputs={name: x if name in self.rows else x[index] for name, x in self.inputs.items()},
            target=self.target[index],
            ids=tuple(self.ids[i] for i in chosen) if self.ids else (),
            groups=tuple(self.groups[i] for i in chosen) if self.groups else (),
            truth=None if self.truth is None else self.truth[index],
            rows={name: rows[index] for name, rows in self.rows.items()},
        )

    def expanded(self, name: str) -> Tensor:
        """One modality with a row for every sample: (N, *shape)."""
        return self.inputs[name][self.rows[name]] if name in self.rows else self.inputs[name]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Split:
        """The same samples on another device; floating tensors in ``dtype`` where one is given."""
        inputs = {name: x.to(device, dtype if x.is_floating_point() else None) for name, x in self.inputs.items()}
        target = self.target.to(device, dtype if self.target.is_floating_point() else None)
        rows = {name: index.to(device) for name, index in self.rows.items()}
        return replace(self, inputs=inputs, target=target, rows=rows)


@dataclass(frozen=True)
class Card:
    """Where a dataset comes from and what it can show; every report prints it.

    ``warning`` is shown above every result on this dataset. ``bayes_accuracy`` is the best accuracy any
    method can have, ``bayes_attribution`` the best share of samples whose composition (``Split.truth``) can be told,
    ``bayes_accuracy_by_truth`` the accuracy of the Bayes classifier on each composition, where the generator is known.
    ``checksums`` maps raw file names to their SHA-256.
    """

    name: str
    title: str
    source: str
    licence: str
    citation: str
    split_rule: str
    preprocessing: str
    traps: tuple[str, ...] = ()
    checksums: dict[str, str] = field(default_factory=dict)
    modalities: dict[str, str] = field(default_factory=dict)
    truth_names: tuple[str, ...] = ()
    warning: str | None = None
    bayes_accuracy: float | None = None
    bayes_attribution: float | None = None
    bayes_accuracy_by_truth: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Splits:
    """A prepared dataset. digest: what identifies the content of one too large to be hashed whenever it is used."""

    train: Split
    valid: Split
    test: Split
    task: Task
    card: Card
    digest: str | None = None

    def parts(self) -> dict[str, Split]:
        return {"train": self.train, "valid": self.valid, "test": self.test}

    def checksum(self) -> str:
        """SHA-256 over the content of all three splits: names, shapes, types and bytes; or ``digest``."""
        if self.digest is not None:
            return self.digest
        task = asdict(self.task)
        if not self.task.metrics:
            del task["metrics"]  # as it was before tasks could ask for any
        digest = hashlib.sha256(json.dumps(task, sort_keys=True).encode())
        for name, split in self.parts().items():
            tensors = {"target": split.target, **{f"inputs/{m}": split.inputs[m] for m in sorted(split.inputs)}}
            tensors |= {f"rows/{m}": split.rows[m] for m in sorted(split.rows)}
            if split.truth is not None:
                tensors["truth"] = split.truth
            digest.update(json.dumps([name, split.ids, split.groups]).encode())
            for key, tensor in tensors.items():
                data = tensor.detach().cpu().contiguous()
                digest.update(f"{key}:{data.dtype}:{tuple(data.shape)}".encode())
                digest.update(_bytes(data))
        return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    """Raw bytes without numpy, which a bare torch wheel lacks."""
    flat = tensor.reshape(-1).view(torch.uint8)
    return ctypes.string_at(flat.data_ptr(), flat.numel())
