"""ROSMAP: the published split and the 20 others, by name and by row."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks import registry
from benchmarks.errors import UserError
from benchmarks.suite import suite_datasets

Require = Callable[[Path], Path]

rosmap = import_module("benchmarks.datasets.rosmap")
files = import_module("benchmarks.datasets._files")
assemble = import_module("benchmarks.datasets._assemble")

LABELS = torch.tensor([0] * 118 + [1] * 127 + [0] * 51 + [1] * 55)  # as many of each as in both published parts


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rosmap-split20", "split 20 is out of range: 0 to 19"),
        ("rosmap-split03", "write rosmap for the published split, or rosmap-splitN"),
        ("rosmap-", "rosmap-splitN"),
        ("rosmap-train", "rosmap-splitN"),
    ],
)
def test_a_name_that_means_nothing_is_one_line(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        registry.load_dataset(name)
    assert "\n" not in str(error.value)


def test_stratified_parts_by_hand() -> None:
    """Of 10 and 20 members a share of 0.3 is 3 and 6, of 0.25 is 2 and 5 (2.5 is rounded to even), the rest 5 and 9."""
    target = torch.tensor([0, 1, 1] * 10)
    rng = torch.Generator().manual_seed(0)
    rows = assemble.stratified(target, {"a": 0.3, "b": 0.25}, rest="c", rng=rng)
    assert {name: target[index].bincount().tolist() for name, index in rows.items()} == {
        "a": [3, 6],
        "b": [2, 5],
        "c": [5, 9],
    }
    assert sorted(rows["a"] + rows["b"] + rows["c"]) == list(range(30))
    assert all(index == sorted(index) for index in rows.values())


def test_the_published_test_rows_are_the_test_split() -> None:
    rows = rosmap.split_rows(LABELS, None)
    assert rows["test"] == list(range(245, 351))
    assert sorted(rows["train"] + rows["valid"]) == list(range(245))
    assert LABELS[rows["valid"]].bincount().tolist() == [24, 25]  # 49/245 of 118 and 127


def test_every_split_is_another_one_of_the_same_shape() -> None:
    found = [rosmap.split_rows(LABELS, split) for split in range(rosmap.N_SPLITS)]
    assert len({tuple(rows["test"]) for rows in found}) == 20
    for rows in found:
        assert sorted(i for index in rows.values() for i in index) == list(range(351))
        counts = {part: LABELS[index].bincount().tolist() for part, index in rows.items()}
        assert counts == {"test": [51, 55], "valid": [24, 25], "train": [94, 102]}


def test_the_suite_is_all_splits_and_no_more() -> None:
    assert suite_datasets("rosmap") == [f"rosmap-split{i}" for i in range(rosmap.N_SPLITS)]


def test_cards_say_which_split(data_root: Path, require: Require) -> None:
    published, other = rosmap.variant("rosmap").CARD, rosmap.variant("rosmap-split7").CARD
    assert published.title.endswith("the published split")
    assert other.title.endswith("random split 7 of 20")
    for card in (published, other):
        assert "preselected by label" in card.traps[0]
        assert any("106 test samples" in trap for trap in card.traps)
    require(data_root / "rosmap")
    one, two = registry.load_dataset("rosmap"), registry.load_dataset("rosmap-split7")
    assert {i.split("-")[0] for i in one.test.ids} == {"te"}
    assert {i.split("-")[0] for i in two.test.ids} == {"te", "tr"}
    labels = [dict(zip(i.ids, i.target.tolist(), strict=True)) for s in (one, two) for i in s.parts().values()]
    assert {k: v for part in labels[:3] for k, v in part.items()} == {
        k: v for part in labels[3:] for k, v in part.items()
    }


def test_a_truncated_table_is_one_clear_line(data_root: Path, require: Require, tmp_path: Path) -> None:
    require(data_root / "rosmap")
    for path in (data_root / "rosmap").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert len(rosmap.read(tmp_path)[1]) == 351
    (tmp_path / "labels_te.csv").write_text("0\n" * 105 + "2\n")
    with pytest.raises(files.DataError, match="labels must be 0 and 1"):
        rosmap.read(tmp_path)
    table = tmp_path / "2_tr.csv"
    table.write_text(table.read_text()[:-40])
    (tmp_path / "labels_te.csv").write_bytes((data_root / "rosmap" / "labels_te.csv").read_bytes())
    with pytest.raises(files.DataError, match="row 245 has") as error:
        rosmap.read(tmp_path)
    assert str(table) in str(error.value)


@pytest.mark.slow
def test_rosmap_reaches_the_first_numbers(data_root: Path, require: Require) -> None:
    """Late fusion of three logistic regressions (shared numbers: 0.858 published, 0.828 +- 0.037 over the splits)."""
    from sklearn.linear_model import LogisticRegression

    require(data_root / "rosmap")

    def late(name: str) -> float:
        splits = registry.load_dataset(name)
        target = torch.cat([splits.train.target, splits.valid.target])
        total = torch.zeros(len(splits.test), 2, dtype=torch.float64)
        for m, x in splits.test.inputs.items():
            model = LogisticRegression(C=0.03, max_iter=2000)
            model.fit(torch.cat([splits.train.inputs[m], splits.valid.inputs[m]]), target)
            total += torch.from_numpy(model.predict_proba(x)).double()
        return float((total.argmax(1) == splits.test.target).double().mean())

    assert late("rosmap") == pytest.approx(0.858, abs=0.02)
    repeated = torch.tensor([late(f"rosmap-split{i}") for i in range(rosmap.N_SPLITS)])
    assert float(repeated.mean()) == pytest.approx(0.828, abs=0.01)
    assert float(repeated.std()) == pytest.approx(0.037, abs=0.01)
