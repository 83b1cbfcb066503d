"""Tables in LaTeX, for ``\\usepackage{booktabs}``: everything escaped, holes shown."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reports.hard_sample_tables import counts_table
from reports.interaction_tables import accuracy_table, gate_table, information_table, theorem_table
from reports.leaderboard import RESULT, TEXTS, caption, headings, row
from reports.overview import Overview
from reports.overview import captions as overview_captions
from reports.overview import holes as overview_holes
from reports.overview import sections as overview_sections
from reports.sweep_tables import changes, notes, summary
from reports.tuning import sentence, warnings

if TYPE_CHECKING:
    from reports.sweep import Sweep
    from reports.table import Table

Cell = tuple[int, int]
SPECIAL = {
    "\\": r"\textbackslash{}",
    # At the start of a row they would belong to the line break before it.
    "[": "{[}",
    "*": "{*}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    # Not set up in pdfLaTeX, or only in some fonts.
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "→": r"$\rightarrow$",
    "★": r"$\star$",
    "·": r"$\cdot$",
    "–": "--",
    "²": r"$^{2}$",
    "⁰": r"$^{0}$",
}
ESCAPES = str.maketrans(SPECIAL)
HEADER = "% Needs \\usepackage{booktabs}; \\usepackage[T1]{fontenc} for pdfLaTeX.\n"


def escape(text: str) -> str:
    """Text that LaTeX prints as it is, on one line."""
    return " ".join(text.translate(ESCAPES).split())


def booktabs(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str,
    label: str,
    *,
    bold: Container[Cell] = (),
    texts: Container[str] = ("method", "settings", "status"),
) -> str:
    """A table environment of plain texts, all of them escaped.

    label: for ``\\ref``, without special characters. bold: (row, column) of the cells to print in bold, from 0.
    texts: headings of the columns that stand left; the first always does, the others stand right.
    """

    def cell(i: int, j: int, text: str) -> str:
        return rf"\textbf{{{escape(text)}}}" if (i, j) in bold and text else escape(text)

    places = "".join("l" if not j or heading in texts else "r" for j, heading in enumerate(headings))
    body = [" & ".join(cell(i, j, text) for j, text in enumerate(row)) for i, row in enumerate(rows)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            r"\footnotesize",
            rf"\caption{{{escape(caption)}}}",
            rf"\label{{tab:{label.replace('_', '-')}}}",
            rf"\begin{{tabular}}{{{places}}}",
            r"\toprule",
            " & ".join(map(escape, headings)) + r" \\",
            r"\midrule",
            *(rf"{line} \\" for line in body),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def leaderboard(table: Table) -> str:
    """The short table, best and tied rows in bold; warnings and holes stand in the caption."""
    holes = [f"{line.method}, {reason}" for line in table.lines for reason in line.reasons]
    text = " ".join(
        [
            f"{table.card['title']} ({table.dataset}, suite {table.suite}).",
            *(f"Warning: {one}" for one in [table.card["warning"], *warnings(table)] if one),
            *filter(None, [sentence(table)]),
            f"Bold: rank 1 and what is not told apart from it. {caption(table)}",
            *([f"Holes: {'; '.join(holes)}."] if holes else []),
        ]
    )
    bold = {(i, RESULT) for i, line in enumerate(table.lines) if line.is_tied}
    rows = [row(line, table) for line in table.lines]
    return HEADER + booktabs(headings(table), rows, text, f"leaderboard-{table.dataset}", bold=bold, texts=TEXTS)


def interactions(table: Table) -> str:
    """Every table of the section on interactions. The table must have one."""
    found = table.interactions
    assert found
    shown = {
        "accuracy": accuracy_table(table) if found.truths else None,
        "gates": gate_table(found),
        "information": information_table(found),
        "theorem": theorem_table(table),
    }
    return several({name: one for name, one in shown.items() if one and one["rows"]}, f"interactions-{table.dataset}")


def hard_samples(table: Table) -> str:
    """How many samples fusion wins and loses."""
    found = table.hard_samples
    assert found
    shown = counts_table(found)
    return HEADER + booktabs(shown["headings"], shown["rows"], shown["caption"], f"fusion-{table.dataset}")


def overview(found: Overview) -> str:
    """The tables of a suite's overview; what holds for all, and the holes, stand in the first caption."""
    holes = overview_holes(found)
    more = " ".join([*overview_captions(found), *([f"Holes: {'; '.join(holes)}."] if holes else [])])
    shown = {title: one | {"caption": f"{title}. {one['caption']}"} for title, one in overview_sections(found)}
    first = next(iter(shown))
    shown[first] |= {"caption": f"{shown[first]['caption']} {more}".strip()}
    return several(shown, f"overview-{found.suite}")


def sweep(found: Sweep) -> str:
    """What the search of each method found and spent, and what its winner changed."""
    first = summary(found)
    failures = [f"{study.method}: {text}" for study in found.studies for text in study.failures]
    text = " ".join(
        [
            f"Search for settings on {found.dataset} (suite {found.suite}).",
            *(f"Warning: {one}" for one in found.warnings),
            *notes(found),
            first["caption"],
            *([f"Failed configurations: {'; '.join(failures)}."] if failures else []),
        ]
    )
    winners = [[study.method, changes(study)] for study in found.studies]
    second = {"headings": ["method", "default → winner"], "rows": winners, "caption": "What the winners changed."}
    return several({"summary": first | {"caption": text}, "winners": second}, f"sweep-{found.dataset}")


def several(tables: Mapping[str, Mapping[str, Any]], label: str) -> str:
    """Tables as pages show them, by name: headings, rows and caption."""
    shown = [
        booktabs(one["headings"], one["rows"], one["caption"], f"{label}-{name.lower().replace(' ', '-')}")
        for name, one in tables.items()
    ]
    return HEADER + "\n".join(shown)
