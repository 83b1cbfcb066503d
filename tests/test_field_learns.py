"""What docs/methods.md says each method can learn, held against trainings: every method beats the best constant, and
synergy is learned by exactly those that can represent it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.encoders import checked
from benchmarks.methods import FIELD, TABLE, Row, left_out
from benchmarks.plan import row_settings
from benchmarks.registry import load_dataset
from benchmarks.suite import load_suite
from dmil.selection import Budget
from dmil.train import Replica, fit, predict

Require = Callable[[Path], Path]
BASELINES = ("joint", "joint_mlp", "late_fusion", "late_fusion_learned")
COLLAPSES = "misa"  # it could, but at the authors' weights its codes collapse first: docs/methods.md
ERRORS = 5  # standard errors of a test accuracy

pytestmark = pytest.mark.slow


def can_represent_xor(root: Path) -> dict[str, str]:
    """Method -> what the first table says."""
    head, *lines = [line for line in (root / "docs/methods.md").read_text().splitlines() if line.startswith("| ")]
    assert head.split(" | ")[2] == "can represent XOR"
    n_rows = next(i for i, line in enumerate(lines) if line.startswith("| method "))
    rows = [[cell.strip() for cell in line.split("|")] for line in lines[:n_rows]]
    return {name: row[3] for row in rows for name in re.findall(r"`(\w+)`", row[1])}


def judged(name: str, dataset: str, *, epochs: int | None = None, n_seeds: int = 1) -> tuple[float, float, float]:
    """Best test accuracy over seeds with the settings of the suite ``field``, the share of the commonest class of the
    judged split, and a standard error."""
    suite, splits = load_suite("field", dataset), load_dataset(dataset)
    if left_out([name], checked(suite.encoders, splits.train), splits.task):
        pytest.skip(f"{name} cannot take {dataset}")
    settings = row_settings(Row(name, name, tuple(splits.train.inputs)), suite.settings)
    budget = Budget(**{**suite.budget, **({"epochs": epochs} if epochs else {})})
    replicas = [Replica(seed, settings) for seed in range(n_seeds)]
    results = fit(TABLE[name], splits.train, splits.valid, splits.task, replicas=replicas, budget=budget)
    target = splits.test.target
    hits = [(predict(one.method, splits.test).logits.argmax(-1) == target).double().mean().item() for one in results]
    common = target.bincount().max().item() / len(target)
    return max(hits), common, math.sqrt(common * (1 - common) / len(target))


@pytest.mark.parametrize("name", FIELD)
def test_a_method_of_the_field_reads_real_digits(name: str, data_root: Path, require: Require) -> None:
    require(data_root / "fsdd" / "recordings")
    accuracy, common, _ = judged(name, "digits")
    assert common < 0.2
    assert accuracy > 0.9


@pytest.mark.parametrize("name", FIELD)
def test_a_method_of_the_field_reads_one_digit_heard_and_seen(name: str, data_root: Path, require: Require) -> None:
    require(data_root / "fsdd" / "recordings")
    accuracy, common, error = judged(name, "avdigits-r", epochs=12)
    assert accuracy > common + ERRORS * error


@pytest.mark.parametrize("name", [*BASELINES, *FIELD])
def test_synergy_is_learned_by_those_that_can_represent_it(name: str, root: Path) -> None:
    accuracy, common, error = judged(name, "interactions-s", n_seeds=2)
    said = can_represent_xor(root)[name]
    if said == "no: additive" or name == COLLAPSES:
        assert abs(accuracy - 0.5) < ERRORS * error
    else:
        assert said.startswith(("yes", "with `head_depth` 1"))
        assert accuracy > common + ERRORS * error
