"""`python -m benchmarks run`: plan, train what is missing, keep every result, send it to tracking."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import UserError
from benchmarks.outbox import Outbox
from benchmarks.progress import Progress
from benchmarks.record import CHECKPOINT, Plan, RunRecord
from benchmarks.registry import load_dataset
from benchmarks.store import RESULTS, UnreachableError
from benchmarks.suite import Suite, load_suite, merge, parse_assignments
from benchmarks.tracking import Tracking

if TYPE_CHECKING:
    from benchmarks.execute import Fitted
    from benchmarks.plan import Spec
    from dmil.data import Splits


@dataclass(frozen=True)
class Options:
    """What the command line asks for; None leaves the suite's value."""

    dataset: str
    suite: str
    methods: tuple[str, ...] | None = None
    seeds: int | None = None
    epochs: int | None = None
    device: str = "auto"
    assignments: tuple[str, ...] = ()


def run(options: Options, *, results: Path = RESULTS) -> int:
    """Runs a suite on a dataset; returns 0, or 1 where a run failed.

    Raises:
        UserError: for bad input; nothing has been written then.
    """
    started = time.perf_counter()
    bench = make_bench(options, results)
    failed = bench.go()
    _summary(bench, time.perf_counter() - started)
    return 1 if failed else 0


def make_bench(options: Options, results: Path) -> Bench:
    """Everything resolved and checked, nothing written yet.

    Raises:
        UserError: for bad input.
    """
    suite = _resolve_suite(options)
    from benchmarks.plan import check_suite, resolve

    check_suite(suite)
    device = _device(options.device)
    splits = load_dataset(options.dataset)
    plan, specs = resolve(suite, splits, device=device)
    plan = replace(plan, command=_command(), overrides=options.assignments)
    return Bench(plan, specs, splits, device, results)


class Bench:
    """One command at work. A stack of replicas enters the outbox whole, so a kill loses at most that stack."""

    def __init__(self, plan: Plan, specs: Sequence[Spec], splits: Splits, device: str, results: Path) -> None:
        self.plan, self.specs, self.splits, self.device = plan, specs, splits, device
        self.outbox = Outbox(results / "outbox")
        self.tracking = Tracking(results)
        self.delivery_error: str | None = None
        self.finished: set[str] = set()
        self.members = Path()
        self.fit_seconds: list[float] = []
        self.n_trained = 0

    def go(self) -> list[RunRecord]:
        """Trains what has no finished run yet; returns the failed records."""
        with self.outbox.stage() as folder:
            self.plan.save(folder)
        self._deliver()
        self.finished = self._find_finished()
        with tempfile.TemporaryDirectory() as members:
            self.members = Path(members)
            return self._train_missing()

    def _train_missing(self) -> list[RunRecord]:
        failed: list[RunRecord] = []
        with Progress(len(self.specs)) as progress:
            for row in dict.fromkeys(spec.row for spec in self.specs):
                own = [spec for spec in self.specs if spec.row == row]
                todo = [spec for spec in own if spec.key not in self.finished]
                progress.start(row.name, n_done=len(own) - len(todo))
                if not todo:
                    continue
                records = self._train(todo, progress)
                self.n_trained += len(records)
                self._deliver()
                self.finished |= {record.key for record in records if record.status == "finished"}
                failed += [record for record in records if record.status == "failed"]
                progress.finish(records)
        return failed

    def _train(self, specs: Sequence[Spec], progress: Progress) -> list[RunRecord]:
        from benchmarks.execute import assemble, evaluate, fit_specs

        splits = self.splits
        records: list[RunRecord] = []
        if specs[0].row.base == "ensemble":
            stacks = iter([[assemble(spec, splits.train, splits.task, self._checkpoint) for spec in specs]])
        else:
            watch = progress.watch(specs[0].content["budget"]["epochs"], len(specs))
            stacks = fit_specs(specs, splits.train, splits.valid, splits.task, device=self.device, on_epoch=watch)
        identity = {"suite": self.plan.suite, "protocol": self.plan.protocol}
        for stack in stacks:
            if specs[0].row.base != "ensemble":
                self.fit_seconds += [fitted.result.seconds for fitted in stack]
            with self.outbox.stage() as folder:
                records += [evaluate(fitted, splits, folder / fitted.spec.key, **identity) for fitted in stack]
                self._keep_members(folder, stack)
        return records

    def _keep_members(self, folder: Path, stack: Sequence[Fitted]) -> None:
        """Copies what the ensemble will be made of, so that a tracking server lost meanwhile does not matter."""
        for fitted in stack:
            path = folder / fitted.spec.key / CHECKPOINT
            if fitted.spec.row.base == "unimodal" and path.exists():
                shutil.copyfile(path, self.members / f"{fitted.spec.key}.safetensors")

    def _find_finished(self) -> set[str]:
        keys = [spec.key for spec in self.specs]
        waiting = {record.key for _, record in self.outbox.records() if record.status == "finished"}
        try:
            return waiting | self.tracking.finished(keys, self.plan.suite, dataset=self.plan.dataset)
        except UnreachableError:
            return waiting

    def _checkpoint(self, spec: Spec) -> Path | None:
        """Where the weights of an ensemble's member are: from this command, the outbox or tracking."""
        own = self.members / f"{spec.key}.safetensors"
        if own.exists():
            return own
        folder = self.outbox.find(spec.key)
        if folder:
            return folder / CHECKPOINT
        try:
            return self.tracking.artifact(spec.key, CHECKPOINT, self.plan.suite)
        except UserError:
            return None

    def _deliver(self) -> None:
        self.delivery_error = self.tracking.deliver(self.outbox).error


def _resolve_suite(options: Options) -> Suite:
    suite = load_suite(options.suite, options.dataset)
    if options.methods is not None:
        suite = replace(suite, methods=options.methods)
    if options.seeds is not None:
        suite = replace(suite, seeds=options.seeds)
    if options.epochs is not None:
        suite = replace(suite, budget=suite.budget | {"epochs": options.epochs})
    return replace(suite, settings=merge(suite.settings, parse_assignments(options.assignments)))


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda was asked for, but torch sees no CUDA device; use DEVICE=cpu or DEVICE=auto")
    return name


def _command() -> str:
    return "python -m benchmarks " + shlex.join(sys.argv[1:])


def _summary(bench: Bench, seconds: float) -> None:
    n = len(bench.specs)
    print(
        f"{bench.n_trained} of {n} runs trained, {n - bench.n_trained} were there already; "
        f"{sum(bench.fit_seconds):.0f} s of training in {seconds:.0f} s",
        flush=True,
    )
    if bench.delivery_error:
        print(
            f"warning: runs are kept in {bench.outbox.root} until `make sync` can send them: {bench.delivery_error}",
            file=sys.stderr,
        )
