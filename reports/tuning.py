"""Where the settings of each row come from, and how much tuning it had."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reports.line import Line
from reports.text import budget_text

if TYPE_CHECKING:
    from reports.table import Table

DEFAULT, TUNED, MEMBERS, BY_HAND = "default", "tuned", "members", "by_hand"
Effort = tuple[int, int, str]


def settings_kind(line: Line) -> str:
    """default (of method and suite), tuned, members (an ensemble has theirs) or by_hand; empty for the limit and the
    floor, which have none."""
    if line.row is None or line.is_floor:
        return ""
    if line.overrides:
        return BY_HAND
    if line.is_ensemble:
        return MEMBERS
    return TUNED if line.row.tuning else DEFAULT


def n_configurations(line: Line) -> int | None:
    """How many were tried for the settings of a row; None where they are its members' or nobody counted."""
    kind = settings_kind(line)
    if kind == TUNED and line.row:
        return int(line.row.tuning["n_configurations"])
    return 0 if kind == DEFAULT else None


def settings_cell(line: Line, *, is_long: bool = False) -> str:
    """``tuned (64 × 2)``: configurations and seeds. is_long: says what was set by hand."""
    kind = settings_kind(line)
    if kind == TUNED:
        return _tuned(line)
    if kind == BY_HAND and is_long:
        return f"set by hand: {', '.join(line.overrides)}{f'; the rest {_tuned(line)}' if _effort(line) else ''}"
    return kind.replace("_", " ")


def sentence(table: Table) -> str:
    """How much tuning every row had; empty for a table without a row that could be tuned."""
    groups: dict[tuple[str, Effort | None], list[str]] = {}
    for line in tunable(table):
        groups.setdefault((settings_kind(line), _effort(line)), []).append(line.method)
    kinds = {kind for kind, _ in groups}
    if kinds == {DEFAULT}:
        return "No method was tuned: settings are the defaults or what the suite sets."
    if kinds == {TUNED} and len(groups) == 1:
        ((_, effort),) = groups
        return f"Every method was tuned on validation data alone, each with {_words(effort)}."
    parts = [f"{_label(kind, effort)} ({', '.join(methods)})" for (kind, effort), methods in groups.items()]
    return f"Settings: {'; '.join(parts)}." if parts else ""


def warnings(table: Table) -> list[str]:
    """What makes the rows of a table hard to compare: unequal tuning, or tuning for something else."""
    lines = tunable(table)
    found = []
    if len({_effort(line) for line in lines}) > 1:
        found.append(
            "The rows had unequal tuning: a difference between them may be one of the effort spent on their settings."
        )
    others = [f"{line.method} ({_other_budget(line)})" for line in lines if _other_budget(line)]
    if others:
        found.append(f"Rows were tuned for another budget than they are trained with here: {', '.join(others)}.")
    if others := [line.method for line in lines if _has_other_encoders(line, table.card.get("encoders", {}))]:
        found.append(f"Rows were tuned for other encoders than they have here: {', '.join(others)}.")
    return found


def provenance(line: Line) -> str:
    """All that is known of a row's tuning, empty where it had none."""
    found = line.row.tuning if line.row else {}
    if MEMBERS in found:
        return f"Tuned by their own sweeps: the members {', '.join(found[MEMBERS])}."
    if not found:
        return ""
    sign, default = line.measure.sign, found["default_score"]
    untuned = "not known (failed)" if default is None else f"{sign * default:.4f}"
    score = f"{'MAE' if line.measure.is_error else 'score'} {sign * found['valid_score']:.4f}"
    return (
        f"Tuned with {found['n_configurations']} configurations × seeds {', '.join(map(str, found['seeds']))}, "
        f"{found['n_epochs']:,} epochs in all; budget of each run: {budget_text(found['budget'])}. Validation "
        f"{score} (loss {found['valid_loss']:.4f}), untuned {untuned}. Sweep {found['sweep']} of "
        f"suite {found['suite']}, {found['tuned_at']}; method revision {found['revision']}, code {found['code']}, "
        f"torch {found['torch']}, {found['device']}: {found['command']}"
    )


def has_tuning(table: Table) -> bool:
    return any(line.row.tuning for line in table.lines if line.row)


def tunable(table: Table) -> list[Line]:
    """The rows that a sweep could have tuned: competitors that train something of their own."""
    return [line for line in table.lines if line.row and line.is_competitor and not line.is_ensemble]


def _effort(line: Line) -> Effort | None:
    """Configurations, seeds and budget of each run; None for a row without tuning."""
    found: dict[str, Any] = line.row.tuning if line.row else {}
    if not found or MEMBERS in found:
        return None
    return found["n_configurations"], len(found["seeds"]), json.dumps(found["budget"], sort_keys=True)


def _tuned(line: Line) -> str:
    effort = _effort(line)
    assert effort
    other = _other_budget(line)
    return f"tuned ({effort[0]} × {effort[1]}){f' {other}' if other else ''}"


def _other_budget(line: Line) -> str:
    """For which budget a row was tuned, where that is not the one it is trained with."""
    effort = _effort(line)
    if not effort or not line.row or not line.row.budget:
        return ""
    budget = json.loads(effort[2])
    if budget == line.row.budget:
        return ""
    is_longer = budget["epochs"] != line.row.budget["epochs"]
    return f"for {budget['epochs']} epochs" if is_longer else f"for {budget_text(budget)}"


def _has_other_encoders(line: Line, encoders: dict[str, Any]) -> bool:
    """Whether a row was tuned for others, as far as both are known."""
    told = line.row.tuning.get("encoders", {}) if line.row else {}
    return any(encoders.get(modality, choice) != choice for modality, choice in told.items())


def _label(kind: str, effort: Effort | None) -> str:
    if kind == TUNED:
        return f"tuned with {_words(effort)}"
    return "set by hand" if kind == BY_HAND else "default"


def _words(effort: Effort | None) -> str:
    assert effort
    return f"{effort[0]} configurations × {effort[1]} seeds of at most {json.loads(effort[2])['epochs']} epochs"
