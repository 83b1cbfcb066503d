"""Several datasets of a suite side by side: a process each, of one thread.

Small batched products gain little from a second thread, two processes of one thread each gain nearly twice.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

STATUS_FAILED = 1
THREADS = "OMP_NUM_THREADS"


def default_jobs(device: str) -> int:
    """As many as there are cores; one on an accelerator, which stacks fill better than processes do."""
    return n_cores() if device == "cpu" else 1


def n_cores() -> int:
    """Cores that this process may use, a container's quota of them included."""
    from joblib import cpu_count

    return int(cpu_count())


def run_side_by_side(datasets: Sequence[str], arguments: Sequence[str], jobs: int) -> int:
    """Runs ``python -m benchmarks ARGUMENTS --dataset D`` for every D, at most ``jobs`` at a time, or where there are
    fewer datasets several rows of each.

    Each line that they print comes out with its dataset before it. Returns 0, or 1 where one of them did not. Where
    this process is killed, each of them ends with the next line that it cannot print.
    """
    started = time.perf_counter()
    together = min(jobs, len(datasets))
    each = str(jobs // together)
    environment = os.environ | {THREADS: os.environ.get(THREADS, "1")}
    width = max(map(len, datasets))

    def run(dataset: str) -> int:
        command = [sys.executable, "-m", "benchmarks", *arguments, "--dataset", dataset, "--jobs", each]
        options: dict[str, Any] = {"env": environment, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, stderr=subprocess.STDOUT, text=True, **options) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(f"{dataset:<{width}}  {line}", end="", flush=True)
        return process.returncode

    with ThreadPoolExecutor(together) as pool:
        statuses = dict(zip(datasets, pool.map(run, datasets), strict=True))
    print(f"{len(datasets)} datasets, {together} at a time, in {time.perf_counter() - started:.0f} s", flush=True)
    failed = [f"{dataset} (status {status})" for dataset, status in statuses.items() if status]
    if failed:
        print(f"not complete: {', '.join(failed)}; command: {shlex.join(arguments)} --dataset …", file=sys.stderr)
    return STATUS_FAILED if failed else 0
