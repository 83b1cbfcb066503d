"""`python -m benchmarks list`: datasets and whether their files are present, suites, methods."""

from __future__ import annotations

from benchmarks.registry import FAMILIES, data_root, family, names, own_names, status
from benchmarks.suite import suite_names


def listing() -> str:
    """The whole list as text."""
    from benchmarks.methods import TABLE

    lines = [f"datasets (files below {data_root()}):"]
    for name in [*names(), *own_names()]:
        found = status(name)
        lines.append(f"  {name:<20} {found}  [{found.title}]")
    lines += [f"  any {family(prefix).GRAMMAR}" for prefix in FAMILIES]
    lines += ["suites:", *(f"  {name}" for name in suite_names()), "methods:"]
    for name, method in TABLE.items():
        summary = (method.__doc__ or "").strip().splitlines()[0]
        lines.append(f"  {name:<20} {summary}")
    return "\n".join(lines)
