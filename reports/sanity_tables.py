"""The sanity checks as the page and the Markdown file show them, and the tables that they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.checks import ALARM, MARGIN, N_ERRORS, PASS, UNKNOWN, Check
from reports.measure import signed
from reports.references import Compared, Reference, compare
from reports.sanity import checks, gap_error, gap_verdict, ranked
from reports.text import number, percent, signed_percent

if TYPE_CHECKING:
    from reports.table import Table

SPLITS = ("train", "valid", "test")
REFERENCE_DECIMALS = 3
MARKS = {PASS: "✓", ALARM: "▲", UNKNOWN: "?"}


def section(table: Table) -> dict[str, Any]:
    """What the page shows: checks with marks, and the tables beneath."""
    found = checks(table)
    grids = [
        ("Linear model on each modality", _probe_grid(table.audit)),
        ("Splits", _split_grid(table.audit)),
        ("Validation against test", _gap_grid(table)),
        ("Reference numbers", _reference_grid(compare(table))),
    ]
    return {
        "tally": tally(found),
        "checks": [(MARKS[check.verdict], check) for check in found],
        "grids": [(label, grid) for label, grid in grids if grid],
    }


def tally(found: Sequence[Check]) -> str:
    """How many checks have which verdict."""
    counts = {verdict: sum(check.verdict == verdict for check in found) for verdict in (PASS, ALARM, UNKNOWN)}
    return f"{len(found)} checks: {', '.join(f'{n} {verdict}' for verdict, n in counts.items())}."


def to_markdown(table: Table) -> list[str]:
    """A section with the checks, line by line."""
    found = checks(table)
    lines = ["", "## Sanity", "", tally(found), ""]
    return [*lines, *(f"- **{check.verdict}** {check.name}: {check.text}" for check in found)]


def _probe_grid(audit: dict[str, Any] | None) -> dict[str, Any] | None:
    if not audit or not audit["probe"]:
        return None
    rows = [
        [
            probe["modality"],
            f"{percent(probe['inside'])} ± {percent(probe['inside_error'])}",
            f"{percent(probe['test'])} ± {percent(probe['test_error'])}",
            signed_percent(probe["inside"] - probe["test"]),
            ALARM if probe["is_alarm"] else PASS,
        ]
        for probe in audit["probe"]
    ]
    n_stopped = sum(probe["n_unconverged"] for probe in audit["probe"])
    text = (
        "Logistic regression on one modality, standardised within each fit, ± standard error; of large datasets on a "
        "draw of their samples. Inside: cross-validated "
        "over training and validation samples, by group where there are groups; test: fitted on all of these. Alarm: "
        f"inside is above test by more than {100 * MARGIN:.0f} points and {N_ERRORS} standard errors. No method and no "
        "selection sees what this finds."
    )
    text += "".join(
        f" Of {probe['modality']} it sees {probe['shown']}." for probe in audit["probe"] if probe.get("shown")
    )
    if n_stopped:
        text += f" {n_stopped} of its fits had not converged when they were stopped."
    return {
        "headings": ["modality", "inside %", "test %", "difference", "verdict"],
        "rows": rows,
        "caption": text,
        "texts": (4,),
    }


def _split_grid(audit: dict[str, Any] | None) -> dict[str, Any] | None:
    if not audit:
        return None
    rows, has_classes = [], any(audit["splits"][part]["class_counts"] for part in SPLITS)
    for part in SPLITS:
        found = audit["splits"][part]
        counts = found["class_counts"] or []
        classes = ", ".join(map(str, counts)) if len(counts) <= 10 else f"{min(counts)} to {max(counts)}"
        repeats = [
            f"{pair.removeprefix(f'{part} in ')} {n['all']}"
            for pair, n in audit["repeats"].items()
            if pair.startswith(f"{part} in ")
        ]
        groups = "none" if found["n_groups"] is None else f"{found['n_groups']:,}"
        rows.append([part, f"{found['n']:,}", groups, *([classes] if has_classes else []), ", ".join(repeats)])
    columns = "; ".join(
        f"{modality} {one['n']} columns, {one['n_constant']} constant, {one['n_nearly']} nearly constant"
        for modality, one in audit["columns"].items()
    )
    return {
        "headings": ["split", "samples", "groups", *(["samples per class"] if has_classes else []), "repeated from"],
        "rows": rows,
        "texts": (3, 4),
        "caption": "Repeated from: samples whose features are exactly those of one in an earlier split, in all "
        + (
            f"modalities. In training: {columns} (all but one row in a hundred have one value)."
            if columns
            else "modalities."
        ),
    }


def _gap_grid(table: Table) -> dict[str, Any] | None:
    lines = [line for line in ranked(table) if line.gap is not None]
    if not lines:
        return None
    rows, measure = [], table.measure
    for line in lines:
        error = gap_error(line, table)
        gap = measure.signed(line.gap) + (f" ± {measure.text(error)}" if error is not None else "")
        result = measure.text(line.result.mean) if line.result else ""
        rows.append([line.method, measure.text(line.valid), result, gap, gap_verdict(line, table)])
    difference = (
        f"test minus validation {measure.name}" if measure.is_error else "validation minus test accuracy in points"
    )
    return {
        "headings": ["method", f"valid {measure.symbol}", f"test {measure.symbol}", "gap", "verdict"],
        "rows": rows,
        "texts": (4,),
        "caption": f"Gap: {difference}, mean over seeds, ± the standard error of separate "
        "samples where the size of both splits is known. Samples that come in groups make that error larger.",
    }


def _of(reference: Reference, value: float) -> str:
    return percent(value) if reference.is_share else number(value, REFERENCE_DECIMALS)


def _margin(reference: Reference) -> str:
    tolerance = reference.tolerance or 0
    return f"{100 * tolerance:g} points" if reference.is_share else f"{tolerance:g}"


def _reference_grid(found: Sequence[Compared]) -> dict[str, Any] | None:
    if not found:
        return None
    rows = []
    for one in found:
        theirs, difference = one.reference, None
        ours = "none"
        if one.ours is not None:
            difference, ours = one.ours - theirs.value, f"{_of(theirs, one.ours)} ({theirs.ours})"
        why = theirs.difference or f"same protocol; within {_margin(theirs)} is as expected"
        source = f"{theirs.source} ({theirs.evidence})"
        change = signed_percent(difference) if theirs.is_share else signed(difference, REFERENCE_DECIMALS)
        rows.append([theirs.what, ours, _of(theirs, theirs.value), change, one.verdict, why, source])
    unit = "" if any(not one.reference.is_share for one in found) else " %"
    return {
        "headings": ["what", f"ours{unit}", f"theirs{unit}", "difference", "verdict", "why", "source"],
        "rows": rows,
        "texts": (4, 5, 6),
        "caption": "Numbers of others beside ours. Where the protocols differ the difference of two numbers means "
        "nothing, and is only shown for what it is.",
    }
