"""Settings of a method: default and search range of each on one line, zero is a value, a typo is an error."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor


def tunable(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: Sequence[Any] = (),
    least: float = 0,
    per_replica: bool = True,
) -> Any:
    """A dataclass field that carries its own search range; ``least`` is the smallest value that makes sense at all.

    ``per_replica=False`` marks what all replicas of a stack share because it changes shapes or the loop
    itself (width, depth, batch size); anything else may differ from replica to replica.
    """
    if choices and default not in choices:
        raise ValueError(f"the default must be one of its choices, but got {default!r} and {tuple(choices)}")
    if low is not None and high is not None and not low <= default <= high:
        raise ValueError(f"`low <= default <= high` must hold, but got ({low=}, {default=}, {high=})")
    space: dict[str, Any] = {"low": low, "high": high, "log": log, "choices": tuple(choices)}
    space |= {"least": least, "per_replica": per_replica}
    return field(default=default, metadata=space)


@dataclass(frozen=True)
class Settings:
    """What every method has in common; the same search range for all, so that no method is tuned more freely."""

    lr: float = tunable(1e-3, low=1e-4, high=1e-2, log=True)
    weight_decay: float = tunable(1e-2, low=1e-4, high=1.0, log=True)
    dropout: float = tunable(0.5, low=0.0, high=0.6)
    batch_size: int = tunable(64, choices=(32, 64, 128, 256), least=1, per_replica=False)
    width: int = tunable(128, choices=(32, 64, 128, 256), least=1, per_replica=False)
    depth: int = tunable(1, choices=(1, 2, 3), least=1, per_replica=False)

    def __post_init__(self) -> None:
        """Raises ValueError for a number out of its range. A stacked setting is a tensor and was checked before."""
        for entry in fields(self):
            value, least = getattr(self, entry.name), entry.metadata.get("least", -math.inf)
            if isinstance(value, int | float) and not (value >= least and math.isfinite(value)):
                raise ValueError(f"a finite `{entry.name} >= {least}` must hold, but got {entry.name}={value}")
        if not isinstance(self.dropout, Tensor) and not self.dropout < 1:
            raise ValueError(f"`dropout < 1` must hold, but got dropout={self.dropout}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


S = TypeVar("S", bound=Settings)


def override(settings: S, values: Mapping[str, Any]) -> S:
    """``settings`` with some values replaced.

    Raises:
        ValueError: for a name the settings do not have, or a value of another type.
    """
    known = {f.name: f for f in fields(settings)}
    converted: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(f"unknown setting {name!r}; {hint}known: {', '.join(known)}")
        converted[name] = _like(name, getattr(settings, name), value)
    return replace(settings, **converted)


def _like(name: str, default: Any, value: Any) -> Any:
    """``value`` in the type of ``default``: YAML and the shell write 1 for 1.0 and 1e-3 as text."""
    kind = type(default)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    try:
        if kind is float and not isinstance(value, bool):
            return float(value)
        if kind is int and not isinstance(value, bool) and int(value) == float(value):
            return int(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"setting {name!r} takes {kind.__name__}, but got {value!r}")


def _may_differ(setting: Field[Any]) -> bool:
    """Replicas may differ in fractional settings alone; their type is the default's, as someone may pass 1 for 1.0."""
    return setting.metadata.get("per_replica", True) and isinstance(setting.default, float)


def shared_settings(settings: Settings) -> dict[str, Any]:
    """The settings that all replicas of one stack must have in common."""
    return {f.name: getattr(settings, f.name) for f in fields(settings) if not _may_differ(f)}


def stack_settings(settings: Sequence[S], dtype: torch.dtype, device: torch.device | str) -> S:
    """One settings object whose per-replica numbers are tensors (S,)."""
    stacked: dict[str, Any] = {
        f.name: torch.tensor([getattr(s, f.name) for s in settings], dtype=dtype, device=device)
        for f in fields(settings[0])
        if _may_differ(f)
    }
    return replace(settings[0], **stacked)
