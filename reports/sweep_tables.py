"""The tables of a sweep: what each method's search found and cost, the winners' settings; as Markdown and CSV too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.trials import FAILED, FINISHED, PRUNED, Trial
from reports.sweep import Study, Sweep
from reports.text import as_csv, grid, number, percent

SELECTION = (
    "Scores are on the validation data that chose the settings, the best of many: good for comparing configurations, "
    "too good as an estimate. What tuned methods reach on test data stands in the leaderboard."
)
COLUMNS = (
    "dataset",
    "suite",
    "study",
    "method",
    "number",
    "population",
    "status",
    "is_winner",
    "is_default",
    "score",
    "loss",
    "pruned_at",
    "epochs",
    "seconds",
)
LAST_COLUMNS = ("error", "run_id")


def summary(sweep: Sweep) -> dict[str, Any]:
    """One row per method: what was tried, found and spent."""
    what = "mean absolute error" if sweep.is_regression else "validation accuracy"
    return {
        "headings": [
            "method",
            "tried",
            "finished",
            "dropped",
            "failed",
            "seeds",
            f"best {sweep.metric}",
            "default",
            "gain",
            "found at",
            "epochs",
            "of full %",
            "train s",
            "status",
        ],
        "rows": [_summary_row(study) for study in sweep.studies],
        "caption": f"Best: {what} of the best configuration that was trained to the end, mean over seeds of their best "
        "epochs. Default: the same of the configuration with every setting at its default, which is never "
        "dropped; empty where it has not been tried yet or failed. Found at: the winner's number, counted from 0. "
        "Dropped: by successive halving. Epochs: over all configurations and seeds; of full: as a share of what they "
        "would have been, had nothing ended early. Train s: the configurations' shares of the time that training "
        f"their populations took. {SELECTION}",
    }


def _summary_row(study: Study) -> list[str]:
    return [
        study.method,
        f"{study.n_tried} of {study.plan.n_trials}",
        *(str(study.count(status)) for status in (FINISHED, PRUNED, FAILED)),
        str(len(study.plan.seeds)),
        study.score(study.best),
        study.score(study.default_score),
        study.difference(study.gain),
        str(study.winner.number) if study.winner else "",
        f"{study.epochs:,}",
        percent(study.epochs / study.full_epochs) if study.full_epochs else "",
        f"{study.seconds:,.0f}",
        status(study),
    ]


def status(study: Study) -> str:
    return "complete" if study.is_complete else "not complete"


def settings(study: Study) -> list[dict[str, Any]]:
    """Every setting: its default, the winner's value, what was searched, and whether the winner's differs."""
    base = study.plan.base
    chosen = study.settings(study.winner) if study.winner else {}
    return [
        {
            "name": name,
            "default": value_text(value),
            "winner": value_text(chosen[name]) if chosen else "",
            "range": range_text(study.plan.space.get(name)),
            "is_changed": bool(chosen) and chosen[name] != value,
        }
        for name, value in base.items()
    ]


def changes(study: Study) -> str:
    """The winner's settings that are not the defaults, in one line."""
    if study.winner is None:
        return "no configuration has been trained to the end"
    found = [f"{one['name']} {one['default']} → {one['winner']}" for one in settings(study) if one["is_changed"]]
    return ", ".join(found) or "the defaults"


def value_text(value: Any) -> str:
    """A value as people write it: fractions with three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def range_text(entry: dict[str, Any] | None) -> str:
    """What was searched of a setting."""
    if entry is None:
        return "not searched"
    if "choices" in entry:
        return ", ".join(map(value_text, entry["choices"]))
    return f"{value_text(entry['low'])} to {value_text(entry['high'])}{', log' if entry['log'] else ''}"


def to_markdown(sweep: Sweep) -> str:
    """Warnings, budget, summary and the winners' settings."""
    found = summary(sweep)
    lines = [f"# Search for settings on `{sweep.dataset}` (suite `{sweep.suite}`)", ""]
    for text in sweep.warnings:
        lines += [f"> **Warning.** {text}", ""]
    lines += [*(notes(sweep)), "", *grid(found["headings"], found["rows"]), "", found["caption"]]
    winners = [[study.method, changes(study)] for study in sweep.studies]
    lines += ["", "## What the winners changed", "", *grid(["method", "default → winner"], winners)]
    failures = [f"- `{study.method}`: {text}" for study in sweep.studies for text in study.failures]
    lines += ["", "## Failed configurations", "", *failures] if failures else []
    return "\n".join(lines) + "\n"


def notes(sweep: Sweep) -> list[str]:
    """The budget where it was the same for all, and which studies are not shown."""
    found = [] if sweep.unequal else [sweep.statement]
    if sweep.others:
        found.append(f"Not shown, as they are older or of another suite: {', '.join(sweep.others)}.")
    return found


def to_csv(sweep: Sweep) -> str:
    """One row per configuration, by method and number, with every setting; scores so that higher is better."""
    studies = sorted(sweep.studies, key=lambda study: study.method)
    names = sorted({name for study in studies for name in study.plan.base})
    head = [*COLUMNS, *(f"setting.{name}" for name in names), *LAST_COLUMNS]
    return as_csv(head, (_csv_row(sweep, study, trial, names) for study in studies for trial in study.trials))


def _csv_row(sweep: Sweep, study: Study, trial: Trial, names: Sequence[str]) -> list[Any]:
    values = study.settings(trial)
    return [
        sweep.dataset,
        sweep.suite,
        study.plan.key,
        study.method,
        trial.number,
        trial.population,
        trial.status,
        str(trial is study.winner).lower(),
        str(trial.number == 0).lower(),
        number(trial.score, 6),
        number(trial.loss, 6),
        "" if trial.pruned_at is None else trial.pruned_at,
        trial.epochs,
        number(trial.seconds, 3),
        *(values.get(name, "") for name in names),
        trial.error or "",
        trial.run_id,
    ]
