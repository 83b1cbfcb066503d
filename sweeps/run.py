"""`python -m sweeps run`: plan the studies, train what is missing, keep the winners as tuned settings."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.errors import UserError
from benchmarks.parallel import n_cores
from benchmarks.registry import load_dataset
from benchmarks.run import resolve_device
from sweeps import cluster, local
from sweeps.plan import Options, PlannedStudy, check, plan_studies
from sweeps.population import Data
from sweeps.search import Search, Sender
from sweeps.study import Study, disk_errors
from sweeps.watch import Watch, shown_score
from sweeps.winners import check_files, keep_winner

STATUS_FAILED = 1
BACKENDS = ("ray", "local")


@dataclass(frozen=True)
class Place:
    """Where populations run. jobs: at a time; None: as many as the device, or the cluster, can hold. address: of a
    Ray cluster, None for this machine."""

    backend: str
    device: str
    jobs: int | None
    address: str | None

    @property
    def n_jobs(self) -> int | None:
        """On this machine; None where Ray fills a GPU by the memory that populations were measured to need."""
        if self.jobs is None and self.device == "cpu":
            return n_cores()
        return self.jobs or (1 if self.backend == "local" else None)


def run_sweep(options: Options, place: Place, results: Path) -> int:
    """The whole command. Returns 0, or 1 where a study had to be given up or its winner could not be kept.

    Raises:
        UserError: for bad input, nothing being written then; or the search cannot go on.
    """
    started = time.perf_counter()
    suite = check(options)
    if place.address is not None:
        cluster.check_address(place.address)
    splits = load_dataset(suite.dataset)
    planned = plan_studies(options, suite, splits, device=place.device)
    check_files(one.plan for one in planned)
    data = Data(splits.train, splits.valid, splits.task)
    del splits
    sender = Sender(results)
    with _studies(planned, results) as studies:
        before = {study.plan.key: set(study.records) for study in studies}
        _opening(studies, place, results)
        try:
            with disk_errors(results):
                for study in studies:
                    sender.send(study, *study.records.values())
                _search(studies, sender, data, place)
        finally:
            sender.close()
        _summary(studies, before, time.perf_counter() - started)
        failures = [*filter(None, (study.failure for study in studies)), *_keep_winners(studies)]
    if sender.error:
        print(f"warning: results wait in {sender.outbox.root} for `make sync`: {sender.error}", file=sys.stderr)
    for failure in failures:
        print(f"error: {failure}; what has finished is kept, the same command goes on", file=sys.stderr)
    return STATUS_FAILED if failures else 0


@contextmanager
def _studies(planned: Sequence[PlannedStudy], results: Path) -> Iterator[list[Study]]:
    """Every study in a folder of its own, ``results/sweeps/<dataset>/<method>-<key>``, held until the block ends."""
    with ExitStack() as stack:
        studies = []
        for one in planned:
            plan = one.plan
            folder = results / "sweeps" / plan.dataset / f"{plan.method}-{plan.key}"
            study = Study(plan, folder, base=one.row.base, modalities=one.row.modalities, shared=one.shared)
            stack.callback(study.close)
            studies.append(study)
        yield studies


def _search(studies: list[Study], sender: Sender, data: Data, place: Place) -> None:
    n_total = sum(study.plan.n_trials for study in studies)
    with Watch(n_total, sum(len(study.configurations) for study in studies)) as watch:
        search = Search(studies, sender, watch.show)
        if not search.is_over and place.backend == "local":
            local.run(search, data, device=place.device, jobs=place.n_jobs or 1)
        elif not search.is_over:
            with TemporaryDirectory(prefix="dmil-", ignore_cleanup_errors=True) as folder:
                cluster.run(
                    search,
                    data,
                    device=place.device,
                    jobs=place.jobs,
                    address=place.address,
                    scratch=Path(folder),
                )
    for study in studies:
        if study.is_complete:
            study.settle()


def _keep_winners(studies: Sequence[Study]) -> Iterator[str]:
    """Those of complete studies; yields what went wrong."""
    for study in studies:
        if study.is_complete:
            try:
                print(keep_winner(study), flush=True)
            except UserError as error:
                yield f"{study.plan.method}: {error}"


def _opening(studies: Sequence[Study], place: Place, results: Path) -> None:
    plan, n_done = studies[0].plan, sum(len(study.configurations) for study in studies)
    n_total = sum(study.plan.n_trials for study in studies)
    here = f"{place.n_jobs or 'as many as fit'} at a time"
    where = f"on the Ray cluster at {place.address}" if place.address else here
    print(
        f"{plan.dataset}: {len(studies)} studies, {n_total} configurations × {len(plan.seeds)} seeds, {n_done} there "
        f"already; populations of {plan.population} on {place.device}, {where}; kept in {results / 'sweeps'}",
        flush=True,
    )


def _summary(studies: Sequence[Study], before: dict[str, set[int]], seconds: float) -> None:
    """before: numbers of the populations that were there, by study."""
    n_total = sum(len(study.configurations) for study in studies)
    new = [study.records[k] for study in studies for k in set(study.records) - before[study.plan.key]]
    n_new = sum(len(record.configurations) for record in new)
    trained, n_workers = sum(record.seconds for record in new), len({record.worker for record in new})
    print(
        f"{n_new} configurations trained, {n_total - n_new} were there already; "
        f"{trained:.0f} s of training by {n_workers} workers in {seconds:.0f} s",
        flush=True,
    )
    for study in studies:
        base = next((one for one in study.configurations if one.number == 0), None)
        if study.winner:
            default = f"default {shown_score(study, base)}" if base and base.score is not None else "default failed"
            print(f"  {study.plan.method:<22} best {shown_score(study, study.winner)}, {default}", flush=True)


def make_place(backend: str, device: str, jobs: int | None) -> Place:
    """Raises UserError for a device or number of jobs that cannot be had here."""
    address = os.environ.get("RAY_ADDRESS") or None
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs takes a whole number of 1 or more, but got {jobs}")
    if backend == "local" or address is None:
        return Place(backend, resolve_device(device), jobs, None)
    if device == "auto":
        raise UserError("RAY_ADDRESS names a cluster; say which of its devices to use with DEVICE=cpu or DEVICE=cuda")
    return Place(backend, device, jobs, address)
