"""Several studies as one queue of populations; what comes back is kept on disk and sent to tracking."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.outbox import Outbox
from benchmarks.tracking import Tracking
from benchmarks.trials import PopulationRecord
from sweeps.population import Population
from sweeps.study import Study

OnChange = Callable[[Study, PopulationRecord | None], None]


class Search:
    """What a backend draws populations from. Its methods are called from one thread at a time."""

    def __init__(self, studies: Sequence[Study], sender: Sender, on_change: OnChange) -> None:
        self.studies = {study.plan.key: study for study in studies}
        self._sender, self._on_change = sender, on_change
        self._in_flight: set[tuple[str, int]] = set()
        self._seconds: dict[str, float] = {}

    @property
    def is_over(self) -> bool:
        return not self._in_flight and all(study.n_left == 0 for study in self.studies.values())

    def next(self) -> Population | None:
        """A population to train now: of the studies that can give one, from that with the most work left."""
        for study in sorted(self.studies.values(), key=self._work_left, reverse=True):
            population = study.next()
            if population is not None:
                self._in_flight.add((population.study, population.number))
                return population
        return None

    def finish(self, population: Population, record: PopulationRecord) -> None:
        study = self.studies[population.study]
        study.finish(record)
        self._seconds[population.study] = record.seconds / len(record.configurations)
        self._in_flight.discard((population.study, population.number))
        self._sender.send(study, record)
        self._on_change(study, record)

    def fail(self, population: Population, reason: str) -> None:
        """Gives a study up; what it has finished stays."""
        study = self.studies[population.study]
        study.failure = f"{population} failed: {reason}"
        self._in_flight.discard((population.study, population.number))
        self._on_change(study, None)

    def _work_left(self, study: Study) -> float:
        """In seconds, once a population of the study has been timed; before that more than any."""
        return study.n_left * self._seconds.get(study.plan.key, 1e6)


class Sender:
    """Puts results into the outbox at once, and sends them to tracking from a thread of its own.

    Sending takes a second per population; meanwhile the workers go on.
    """

    def __init__(self, results: Path) -> None:
        """Raises UserError where the address of the tracking store is none."""
        self.outbox = Outbox(results / "outbox")
        self.error: str | None = None
        self._tracking = Tracking(results)
        self._news = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._work, name="sender", daemon=True)

    def send(self, study: Study, *records: PopulationRecord) -> None:
        """The study's plan and some of its populations; a kill loses all of an entry or nothing."""
        with self.outbox.stage() as folder:
            study.plan.save(folder)
            for record in records:
                record.save(folder)
        if self._thread.ident is None:
            self._thread.start()
        self._news.set()

    def close(self) -> None:
        """Waits until everything is sent, or could not be."""
        self._is_over = True
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._is_over:
            self._news.wait()
            self._news.clear()
            self._deliver()
        self._deliver()

    def _deliver(self) -> None:
        try:
            self.error = self._tracking.deliver(self.outbox).error
        except Exception as error:
            self.error = " ".join(f"{type(error).__name__}: {error}".split())
