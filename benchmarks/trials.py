"""What a sweep leaves behind: studies, populations, configurations, replicas; written by ``sweeps``, read by tracking
and the reports. No torch here.

A study is the search for one method's settings on one dataset; a configuration is one set of settings, trained with
several seeds; a population is the configurations that share a stack.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FINISHED, PRUNED, FAILED = "finished", "pruned", "failed"
STUDY = "study.json"


@dataclass(frozen=True)
class StudyPlan:
    """One study as planned. method: name of a table row, such as unimodal_text.

    key: content hash of all that its results depend on; the number of trials is not among it, so that a study can be
    prolonged. budget: epochs, patience and the rest, for each replica. rungs: of the epochs, the shares at which
    configurations are dropped, and the share of a population kept at each. space: name of a searched setting -> its
    choices, or low, high and log. base: every setting of the configuration that is tried first. overrides: settings set
    by hand and so not searched, as METHOD.SETTING=VALUE. revision: of the method. seeds: of every configuration.
    n_trials: configurations. population: configurations that share a stack; ahead: populations proposed before the
    results of the first of them are known. is_higher_better: of the metric behind a score; false for an absolute
    error, whose score is its negative. encoders: by modality. planned_at: milliseconds since 1970.
    """

    key: str
    suite: str
    dataset: str
    method: str
    data_checksum: str
    device: str
    torch: str
    code: str
    revision: int
    budget: dict[str, Any]
    rungs: tuple[tuple[float, float], ...]
    space: dict[str, dict[str, Any]]
    base: dict[str, Any]
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    n_trials: int
    population: int
    ahead: int
    is_higher_better: bool = True
    encoders: dict[str, dict[str, Any]] = field(default_factory=dict)
    command: str = ""
    planned_at: int = 0

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / STUDY, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> StudyPlan:
        return cls.of(json.loads((folder / STUDY).read_text()))

    @classmethod
    def of(cls, content: dict[str, Any]) -> StudyPlan:
        tuples = {name: tuple(content[name]) for name in ("overrides", "seeds")}
        return cls(**content | tuples | {"rungs": tuple((at, keep) for at, keep in content["rungs"])})


@dataclass(frozen=True)
class ReplicaRecord:
    """One seed of a configuration. best: validation metrics of its best epoch. history: one dict per epoch."""

    seed: int
    status: str
    error: str | None = None
    best: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    history: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class ConfigurationRecord:
    """One configuration. number: its place in the study, from 0. params: what was searched; settings: all of them.

    score: mean over its seeds of the best validation accuracy (regression: minus the absolute error), so that higher
    is better; loss: of the validation loss at these epochs; both None where it failed. epochs: trained, summed over
    the seeds. A pruned one was dropped at epoch ``pruned_at``, and score and loss are those it had by then.
    """

    number: int
    params: dict[str, Any]
    settings: dict[str, Any]
    status: str
    score: float | None = None
    loss: float | None = None
    error: str | None = None
    pruned_at: int | None = None
    epochs: int = 0
    seconds: float = 0.0
    replicas: tuple[ReplicaRecord, ...] = ()

    @classmethod
    def of(cls, content: dict[str, Any]) -> ConfigurationRecord:
        replicas = (ReplicaRecord(**one | {"history": tuple(one["history"])}) for one in content["replicas"])
        return cls(**content | {"replicas": tuple(replicas)})


@dataclass(frozen=True)
class PopulationRecord:
    """What training one population gave. number: its place in the study, from 0. seconds: wall time of its training.

    peak_memory_mb, total_memory_mb: of the accelerator, None on a CPU. worker: host and process. started, ended:
    milliseconds since 1970.
    """

    study: str
    number: int
    configurations: tuple[ConfigurationRecord, ...]
    seconds: float
    started: int
    ended: int
    device_name: str = ""
    worker: str = ""
    peak_memory_mb: float | None = None
    total_memory_mb: float | None = None

    @property
    def file_name(self) -> str:
        return f"population-{self.study}-{self.number:05d}.json"

    def save(self, folder: Path) -> None:
        """Writes it whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / self.file_name, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def load(cls, path: Path) -> PopulationRecord:
        return cls.of(json.loads(path.read_text()))

    @classmethod
    def of(cls, content: dict[str, Any]) -> PopulationRecord:
        configurations = tuple(ConfigurationRecord.of(one) for one in content["configurations"])
        return cls(**content | {"configurations": configurations})


@dataclass(frozen=True)
class Trial:
    """One configuration of a study as tracking knows it: ``ConfigurationRecord`` without its replicas."""

    number: int
    population: int
    params: dict[str, Any]
    status: str
    score: float | None
    loss: float | None
    error: str | None
    pruned_at: int | None
    epochs: int
    seconds: float
    run_id: str
    started: int
    ended: int


@dataclass(frozen=True)
class StudyRow:
    """One study as tracking knows it, its trials by number. run_id: of its parent run."""

    plan: StudyPlan
    trials: tuple[Trial, ...]
    run_id: str


def replace_file(path: Path, content: Any) -> None:
    """Replaces a JSON file whole: a reader, or a kill, never meets half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
