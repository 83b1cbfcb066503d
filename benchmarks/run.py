"""`python -m benchmarks run`: plan, train what is missing, keep every result, send it to tracking."""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UserError
from benchmarks.outbox import Outbox
from benchmarks.progress import Progress
from benchmarks.record import AUDIT, CHECKPOINT, SAMPLES, Plan, RunRecord
from benchmarks.registry import DEFAULT_DATASET, WorkerDied, describe, load_dataset
from benchmarks.store import UnreachableError
from benchmarks.suite import DEFAULT_SUITE, Suite, load_suite, parse_assignments, suite_datasets
from benchmarks.tracking import Tracking
from benchmarks.training import Training, rows_at_once

if TYPE_CHECKING:
    from benchmarks.plan import Spec
    from dmil.data import Splits


@dataclass(frozen=True)
class Options:
    """What the command line asks for; None leaves the suite's value.

    Without a dataset a suite runs on all that it names; with neither, the default suite on the default dataset.
    """

    dataset: str | None = None
    suite: str | None = None
    methods: tuple[str, ...] | None = None
    seeds: int | None = None
    epochs: int | None = None
    tuned: bool | None = None
    device: str = "auto"
    assignments: tuple[str, ...] = ()


def run_benches(benches: Sequence[Bench], jobs: int | None = None) -> int:
    """One after another, ``jobs`` rows at a time, by default as many as pay; returns 0, or 1 where a run failed."""
    started = time.perf_counter()
    for number, bench in enumerate(benches, 1):
        bench.go(f"{bench.plan.dataset} ({number} of {len(benches)})" if len(benches) > 1 else "", jobs)
    _summary(benches, time.perf_counter() - started)
    return 1 if any(bench.n_failed for bench in benches) else 0


def make_benches(options: Options, results: Path) -> list[Bench]:
    """One bench for each dataset asked for, everything resolved and checked, nothing written yet.

    Raises:
        UserError: for bad input.
    """
    suites = [_resolve_suite(options, dataset) for dataset in _datasets(options)]
    from benchmarks.plan import check_suite, resolve

    for suite in suites:
        check_suite(suite)
    device = resolve_device(options.device)
    benches = []
    for suite in suites:
        splits = load_dataset(suite.dataset)
        plan, specs = resolve(suite, splits, device=device)
        plan = replace(plan, command=_command(), overrides=options.assignments)
        plan = replace(plan, files=plan.files | {SAMPLES: describe_samples(specs[0], splits)})
        benches.append(Bench(plan, specs, splits, device, results))
    return benches


def describe_samples(spec: Spec, splits: Splits) -> dict[str, Any]:
    """What a report tells its reader of the test samples: ``class_names``, in the order of the classes; of a dataset
    of texts also ``texts``, by sample, empty where their raw file is missing or, said on stderr, wrong."""
    target = spec.transfer.target(splits) if spec.transfer else splits
    names: dict[str, Any] = {"class_names": list(target.task.class_names)}
    try:
        texts = describe(spec.content["dataset"])
    except UserError as error:
        print(f"warning: results will not show what samples say: {error}", file=sys.stderr)
        texts = {}
    if texts is None:
        return names
    return names | {"texts": {name: texts[name] for name in target.test.ids if name in texts}}


