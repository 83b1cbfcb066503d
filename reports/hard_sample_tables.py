"""The samples that fusion wins and loses as others read them: CSV, Markdown, and the section of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports.gate_figures import segments
from reports.hard_samples import MOST, Case, HardSample, HardSamples, Voice
from reports.text import as_csv, grid, number, percent

if TYPE_CHECKING:
    from reports.table import Table

SHOWN = 8
LONGEST = 260
WON, LOST = "only_multimodal_right", "lost_by_fusion"


def to_csv(table: Table) -> str:
    """One row per sample of every list, in the order shown; probabilities and gates as fractions."""
    found = table.hard_samples
    assert found
    shown = [one for case in found.cases for one in (*case.won, *case.lost)]
    components = list(dict.fromkeys(name for one in shown for name in one.gate))
    head = ["dataset", "method", "list", "place", "id", "composition", "label"]
    head += ["n_seeds", "n_right", "answer", "n_answer", "confidence"]
    for name in found.unimodal:
        head += [f"{name}_{what}" for what in ("n_seeds", "n_right", "answer", "n_answer", "confidence")]
    head += [f"gate_{name}" for name in components]
    texts = found.descriptions.texts is not None
    rows: list[list[Any]] = []
    for case in found.cases:
        for kind, members in ((WON, case.won), (LOST, case.lost)):
            for place, one in enumerate(members, start=1):
                row: list[Any] = [table.dataset, case.line.method, kind, place, one.id, one.truth, one.label]
                for voice in (one.own, *one.unimodal):
                    row += [voice.n_seeds, voice.n_right, voice.answer, voice.n_answer, number(voice.confidence, 4)]
                row += [number(one.gate.get(name), 4) for name in components]
                rows.append([*row, one.text or ""] if texts else row)
    return as_csv([*head, "text"] if texts else head, rows)


def counts_table(found: HardSamples) -> dict[str, Any]:
    """How many samples every complete multimodal row wins and loses."""
    rows = [
        [
            one.line.method,
            f"{one.n_won:,}",
            percent(one.n_won / found.n_test),
            f"{one.n_lost:,}",
            percent(one.n_lost / found.n_test),
            *(f"{n:,}" for n in one.lost_by.values()),
        ]
        for one in found.counts
    ]
    most, of = MOST
    return {
        "headings": [
            "method",
            "right alone",
            "right alone %",
            "lost by fusion",
            "lost by fusion %",
            *(f"lost where {name} is right" for name in found.unimodal),
        ],
        "rows": rows,
        "caption": f"Of {found.n_test:,} test samples. A row counts as right (wrong) on a sample where at least {most} "
        f"of {of} of its seeds are. Right alone: the method is right and every unimodal row wrong. Lost by fusion: the "
        "method is wrong and at least one unimodal row right. That is the weaker condition, for a unimodal row that "
        "only guesses is right by chance, so the two columns do not cancel out: see which unimodal row was right, "
        f"{found.unimodal[0]} being the strongest on validation. Synergy in the leaderboard is a mean over seeds; here "
        "a sample counts only where seeds agree.",
    }


def to_markdown(table: Table) -> list[str]:
    """A section with the counts, line by line; empty where they are not known."""
    found = table.hard_samples
    if not found:
        return []
    shown = counts_table(found)
    return ["", "## Won and lost by fusion", "", *grid(shown["headings"], shown["rows"]), "", shown["caption"]]


def section(table: Table) -> dict[str, Any] | None:
    """What the page shows; None where nothing is known."""
    found = table.hard_samples
    if not found:
        return None
    return {
        "counts": counts_table(found),
        "cases": [_case(case, found) for case in found.cases],
        "n_shown": SHOWN,
        "texts": _texts(found),
    }


def _texts(found: HardSamples) -> str:
    """What there is to say of the texts; empty for a dataset without."""
    texts = found.descriptions.texts
    if texts is None:
        return ""
    if not texts:
        return "Transcripts were not recorded: their raw file was missing or wrong when these runs were planned."
    return (
        "Transcripts are quoted from the dataset, in lower case, and are under its licence (see The data): pass this "
        "page on only as that allows."
    )


def _case(case: Case, found: HardSamples) -> dict[str, Any]:
    n_test = found.n_test
    (count,) = (one for one in found.counts if one.line is case.line)
    right = ", ".join(f"{name} on {n:,}" for name, n in count.lost_by.items())
    lists: list[tuple[str, str, str, Sequence[HardSample]]] = [
        ("won", "Right where every unimodal model is wrong", "", case.won),
        ("lost", "Wrong where a unimodal model is right", f": right are {right}" if case.lost else "", case.lost),
    ]
    return {
        "method": case.line.method,
        "role": case.role,
        "kind": "dmil" if case.line.is_dmil else "conventional",
        "lists": [
            {
                "kind": kind,
                "title": title,
                "total": f"{len(members):,} of {n_test:,} ({percent(len(members) / n_test)} %){details}",
                "n_more": max(len(members) - SHOWN, 0),
                "samples": [_sample(one) for one in members[:SHOWN]],
            }
            for kind, title, details, members in lists
        ],
    }


def _sample(one: HardSample) -> dict[str, Any]:
    return {
        "id": one.id,
        "label": one.label,
        "truth": one.truth,
        "text": _shortened(one.text) if one.text else "",
        "voices": [_voice(voice) for voice in (*one.unimodal, one.own)],
        "gate": segments(one.gate, list(one.gate), left=0),
        "gate_words": ", ".join(f"{name} {percent(share)} %" for name, share in one.gate.items()),
    }


def _voice(voice: Voice) -> dict[str, Any]:
    return {
        "method": voice.method,
        "answer": voice.answer,
        "is_right": voice.is_right,
        "sure": f"{number(voice.confidence, 2)} · {voice.n_answer}/{voice.n_seeds}",
    }


def _shortened(text: str) -> str:
    """At most LONGEST characters, cut between words; in lower case where it is all in capitals."""
    words = " ".join((text.lower() if text.isupper() else text).split())
    return words if len(words) <= LONGEST else words[:LONGEST].rsplit(" ", 1)[0] + " …"
