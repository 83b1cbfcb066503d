"""The overview of a suite as a page and on the terminal."""

from __future__ import annotations

from reports.mixture_figure import mixtures
from reports.overview import Overview, accuracies, captions, differences, holes, sections
from reports.page import render
from reports.text import terminal


def to_html(overview: Overview) -> str:
    """The whole page: figure, tables, holes, and the way to the page of each dataset."""
    context = {
        "overview": overview,
        "figure": mixtures(overview),
        "captions": captions(overview),
        "sections": sections(overview),
        "holes": holes(overview),
    }
    return render("overview.html", context)


def print_overview(overview: Overview) -> None:
    """Prints accuracies and differences to the terminal, or 120 columns wide where there is none."""
    from rich import box
    from rich.table import Table as Grid

    console = terminal()
    brief = (f"suite {overview.suite}, test acc. %", accuracies(overview, is_brief=True))
    for title, found in (brief, ("DMIL against the strongest baseline", differences(overview))):
        grid = Grid(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        first, *others = found["headings"]
        grid.add_column(first, no_wrap=True, min_width=max(len(row[0]) for row in found["rows"]))
        for heading in others:
            grid.add_column(heading, justify="right", overflow="fold")
        for row in found["rows"]:
            grid.add_row(*row)
        console.print(grid)
