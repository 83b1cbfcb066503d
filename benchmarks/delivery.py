"""What happens to one outbox entry on its way into tracking. Every step may be the last before a kill: doing an entry
again from its beginning always ends in the same state."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Protocol

from benchmarks.convert import aggregate, clean_name, flatten, planned_runs, points, seed_tags
from benchmarks.outbox import read_records
from benchmarks.record import CHECKPOINT, PLAN, PREDICTIONS, Plan, PlannedRow, RunRecord, content_hash
from benchmarks.store import Stored

CARD = "card.json"
SPEC = "spec.json"
HISTORY = "history.json"
Found = tuple[Path, RunRecord]
RowId = tuple[str, str, str]


class Store(Protocol):
    """What delivery needs of a store of runs."""

    def experiment(self, suite: str) -> str: ...
    def experiments(self) -> list[str]: ...
    def search(self, experiments: list[str], condition: str) -> list[Stored]: ...
    def create(self, experiment: str, tags: dict[str, str], *, name: str, started: int) -> Stored: ...
    def log(self, run_id: str, points: list[tuple[str, float, int]], *, params: dict[str, str], at: int) -> None: ...
    def tag(self, run_id: str, tags: dict[str, str]) -> None: ...
    def attach(self, run_id: str, content: Path | str, name: str) -> None: ...
    def close(self, run_id: str, status: str, *, ended: int) -> None: ...
    def delete(self, run_id: str) -> None: ...


def send_entry(store: Store, entry: Path) -> int:
    """Sends the plan and the runs of one entry; returns how many runs were new to the store."""
    touched: dict[RowId, Stored] = {}
    n_sent = 0
    if (entry / PLAN).exists():
        plan = Plan.load(entry)
        touched = {(plan.suite, row.group, plan.protocol): _send_plan(store, plan, row) for row in plan.rows}
    for row_id, members in _by_row(read_records(entry)):
        touched[row_id] = parent = _row_of([record for _, record in members], store)
        n_sent += _send_runs(store, parent, members)
    for parent in touched.values():
        _settle(store, parent)
    return n_sent


def children(store: Store, parent: Stored) -> list[Stored]:
    """Every seed's run of a table row's group, whatever its state, and for whichever protocol and suite it was trained:
    the group says all that its numbers depend on, and the bench trains no key twice."""
    return store.search(store.experiments(), f"tags.group = '{parent.tags['group']}' and tags.level = 'seed'")


def _send_plan(store: Store, plan: Plan, row: PlannedRow) -> Stored:
    identity = {"suite": plan.suite, "dataset": plan.dataset, "protocol": plan.protocol}
    identity |= {"method": row.method, "group": row.group, "data_checksum": plan.data_checksum}
    identity |= {"planned_at": str(plan.planned_at), "command": plan.command, "code": plan.code}
    identity |= {"budget": json.dumps(plan.budget, sort_keys=True), "overrides": json.dumps(plan.overrides)}
    identity |= {"tuning": json.dumps(row.tuning, sort_keys=True)}
    parent = _upsert_row(store, identity, keys=row.keys)
    params = {name: value for name, value in flatten(row.settings).items() if name not in parent.params}
    store.log(parent.run_id, [], params=params, at=plan.planned_at)
    for name, content in ({CARD: plan.card} | plan.files).items():
        tag, version = name.removesuffix(".json"), content_hash(content)
        if parent.tags.get(tag) != version:
            store.attach(parent.run_id, json.dumps(content, indent=1, sort_keys=True), name)
            store.tag(parent.run_id, {tag: version})
    return parent


def _row_of(records: list[RunRecord], store: Store) -> Stored:
    """The table row that runs of one group belong to; made from the runs where this store never saw their plan."""
    first = records[0]
    identity = {name: getattr(first, name) for name in ("suite", "dataset", "protocol", "method", "group")}
    identity |= {name: first.tags.get(name, "") for name in ("data_checksum", "command")}
    identity["planned_at"] = str(first.started)
    keys = {str(record.seed): record.key for record in records}
    return _upsert_row(store, identity, keys=keys, is_plan=False)


def _upsert_row(store: Store, tags: dict[str, str], *, keys: dict[str, str], is_plan: bool = True) -> Stored:
    """Finds or makes a row's parent run; of two plans for one seed the newer wins, whichever arrives first."""
    experiment = store.experiment(tags["suite"])
    rows = store.search([experiment], f"{_same_row(tags)} and tags.level = 'row'")
    for repeated in rows[1:]:
        store.delete(repeated.run_id)
    if not rows:
        tags = tags | {"level": "row", "plan": json.dumps(keys)}
        name = f"{tags['dataset']} {tags['method']}"
        return store.create(experiment, tags, name=name, started=int(tags["planned_at"]))
    known = json.loads(rows[0].tags["plan"])
    if is_plan and int(tags["planned_at"]) >= int(rows[0].tags["planned_at"]):
        update = tags | {"plan": json.dumps(known | keys)}
    else:
        unknown = {name: value for name, value in tags.items() if name not in rows[0].tags}
        update = unknown | {"plan": json.dumps(keys | known)}
    store.tag(rows[0].run_id, update)
    return replace(rows[0], tags=rows[0].tags | update)


