"""The predictions file: which columns it has, and that many classes do not make it grow."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks import predictions
from dmil.data import Card, Split
from dmil.method import Output
from reports.samples import Answers, read_samples

CARD = Card("toy", "Toy", "made", "none", "nobody", "by hand", "none")
N = 5


def written(path: Path, n_classes: int) -> tuple[pd.DataFrame, Output]:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(N, n_classes, generator=rng)
    components = torch.randn(2, N, n_classes, generator=rng)
    output = Output(logits, components, gate=torch.full((N, 2), 0.5))
    split = Split({"x": torch.zeros(N, 1)}, torch.arange(N))
    predictions.write(path / "p.parquet", [("test", split, output)], CARD, ["R", "S"])
    return pd.read_parquet(path / "p.parquet"), output


COMMON = ["id", "group", "split", "target", "truth"]


def test_of_a_few_classes_everything_is_kept(tmp_path: Path) -> None:
    table, output = written(tmp_path, 3)
    logits = [f"logit_{component}_{k}" for component in "RS" for k in range(3)]
    assert list(table) == [*COMMON, "prob_0", "prob_1", "prob_2", *logits, "gate_R", "gate_S"]
    found = torch.from_numpy(table[["prob_0", "prob_1", "prob_2"]].to_numpy(copy=True))
    torch.testing.assert_close(found, output.logits.softmax(-1))
    assert output.components is not None
    torch.testing.assert_close(torch.from_numpy(table["logit_S_1"].to_numpy(copy=True)), output.components[1, :, 1])


def test_of_many_classes_the_answer_and_its_probability(tmp_path: Path) -> None:
    table, output = written(tmp_path, predictions.MANY + 1)
    own = [f"{what}_{component}" for component in "RS" for what in ("answer", "confidence")]
    assert list(table) == [*COMMON, "answer", "confidence", *own, "gate_R", "gate_S"]
    assert table["answer"].tolist() == output.logits.argmax(-1).tolist()
    confidence = torch.from_numpy(table["confidence"].to_numpy(copy=True))
    torch.testing.assert_close(confidence, output.logits.softmax(-1).amax(-1))
    assert output.components is not None
    assert table["answer_S"].tolist() == output.components[1].argmax(-1).tolist()


def test_a_report_reads_both_alike(tmp_path: Path) -> None:
    for n_classes in (3, predictions.MANY + 1):
        _, output = written(tmp_path, n_classes)
        found = read_samples(tmp_path / "p.parquet", "the run")
        assert isinstance(found, Answers)
        assert found.answer.tolist() == output.logits.argmax(-1).tolist()
        assert found.confidence.tolist() == pytest.approx(output.logits.softmax(-1).amax(-1).tolist())
        assert found.is_right.tolist() == [k == i for i, k in enumerate(found.answer)]
        assert found.components == ("R", "S")
        table = pd.read_parquet(tmp_path / "p.parquet").drop(columns=["gate_R", "gate_S"])
        table.to_parquet(tmp_path / "ungated.parquet")
        assert read_samples(tmp_path / "ungated.parquet", "the run").components == ("R", "S")
