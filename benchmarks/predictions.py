"""Per-sample predictions as Parquet: what synergy, paired tests and interaction plots are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmil.data import Card, Split
    from dmil.method import Output


def write(path: Path, parts: Sequence[tuple[str, Split, Output]], card: Card, components: Sequence[str]) -> None:
    """One row per sample of every (split name, split, output).

    Columns: id, group, split, target, truth (name or null), prob_<class>, and where the method has components
    logit_<component>_<class> and gate_<component>. A regression has ``prediction`` instead of prob. An estimator adds
    info_<composition>, in nats, from ``Output.extra``.
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
    else:
        for k, column in enumerate(output.logits.softmax(-1).float().unbind(-1)):
            columns[f"prob_{k}"] = column.numpy()
    if output.components is not None:
        for component, logits in zip(components, output.components.float(), strict=True):
            columns |= {f"logit_{component}_{k}": column.numpy() for k, column in enumerate(logits.unbind(-1))}
    if output.gate is not None:
        columns |= {f"gate_{c}": g.numpy() for c, g in zip(components, output.gate.float().unbind(-1), strict=True)}
    columns |= {key: values.float().numpy() for key, values in output.extra.items() if key.startswith("info_")}
    return columns
