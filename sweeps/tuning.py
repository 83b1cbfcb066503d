"""Populations as trials of Ray Tune; the only module that imports ray."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from benchmarks.errors import UserError
from benchmarks.provenance import torch_release
from benchmarks.trials import PopulationRecord
from sweeps.backend import MOST_FAILURES, Queue, Search, answer, last_failure
from sweeps.cluster import Place, is_orphan
from sweeps.population import Data, Population

_FAILURES = (OSError, RuntimeError, ray.exceptions.RayError)
PATIENCE_SECONDS = 120.0  # with a cluster that has no device left


def run(search: Search, data: Data, place: Place, options: dict[str, Any]) -> None:
    """Trains every population of a search. options: of ``ray.init``.

    Raises:
        UserError: Ray cannot be started or joined, or it has no such device, or none any more.
    """
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.CRITICAL)
        _tune(search, data, place)
    except _FAILURES as error:
        said = [str(one).strip().splitlines() for one in (error, error.__cause__) if one]
        text = ": ".join(dict.fromkeys((said[0][0], said[-1][-1]))) if all(said) else repr(error)
        raise UserError(f"{place} cannot be used ({text[:200]})") from error
    finally:
        ray.shutdown(wait_for_processes=True)


def _tune(search: Search, data: Data, place: Place) -> None:
    driver = _Driver(Queue(search, is_on_gpu=place.device != "cpu"), place)
    driver.check_devices()
    trainable = tune.with_parameters(_train, data=data, device=place.device, version=torch_release())
    tuner = tune.Tuner(
        tune.with_resources(trainable, lambda config: tune.PlacementGroupFactory([_bundle(config["share"])])),
        tune_config=tune.TuneConfig(
            search_alg=_Proposals(driver),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=str(place.scratch / "tune"),
            failure_config=tune.FailureConfig(max_failures=MOST_FAILURES),
            callbacks=[_Results(driver)],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except _Stopped as stopped:
        raise stopped.error from None


def _bundle(share: float) -> dict[str, float]:
    return {"CPU": 1.0, "GPU": share} if share else {"CPU": 1.0}


def _train(config: dict[str, Any], *, data: Data, device: str, version: str) -> None:
    """In a worker. Tune stops a trial inside its report, so that this is the last line to run."""
    tune.report(answer(config["population"], config["share"], data, device, version) | {"done": True})


class _Stopped(BaseException):
    """Ends Tune's loop at once: of an ``Exception`` it makes text, and first waits for its workers."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def _stopping() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _Stopped(error) from error


class _Driver:
    """Between Tune's loop and the queue."""

    def __init__(self, queue: Queue, place: Place) -> None:
        self.queue, self.place = queue, place
        self.seen = time.monotonic()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles what it is given, to start again from; here the search does that itself."""
        return object, ()

    def check_devices(self) -> dict[str, float]:
        """What the cluster has now. Raises UserError where it lacks the device wanted."""
        there: dict[str, float] = ray.cluster_resources()
        for name in ("CPU",) if self.place.device == "cpu" else ("CPU", "GPU"):
            if there.get(name, 0) < 1:
                raise UserError(f"{self.place} has no {name} to train on")
        return there

    def next(self) -> dict[str, Any] | None:
        if is_orphan():
            raise UserError("the process that started this search is gone")
        try:
            there = self.check_devices()
            self.seen = time.monotonic()
        except UserError:
            if time.monotonic() - self.seen > PATIENCE_SECONDS:
                raise
            return None
        n_cpus = min(there["CPU"], self.place.jobs or there["CPU"])
        found = self.queue.next(n_cpus=n_cpus, n_gpus=there.get("GPU", 0.0))
        return None if found is None else {"population": found[0], "share": found[1]}

    def take(self, population: Population, found: dict[str, Any]) -> None:
        """What ``answer`` gave. The record is taken out of it: Tune keeps the rest."""
        if "record" in found:
            self.queue.finish(population, PopulationRecord.of(json.loads(found.pop("record"))))
        else:
            self.queue.fail(population, found.get("memory") or found["failure"], is_out_of_memory="memory" in found)


class _Proposals(Searcher):
    """What Tune asks for trials, several times a second."""

    def __init__(self, driver: _Driver) -> None:
        super().__init__()
        self.driver = driver

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        with _stopping():
            return Searcher.FINISHED if self.driver.queue.is_over else self.driver.next()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Results come through ``_Results``, before Tune makes flat copies of them."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """The search keeps its own state."""


class _Results(tune.Callback):
    """What Tune tells of its trials."""

    def __init__(self, driver: _Driver) -> None:
        self.driver = driver

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        with _stopping():
            self.driver.take(trial.config["population"], result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """After the last try of a worker that died, or raised."""
        with _stopping():
            path = trial.error_file  # Tune's note of every failure
            self.driver.queue.fail(trial.config["population"], last_failure(Path(path).read_text() if path else ""))
