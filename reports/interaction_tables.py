"""The interaction analysis as others read it: CSV, Markdown, and the tables of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reports.interactions import ALL, Analysis, Interactions, Part
from reports.line import THEOREM, Line
from reports.measure import signed
from reports.text import as_csv, four, grid, limits, number, percent, shown_status, spread

if TYPE_CHECKING:
    from reports.table import Table

BY_TRUTH = "bayes_accuracy_by_truth"
EMPTY = Part()


def to_csv(table: Table) -> str:
    """One row per method and composition, "all" first; shares as fractions; empty where not known or over a hole."""
    found = table.interactions
    assert found
    components = list(dict.fromkeys(name for one in found.methods for name in one.components if one.is_gated))
    head = ["dataset", "method", "composition", "n_samples", "n_seeds", "n_failed", "accuracy_mean", "accuracy_std"]
    head += ["synergy_mean", *(f"gate_{name}_mean" for name in components)]
    head += ["attribution_mean", "attribution_ci_low", "attribution_ci_high"]
    head += ["bayes_accuracy", "bayes_attribution", "gate_entropy_bits", "lsmi_agreement_mean", "status"]
    rows: list[list[Any]] = []
    head += ["mae_mean", "mae_std"] if table.measure.is_error else []
    for one in found.methods:
        for name, size in found.sizes.items():
            identity = [table.dataset, one.line.method, name, size, one.line.n_seeds, one.line.n_failed]
            values = [number(value, 6) for value in _values(table, one, name, components)]
            result = four(one.parts.get(name, EMPTY).result)[:2] if table.measure.is_error else ()
            rows.append([*identity, *values, one.line.status, *(number(value, 6) for value in result)])
    return as_csv(head, rows)


def _values(table: Table, one: Analysis, name: str, components: list[str]) -> list[float | None]:
    part = one.parts.get(name, EMPTY)
    accuracy, attribution = None if table.measure.is_error else part.result, part.attribution
    is_all = name == ALL
    return [
        *((accuracy.mean, accuracy.std) if accuracy else (None, None)),
        part.synergy,
        *(part.gate.get(component) for component in components),
        *((attribution.mean, attribution.low, attribution.high) if attribution else (None,) * 3),
        limit_of(table, name),
        table.card.get("bayes_attribution") if is_all else None,
        one.entropy if is_all else None,
        one.agreement.share.mean if is_all and one.agreement else None,
    ]


def limit_of(table: Table, composition: str) -> float | None:
    """Accuracy of the Bayes-optimal classifier on the samples of one composition, where the card knows it."""
    if composition == ALL or table.limit is None:
        return table.limit
    by_truth: Mapping[str, float] = table.card.get(BY_TRUTH) or {}
    return by_truth.get(composition)


def to_markdown(table: Table) -> list[str]:
    """A section with one compact table, line by line; empty where nothing is known of interactions."""
    found = table.interactions
    if not found:
        return []
    shown = accuracy_table(table) if found.truths else gate_table(found)
    lines = ["", "## Interactions", "", *grid(shown["headings"], shown["rows"]), "", shown["caption"]]
    reasons = undefined(found)
    return [*lines, "", *(f"- Attribution is not defined for {text}." for text in reasons)] if reasons else lines


def accuracy_table(table: Table) -> dict[str, Any]:
    """The measure by true composition and attribution, one row per method, the Bayes limit first."""
    found, measure = table.interactions, table.measure
    assert found
    attribution: float | None = table.card.get("bayes_attribution")
    limits_known = [limit_of(table, name) for name in found.truths]
    rows = []
    if any(value is not None for value in (*limits_known, attribution)):
        rows.append(["Bayes limit", *map(percent, limits_known), percent(attribution), "", "limit"])
    for one in found.methods:
        results = [spread(one.parts.get(name, EMPTY).result, one.line) for name in found.truths]
        share = one.attribution
        interval = limits(share) if share else ""
        rows.append([one.line.method, *results, percent(share.mean) if share else "", interval, _status(one)])
    sizes = ", ".join(f"{name} {found.sizes[name]:,}" for name in found.truths)
    chance = max(found.sizes[name] for name in found.truths) / found.sizes[ALL]
    return {
        "headings": [
            "method",
            *(f"{measure.name} {name}" if measure.is_error else f"acc. {name} %" for name in found.truths),
            "attribution %",
            "95 % interval",
            "status",
        ],
        "rows": rows,
        "caption": f"Test {measure.name} within each true composition (samples: {sizes}), mean ± sample standard "
        "deviation over seeds. Attribution: share of samples whose largest gate belongs to their true composition; "
        f"naming the most frequent composition every time has {percent(chance)} %.",
    }


def gate_table(found: Interactions) -> dict[str, Any]:
    """Mean gate, share of samples by largest gate and entropy of every gated method."""
    gated = [one for one in found.methods if one.is_gated or one.line.is_dmil]
    components = list(dict.fromkeys(name for one in gated for name in one.components))
    rows = []
    for one in gated:
        gate = one.parts.get(ALL, EMPTY).gate
        pairs = [(gate.get(name), one.largest.get(name)) for name in components]
        cells = [f"{percent(mean)} / {percent(share)}" if mean is not None else "" for mean, share in pairs]
        rows.append([one.line.method, *cells, number(one.entropy, 2), _status(one)])
    return {
        "headings": ["method", *(f"{name} %" for name in components), "entropy, bits", "status"],
        "rows": rows,
        "caption": "Mean gate of each component / share of test samples where it is the largest, mean over seeds. "
        "Entropy: mean of the gate's; 0 where one component decides alone, log2 of their number where all weigh alike.",
    }


def information_table(found: Interactions) -> dict[str, Any] | None:
    """What the estimator lsmi says of the test samples, and which gates agree with it."""
    info = found.information
    if not info:
        return None
    names = list(info.means)
    means = [f"{number(info.means[name].mean, 3)} nats" for name in names]
    shares = [percent(info.largest[name]) for name in names]
    rows = [["lsmi: mean information", "", *means], ["lsmi: most information in %", "", *shares]]
    for one in found.methods:
        if one.agreement:
            ranks = [signed(one.agreement.ranks.get(name), 2) or "constant" for name in names]
            rows.append([f"gate of {one.line.method}", percent(one.agreement.share.mean), *ranks])
    text = "lsmi estimates information sample by sample; it is an estimator, not a competitor and not the truth. "
    text += "Agreement: share of test samples whose largest gate belongs to the composition with most information. "
    text += "Columns of a gate: Spearman rank correlation with that information over samples, mean over seeds."
    if info.attribution:
        text += f" The largest information is that of the true composition in {percent(info.attribution.mean)} %."
    return {"headings": ["", "agreement %", *names], "rows": rows, "caption": text}


def theorem_table(table: Table) -> dict[str, Any] | None:
    """The theorem's terms of every complete row that has them."""
    lines = [line for line in table.lines if any(_terms(line))]
    if not lines:
        return None
    return {
        "headings": ["method", *THEOREM.values()],
        "rows": [[line.method, *(number(value, 3) for value in _terms(line))] for line in lines],
        "caption": "Terms of I(Z;Y) ≥ E_c[I(Z;Y|c)] − H(C|Z) + I(Y;C) for the representation Z that a method predicts "
        "from, in nats, estimated by probes on held-out samples; mean over seeds. C: true composition.",
    }


def _terms(line: Line) -> list[float | None]:
    return [line.means.get(f"test/theorem_{term}") for term in THEOREM]


def undefined(found: Interactions) -> list[str]:
    """Each reason why attribution is not defined, after the methods it holds for."""
    by_reason: dict[str, list[str]] = {}
    for one in found.methods:
        if one.parts and one.why_not and one.line.is_competitor:
            by_reason.setdefault(one.why_not, []).append(one.line.method)
    return [f"{', '.join(methods)} ({reason})" for reason, methods in by_reason.items()]


def _status(one: Analysis) -> str:
    if one.line.result and not one.parts:
        return "predictions missing"
    return shown_status(one.line)
