"""`python -m benchmarks list`: datasets and whether their files are present, suites, methods."""

from __future__ import annotations

from benchmarks.registry import DATASETS, data_root, status
from benchmarks.suite import suite_names


def listing() -> str:
    """The whole list as text."""
    from benchmarks.methods import METHODS

    lines = [f"datasets (files below {data_root()}):"]
    for name in DATASETS:
        found = status(name)
        lines.append(f"  {name:<16} {found}  [{found.title}]")
    lines += ["suites:", *(f"  {name}" for name in suite_names()), "methods:"]
    for name, method in METHODS.items():
        summary = (method.__doc__ or "").strip().splitlines()[0]
        lines.append(f"  {name:<20} {summary}")
    return "\n".join(lines)
