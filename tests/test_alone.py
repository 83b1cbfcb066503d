"""What must work with less around it: dmil with torch alone, the commands' help and the reports without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def python(code: str, *args: str, root: Path) -> str:
    """Standard output of a fresh interpreter in the checkout."""
    command = [sys.executable, "-c", code, *args]
    done = subprocess.run(command, cwd=root, env=dict(os.environ), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def closure(distribution: str) -> set[str]:
    """Normalised names of an installed distribution and of everything that it requires here."""
    todo, seen = [distribution], set[str]()
    while todo:
        name = canonicalize_name(todo.pop())
        if name not in seen:
            seen.add(name)
            wanted = [Requirement(line) for line in requires(name) or []]
            todo += [r.name for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return seen


TORCH_ALONE = """
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec

absent = set(sys.argv[1:])


class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in absent else super().find_spec(name, path, target)


sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
import torch

import dmil

noise = torch.Generator().manual_seed(0)
target = torch.arange(90) % 3
x = torch.nn.functional.one_hot(target, 3) + 0.1 * torch.randn(90, 3, generator=noise)
whole = dmil.Split({"a": x, "b": x.flip(-1)}, target)
results = dmil.fit(
    dmil.Dmil, whole, whole, dmil.Task(n_classes=3), replicas=[dmil.Replica(seed=0)], budget=dmil.Budget(epochs=3)
)
logits = dmil.predict(results[0].method, whole).logits
assert logits.shape == (90, 3), logits.shape
from dmil.interactions import LsmiSettings, Schedule, broja, fit_lsmi, theorem_terms

short = LsmiSettings(discriminators=Schedule(1, 30), densities=Schedule(1, 30))
fit_lsmi(x, x.flip(-1), target, 3, settings=short).estimate(x, x.flip(-1), target)
theorem_terms(x, target, target, n_classes=3, n_compositions=3)
assert abs(broja(torch.eye(3).unsqueeze(1) / 3).bits().u1 - 1.584963) < 1e-5
assert find_spec("numpy") is None
print(results[0].status, dmil.accuracy(logits, target))
"""


def test_dmil_trains_where_torch_is_alone(root: Path) -> None:
    there = closure("torch") | {"dmil-bench"}
    absent = [m for m, names in packages_distributions().items() if there.isdisjoint(map(canonicalize_name, names))]
    assert {"numpy", "pandas", "mlflow"} <= set(absent)
    status, accuracy = python(TORCH_ALONE, *absent, root=root).split()
    assert status == "finished"
    assert float(accuracy) > 0.6  # chance is 1/3


HEAVY = ("torch", "mlflow", "pandas", "ray", "transformers", "sklearn", "scipy", "matplotlib", "numpy")
HELP = """
import runpy, sys

command, *heavy = sys.argv[1:]
sys.argv = [command, "--help"]
try:
    runpy.run_module(command, run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", *sorted(set(heavy) & set(sys.modules)))
"""


@pytest.mark.parametrize("command", ["benchmarks", "reports"])
def test_help_loads_nothing_heavy(command: str, root: Path) -> None:
    usage, _, loaded = python(HELP, command, *HEAVY, root=root).rpartition("loaded:")
    assert "usage:" in usage.lower()
    assert loaded.split() == []


def test_reports_never_load_torch(root: Path) -> None:
    files = [file.relative_to(root).with_suffix("") for file in (root / "reports").rglob("*.py")]
    names = [".".join(file.parts) for file in files if file.name not in ("__init__", "__main__")]
    assert names
    code = "import sys\nfrom importlib import import_module\nfor name in sys.argv[1:]: import_module(name)\n"
    loaded = python(code + "print(*{'torch', 'dmil'} & set(sys.modules))", *names, root=root)
    assert loaded.split() == []
