"""The one door to MLflow: the few of its calls in use."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from benchmarks.convert import clip
from benchmarks.store import (
    Stored,
    UnreachableError,
    create_sqlite,
    probe,
    shown,
    sqlite_path,
    with_busy_timeout,
    writer_lock,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
PAGE = 1000
POINTS_PER_BATCH = 900
PARAMS_PER_BATCH = 100


class MlflowStore:
    """The few MLflow calls in use, with explicit run ids; never MLflow's global state."""

    def __init__(self, results: Path, uri: str) -> None:
        self.results = results
        self.uri = uri
        self._artifacts: dict[str, str] = {}
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)

    @property
    def lock_dir(self) -> Path:
        """Where the writer's lock lies: beside a sqlite file, for all who share it; a server serves many by itself."""
        path = sqlite_path(self.uri)
        return self.results if path is None else path.resolve().parent

    def connect(self) -> None:
        """Opens the store now, making a fresh one where needed; that takes the writer's lock and gives it back."""
        with self.errors():
            self.client.search_experiments(max_results=1)

    @cached_property
    def client(self) -> MlflowClient:
        probe(self.uri)
        from mlflow import MlflowClient

        path = sqlite_path(self.uri)
        if path is not None and not path.exists():
            with writer_lock(self.lock_dir):
                create_sqlite(path, create_schema)
        return MlflowClient(with_busy_timeout(self.uri))

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What MLflow, its database and the network raise, as one clear line."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason = clip(" ".join(str(error).split()), 300)
            raise UnreachableError(f"MLflow at {shown(self.uri)} failed: {reason}") from error

    @cached_property
    def _downloads(self) -> Path:
        folder = tempfile.mkdtemp(prefix="dmil-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def experiments(self, suite: str | None = None) -> list[str]:
        """Ids of one suite's experiment, or of all."""
        if suite is not None:
            found = self.client.get_experiment_by_name(suite)
            return [found.experiment_id] if found else []
        return [experiment.experiment_id for experiment in _pages(self.client.search_experiments)]

    def experiment(self, suite: str) -> str:
        """Id of a suite's experiment, made where missing. A server decides itself where artifacts go."""
        from mlflow.exceptions import MlflowException

        found = self.experiments(suite)
        if found:
            return found[0]
        folder = self.results.resolve() / "artifacts" / suite
        is_server = urlsplit(self.uri).scheme in ("http", "https")
        try:
            return self.client.create_experiment(suite, artifact_location=None if is_server else folder.as_uri())
        except MlflowException:
            # On a server another machine may have been faster.
            if found := self.experiments(suite):
                return found[0]
            raise

    def search(self, experiments: list[str], condition: str) -> list[Stored]:
        """Active runs, oldest first. Conditions on tags keep this fast in a store with many other runs.

        The rarest tag belongs first: sqlite looks for them in this order, and another takes up to three times as long.
        """
        if not experiments:
            return []
        order = ["attributes.start_time ASC"]
        with _no_garbage():
            found = _pages(self.client.search_runs, experiment_ids=experiments, filter_string=condition, order_by=order)
        self._artifacts |= {run.info.run_id: run.info.artifact_uri for run in found}
        return [_stored(run) for run in found]

    def create(self, experiment: str, tags: dict[str, str], *, name: str, started: int) -> Stored:
        return _stored(self.client.create_run(experiment, start_time=started, tags=tags, run_name=name))

    def log(self, run_id: str, points: list[tuple[str, float, int]], *, params: dict[str, str], at: int) -> None:
        """One request, unless MLflow's limits force more. points: (name, value, step); at: milliseconds."""
        from mlflow.entities import Metric, Param

        metrics = [Metric(name, value, at, step) for name, value, step in points]
        settings = [Param(name, value) for name, value in params.items()]
        while metrics or settings:
            self.client.log_batch(run_id, metrics[:POINTS_PER_BATCH], settings[:PARAMS_PER_BATCH])
            del metrics[:POINTS_PER_BATCH], settings[:PARAMS_PER_BATCH]

    def tag(self, run_id: str, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def attach(self, run_id: str, content: Path | str, name: str) -> None:
        """Stores a file under its own name, or text under ``name``."""
        if isinstance(content, Path):
            self.client.log_artifact(run_id, str(content))
        else:
            self.client.log_text(run_id, content, name)

    def close(self, run_id: str, status: str, *, ended: int) -> None:
        self.client.set_terminated(run_id, status, end_time=ended)

    def delete(self, run_id: str) -> None:
        """Hides a run; one that was RUNNING is ended first, so that none is left so in any view."""
        self.client.set_terminated(run_id, "KILLED")
        self.client.delete_run(run_id)

    def file(self, run_id: str, name: str) -> Path:
        """Where a run's file is, or would be."""
        if run_id not in self._artifacts:
            self._artifacts[run_id] = self.client.get_run(run_id).info.artifact_uri
        address = urlsplit(self._artifacts[run_id])
        if address.scheme in ("", "file"):
            return Path(unquote(address.path)) / name
        folder = self._downloads / run_id
        folder.mkdir(exist_ok=True)
        if not (folder / name).exists() and name in {item.path for item in self.client.list_artifacts(run_id)}:
            self.client.download_artifacts(run_id, name, str(folder))
        return folder / name


def _stored(run: Any) -> Stored:
    """Names in order: a database gives them in any."""
    info, data = run.info, run.data
    return Stored(
        info.run_id,
        info.experiment_id,
        info.status,
        tags=dict(sorted(data.tags.items())),
        params=dict(sorted(data.params.items())),
        metrics=dict(sorted(data.metrics.items())),
        started=info.start_time or 0,
        ended=info.end_time or 0,
    )


@contextmanager
def _no_garbage() -> Iterator[None]:
    """MLflow makes an object of every tag, parameter and metric, all of them kept: looking for garbage among these took
    more than half of a search's time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _pages(search: Callable[..., Any], **query: Any) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = search(max_results=PAGE, page_token=token, **query)
        found += page
        token = page.token
        if not token:
            return found


def create_schema(uri: str) -> None:
    """Makes MLflow's tables in an empty sqlite file."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    SqlAlchemyStore(uri, "unused").engine.dispose()
