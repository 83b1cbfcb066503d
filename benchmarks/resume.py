"""Keeps the state of a long training on disk, so that the same command goes on where it was killed."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.record import content_hash

log = logging.getLogger("dmil.benchmarks")

INTERVAL = 60.0  # seconds of training that a kill may cost


class FileKeeper:
    """A ``dmil.resume.Keeper`` with one file per stack of runs, named by their keys and thus by all they depend on."""

    def __init__(self, folder: Path, keys: Sequence[str], *, interval: float = INTERVAL) -> None:
        self.path = folder / f"{content_hash(list(keys))}.safetensors"
        self.interval, self.last = interval, time.monotonic()

    def is_due(self) -> bool:
        return time.monotonic() - self.last >= self.interval

    def save(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Replaces the file whole; where that cannot be done, training goes on without, which the log says once."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: x.contiguous() for name, x in tensors.items()}, draft, {"record": json.dumps(record)})
            draft.replace(self.path)
        except (OSError, SafetensorError) as error:
            with suppress(OSError):
                draft.unlink()
            log.warning("cannot keep the state of a training in %s (%s): a kill would lose it", self.path, error)
            self.interval = float("inf")
        self.last = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """None where nothing was kept, or it cannot be read, which the log says."""
        from safetensors import SafetensorError, safe_open

        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
                return tensors, json.loads(file.metadata()["record"])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read (%s): this training begins anew", self.path, error)
            return None

    def remove(self) -> None:
        """The runs are stored: their state is not needed any more."""
        self.path.unlink(missing_ok=True)
