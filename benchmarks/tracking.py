"""Tracking: delivers what waits in the outbox, and reads tables and studies back for the reports.

Of the bench: experiment = suite; parent run = one table row (dataset x method x settings, tag ``group``); child run =
one seed (tag ``key``). Of sweeps: experiment ``sweeps``; parent run = study, child = configuration, grandchild = seed.
A child becomes FINISHED only after everything it holds has arrived, and an entry leaves the outbox only after its runs
have, so whatever is killed when, delivering again completes the work and repeats none of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.convert import newest, table_row
from benchmarks.convert_studies import STUDY_LEVEL, newest_studies, study_row
from benchmarks.delivery import CARD, children, send_entry
from benchmarks.errors import UserError
from benchmarks.mlflow_store import MlflowStore
from benchmarks.outbox import Outbox
from benchmarks.record import Row
from benchmarks.store import RESULTS, MissingFileError, Stored, UnreachableError, default_uri, probe, shown, writer_lock
from benchmarks.sweep_delivery import EXPERIMENT, POPULATIONS, configurations, send_studies
from benchmarks.trials import StudyRow

ROW_LEVEL = "row"
__all__ = ["Delivery", "MissingFileError", "Tracking", "UnreachableError"]


@dataclass(frozen=True)
class Delivery:
    """n_sent: runs and populations newly stored; n_left: those still waiting in the outbox; error: why, None when all
    went well."""

    n_sent: int
    n_left: int
    error: str | None = None


class Tracking:
    """Runs in an MLflow store. Every method raises UnreachableError, a UserError, where the store cannot be used.

    What has once been asked for tables, or sweeps, without naming one knows those of that moment until it delivers.
    """

    def __init__(self, results: Path = RESULTS, uri: str | None = None) -> None:
        self._store = MlflowStore(results, uri or default_uri(results))
        self._overview: dict[str, list[Stored]] = {}

    def deliver(self, outbox: Outbox) -> Delivery:
        """Sends every entry, each run and each population once, oldest first.

        Never raises: what cannot be sent stays, with the reason. An entry that is refused does not hold up the others;
        a store that is gone ends the delivery.
        """
        n_sent = 0
        error: str | None = None
        self._overview = {}
        try:
            self._store.connect()
            with writer_lock(self._store.lock_dir):
                for entry in outbox.entries():
                    try:
                        n_sent += self._send(entry)
                        outbox.remove(entry)
                    except UserError as reason:
                        error = error or str(reason)
                        probe(self._store.uri)
        except UserError as reason:
            error = error or str(reason)
        return Delivery(n_sent, sum(map(_n_waiting, outbox.entries())), error)

    def _send(self, entry: Path) -> int:
        with self._store.errors():
            return send_entry(self._store, entry) + send_studies(self._store, entry)

    def finished(self, keys: Iterable[str], *, dataset: str | None = None) -> set[str]:
        """Those of ``keys`` that have a finished run, in whichever suite; naming the dataset makes it faster."""
        condition = "tags.level = 'seed' and attributes.status = 'FINISHED'"
        condition += f" and tags.dataset = '{dataset}'" if dataset else ""
        with self._store.errors():
            runs = self._store.search(self._store.experiments(), condition)
        return {run.tags["key"] for run in runs} & set(keys)

    def artifact(self, key: str, name: str) -> Path:
        """A file of the finished run with this key. Raises UserError where there is no such run or file."""
        condition = f"tags.key = '{key}' and attributes.status = 'FINISHED'"
        with self._store.errors():
            runs = self._store.search(self._store.experiments(), condition)
        if not runs:
            raise UserError(f"no finished run with key {key} at {shown(self._store.uri)}")
        return self.run_artifact(runs[0].run_id, name)

    def run_artifact(self, run_id: str, name: str) -> Path:
        """A file of a run: in place where the store keeps files on this machine, else a copy in a temporary folder.

        Raises MissingFileError, a UserError, where the run has no such file.
        """
        with self._store.errors():
            path = self._store.file(run_id, name)
        if not path.is_file():
            raise MissingFileError(f"run {run_id} at {shown(self._store.uri)} has no file {name}")
        return path

    def rows(self, dataset: str | None = None, suite: str | None = None) -> list[Row]:
        """The newest table of each dataset and suite, sorted by suite, dataset and method.

        A table holds the protocol planned last, and of each method the settings planned last within that protocol.
        """
        with self._store.errors():
            parents = newest(self._parents(ROW_LEVEL, dataset, suite))
            return [table_row(parent, found) for parent, found in _with_runs(self._store, parents)]

    def tables(self) -> list[tuple[str, str]]:
        """Dataset and suite of every table, sorted; quicker than their rows."""
        with self._store.errors():
            return _names(self._parents(ROW_LEVEL))

    def studies(self, dataset: str | None = None, suite: str | None = None) -> list[StudyRow]:
        """Per dataset, method and suite the study planned last, sorted by these; its configurations by number.

        Those of a study that is still at work, or was interrupted, are the ones that have arrived.
        """
        with self._store.errors():
            found = newest_studies(self._parents(STUDY_LEVEL, dataset, suite))
            return [study_row(study, configurations(self._store, study)) for study in found]

    def sweeps(self) -> list[tuple[str, str]]:
        """Dataset and suite of every study, sorted; quicker than their configurations."""
        with self._store.errors():
            return _names(self._parents(STUDY_LEVEL))

    def _parents(self, level: str, dataset: str | None = None, suite: str | None = None) -> list[Stored]:
        """The runs of rows, or of studies, old ones too. All of a level are read once: in a large store it takes
        seconds."""
        wanted = {name: value for name, value in (("dataset", dataset), ("suite", suite)) if value}
        if level in self._overview:
            return [run for run in self._overview[level] if wanted.items() <= run.tags.items()]
        experiments = self._store.experiments(EXPERIMENT if level == STUDY_LEVEL else suite)
        tags = wanted | {"level": level}
        found = self._store.search(experiments, " and ".join(f"tags.{name} = '{tags[name]}'" for name in tags))
        if not wanted:
            self._overview[level] = found
        return found

    def card(self, row: Row) -> dict[str, Any]:
        """``Card.to_dict()`` as it was when the row was planned. Raises UserError where no plan has arrived yet."""
        card: dict[str, Any] = self.run_json(row.run_id, CARD, dict)
        return card

    def run_json(self, run_id: str, name: str, kind: type) -> Any:
        """A JSON file of a run. Raises UserError where it is missing, damaged or holds no ``kind``."""
        path = self.run_artifact(run_id, name)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"file {name} of run {run_id} is damaged ({error})") from error
        if not isinstance(content, kind):
            raise UserError(f"file {name} of run {run_id} is damaged (it holds no {kind.__name__})")
        return content


def _names(runs: list[Stored]) -> list[tuple[str, str]]:
    return sorted({(run.tags["dataset"], run.tags["suite"]) for run in runs})


def _with_runs(store: MlflowStore, parents: list[Stored]) -> Iterator[tuple[Stored, list[Stored]]]:
    """Each row with the runs that ``children`` finds for it, as far as they count.

    One search for each table brings those trained for its protocol; a row that then still lacks a planned seed is asked
    for by itself, since another protocol or suite may have trained it. So neither older tables nor the runs of other
    datasets cost more than a look at their tags.
    """
    by_group: dict[tuple[str, str], list[Stored]] = {}
    for experiment, protocol in dict.fromkeys((parent.experiment, parent.tags["protocol"]) for parent in parents):
        for run in store.search([experiment], f"tags.protocol = '{protocol}' and tags.level = 'seed'"):
            by_group.setdefault((experiment, run.tags["group"]), []).append(run)
    for parent in parents:
        found = by_group.get((parent.experiment, parent.tags["group"]), [])
        finished = {run.tags["key"] for run in found if run.status == "FINISHED"}
        lacks = not finished.issuperset(json.loads(parent.tags["plan"]).values())
        yield parent, children(store, parent) if lacks else found


def _n_waiting(entry: Path) -> int:
    """Runs and populations of an entry; none where another process has just delivered it."""
    try:
        return sum(len(list(entry.glob(name))) for name in ("*/record.json", POPULATIONS))
    except FileNotFoundError:
        return 0
