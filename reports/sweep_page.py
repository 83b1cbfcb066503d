"""The page of a sweep, and what is printed of it."""

from __future__ import annotations

from typing import Any

from benchmarks.trials import FAILED, FINISHED, PRUNED
from reports.importances import BEST_SHARE, importances
from reports.page import render
from reports.sweep import Study, Sweep
from reports.sweep_figures import costs, orderings
from reports.sweep_plots import ordering, panels, survivors
from reports.sweep_tables import changes, notes, settings, status, summary
from reports.text import percent, terminal

PRINTED = (
    "method",
    "tried",
    "finished",
    "dropped",
    "failed",
    "best",
    "default",
    "gain",
    "epochs",
    "of full %",
    "status",
)


def to_html(sweep: Sweep) -> str:
    """The whole page: summary, figures over all methods, then a section for each method."""
    context = {
        "sweep": sweep,
        "summary": summary(sweep),
        "notes": notes(sweep),
        "changes": [(study.method, changes(study)) for study in sweep.studies],
        "figures": [figure for figure in (orderings(sweep), costs(sweep)) if figure],
        "studies": [_section(study, sweep) for study in sweep.studies],
        "best_share": f"{BEST_SHARE:.0%}",
    }
    return render("sweep.html", context)


def _section(study: Study, sweep: Sweep) -> dict[str, Any]:
    found = importances(study)
    return {
        "study": study,
        "sentence": sentence(study),
        "ordering": ordering(study, sweep),
        "capped": study.n_capped,
        "survivors": survivors(study),
        "spent": spent(study),
        "shares": [(name, percent(share)) for name, share in found.shares.items()],
        "reason": found.reason,
        "panels": panels(study, sweep),
        "settings": settings(study),
        "provenance": provenance(study),
    }


def sentence(study: Study) -> str:
    """What was tried and found, in a line."""
    tried = f"{study.n_tried} of {study.plan.n_trials} configurations tried"
    ends = [
        f"{study.count(status)} {word}"
        for status, word in ((FINISHED, "trained to the end"), (PRUNED, "dropped early"), (FAILED, "failed"))
        if study.count(status)
    ]
    text = f"{tried}: {', '.join(ends)}." if ends else f"{tried}."
    if study.winner is None:
        return f"{text} There is no winner yet."
    best = f"Best: {study.score(study.best)} by no. {study.winner.number}"
    if study.default_score is None:
        return f"{text} {best}."
    return f"{text} {best}; default: {study.score(study.default_score)}, gain {study.difference(study.gain)}."


def spent(study: Study) -> str:
    """Where the full budget in epochs went."""
    full = study.full_epochs
    if not full:
        return ""
    halving = study.saved_by_halving
    early = full - study.epochs - halving
    return (
        f"{study.epochs:,} of {full:,} epochs spent ({percent(study.epochs / full)} %): halving saved "
        f"{percent(halving / full)} %, trainings that ended early by themselves {percent(early / full)} %."
    )


def provenance(study: Study) -> list[tuple[str, str]]:
    """Name and value, as far as they are known."""
    plan = study.plan
    entries = [
        ("command", plan.command),
        ("study", plan.key),
        ("MLflow run", study.row.run_id),
        ("data checksum", plan.data_checksum),
        ("code revision", plan.code),
        ("method revision", str(plan.revision)),
        ("torch", plan.torch),
        ("device", plan.device),
        ("set by hand", ", ".join(plan.overrides)),
    ]
    return [(name, value) for name, value in entries if value]


def print_sweep(sweep: Sweep) -> None:
    """Prints the short summary to the terminal, or 120 columns wide where there is none."""
    from rich import box
    from rich.table import Table as Grid

    console = terminal()
    title = f"sweep of {sweep.dataset} (suite {sweep.suite}), {sweep.metric}"
    grid = Grid(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in PRINTED:
        is_text = heading in ("method", "status")
        grid.add_column(heading, justify="left" if is_text else "right", no_wrap=is_text)
    for study in sweep.studies:
        grid.add_row(*_printed(study), style="bold" if study.is_dmil else "")
    console.print(grid)
    for text in notes(sweep):
        console.print(text, markup=False, highlight=False)
    for text in sweep.warnings:
        console.print(f"Warning: {text}", style="yellow", markup=False)


def _printed(study: Study) -> list[str]:
    """The row of the summary without what a terminal has no room for."""
    return [
        study.method,
        f"{study.n_tried}/{study.plan.n_trials}",
        *(str(study.count(status)) for status in (FINISHED, PRUNED, FAILED)),
        study.score(study.best),
        study.score(study.default_score),
        study.difference(study.gain),
        f"{study.epochs:,}",
        percent(study.epochs / study.full_epochs) if study.full_epochs else "",
        status(study),
    ]
