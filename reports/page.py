"""The page of one dataset: the table, every seed, where the numbers come from. One file, no network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks.record import PREDICTIONS
from benchmarks.suite import DEFAULT_SUITE
from benchmarks.tracking import Tracking
from reports.figures import dots
from reports.gain_figure import gains, verdict
from reports.gate_figures import gate_bars, reliability_curve
from reports.hard_sample_tables import section as hard_samples
from reports.interaction_tables import accuracy_table, gate_table, information_table, theorem_table, undefined
from reports.leaderboard import caption
from reports.line import Line, paired
from reports.page_details import details, provenance, run_headings
from reports.page_table import columns, shown
from reports.sanity import bayes_error
from reports.sanity_tables import section as sanity
from reports.table import Table
from reports.ternary import legend, triangles
from reports.tuning import sentence, warnings

TEMPLATES = Path(__file__).resolve().parent / "templates"


def to_html(table: Table, tracking: Tracking) -> str:
    """The whole page; learning curves are read from the runs' history files."""
    context = {
        "home": "../index.html" if table.suite == DEFAULT_SUITE else "../../index.html",
        "table": table,
        "measure": table.measure,
        "run_headings": run_headings(table.measure),
        "card": table.card,
        "columns": columns(table),
        "lines": [shown(line, table) for line in table.lines],
        "rows": [details(line, tracking) for line in table.lines if line.row],
        "predictions": PREDICTIONS,
        "gains": gains(table),
        "dots": dots(table),
        "headline": headline(table),
        "tuning": sentence(table),
        "unequal": warnings(table),
        "caption": caption(table),
        "provenance": provenance(table),
        "bayes_error": bayes_error(table),
        "interactions": interactions(table),
        "hard_samples": hard_samples(table),
        "sanity": sanity(table),
        "calibration": [reliability_curve(one) for one in table.reliability],
    }
    return render("index.html", context)


def render(template: str, context: dict[str, Any]) -> str:
    """A template filled in; everything in it is escaped. Its sections, each an h2 with an id, are listed on top."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["contents"] = _contents
    return environment.get_template(template).render(context)


def _contents(html: str) -> list[tuple[str, str]]:
    """Id and text of every <h2> that has an id."""
    from markupsafe import Markup

    found = re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', html)
    return [(Markup(name).unescape(), Markup(text).striptags()) for name, text in found]


def interactions(table: Table) -> dict[str, Any] | None:
    """The section on interactions; None where nothing is known of them."""
    found = table.interactions
    if not found:
        return None
    gates = gate_table(found)
    by_composition = f"{'MAE' if table.measure.is_error else 'Accuracy'} by composition"
    tables = [(by_composition, accuracy_table(table))] if found.truths else [("Gates", gates)]
    more = [("Estimated information", information_table(found)), ("Terms of the theorem", theorem_table(table))]
    return {
        "tables": tables if tables[0][1]["rows"] else [],
        "panels": gate_bars(found, table.card.get("bayes_attribution")),
        "triangles": triangles(found),
        "legend": legend(found),
        "undefined": undefined(found),
        "more": [(label, content) for label, content in more if content],
    }


def headline(table: Table) -> list[str]:
    """Where the best DMIL variant and dmil itself stand against the strongest conventional baseline, in sentences."""
    best, strongest = table.best_dmil, table.strongest
    sentences = []
    for what, line in (("Strongest conventional baseline", strongest), ("Best DMIL variant", best)):
        if line and line.result:
            measure = line.measure
            sentences.append(
                f"{what}, chosen by mean validation {measure.name}: {line.method} at {_said(line)} on the test set."
            )
    plain = table.line("dmil")
    if best and strongest and best is not plain:
        sentences.append(_paired(best, strongest))
    if plain:
        sentences.append(_place(plain, table))
        if plain.rank and strongest:
            sentences.append(_paired(plain, strongest))
    n_holes = sum(bool(line.reasons) for line in table.lines)
    if n_holes:
        sentences.append(f"{n_holes} row{'s are' if n_holes > 1 else ' is'} not complete and therefore not ranked.")
    return sentences


def _place(line: Line, table: Table) -> str:
    if not line.rank or not line.result:
        return f"{line.method} itself is {line.status} and has no rank."
    by = f"by test {line.measure.name}"
    return f"{line.method} itself: rank {line.rank} of {table.n_ranked} {by}, at {_said(line)}."


def _said(line: Line) -> str:
    assert line.result
    said = line.measure.said(line.result.mean)
    return f"an {line.measure.name} of {said}" if line.measure.is_error else said


def _paired(one: Line, other: Line) -> str:
    """Gain over the strongest baseline with its interval; over seeds alone where predictions are missing."""
    measure = one.measure
    pair = f"{one.method} minus {other.method}"
    if measure.is_error:
        pair = f"{measure.name} of {other.method} minus {measure.name} of {one.method}"
    if one.gain and one.gain.shown:
        low, high = map(measure.signed, one.gain.shown)
        mean = measure.signed(one.gain.mean) + measure.points
        return (
            f"{pair} over {len(one.gain.seeds)} paired seeds: {mean} (95 % interval "
            f"over test samples and seeds {low} to {high}): {one.method} is {verdict(one.gain, other.method)}."
        )
    found = paired(one, other)
    if not found:
        return f"{pair}: they share no seed."
    mean = measure.signed(found.mean) + measure.points
    text = f"{pair} over {found.n} paired seed{'s' if found.n > 1 else ''}: {mean}"
    if not found.shown:
        return f"{text} (too few seeds for an interval)."
    low, high = map(measure.signed, found.shown)
    return f"{text} (95 % interval {low} to {high}; it covers seeds only, not other test samples)."
