"""What a reader must know of a method and cannot see in its numbers: ``method_notes.yaml``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.table import Table

FILE = Path(__file__).with_name("method_notes.yaml")


@cache
def method_notes() -> dict[str, str]:
    """Method -> note, in the order of the file."""
    import yaml

    notes: dict[str, str] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return notes


def note_of(method: str) -> str:
    """Empty where there is nothing to be said."""
    return method_notes().get(method, "")


def to_markdown(table: Table) -> list[str]:
    """The notes on the rows of a table, as lines of a list; none where no row has one."""
    found = [f"- `{line.method}`: {note}" for line in table.lines if (note := note_of(line.method))]
    return ["", *found] if found else []