class Bench:
    """One command at work."""

    def __init__(self, plan: Plan, specs: Sequence[Spec], splits: Splits, device: str, results: Path) -> None:
        self.plan, self.specs, self.splits, self.device = plan, specs, splits, device
        self.training = Training(plan.dataset, plan.suite, plan.protocol, device, results, Path())
        self.outbox = Outbox(results / "outbox")
        self.tracking = Tracking(results)
        self.delivery_error: str | None = None
        self.finished: set[str] = set()
        self.failed: set[str] = set()
        self.fit_seconds = 0.0
        self.n_trained = 0

    @property
    def n_failed(self) -> int:
        return len(self.failed)

    def go(self, title: str = "", jobs: int | None = None) -> None:
        """Trains what has no finished run yet. title: shown above its progress. jobs: rows at a time, by default as
        many as pay."""
        with self.outbox.stage() as folder:
            self._audit()
            self.plan.save(folder)
        self._deliver()
        self.finished = self._find_finished()
        with tempfile.TemporaryDirectory() as members:
            self.training = replace(self.training, members=Path(members))
            self._train_missing(title, jobs)

    def _audit(self) -> None:
        """Puts into the plan what is found in the data, and warns of it. Nothing that is trained sees it."""
        from benchmarks.audit import alarms, audited

        found = audited(self.plan.dataset, self.splits, self.plan.data_checksum)
        self.plan = replace(self.plan, files=self.plan.files | {AUDIT: found})
        if texts := alarms(found):
            print(f"warning: audit of {self.plan.dataset}: {' '.join(texts)}", file=sys.stderr, flush=True)

    def _train_missing(self, title: str, jobs: int | None) -> None:
        rows = [[spec for spec in self.specs if spec.row == row] for row in dict.fromkeys(s.row for s in self.specs)]
        todo = [specs for row in rows if (specs := [spec for spec in row if spec.key not in self.finished])]
        alone = [specs for specs in todo if specs[0].row.base != "ensemble"]
        jobs = min(jobs or rows_at_once(alone, len(self.splits.train), self.device), max(1, len(alone)))
        with Progress(len(self.specs), title) as progress:
            progress.start(n_done=sum(spec.key in self.finished for spec in self.specs))
            if jobs > 1:
                self._side_by_side(alone, jobs, progress)
            for row in todo:
                if specs := [spec for spec in row if spec.key not in self.finished | self.failed]:
                    self._take(self._train(specs, progress), progress)

    def _side_by_side(self, rows: list[list[Spec]], jobs: int, progress: Progress) -> None:
        """Tables name the dearest methods last; they begin first. Where a process dies, what is left stays undone."""
        rows = rows[::-1]
        progress.side_by_side([specs[0].row.name for specs in rows], jobs)
        try:
            for records in self.training.side_by_side(rows, jobs):
                self._take(records, progress)
        except WorkerDied:
            self.finished |= self._find_finished()
            print(
                "warning: a process that trained died, for want of memory perhaps; going on with one row at a time",
                file=sys.stderr,
                flush=True,
            )

    def _train(self, specs: Sequence[Spec], progress: Progress) -> list[RunRecord]:
        """A row in this process."""
        if specs[0].row.base == "ensemble":
            return self.training.row(specs, self.splits, find=self._checkpoint)
        watch = progress.watch(specs[0].row.name, specs[0].content["budget"]["epochs"], len(specs))
        return self.training.row(specs, self.splits, on_epoch=watch)

    def _take(self, records: Sequence[RunRecord], progress: Progress) -> None:
        """The records of a row that has been trained."""
        self.n_trained += len(records)
        self._deliver()
        self.finished |= {record.key for record in records if record.status == "finished"}
        self.failed |= {record.key for record in records if record.status == "failed"}
        if records[0].method != "ensemble":
            self.fit_seconds += sum(record.metrics["train_seconds"] for record in records)
        progress.finish(records)

    def _find_finished(self) -> set[str]:
        keys = [spec.key for spec in self.specs]
        waiting = {record.key for _, record in self.outbox.records() if record.status == "finished"}
        try:
            return waiting | self.tracking.finished(keys, dataset=self.plan.dataset)
        except UnreachableError:
            return waiting

    def _checkpoint(self, spec: Spec) -> Path | None:
        """Where the weights of an ensemble's member are: from this command, the outbox or tracking."""
        own = self.training.members / f"{spec.key}.safetensors"
        if own.exists():
            return own
        folder = self.outbox.find(spec.key)
        if folder:
            return folder / CHECKPOINT
        try:
            return self.tracking.artifact(spec.key, CHECKPOINT)
        except UserError:
            return None

    def _deliver(self) -> None:
        self.delivery_error = self.tracking.deliver(self.outbox).error


def _datasets(options: Options) -> list[str]:
    if options.dataset is not None:
        return [options.dataset]
    return [DEFAULT_DATASET] if options.suite is None else suite_datasets(options.suite)


def _resolve_suite(options: Options, dataset: str) -> Suite:
    suite = load_suite(DEFAULT_SUITE if options.suite is None else options.suite, dataset)
    if options.methods is not None:
        suite = replace(suite, methods=options.methods)
    if options.seeds is not None:
        suite = replace(suite, seeds=options.seeds)
    if options.epochs is not None:
        suite = replace(suite, budget=suite.budget | {"epochs": options.epochs})
    if options.tuned is not None:
        suite = replace(suite, tuned=options.tuned)
    return replace(suite, by_hand=parse_assignments(options.assignments))


def resolve_device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda was asked for, but torch sees no CUDA device; use DEVICE=cpu or DEVICE=auto")
    return name


def _command() -> str:
    return "python -m benchmarks " + shlex.join(sys.argv[1:])


def _summary(benches: Sequence[Bench], seconds: float) -> None:
    n, n_trained = sum(len(bench.specs) for bench in benches), sum(bench.n_trained for bench in benches)
    where = f"{len(benches)} datasets: " if len(benches) > 1 else ""
    print(
        f"{where}{n_trained} of {n} runs trained, {n - n_trained} were there already; "
        f"{sum(bench.fit_seconds for bench in benches):.0f} s of training in {seconds:.0f} s",
        flush=True,
    )
    failed = [f"{bench.plan.dataset} ({bench.n_failed})" for bench in benches if bench.n_failed]
    if failed and len(benches) > 1:
        print(f"failed runs: {', '.join(failed)}", flush=True)
    last = benches[-1]
    if last.delivery_error:
        print(
            f"warning: runs are kept in {last.outbox.root} until `make sync` can send them: {last.delivery_error}",
            file=sys.stderr,
        )
