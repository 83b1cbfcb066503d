"""What a method is trained on: tasks, splits and the card that says where they come from."""

from __future__ import annotations

import ctypes
import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

KINDS = ("classification", "regression")


@dataclass(frozen=True)
class Task:
    """What is predicted. ``n_outputs`` is the width of every prediction head."""

    kind: str = "classification"
    n_classes: int = 2
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown task kind {self.kind!r}; known: {', '.join(KINDS)}")
        if self.kind == "classification" and self.n_classes < 2:
            raise ValueError(f"`n_classes >= 2` must hold, but got n_classes={self.n_classes}")
        if self.class_names and len(self.class_names) != self.n_classes:
            raise ValueError(f"{self.n_classes} classes, but {len(self.class_names)} class names")

    @property
    def n_outputs(self) -> int:
        return self.n_classes if self.kind == "classification" else 1


@dataclass(frozen=True)
class Split:
    """Samples of one split, row i of every tensor belonging together.

    inputs: per modality a float tensor (N, d_m); target: (N,), int64 class index or float value;
    ids: unique sample names; groups: what must not straddle splits (video, subject), one per sample;
    truth: (N,) int64 index into ``Card.truth_names``, the true interaction of a sample where known.
    """

    inputs: dict[str, Tensor]
    target: Tensor
    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    truth: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("a split needs at least one modality")
        lengths = {name: len(x) for name, x in self.inputs.items()}
        lengths |= {"ids": len(self.ids)} if self.ids else {}
        lengths |= {"groups": len(self.groups)} if self.groups else {}
        lengths |= {"truth": len(self.truth)} if self.truth is not None else {}
        wrong = {name: n for name, n in lengths.items() if n != len(self)}
        if wrong:
            raise ValueError(f"every part of a split needs {len(self)} rows like its target, but got {wrong}")

    def __len__(self) -> int:
        return len(self.target)

    @property
    def dims(self) -> dict[str, int]:
        """Feature width of each modality."""
        return {name: x.shape[-1] for name, x in self.inputs.items()}

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Split:
        """The same samples on another device; floating tensors in ``dtype`` where one is given."""
        inputs = {name: x.to(device, dtype) for name, x in self.inputs.items()}
        target = self.target.to(device, dtype if self.target.is_floating_point() else None)
        return replace(self, inputs=inputs, target=target)


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
    """A prepared dataset."""

    train: Split
    valid: Split
    test: Split
    task: Task
    card: Card

    def parts(self) -> dict[str, Split]:
        return {"train": self.train, "valid": self.valid, "test": self.test}

    def checksum(self) -> str:
        """SHA-256 over the content of all three splits: names, shapes, types and bytes in a fixed order."""
        digest = hashlib.sha256(json.dumps(asdict(self.task), sort_keys=True).encode())
        for name, split in self.parts().items():
            tensors = {"target": split.target, **{f"inputs/{m}": split.inputs[m] for m in sorted(split.inputs)}}
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
