"""What one run leaves behind, and what a command planned to run; written by the bench, read by the outbox and by
tracking. No torch here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PREDICTIONS = "predictions.parquet"
CHECKPOINT = "checkpoint.safetensors"
PLAN = "plan.json"
AUDIT = "audit.json"
SAMPLES = "samples.json"


def content_hash(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of canonical JSON: the identity of specs, runs and groups."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RunRecord:
    """One finished or failed run of one method with one seed.

    key: identity of the run (content hash of its spec). group: identity of dataset x method x settings, the
    same for all seeds of a table row. protocol: identity of what rows of one table must share (data checksum,
    budget, device type). metrics: final values such as ``test/acc``. history: one dict per epoch with
    ``epoch``, ``stage`` and metric values. started, ended: milliseconds since 1970.
    """

    key: str
    group: str
    protocol: str
    suite: str
    dataset: str
    method: str
    seed: int
    status: str  # "finished" or "failed"
    spec: dict[str, Any]
    error: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    started: int = 0
    ended: int = 0

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.json").write_text(json.dumps(asdict(self), indent=1, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> RunRecord:
        return cls(**json.loads((folder / "record.json").read_text()))


@dataclass(frozen=True)
class PlannedRow:
    """One row of a table before it is run. keys: seed (as text, for JSON) -> run key.

    tuning: ``benchmarks.tuned.Tuned.provenance`` of settings found by a sweep, empty for others; of an ensemble
    ``{"members": {row: tuning}}`` with the members that are tuned.
    """

    method: str
    group: str
    settings: dict[str, Any]
    keys: dict[str, str]
    tuning: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What one command expects to find in the end; written before any training.

    planned_at: milliseconds since 1970. command: what the user typed. card: ``Card.to_dict()``. budget: epochs,
    patience and the rest that every row is given. code: revision of the code that all rows share. overrides:
    settings changed by hand, as METHOD[@SEED].SETTING=VALUE. files: what else is known of the data, JSON content by
    file name (``AUDIT``, ``SAMPLES``); each table row holds them beside the card.
    """

    suite: str
    dataset: str
    protocol: str
    planned_at: int
    command: str
    card: dict[str, Any]
    data_checksum: str
    rows: tuple[PlannedRow, ...]
    budget: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    overrides: tuple[str, ...] = ()
    files: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PLAN).write_text(json.dumps(asdict(self), indent=1, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Plan:
        content = json.loads((folder / PLAN).read_text())
        rows = tuple(PlannedRow(**row) for row in content["rows"])
        return cls(**content | {"rows": rows, "overrides": tuple(content["overrides"])})


@dataclass(frozen=True)
class SeedRun:
    """One seed of a table row as tracking knows it. status: "finished", "failed" or "missing".

    metrics: final values; nan and inf are kept. params: its own settings, flattened as in ``Row.settings``. run_id is
    empty where the seed has no run yet.
    """

    key: str
    seed: int
    status: str
    run_id: str = ""
    error: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    started: int = 0
    ended: int = 0


@dataclass(frozen=True)
class Row:
    """One row of a table: a method on a dataset, with one entry in ``runs`` for each planned seed, by seed.

    settings: resolved settings, names flattened with dots, values as text. command: the newest that planned it.
    budget, code, overrides, tuning: of that plan, empty where none has arrived yet.
    """

    suite: str
    dataset: str
    method: str
    group: str
    protocol: str
    planned_at: int
    command: str
    data_checksum: str
    run_id: str
    settings: dict[str, str]
    runs: tuple[SeedRun, ...]
    budget: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    overrides: tuple[str, ...] = ()
    tuning: dict[str, Any] = field(default_factory=dict)
