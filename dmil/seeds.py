"""Named randomness: every random number in the suite comes from a seed derived here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(*parts: str | int) -> int:
    """A 63-bit seed that depends on every part and on their order: ``derive_seed("init", 3)``."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator seeded with ``derive_seed(*parts)``."""
    return torch.Generator(device=device).manual_seed(derive_seed(*parts))


@contextmanager
def following(stream: torch.Generator, device: torch.device) -> Iterator[None]:
    """While it lasts, torch's global generators go by a seed drawn from ``stream``; then they are as they were."""
    seed = int(torch.randint(2**62, (), generator=stream))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.random.manual_seed(seed)
        yield


@contextmanager
def initialising(*parts: str | int) -> Iterator[None]:
    """While it lasts, layers start from ``derive_seed(*parts)``; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(*parts))
        yield
