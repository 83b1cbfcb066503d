"""Training of table rows: one after another in this process, or side by side in several of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UserError
from benchmarks.outbox import Outbox
from benchmarks.parallel import THREADS, n_cores
from benchmarks.record import CHECKPOINT, RunRecord
from benchmarks.registry import load_dataset, spread

if TYPE_CHECKING:
    from benchmarks.execute import FindCheckpoint, Fitted
    from benchmarks.plan import Spec
    from dmil.data import Splits
    from dmil.train import OnEpoch

UNFINISHED = "unfinished"  # folder of the results in which the states of interrupted trainings lie
LEAST_WORK = 1_000_000  # runs x epochs x training samples, below which processes take longer to start than they save


@dataclass(frozen=True)
class Training:
    """What is known wherever a row of a bench is trained.

    members: folder of the checkpoints that ensembles will be made of, so that a tracking server lost meanwhile does
    not matter.
    """

    dataset: str
    suite: str
    protocol: str
    device: str
    results: Path
    members: Path

    def row(
        self,
        specs: Sequence[Spec],
        splits: Splits,
        *,
        find: FindCheckpoint | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> list[RunRecord]:
        """Trains and evaluates specs of one row. A stack of replicas enters the outbox whole: a kill loses no more than
        the stacks in training. find: the checkpoints of an ensemble's members; only ensembles need it."""
        from benchmarks.execute import assemble, estimate, fit_specs, training_data

        settle_threads()
        outbox = Outbox(self.results / "outbox")
        train, valid, task = training_data(specs[0], splits)
        common: Any = {"device": self.device, "on_epoch": on_epoch}
        if find is not None:
            stacks = iter([[assemble(spec, train, task, find) for spec in specs]])
        elif specs[0].row.is_estimator:
            stacks = estimate(specs, train, valid, task, **common)
        else:
            stacks = fit_specs(specs, train, valid, task, **common, unfinished=self.results / UNFINISHED)
        records: list[RunRecord] = []
        for stack in stacks:
            with outbox.stage() as folder:
                records += [self._evaluated(fitted, splits, folder / fitted.spec.key) for fitted in stack]
                self._keep_members(folder, stack)
        return records

    def _evaluated(self, fitted: Fitted, splits: Splits, folder: Path) -> RunRecord:
        """Whatever a method raises when it is to predict makes its run a failed one; a full disk ends the bench."""
        from benchmarks.execute import evaluate

        identity = {"suite": self.suite, "protocol": self.protocol}
        try:
            return evaluate(fitted, splits, folder, **identity)
        except OSError:
            raise
        except Exception as error:
            shutil.rmtree(folder)
            reason = f"at its evaluation: {type(error).__name__}: {' '.join(str(error).split())[:500]}"
            fitted.result.status, fitted.result.error = "failed", reason
            return evaluate(fitted, splits, folder, **identity)

    def _keep_members(self, folder: Path, stack: Sequence[Fitted]) -> None:
        for fitted in stack:
            path = folder / fitted.spec.key / CHECKPOINT
            if fitted.spec.row.base == "unimodal" and path.exists():
                shutil.copyfile(path, self.members / f"{fitted.spec.key}.safetensors")

    def side_by_side(self, rows: Sequence[Sequence[Spec]], jobs: int) -> Iterator[list[RunRecord]]:
        """The records of every row, as rows get done, in ``jobs`` processes. Raises WorkerDied where one dies."""
        yield from spread(partial(_row, self), rows, jobs)


def _row(training: Training, specs: Sequence[Spec]) -> list[RunRecord]:
    """In a process of its own, which reads the data itself, once.

    Raises:
        UserError: data or code are no longer what the runs were planned with.
    """
    from benchmarks.provenance import code_revision

    splits, checksum = _data(training.dataset)
    for name, found in (("data", checksum), ("code", code_revision(specs[0].row.base))):
        if found != specs[0].content[name]:
            raise UserError(f"the {name} of {training.dataset}, {specs[0].row.name} changed while a bench used it")
    return training.row(specs, splits)


@cache
def _data(dataset: str) -> tuple[Splits, str]:
    splits = load_dataset(dataset)
    return splits, splits.checksum()


def settle_threads() -> None:
    """One thread on a processor, unless OMP_NUM_THREADS says more: how many there are decides how sums are rounded, and
    numbers must not depend on the machine, or on what else is left to train. Small batched products gain little."""
    import torch

    torch.set_num_threads(int(os.environ.get(THREADS, "1").partition(",")[0]))


def rows_at_once(rows: Sequence[Sequence[Spec]], n_samples: int, device: str) -> int:
    """As many as there are cores; one for little work, and on an accelerator, which a stack fills."""
    work = sum(len(specs) * specs[0].content["budget"]["epochs"] for specs in rows) * n_samples
    return 1 if device != "cpu" or work < LEAST_WORK else max(1, min(n_cores(), len(rows)))