def _same_row(tags: Mapping[str, str]) -> str:
    """The same settings under another protocol are another row: a row never mixes two budgets."""
    return f"tags.group = '{tags['group']}' and tags.protocol = '{tags['protocol']}'"


def _by_row(found: list[Found]) -> Iterator[tuple[RowId, list[Found]]]:
    found = sorted(found, key=lambda pair: (_row_id(pair), pair[1].seed))
    for row_id, members in groupby(found, key=_row_id):
        yield row_id, list(members)


def _row_id(found: Found) -> RowId:
    return found[1].suite, found[1].group, found[1].protocol


def _send_runs(store: Store, parent: Stored, members: list[Found]) -> int:
    """Sends the runs of one row that are not finished there yet, replacing failed and half-sent ones."""
    there = children(store, parent)
    finished = {run.tags["key"] for run in there if run.status == "FINISHED"}
    new = [(folder, record) for folder, record in members if record.key not in finished]
    for folder, record in new:
        for old in there:
            if old.tags["key"] == record.key and old.experiment == parent.experiment:
                store.delete(old.run_id)
        _send_run(store, parent, folder, record)
    return len(new)


def _send_run(store: Store, parent: Stored, folder: Path, record: RunRecord) -> None:
    tags = seed_tags(record) | {"mlflow.parentRunId": parent.run_id}
    name = f"{record.dataset} {record.method} seed {record.seed}"
    run_id = store.create(parent.experiment, tags, name=name, started=record.started).run_id
    params = flatten(record.spec.get("settings", record.spec))
    store.log(run_id, points(record), params=params, at=record.ended)
    store.attach(run_id, json.dumps(record.spec, indent=1, sort_keys=True), SPEC)
    store.attach(run_id, json.dumps(record.history, indent=1), HISTORY)
    for file in (PREDICTIONS, CHECKPOINT):
        if (folder / file).exists():
            store.attach(run_id, folder / file, file)
    store.close(run_id, record.status.upper(), ended=record.ended)


def _settle(store: Store, parent: Stored) -> None:
    """Removes what a repeated request left RUNNING, writes the row's aggregates and ends its parent run."""
    keys = json.loads(parent.tags["plan"])
    found = children(store, parent)
    for run in found:
        if run.status == "RUNNING" and run.experiment == parent.experiment and run.tags["key"] in keys.values():
            store.delete(run.run_id)
    runs = planned_runs(keys, found)
    values = aggregate(runs)
    if any(parent.metrics.get(name) != value for name, value in values.items()):
        now = max(run.ended for run in runs)
        store.log(parent.run_id, [(clean_name(name), value, 0) for name, value in values.items()], params={}, at=now)
    statuses = {run.status for run in runs}
    state = "FAILED" if "failed" in statuses else "SCHEDULED" if "missing" in statuses else "FINISHED"
    store.close(parent.run_id, state, ended=max(run.ended for run in runs))
