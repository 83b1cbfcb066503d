"""The reference check: numbers of this suite beside those of others, and whether the two may be compared at all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.table import Table

FILE = Path(__file__).with_name("references.yaml")
EVIDENCE = {
    "read": "read in the source",
    "secondary": "from a secondary copy",
    "measured": "measured again by this suite's authors",
}
EXPECTED, OFF, NOT_COMPARABLE, MISSING = "as expected", "off", "not comparable", "no number of ours"
PLACES = ("inside", "test")
KEYS = {"dataset", "source", "evidence", "numbers"}
NO_SHARES = ("mae", "corr")
METRICS = ("acc", "mae", "corr", "acc2_has0", "f1_has0", "acc2_non0", "f1_non0", "acc7")


@dataclass(frozen=True)
class Reference:
    """One number of others, see ``references.yaml``. tolerance: None where difference says why none applies.
    metric: what the number is, as runs name it."""

    dataset: str
    what: str
    ours: str | None
    value: float
    source: str
    evidence: str
    tolerance: float | None
    difference: str
    metric: str = "acc"

    @property
    def is_share(self) -> bool:
        """Whether the number is written in percent."""
        return self.metric not in NO_SHARES


@dataclass(frozen=True)
class Compared:
    """A reference with the number of ours that it is held against, None where there is none."""

    reference: Reference
    ours: float | None

    @property
    def verdict(self) -> str:
        if self.reference.tolerance is None:
            return NOT_COMPARABLE
        if self.ours is None:
            return MISSING
        return EXPECTED if abs(self.ours - self.reference.value) <= self.reference.tolerance else OFF


@cache
def references() -> tuple[Reference, ...]:
    """All that are known, in the order of the file."""
    import yaml

    return tuple(one for entry in yaml.safe_load(FILE.read_text(encoding="utf-8")) for one in parse(entry))


def parse(entry: dict[str, Any]) -> list[Reference]:
    """The references of one entry of the file. Raises ValueError for an entry that breaks its rules."""
    if set(entry) not in (KEYS | {"tolerance"}, KEYS | {"difference"}):
        raise ValueError(f"needs {', '.join(sorted(KEYS))} and one of tolerance and difference, but got {list(entry)}")
    if entry["evidence"] not in EVIDENCE:
        raise ValueError(f"unknown evidence {entry['evidence']!r}; known: {', '.join(EVIDENCE)}")
    found = []
    for number in entry["numbers"]:
        metric = number.get("metric", "acc")
        is_possible = number["value"] > 0 if metric == "mae" else 0 < number["value"] < 1
        if not set(number) <= {"what", "ours", "value", "metric"} or metric not in METRICS or not is_possible:
            raise ValueError(
                f"a number has what, ours, value, a share between 0 and 1 but for mae, and metric, one of "
                f"{', '.join(METRICS)}; but got {number}"
            )
        found.append(
            Reference(
                dataset=entry["dataset"],
                what=number["what"],
                ours=number.get("ours"),
                value=number["value"],
                source=entry["source"],
                evidence=EVIDENCE[entry["evidence"]],
                tolerance=entry.get("tolerance"),
                difference=entry.get("difference", ""),
                metric=metric,
            )
        )
    return found


def compare(table: Table) -> list[Compared]:
    """The references for the dataset of a table, each with its number of ours. None for samples of unseen classes."""
    if table.transfer:
        return []
    return [Compared(one, _ours(one, table)) for one in references() if one.dataset == table.dataset]


def _ours(reference: Reference, table: Table) -> float | None:
    if reference.ours is None:
        return None
    place, _, modality = reference.ours.partition("/")
    if not modality:
        line = table.line(reference.ours)
        if line is None or line.result is None:
            return None
        return (
            line.result.mean if reference.metric == table.measure.metric else line.means.get(f"test/{reference.metric}")
        )
    probes = table.audit["probe"] if table.audit else []
    return next((probe[place] for probe in probes if probe["modality"] == modality), None)
