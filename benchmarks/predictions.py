"""Per-sample predictions as Parquet: what synergy, paired tests and interaction plots are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from dmil.data import Card, Split
    from dmil.method import Output


MANY = 256
ROWS = 4096  # at a time, where there are many classes


def write(path: Path, parts: Sequence[tuple[str, Split, Output]], card: Card, components: Sequence[str]) -> None:
    """One row per sample of every (split name, split, output).

    Columns: id, group, split, target, truth (name or null), prob_<class>, and where the method has components
    logit_<component>_<class> and gate_<component>. A regression has ``prediction`` instead of prob. An estimator adds
    info_<composition>, in nats, from ``Output.extra``. Of more than ``MANY`` classes there are the likeliest and its
    probability alone, as ``answer`` and ``confidence``, and of components answer_<component> and
    confidence_<component>: everything else would take gigabytes.
    """
    import pyarrow as pa
    from pyarrow import parquet

    tables = [pa.table(_columns(name, split, output, card, components)) for name, split, output in parts]
    parquet.write_table(pa.concat_tables(tables), path, compression="zstd")


def _columns(name: str, split: Split, output: Output, card: Card, components: Sequence[str]) -> dict[str, Any]:
    import pyarrow as pa

    n = len(split)
    truth = None if split.truth is None else [card.truth_names[i] for i in split.truth.tolist()]
    columns: dict[str, Any] = {
        "id": list(split.ids) or [str(i) for i in range(n)],
        "group": list(split.groups) or [""] * n,
        "split": [name] * n,
        "target": split.target.numpy(),
        "truth": pa.array(truth if truth is not None else [None] * n, pa.string()),
    }
    if split.target.is_floating_point():
        columns["prediction"] = output.logits[:, 0].float().numpy()
    elif output.logits.shape[-1] <= MANY:
        columns |= _by_class("prob", output.logits.softmax(-1))
    else:
        columns |= _likeliest("", output.logits)
    if output.components is not None:
        is_whole = output.logits.shape[-1] <= MANY
        for component, logits in zip(components, output.components, strict=True):
            columns |= _by_class(f"logit_{component}", logits) if is_whole else _likeliest(f"_{component}", logits)
    if output.gate is not None:
        columns |= {f"gate_{c}": g.numpy() for c, g in zip(components, output.gate.float().unbind(-1), strict=True)}
    columns |= {key: values.float().numpy() for key, values in output.extra.items() if key.startswith("info_")}
    return columns


def _by_class(name: str, values: Tensor) -> dict[str, Any]:
    return {f"{name}_{k}": column.numpy() for k, column in enumerate(values.float().unbind(-1))}


def _likeliest(suffix: str, logits: Tensor) -> dict[str, Any]:
    """Of each row (N, C) the class with the largest probability, and that probability."""
    import torch

    found = [part.softmax(-1).float().max(-1) for part in logits.split(ROWS)]
    answer, confidence = (torch.cat([one[i] for one in found]).numpy() for i in (1, 0))
    return {f"answer{suffix}": answer, f"confidence{suffix}": confidence}
