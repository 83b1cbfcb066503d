"""Tensors and a JSON record in one safetensors file: written in one step, checked when read."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ._download import DataError, staged

log = logging.getLogger("dmil.datasets")

Stored = tuple[dict[str, Tensor], dict[str, Any]]


def save(path: Path, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Raises DataError where ``path`` cannot be written."""
    from safetensors.torch import save as to_bytes

    tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    text = json.dumps(record)  # keys keep their order: modalities come back as they went in
    metadata = {"record": text, "checksum": checksum(tensors, text)}
    with staged(path) as part:
        part.write_bytes(to_bytes(tensors, metadata))


def load(path: Path) -> Stored | None:
    """What ``save`` wrote; None if the file is not there or is damaged (the log says which)."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            record = json.loads(metadata["record"])
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
        intact = metadata["checksum"] == checksum(tensors, metadata["record"])
    except (SafetensorError, KeyError, TypeError, ValueError):
        intact = False
    except OSError as error:
        raise DataError(f"cannot read {path} ({error}): make it readable or delete it") from error
    if not intact:
        log.warning("%s is damaged and is made again", path)
        return None
    return tensors, record


def checksum(tensors: dict[str, Tensor], record: str) -> str:
    """SHA-256 over names, types, shapes and bytes of the tensors, and the record."""
    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
