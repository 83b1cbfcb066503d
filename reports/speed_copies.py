"""Copies of one table and of one sweep inside a sqlite store, for ``reports.speed``.

MLflow takes 0.1 s and more for a run with its history, so that ten thousand of them would take a quarter of an hour. A
copy is what delivery left of the original, row by row, under other names, identities and times; it shares its files.
One in four copies has the values of every epoch, the others, as no search looks there, the final ones alone.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.record import content_hash

DATASET = "made-0"
SUITES = ("leaderboard", "ablation")
SWEEPS = "sweeps"
N_DATASETS = 10
WOBBLE = 0.01
VALUES = {
    "tags": {"value": "tagged(t.key, t.value)"},
    "latest_metrics": {"value": "measured(t.key, t.value, t.run_uuid)"},
}
DAY = 86_400_000
TABLES = ("runs", "tags", "params", "latest_metrics")
# Run ids, content hashes, times in milliseconds: what tells one copy from another, wherever it stands.
IDENTITY = re.compile(r"(?<![\w.])(?:[0-9a-f]{32}|[0-9a-f]{16}|\d{13})\b")


@dataclass(frozen=True)
class Copy:
    """What is other in a copy. number: which one, 0 the original. age: milliseconds before the original."""

    number: int
    dataset: str
    suite: str
    age: int

    def text(self, text: str) -> str:
        return IDENTITY.sub(self._identity, text).replace(DATASET, self.dataset)

    def tag(self, name: str, text: str) -> str:
        return self.suite if name == "suite" else self.text(text)

    def metric(self, name: str, value: float, run_id: str) -> float:
        """Test accuracies are a little other on every dataset, or no method would ever be ahead of another on one."""
        share = int(content_hash([run_id, self.dataset])[:4], 16) / 0xFFFF
        return value + WOBBLE * (2 * share - 1) if name == "test/acc" else value

    def _identity(self, found: re.Match[str]) -> str:
        old = found[0]
        if len(old) == 13:
            return str(int(old) - self.age)
        digest = content_hash([old, self.number])
        return digest if len(old) == 16 else digest + content_hash([digest])


def multiply(store: Path, n_tables: int, n_sweeps: int) -> None:
    """Makes as many tables and sweeps of the one that is there: first of every dataset, then in every suite, then all
    of these again as they were a day before."""
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.executescript("pragma synchronous = off; pragma cache_size = -200000")
        connection.execute(
            "create temp table originals as select run_uuid, experiments.name experiment "
            "from runs join experiments using (experiment_id)"
        )
        for number in range(1, n_tables):
            before, place = divmod(number, N_DATASETS * len(SUITES))
            suite, dataset = divmod(place, N_DATASETS)
            age = (before * len(SUITES) + suite) * DAY
            _copy(connection, SUITES[0], Copy(number, f"made-{dataset}", SUITES[suite], age))
        for number in range(1, n_sweeps):
            before, dataset = divmod(number, N_DATASETS)
            _copy(connection, SWEEPS, Copy(number, f"made-{dataset}", SUITES[0], before * DAY))


def _copy(connection: sqlite3.Connection, experiment: str, copy: Copy) -> None:
    """Copies the original's runs of one experiment into that of the copy: of its suite, or again of all sweeps."""
    connection.create_function("renamed", 1, copy.text, deterministic=True)
    connection.create_function("tagged", 2, copy.tag, deterministic=True)
    connection.create_function("measured", 3, copy.metric, deterministic=True)
    connection.execute("create temp table ids (old text primary key, new text)")
    connection.execute(
        "insert into ids select run_uuid, renamed(run_uuid) from originals where experiment = ?", (experiment,)
    )
    into = experiment if experiment == SWEEPS else copy.suite
    changes = {
        "run_uuid": "ids.new",
        "experiment_id": str(_experiment(connection, into)),
        "name": "renamed(t.name)",
        "start_time": f"t.start_time - {copy.age}",
        "end_time": f"t.end_time - {copy.age}",
    }
    for table in (*TABLES, *(["metrics"] if copy.number % 4 == 0 else [])):
        _insert(connection, table, changes | VALUES.get(table, {}))
    connection.execute("drop table ids")


def _insert(connection: sqlite3.Connection, table: str, changes: Mapping[str, str]) -> None:
    """Repeats the rows of the runs in ``ids``. changes: column -> what stands in it."""
    columns = [column for _, column, *_ in connection.execute(f"pragma table_info({table})")]
    values = ", ".join(changes.get(column, f"t.{column}") for column in columns)
    connection.execute(
        f"insert into {table} ({', '.join(columns)}) select {values} from {table} t join ids on ids.old = t.run_uuid"
    )


def _experiment(connection: sqlite3.Connection, name: str) -> int:
    """Its id; made after the pattern of the first suite's where it is missing."""
    columns = [column for _, column, *_ in connection.execute("pragma table_info(experiments)")]
    values = ", ".join({"experiment_id": "null", "name": "?"}.get(column, column) for column in columns)
    connection.execute(
        f"insert or ignore into experiments ({', '.join(columns)}) select {values} from experiments where name = ?",
        (name, SUITES[0]),
    )
    (found,) = connection.execute("select experiment_id from experiments where name = ?", (name,)).fetchone()
    return int(found)
