"""Tasks, splits and seeds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from dmil.data import Card, Split, Splits, Task
from dmil.seeds import derive_seed, generator

CARD = Card("toy", "Toy", "here", "none", "nobody", "by hand", "none")


def made_split(n: int = 4) -> Split:
    inputs = {"a": torch.arange(2.0 * n).reshape(n, 2), "b": torch.ones(n, 3)}
    return Split(inputs, torch.arange(n) % 2, tuple("wxyz"[:n]), ("g",) * n, torch.zeros(n, dtype=torch.int64))


def made_splits() -> Splits:
    return Splits(made_split(), made_split(3), made_split(2), Task(), CARD)


def test_width_of_a_head_is_the_number_of_classes_or_one() -> None:
    assert Task(n_classes=5).n_outputs == 5
    assert Task("regression").n_outputs == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "ranking"}, "unknown task kind 'ranking'; known: classification, regression"),
        ({"n_classes": 1}, "n_classes=1"),
        ({"n_classes": 3, "class_names": ("no", "yes")}, "3 classes, but 2 class names"),
        ({"metrics": ("acc7",)}, "further metrics are for a regression, but got acc7"),
        ({"kind": "regression", "metrics": ("acc2", "acc7")}, "unknown metrics acc2; known: acc2_has0, f1_has0"),
    ],
)
def test_impossible_tasks(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Task(**arguments)


@pytest.mark.parametrize("part", ["a", "ids", "groups", "truth"])
def test_every_part_of_a_split_has_as_many_rows_as_its_target(part: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "a": {"inputs": {"a": torch.ones(3, 2)}},
        "ids": {"ids": ("x",)},
        "groups": {"groups": ("x",) * 5},
        "truth": {"truth": torch.zeros(2)},
    }
    with pytest.raises(ValueError, match=f"4 rows like its target, but got {{'{part}'"):
        replace(made_split(), **options[part])


def test_a_split_has_a_modality() -> None:
    with pytest.raises(ValueError, match="at least one modality"):
        Split({}, torch.zeros(3))


def test_dims_keep_the_order_of_the_modalities() -> None:
    assert list(made_split().dims.items()) == [("a", 2), ("b", 3)]


def test_only_floating_tensors_change_type() -> None:
    moved = made_split().to("cpu", torch.float64)
    assert {x.dtype for x in moved.inputs.values()} == {torch.float64}
    assert moved.target.dtype == torch.int64
    real = replace(made_split(), target=torch.rand(4)).to("cpu", torch.float64)
    assert real.target.dtype == torch.float64


def test_metrics_count_for_the_checksum_only_where_a_task_asks_for_some() -> None:
    """Without any a regression keeps the checksum that it had before tasks could ask."""
    plain = Splits(made_split(), made_split(3), made_split(2), Task("regression"), CARD)
    assert plain.checksum() == "3123423099b4a3dcc1b3411a3893820b91dc1d4dd0d076534eb49a578d8a6e7c"
    assert replace(plain, task=Task("regression", metrics=("acc7",))).checksum() != plain.checksum()


def test_checksum_is_the_sha256_of_what_it_says() -> None:
    def raw(tensor: torch.Tensor) -> bytes:
        return tensor.numpy().tobytes()

    splits = made_splits()
    task = {"kind": "classification", "n_classes": 2, "class_names": []}
    digest = hashlib.sha256(json.dumps(task, sort_keys=True).encode())
    for name in ("train", "valid", "test"):
        part = getattr(splits, name)
        digest.update(json.dumps([name, part.ids, part.groups]).encode())
        for key, x in (("target", part.target), ("inputs/a", part.inputs["a"]), ("inputs/b", part.inputs["b"])):
            digest.update(f"{key}:{x.dtype}:{tuple(x.shape)}".encode() + raw(x))
        digest.update(f"truth:torch.int64:({len(part)},)".encode() + raw(part.truth))
    assert splits.checksum() == digest.hexdigest()


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_checksum_sees_every_value_but_not_the_layout_in_memory(part: str) -> None:
    splits = made_splits()
    split = getattr(splits, part)
    changes = [
        {"target": 1 - split.target},
        {"inputs": split.inputs | {"b": split.inputs["b"] + torch.eye(3)[0] * 1e-6}},
        {"inputs": {"a": split.inputs["a"], "c": split.inputs["b"]}},
        {"inputs": split.inputs | {"a": split.inputs["a"].double()}},
        {"ids": tuple(reversed(split.ids))},
        {"groups": ("h", *split.groups[1:])},
        {"truth": split.truth + 1},
        {"truth": None},
    ]
    seen = {replace(splits, **{part: replace(split, **change)}).checksum() for change in changes}
    assert len(seen | {splits.checksum()}) == len(changes) + 1
    strided = replace(split, inputs=split.inputs | {"a": split.inputs["a"].T.contiguous().T})
    assert not strided.inputs["a"].is_contiguous()
    assert replace(splits, **{part: strided}).checksum() == splits.checksum()


def test_seeds_depend_on_every_part_its_order_and_its_type() -> None:
    parts: list[tuple[str | int, ...]] = [("init", 0), ("init", 1), ("order", 0), (0, "init"), ("init", "0"), ("init",)]
    seeds = {derive_seed(*p) for p in parts}
    assert len(seeds) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)
    digest = hashlib.sha256(b'["init", 3]').hexdigest()
    assert derive_seed("init", 3) == int(digest[:16], 16) // 2


def test_generators_of_one_name_agree_and_leave_the_global_one_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (torch.rand(5, generator=generator("x", i)) for i in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)
