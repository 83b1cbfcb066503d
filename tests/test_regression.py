"""A regression from its task to its table: scores, prepared data, and a bench of every method."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks.execute import scores
from dmil.data import SENTIMENT, Card, Split, Splits, Task
from reports import measure
from tests.made_regression import with_sums


def test_a_task_says_which_scores_it_has() -> None:
    split = Split({"x": torch.zeros(4, 1)}, torch.tensor([1.0, -1.0, 2.0, -2.0]))
    predicted = torch.tensor([[0.5], [-1.0], [1.0], [1.0]])
    # Deviations of the predictions from 0.375 have squares that sum to 2.6875, of the targets 10; the products 1.5.
    expected = {"mae": 4.5 / 4, "corr": 1.5 / 26.875**0.5}
    assert scores(predicted, split, Task("regression")) == pytest.approx(expected)
    found = scores(predicted, split, Task("regression", metrics=SENTIMENT))
    assert list(found) == ["mae", "corr", *SENTIMENT]
    assert (found["acc2_non0"], found["acc7"]) == (0.75, 0.25)


def test_reports_know_every_score_of_a_sentiment() -> None:
    names = {measure.ACC2, measure.ACC2_NON0, measure.F1, measure.F1_NON0, measure.ACC7}
    assert names == {f"test/{name}" for name in SENTIMENT}


def test_prepared_data_keep_the_metrics_of_their_task() -> None:
    cache = import_module("benchmarks.datasets._cache")
    split = Split({"x": torch.zeros(2, 1)}, torch.zeros(2), ("a", "b"))
    card = Card("toy", "Toy", "here", "none", "nobody", "by hand", "none")
    splits = Splits(split, split, split, Task("regression", metrics=("acc7",)), card)
    assert cache._unpack(*cache._pack(splits)).task == splits.task
    tensors, record = cache._pack(splits)
    del record["task"]["metrics"]  # prepared before tasks had any
    assert cache._unpack(tensors, record).task == Task("regression")


@pytest.mark.slow
def test_every_method_is_benched_and_tuned_on_a_regression(root: Path, tmp_path: Path) -> None:
    checkout = with_sums(root, tmp_path / "checkout")
    size = ("--dataset", "sums", "--seeds", "2", "--epochs", "4")
    cache = str(tmp_path / "cache")
    checkout.bench(*size, DMIL_CACHE=cache)
    assert "0 of 28 runs trained" in checkout.bench(*size, DMIL_CACHE=cache)
    checkout.run("reports")
    table = pd.read_csv(checkout.folder / "reports/out/sums/leaderboard.csv").set_index("method")
    assert len(table) == 14
    assert set(table["status"]) == {"complete"}
    assert table["test_acc_mean"].isna().all()
    assert table["test_mae_mean"]["joint"] < table["test_mae_mean"]["constant"]
    learned = table.drop(index="constant")
    assert learned["test_corr_mean"].notna().all()
    assert table["test_acc7_mean"].between(0, 1).all()
    search = ("--dataset", "sums", "--methods", "joint", "--trials", "4", "--epochs", "4", "--backend", "local")
    assert "best 0." in checkout.run("sweeps", "run", *search, DMIL_CACHE=cache)
    checkout.run("reports", "--sweep", "sums")
    assert "best valid MAE" in (checkout.folder / "reports/out/sweeps/sums/sweep.md").read_text()
