"""A bench of every method on a small dataset, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import suite
from benchmarks.methods import METHODS
from benchmarks.run import Options, make_benches


def bench_every_method(
    dataset: str, entry: str, *, data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> set[str]:
    """Two epochs of one seed; entry: what a suite says of the dataset. No run fails; returns the methods that ran."""
    monkeypatch.setenv("DMIL_DATA", str(data))
    monkeypatch.setattr(suite, "SUITES_DIR", folder)
    protocol = f"methods: [{', '.join(METHODS)}]\nseeds: 1\nbudget: {{epochs: 2, patience: 2}}\n"
    (folder / "mine.yaml").write_text(f"{protocol}datasets: {{{dataset}: {entry}}}\n")
    (bench,) = make_benches(Options(dataset, "mine", device="cpu"), folder / "results")
    bench.go()
    assert (bench.n_trained, bench.n_failed, bench.delivery_error) == (len(bench.specs), 0, None)
    return {spec.row.base for spec in bench.specs}
