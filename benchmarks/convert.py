"""Run records in the words MLflow accepts: its names, its limits, numbers that are finite. No MLflow here."""

from __future__ import annotations

import json
import math
import posixpath
import re
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.record import Row, RunRecord, SeedRun
from benchmarks.store import Stored

NAME_LENGTH = 250
VALUE_LENGTH = 2000
NOT_FINITE = "not_finite"


def clean_name(name: str) -> str:
    """A metric, parameter or tag name MLflow takes; names such as ``test/acc`` stay as they are."""
    cleaned = re.sub(r"[^\w./ -]", "_", name)[:NAME_LENGTH] or "_"
    is_path = posixpath.normpath(cleaned) == cleaned and not cleaned.startswith((".", "/"))
    return cleaned if is_path else re.sub(r"[./]", "_", cleaned)


def clip(text: str, limit: int = VALUE_LENGTH) -> str:
    """The text, its end replaced by an ellipsis where it is longer than ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as ``{"encoder.width": "64"}``; text stays as it is, every other value is JSON."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[clean_name(prefix + name)] = clip(value if isinstance(value, str) else json.dumps(value))
    return flat


def spread(name: str, text: str) -> dict[str, str]:
    """A text of any length as tags ``name``, ``name.1``, and so on; ``gathered`` puts it together again."""
    parts = [text[start : start + VALUE_LENGTH] for start in range(0, len(text), VALUE_LENGTH)] or [""]
    return {f"{name}.{i}" if i else name: part for i, part in enumerate(parts)}


def gathered(name: str, tags: Mapping[str, str]) -> str:
    parts = [tags[name]]
    while (part := tags.get(f"{name}.{len(parts)}")) is not None:
        parts.append(part)
    return "".join(parts)


def not_finite(metrics: Mapping[str, float]) -> dict[str, str]:
    """A tag that names the values which MLflow cannot hold as metrics, where there are any."""
    strange = {clean_name(name): repr(value) for name, value in metrics.items() if not math.isfinite(value)}
    return {NOT_FINITE: json.dumps(strange, sort_keys=True)} if strange else {}


def all_metrics(run: Stored) -> dict[str, float]:
    """Final values of a run, nan and inf as well."""
    strange = json.loads(run.tags.get(NOT_FINITE, "{}"))
    return run.metrics | {name: float(value) for name, value in strange.items()}


def seed_tags(record: RunRecord) -> dict[str, str]:
    """Tags of a seed's run; ``level`` tells seeds from table rows."""
    identity = {name: str(getattr(record, name)) for name in ("key", "group", "protocol", "suite", "dataset")}
    identity |= {"method": record.method, "seed": str(record.seed), "status": record.status}
    identity |= {"level": "seed", "sweep": ""}
    if record.error:
        identity["error"] = record.error
    identity |= not_finite(record.metrics)
    return {clean_name(name): clip(value) for name, value in (record.tags | identity).items()}


def points(record: RunRecord) -> list[tuple[str, float, int]]:
    """Finite (name, value, step): history by epoch, then the final metrics one step after the last epoch.

    MLflow shows the value of the highest step as *the* value of a metric: there the restored best state belongs,
    not the last epoch. nan and inf are left out, for MLflow would turn inf into 1.8e308; the exact history is an
    artifact and non-finite final metrics are named in a tag.
    """
    return series(record.history, record.metrics)


def series(history: Iterable[Mapping[str, Any]], final: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """``points`` of a history (one dict per epoch) and of final values."""
    found = []
    last = -1
    for index, entry in enumerate(history):
        step = int(entry.get("epoch", index))
        last = max(last, step)
        found += [(name, value, step) for name, value in entry.items() if name != "epoch"]
    found += [(name, value, last + 1) for name, value in final.items()]
    return [(clean_name(name), float(value), step) for name, value, step in found if _is_number(value)]


def planned_runs(keys: Mapping[str, str], children: Iterable[Stored]) -> tuple[SeedRun, ...]:
    """One run for each planned seed (seed -> key), by seed: finished before failed, "missing" where there is none."""
    best: dict[str, Stored] = {}
    for child in sorted(children, key=lambda run: run.status == "FINISHED"):
        if child.status in ("FINISHED", "FAILED"):
            best[child.tags["key"]] = child
    found = [_seed_run(int(seed), key, best.get(key)) for seed, key in keys.items()]
    return tuple(sorted(found, key=lambda run: run.seed))


def newest(parents: list[Stored]) -> list[Stored]:
    """Per suite and dataset: the protocol planned last, and of each method the group planned last within it."""
    protocols: dict[tuple[str, str], str] = {}
    latest: dict[tuple[str, str, str], Stored] = {}
    in_order = sorted(parents, key=_age)
    for run in in_order:
        protocols[run.tags["suite"], run.tags["dataset"]] = run.tags["protocol"]
    for run in in_order:
        table = (run.tags["suite"], run.tags["dataset"])
        if run.tags["protocol"] == protocols[table]:
            latest[*table, run.tags["method"]] = run
    return [latest[name] for name in sorted(latest)]


def _age(parent: Stored) -> tuple[int, str, str, str]:
    """Of two rows planned at once their content decides before their ids do, which differ from store to store."""
    return int(parent.tags["planned_at"]), parent.tags["protocol"], parent.tags["group"], parent.run_id


def table_row(parent: Stored, found: list[Stored]) -> Row:
    """A table row from its parent run and the runs of its seeds."""
    tags = parent.tags
    return Row(
        suite=tags["suite"],
        dataset=tags["dataset"],
        method=tags["method"],
        group=tags["group"],
        protocol=tags["protocol"],
        planned_at=int(tags["planned_at"]),
        command=tags["command"],
        data_checksum=tags["data_checksum"],
        run_id=parent.run_id,
        settings=parent.params,
        runs=planned_runs(json.loads(tags["plan"]), found),
        budget=json.loads(tags.get("budget", "{}")),
        code=tags.get("code", ""),
        overrides=tuple(json.loads(tags.get("overrides", "[]"))),
        tuning=json.loads(tags.get("tuning", "{}")),
    )


def aggregate(runs: Iterable[SeedRun]) -> dict[str, float]:
    """Mean and sample standard deviation of each metric that every finished run has, and counts of the runs."""
    runs = list(runs)
    finished = [run for run in runs if run.status == "finished"]
    counts = {"n_seeds": len(finished), "n_failed": sum(run.status == "failed" for run in runs)}
    result = {name: float(n) for name, n in (counts | {"n_planned": len(runs)}).items()}
    for name in sorted(set.intersection(*(set(run.metrics) for run in finished)) if finished else ()):
        values = [run.metrics[name] for run in finished]
        if all(map(math.isfinite, values)):
            result[f"{name}_mean"] = statistics.fmean(values)
            if len(values) > 1:
                result[f"{name}_std"] = statistics.stdev(values)
    return result


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _seed_run(seed: int, key: str, run: Stored | None) -> SeedRun:
    if run is None:
        return SeedRun(key, seed, "missing")
    return SeedRun(
        key,
        seed,
        run.status.lower(),
        run_id=run.run_id,
        error=run.tags.get("error"),
        metrics=all_metrics(run),
        params=run.params,
        tags=run.tags,
        started=run.started,
        ended=run.ended,
    )
