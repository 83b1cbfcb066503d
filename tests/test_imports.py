"""Who may import whom, read from the sources: the table below, and how large modules and functions may grow."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ANY = None
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 60


@dataclass(frozen=True)
class Rule:
    """What the modules of one folder may import beside the standard library and each other.

    ours: modules of the other folders. libraries: third-party packages, or ANY. never: not even where ANY is
    allowed. eager: the libraries that need not wait for a function call, or ANY.
    """

    ours: tuple[str, ...] = ()
    libraries: tuple[str, ...] | None = ANY
    never: tuple[str, ...] = ()
    eager: tuple[str, ...] | None = ANY


RULES = {
    "dmil": Rule(libraries=("torch",)),
    "datasets": Rule(ours=("dmil.data", "dmil.seeds"), eager=("torch",)),
    "benchmarks": Rule(ours=("dmil",)),
    "sweeps": Rule(ours=("benchmarks", "dmil")),
    "reports": Rule(
        ours=(
            "benchmarks.checks",
            "benchmarks.errors",
            "benchmarks.outbox",
            "benchmarks.record",
            "benchmarks.registry",
            "benchmarks.suite",
            "benchmarks.tracking",
            "benchmarks.trials",
        ),
        never=("torch",),
    ),
    "tests": Rule(ours=("benchmarks", "dmil", "reports", "sweeps")),
}
DOORS = {"mlflow": "benchmarks/mlflow_store.py", "ray": "sweeps/"}
LOADERS = "benchmarks.datasets"


@dataclass(frozen=True)
class Import:
    name: str
    line: int
    is_eager: bool
    is_static: bool = True


def imports(path: str, source: str) -> Iterator[Import]:
    """Every import statement of a module, and every ``import_module`` of a literal name."""
    package = path.removesuffix(".py").split("/")[:-1]

    def visit(node: ast.AST, *, is_eager: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, is_eager) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module or "").split(".")] if node.module else base
            names = [".".join([*base, alias.name]) for alias in node.names]
            # Nobody may write `datasets`, and a sibling's relative import does not: its package is the other name.
            names = [f"benchmarks.{name}" if node.level and base[:1] == ["datasets"] else name for name in names]
            yield from (Import(name, node.lineno, is_eager) for name in names)
        elif isinstance(node, ast.Call) and (name := imported_by_call(node)):
            yield Import(name, node.lineno, is_eager, is_static=False)
        is_deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(node)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, is_eager=is_eager and not is_deferred)

    yield from visit(ast.parse(source), is_eager=True)


def imported_by_call(node: ast.Call) -> str | None:
    """The name in ``import_module("name")`` or ``__import__("name")``; of an f-string its literal start."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if called not in ("import_module", "__import__") or not node.args:
        return None
    name = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
    return name.value.rstrip(".") if isinstance(name, ast.Constant) and isinstance(name.value, str) else None


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def is_within(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def import_problem(path: str, found: Import) -> str | None:
    folder, top = path.split("/")[0], found.name.split(".")[0]
    rule = RULES[folder]
    if top == "datasets":
        return "`datasets` is also Hugging Face's name; say benchmarks.datasets, by import_module"
    if is_within(found.name, (LOADERS,)):
        allowed = folder in ("datasets", "tests") or (folder == "benchmarks" and not found.is_static)
        return None if allowed else "only the registry imports loaders, and by name"
    if top == folder or top in sys.stdlib_module_names:
        return None
    if top in RULES:
        return None if is_within(found.name, rule.ours) else f"of ours, {folder}/ may import {rule.ours or 'nothing'}"
    if top in DOORS and folder != "tests" and not path.startswith(DOORS[top]):
        return f"{top} belongs in {DOORS[top]}"
    if top in rule.never or (rule.libraries is not ANY and top not in rule.libraries):
        return f"{folder}/ may not import {top}"
    if rule.eager is not ANY and found.is_eager and top not in rule.eager:
        return f"import {top} inside the function that needs it"
    return None


def problems(path: str, source: str) -> list[str]:
    """One line per broken rule of one module; ``path`` is relative to the checkout."""
    found = [(i.line, f"imports {i.name}: {why}") for i in imports(path, source) if (why := import_problem(path, i))]
    if (n_lines := len(source.splitlines())) > MAX_MODULE_LINES:
        found.append((n_lines, f"{n_lines} lines, {MAX_MODULE_LINES} are allowed"))
    if path == "datasets/__init__.py":
        found.append((1, "as a package it hides Hugging Face's `datasets`, or loses to it"))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append((node.lineno, "bare except"))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                found.append((node.lineno, f"{node.name} has {length} lines, {MAX_FUNCTION_LINES} are allowed"))
    return [f"{path}:{line}: {text}" for line, text in sorted(found)]


def shared_doors(sources: dict[str, str]) -> list[str]:
    """Names that one module alone may import, where several do: ray, and the loaders."""
    modules = {path: source for path, source in sources.items() if not path.startswith("tests/")}
    found = []
    for name in ("ray", LOADERS):
        users = [p for p, source in modules.items() if any(is_within(i.name, (name,)) for i in outside(p, source))]
        if len(users) > 1:
            found.append(f"{name} is imported in {' and '.join(sorted(users))}; one module is its door")
    return found


def outside(path: str, source: str) -> Iterator[Import]:
    """The imports of a module, without those among the loaders themselves."""
    return (i for i in imports(path, source) if not path.startswith("datasets/"))


@pytest.fixture(scope="module")
def sources(root: Path) -> dict[str, str]:
    files = [file for folder in RULES for file in sorted((root / folder).rglob("*.py"))]
    return {file.relative_to(root).as_posix(): file.read_text() for file in files}


def test_every_module_keeps_the_rules(sources: dict[str, str]) -> None:
    assert {"dmil", "datasets", "benchmarks", "reports", "tests"} <= {path.split("/")[0] for path in sources}
    found = [line for path, source in sources.items() for line in problems(path, source)]
    assert not found + shared_doors(sources), "\n".join(found + shared_doors(sources))


BAD = [
    ("dmil/a.py", "import numpy", "may not import numpy"),
    ("dmil/a.py", "def f():\n    from numpy import array", "dmil/a.py:2"),
    ("dmil/a.py", "if TYPE_CHECKING:\n    import numpy", "may not import numpy"),
    ("dmil/a.py", "from benchmarks.record import RunRecord", "benchmarks.record.RunRecord"),
    ("dmil/a.py", "from .. import benchmarks", "of ours, dmil/ may import nothing"),
    ("dmil/a.py", "importlib.import_module('mlflow')", "mlflow belongs in"),
    ("datasets/a.py", "import pandas", "inside the function"),
    ("datasets/a.py", "class A:\n    import pandas", "inside the function"),
    ("datasets/a.py", "from dmil import fit", "of ours, datasets/ may import"),
    ("datasets/a.py", "from dmil.train import fit", "of ours, datasets/ may import"),
    ("datasets/a.py", "from benchmarks.errors import UserError", "of ours, datasets/ may import"),
    ("datasets/a.py", "from datasets._files import Raw", "Hugging Face"),
    ("datasets/__init__.py", "", "hides Hugging Face"),
    ("benchmarks/a.py", "def f():\n    import mlflow.entities", "mlflow belongs in benchmarks/mlflow_store.py"),
    ("benchmarks/a.py", "import ray", "ray belongs in sweeps/"),
    ("benchmarks/a.py", "import reports.page", "of ours, benchmarks/ may import"),
    ("benchmarks/a.py", "from sweeps import search", "of ours, benchmarks/ may import"),
    ("benchmarks/a.py", "from benchmarks.datasets import mosi", "only the registry"),
    ("benchmarks/a.py", "from .datasets.mosi import load", "only the registry"),
    ("benchmarks/methods/a.py", "from ...datasets import mosi", "benchmarks/methods/a.py:1"),
    ("sweeps/a.py", "from reports.table import rows", "of ours, sweeps/ may import"),
    ("reports/a.py", "def f():\n    import torch.nn", "reports/ may not import torch"),
    ("reports/a.py", "from dmil.metrics import accuracy", "of ours, reports/ may import"),
    ("reports/a.py", "import benchmarks", "of ours, reports/ may import"),
    ("reports/a.py", "from benchmarks import tracking, run", "imports benchmarks.run"),
    ("reports/a.py", "import mlflow", "mlflow belongs in"),
    ("reports/a.py", "import_module('benchmarks.datasets.mosi')", "only the registry"),
    ("tests/a.py", "import datasets", "Hugging Face"),
    ("tests/a.py", "from datasets.mosi import load", "Hugging Face"),
    ("tests/a.py", "try:\n    f()\nexcept:\n    pass", "bare except"),
    ("tests/a.py", "x = 1\n" * 301, "301 lines"),
    ("tests/a.py", "def f():\n" + "    x = 1\n" * 60, "f has 61 lines"),
]


@pytest.mark.parametrize(("path", "source", "expected"), BAD)
def test_a_broken_rule_is_found(path: str, source: str, expected: str) -> None:
    assert expected in "\n".join(problems(path, source))


GOOD = [
    ("dmil/a.py", "import math\nimport torch\nfrom dmil.data import Split\nfrom . import nn"),
    (
        "datasets/a.py",
        "import torch\nfrom dmil.data import Split\nfrom ._files import Raw\ndef f():\n    import pandas",
    ),
    ("datasets/a.py", "if TYPE_CHECKING:\n    import numpy"),
    ("benchmarks/mlflow_store.py", "def f():\n    import mlflow"),
    ("benchmarks/a.py", "import_module(f'benchmarks.datasets.{name}')\nfrom dmil import fit"),
    ("reports/a.py", "from benchmarks import tracking\nimport pandas\nfrom reports.table import rows"),
    ("sweeps/a.py", "import ray.tune\nfrom benchmarks.run import fit_one"),
    ("tests/a.py", "import mlflow\nimport ray\nimport_module('benchmarks.datasets.mosi')\n" + "x = 1\n" * 297),
    ("tests/a.py", "def f():\n" + "    x = 1\n" * 59),
]


@pytest.mark.parametrize(("path", "source"), GOOD)
def test_a_kept_rule_is_left_alone(path: str, source: str) -> None:
    assert problems(path, source) == []


def test_a_second_door_is_found() -> None:
    loading = "import_module(f'benchmarks.datasets.{name}')"
    sources = {"sweeps/a.py": "import ray", "benchmarks/a.py": loading, "datasets/a.py": "from ._files import Raw"}
    assert shared_doors(sources | {"tests/test_a.py": f"import ray\n{loading}"}) == []
    found = shared_doors(sources | {"sweeps/b.py": "from ray import tune", "benchmarks/b.py": loading})
    assert [line.split()[0] for line in found] == ["ray", LOADERS]
