"""What the page over all datasets says in sentences: alike, and in the same place, whether DMIL is ahead or behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports.across import BEST_UNIMODAL, Across, Standing, standing
from reports.across_aggregate import Aggregates
from reports.completeness import in_words, matrix
from reports.statistics import Summary
from reports.table import Table
from reports.text import percent, signed_limits

WORDS = {1: "above", -1: "below", 0: "level with"}
CHOICE = "both chosen by mean validation accuracy"


def verdict(table: Table) -> str:
    """Where DMIL stands on one dataset."""
    found = standing(table)
    if found is None:
        lacking = {"DMIL variant": table.best_dmil, "conventional baseline": table.strongest}
        names = " and no ".join(name for name, line in lacking.items() if not line)
        return f"no comparison, for no {names} is complete."
    own, baseline = found.own.method, found.baseline.method
    results = f"({_results(found)})"
    if found.difference is None:
        return f"{own} and {baseline} {results} share no seed, so they are not compared."
    place = f"{own} is {_distance(found, found.difference)} {baseline}"
    return f"{place} {results}; {_certainty(found, found.difference)}."


def _results(found: Standing) -> str:
    measure = found.own.measure
    own, baseline = (measure.text(line.result.mean if line.result else None) for line in (found.own, found.baseline))
    return f"{measure.name} {own} against {baseline}" if measure.is_error else f"{own} against {baseline} %"


def _distance(found: Standing, difference: Summary) -> str:
    measure = found.own.measure
    if not found.sign:
        return WORDS[0]
    # The smaller of two errors is below the other and the better one.
    word = {1: "better than", -1: "worse than"}[found.sign] if measure.is_error else WORDS[found.sign]
    return f"{measure.text(abs(difference.mean))}{measure.points} {word}"


def _certainty(found: Standing, difference: Summary) -> str:
    pairs = f"over {difference.n} paired seed{'' if difference.n == 1 else 's'}"
    if not difference.shown:
        return f"{pairs}, too few for an interval"
    measure = found.own.measure
    text = f"difference {pairs}: 95 % interval {signed_limits(difference, measure)}{measure.points}"
    return text if found.is_told_apart else f"{text}, so that seeds do not tell them apart"


def headline(across: Across, aggregates: Aggregates | None) -> list[str]:
    """Where DMIL stands over all datasets that aggregates rest on."""
    return [text for text in (_counts(across), _improvement(across, aggregates)) if text]


def _counts(across: Across) -> str:
    """On how many datasets DMIL is above, below or level."""
    found = [(table.dataset, one) for table in across.sound if (one := standing(table)) and one.difference]
    if not found:
        return ""
    means = {sign: [name for name, one in found if one.sign == sign] for sign in WORDS}
    told = {sign: [name for name, one in found if one.is_told_apart and one.sign == sign] for sign in (1, -1)}
    ranked = [[line for line in table.lines if line.rank] for table in across.sound]
    variants = _number([sum(line.is_dmil for line in lines) for lines in ranked])
    others = _number([sum(line.is_conventional for line in lines) for lines in ranked])
    return (
        f"Best DMIL variant (of {variants}) against strongest conventional baseline (of {others}) on {count(found)}, "
        f"{CHOICE}: {_listed(means)}. With an interval over seeds that leaves out 0: {_listed(told)}."
    )


def _number(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def count(datasets: Sequence[object]) -> str:
    return f"{len(datasets)} dataset{'' if len(datasets) == 1 else 's'}"


def _listed(by_sign: Mapping[int, Sequence[str]]) -> str:
    names = {sign: f" ({', '.join(found)})" if found else "" for sign, found in by_sign.items()}
    return ", ".join(f"{WORDS[sign].split()[0]} on {len(found)}{names[sign]}" for sign, found in by_sign.items())


def _improvement(across: Across, aggregates: Aggregates | None) -> str:
    """How often a run of one is above a run of the other."""
    row = aggregates.row(across.best_baseline) if aggregates else None
    if row is None or row.improvement is None:
        return ""
    found = row.improvement
    above, below = percent(found.value), percent(1 - found.value)
    is_known = found.low is not None
    interval = f" (95 % interval of the first: {percent(found.low)} to {percent(found.high)} %)" if is_known else ""
    return (
        f"A run of {across.best_dmil} is above a run of {across.best_baseline} with a probability of {above} %, below "
        f"with {below} %{interval}: mean over {count(across.sound)}, ties count half to either side, {CHOICE} over "
        "all of them."
    )


def notes(across: Across) -> list[str]:
    """What is missing from the page, or left out of its aggregates."""
    found = [in_words(matrix(across.tables))] if across.tables else []
    left = "is left out of all aggregates and counts, for its card carries a warning"
    found += [f"{table.dataset} {left}: {table.card['warning']}" for table in across.void]
    if across.regressions:
        names = ", ".join(table.dataset for table in across.regressions)
        found.append(
            "Regressions are left out of all aggregates and counts, for errors in units of their own are not averaged "
            f"with accuracies: {names}."
        )
    if across.missing:
        found.append(f"Datasets of the suite without runs: {', '.join(across.missing)}.")
    if across.unplanned:
        found.append(f"Left out, for their plan has not arrived yet: {', '.join(across.unplanned)}.")
    return found


def left_out(across: Across) -> list[str]:
    """Methods that enter no aggregate, and what they lack; empty where there are no aggregates at all."""
    if across.why_no_aggregate:
        return []
    reasons = {method: across.lacking(method) for method in across.cells}
    return [f"{method}: {', '.join(found)}" for method, found in reasons.items() if found]


def seeds(across: Across) -> list[str]:
    """Where the methods that are aggregated do not have the same seeds."""
    found = []
    for i, table in enumerate(across.sound):
        groups: dict[tuple[int, ...], list[str]] = {}
        for method, lines in across.complete.items():
            groups.setdefault(tuple(lines[i].by_seed), []).append(method)
        if len(groups) > 1:
            sets = "; ".join(f"{', '.join(map(str, one))} for {', '.join(who)}" for one, who in groups.items())
            found.append(f"On {table.dataset} the methods do not have the same seeds: {sets}.")
    return found


def aggregates_caption(across: Across) -> str:
    """What the columns of the aggregates mean."""
    names = ", ".join(table.dataset for table in across.sound)
    own = across.best_dmil
    text = (
        f"Over {count(across.sound)}: {names}. IQM: interquartile mean, the mean of the middle half of all runs, of "
        "accuracies made comparable: 0 is the constant row of the dataset, 100 is perfect. Mean rank: by mean test "
        "accuracy, 1 is best, ties share their ranks. Intervals: 95 % stratified bootstrap over seeds within each "
        "dataset; they say nothing of other datasets or of other test samples."
    )
    if own:
        text += (
            f" P({own} better): how likely a run of {own}, the DMIL variant with the highest mean validation accuracy, "
            "is above a run of the method on a dataset drawn from these; 50 % says that they are alike, less that the "
            "method is ahead."
        )
    if BEST_UNIMODAL in across.complete:
        text += f" {BEST_UNIMODAL}: of each dataset the unimodal row with the highest mean validation accuracy."
    if across.floors is None:
        lacking = [table.dataset for table in across.sound if table.floor is None]
        text += f" No IQM: the constant row is not complete on {', '.join(lacking)}."
    return " ".join([text, *seeds(across)])
