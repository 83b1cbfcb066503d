"""Work spread over processes that leave nothing behind, even where the process that started them is killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from multiprocessing import get_context, parent_process
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerDiedError(Exception):
    """A process ended without a result: out of memory, say, or a file that crashes the library that reads it."""


def n_cores() -> int:
    """Cores that this process may use, a container's quota of them included."""
    from joblib import cpu_count

    return int(cpu_count())


_kept: ContextVar[ProcessPoolExecutor | None] = ContextVar("kept", default=None)


@contextmanager
def kept_processes() -> Iterator[None]:
    """While it lasts, the processes of ``spread``, up to one per core, stay for the next call instead of ending."""
    with _pool(n_cores()) as pool:
        token = _kept.set(pool)
        try:
            yield
        finally:
            _kept.reset(token)


def spread(work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterator[Result]:
    """``work(task)`` of every task, as they get done, in ``jobs`` spawned processes; one job is done in this process.

    work: picklable, of a module that the processes can import. Where the caller stops early, what has not begun is
    dropped. Raises WorkerDiedError, and whatever ``work`` raises.
    """
    if jobs == 1:
        yield from map(work, tasks)
        return
    kept = _kept.get()
    with nullcontext(kept) if kept is not None else _pool(jobs) as pool:
        futures = [pool.submit(work, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise WorkerDiedError from error
        finally:
            wait([future for future in futures if not future.cancel()])


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Where this process is killed, Python's own helper would say that semaphores were left, which it then removes.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::UserWarning:multiprocessing.resource_tracker")
    return ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_prepare_worker)


def _prepare_worker() -> None:
    """One thread each, unless more are asked for; Ctrl-C is the parent's business; it ends when the parent does."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
