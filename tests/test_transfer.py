"""Out of distribution: what is learned on some classes never meets the others, and these are told apart by a probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from benchmarks.errors import UserError
from benchmarks.execute import Fitted, assemble, evaluate, fit_specs, training_data
from benchmarks.plan import Spec, check_suite, resolve
from benchmarks.record import CHECKPOINT, PREDICTIONS, RunRecord
from benchmarks.suite import Suite
from benchmarks.transfer import Transfer, only_classes
from dmil.data import Card, Split, Splits, Task
from dmil.seeds import generator
from dmil.train import fit

CARD = Card("made", "Made", "here", "none", "none", "independent draws", "none", bayes_accuracy=0.9)
N_CLASSES = 6


def made_splits(n: int = 120) -> Splits:
    """Six classes at the corners of a hexagon in each of two modalities; every id says its split and its class."""
    rng = generator("transfer problem")
    parts: dict[str, Split] = {}
    for name in ("train", "valid", "test"):
        target = torch.arange(n) % N_CLASSES
        angle = target * (2 * torch.pi / N_CLASSES)
        corner = torch.stack([angle.cos(), angle.sin()], 1)
        inputs = {m: torch.cat([corner, torch.zeros(n, 2)], 1) + 0.2 * torch.randn(n, 4, generator=rng) for m in "ab"}
        ids = tuple(f"{name}-{i}-{label}" for i, label in enumerate(target.tolist()))
        parts[name] = Split(inputs, target, ids, tuple(f"{name}{i // 10}" for i in range(n)))
    return Splits(
        parts["train"], parts["valid"], parts["test"], Task(n_classes=N_CLASSES, class_names=tuple("ABCDEF")), CARD
    )


def made_suite(*methods: str, train_classes: Any = 0.5) -> Suite:
    budget = {"epochs": 6, "patience": 5, "lr_patience": 5}
    settings = {"all": {"width": 8, "batch_size": 16, "lr": 1e-2}}
    return Suite("mine", "made", methods, 1, budget, settings, transfer={"train_classes": train_classes})


def run(splits: Splits, folder: Path, *methods: str) -> dict[str, RunRecord]:
    """Every run of these methods, the way the bench does them."""
    _, specs = resolve(made_suite(*methods), splits, device="cpu")
    train, valid, task = training_data(specs[0], splits)
    records: dict[str, RunRecord] = {}

    def checkpoint(spec: Spec) -> Path:
        return folder / spec.key / CHECKPOINT

    for spec in specs:
        if spec.row.base == "ensemble":
            fitted: Sequence[Fitted] = [assemble(spec, train, task, checkpoint)]
        else:
            (fitted,) = fit_specs([spec], train, valid, task, device="cpu")
        records[spec.row.name] = evaluate(fitted[0], splits, folder / spec.key, suite="mine", protocol="p")
    return records


def test_a_share_divides_the_classes_by_a_named_seed() -> None:
    splits = made_splits()
    chosen = Transfer.choose(0.5, splits)
    assert sorted(chosen.train_classes + chosen.probe_classes) == list(range(N_CLASSES))
    assert len(chosen.train_classes) == 3
    order = torch.randperm(N_CLASSES, generator=generator("transfer", "made")).tolist()
    assert chosen.train_classes == tuple(sorted(order[:3]))
    assert len(Transfer.choose(0.34, splits).train_classes) == 2


def test_a_list_names_the_classes_to_learn_on() -> None:
    assert Transfer.choose([5, "B", 0], made_splits()) == Transfer((0, 1, 5), (2, 3, 4))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (0.1, "train_classes 0.1 makes 1 of the 6 classes of made those to learn on; each side needs 2 or more"),
        ([0, 1, 2, 3, 4], "makes 5 of the 6 classes"),
        ([0, 0, 1], "none named twice"),
        ([0, 6], "unknown class of made: 6; known: 0 to 5 or A, B, C, D, E, F"),
        ([0, "Z"], "unknown class of made: 'Z'"),
        ([True, 0], "unknown class of made: True"),
        (1.0, r"must be a share between 0 and 1 or a list of classes, but got 1\.0"),
        (3, "must be a share between 0 and 1 or a list of classes, but got 3"),
        (True, "must be a share"),
        ("half", "must be a share"),
    ],
)
def test_bad_classes(wanted: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Transfer.choose(wanted, made_splits())


def test_what_cannot_be_divided() -> None:
    splits = made_splits()
    regression = replace(splits, task=Task("regression"))
    with pytest.raises(UserError, match="transfer divides classes, but the task of made is a regression"):
        Transfer.choose(0.5, regression)
    bare = replace(splits, valid=only_classes(splits.valid, [0, 1]))
    with pytest.raises(UserError, match="made has no valid sample of the classes 2, 3, 4, 5"):
        Transfer.choose([0, 1], bare)


def test_both_sides_are_disjoint_and_relabelled() -> None:
    splits = made_splits()
    chosen = Transfer((1, 4), (0, 2, 3, 5))
    train, valid, task = chosen.source(splits)
    target = chosen.target(splits)
    assert (task.class_names, target.task.class_names) == (("B", "E"), ("A", "C", "D", "F"))
    for split, classes in ((train, (1, 4)), (valid, (1, 4)), *((s, (0, 2, 3, 5)) for s in target.parts().values())):
        assert [classes[label] for label in split.target.tolist()] == [int(name.split("-")[2]) for name in split.ids]
        assert sorted(set(split.target.tolist())) == list(range(len(classes)))
    for name, whole in splits.parts().items():
        learned = {"train": train.ids, "valid": valid.ids, "test": ()}[name]
        probed = target.parts()[name]
        assert set(learned).isdisjoint(probed.ids)
        assert len(learned) + len(probed.ids) == len(whole) - (40 if name == "test" else 0)
        rows = [whole.ids.index(name) for name in probed.ids]
        assert torch.equal(probed.inputs["b"], whole.inputs["b"][rows])
        assert probed.groups == tuple(whole.groups[row] for row in rows)


def test_fit_sees_no_class_of_the_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits, seen = made_splits(), list[Split]()

    def spy(method: Any, train: Split, valid: Split, task: Task, **rest: Any) -> Any:
        seen.extend((train, valid))
        assert task.n_classes == 3
        return fit(method, train, valid, task, **rest)

    monkeypatch.setattr("benchmarks.execute.fit", spy)
    run(splits, tmp_path, "ensemble", "joint")
    chosen = Transfer.choose(0.5, splits)
    assert len(seen) == 6
    assert {int(name.split("-")[2]) for split in seen for name in split.ids} == set(chosen.train_classes)
    assert {name.split("-")[0] for split in seen for name in split.ids} == {"train", "valid"}


def test_a_run_is_judged_on_the_other_classes(tmp_path: Path) -> None:
    splits = made_splits()
    chosen = Transfer.choose(0.5, splits)
    for name, record in run(splits, tmp_path, "ensemble", "joint", "dmil").items():
        assert record.status == "finished"
        assert record.spec["transfer"] == {
            "train_classes": chosen.train_classes,
            "probe_classes": chosen.probe_classes,
        }
        assert record.metrics["source/valid_acc"] > 0.5, name
        assert record.metrics["test/acc"] > 0.6, name
        table = pd.read_parquet(tmp_path / record.key / PREDICTIONS)
        assert set(table["split"]) == {"valid", "test"}
        assert {int(name.split("-")[2]) for name in table["id"]} == set(chosen.probe_classes)
        probabilities = table[[column for column in table.columns.astype(str) if column.startswith("prob_")]].to_numpy()
        assert probabilities.shape[1] == 3
        test = table["split"] == "test"
        right = (probabilities.argmax(1) == table["target"])[test].mean()
        assert right == pytest.approx(record.metrics["test/acc"])
        assert not [column for column in table.columns.astype(str) if column.startswith(("logit_", "gate_"))]


def test_permuted_test_targets_select_nothing_else(tmp_path: Path) -> None:
    splits = made_splits()
    permuted = replace(splits, test=replace(splits.test, target=splits.test.target.flip(0)))
    mine, its = (run(data, tmp_path / str(i), "joint") for i, data in enumerate((splits, permuted)))

    assert mine["joint"].history == its["joint"].history
    for name, value in mine["joint"].metrics.items():
        if not name.startswith(("test/", "train_seconds")):
            assert its["joint"].metrics[name] == value, name
    assert mine["joint"].metrics["test/acc"] != its["joint"].metrics["test/acc"]


def test_the_card_says_how_the_data_was_used() -> None:
    plan, _ = resolve(made_suite("joint", train_classes=[0, 1, 2]), made_splits(), device="cpu")
    assert plan.card["split_rule"].endswith("learned on classes 0, 1, 2, linear probe on classes 3, 4, 5")
    assert plan.card["bayes_accuracy"] is None


def test_a_method_that_learns_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"probes the representation .* but constant has none; leave it out"):
        resolve(made_suite("constant", "joint"), made_splits(), device="cpu")


def test_words_are_refused() -> None:
    made = made_splits()
    train, valid, test = (
        replace(split, inputs=split.inputs | {"b": split.target.unsqueeze(1) + 1}) for split in made.parts().values()
    )
    with pytest.raises(UserError, match="whose words in b it never met; use a dataset without tokens"):
        resolve(made_suite("joint"), replace(made, train=train, valid=valid, test=test), device="cpu")


def test_theorem_terms_of_a_transfer_are_refused() -> None:
    with pytest.raises(UserError, match="theorem and transfer"):
        check_suite(replace(made_suite("joint"), theorem=True))
