"""``python -m reports.speed``: how long a report takes on a store of many runs.

Makes a sqlite store in a temporary folder, then runs ``python -m reports`` on it as a user would, each time in a new
process. Reading is all that the command spends in ``benchmarks.tracking`` and on files of predictions; importing MLflow
and opening the store, which depend on no run, are counted by themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar
from unittest.mock import patch

from benchmarks.errors import STATUS_BAD_INPUT, Parser, UserError
from benchmarks.outbox import Outbox
from reports.speed_copies import DATASET
from reports.speed_store import make_store, uri_of

CHECKOUT = Path(__file__).resolve().parents[1]
CHILD = "from reports.speed import timed_report; timed_report()"
READING_LIMIT, LIMIT = 5.0, 20.0
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """Seconds of one command: in all, of them starting MLflow, and reading it; files that it wrote."""

    total: float
    starting: float
    reading: float
    n_files: int


@dataclass
class Clock:
    """Seconds spent in the functions that it times; what these call of each other counts once."""

    seconds: float = 0.0
    _depth: int = field(default=0, repr=False)

    def timed(self, function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def on_the_clock(*args: P.args, **kwargs: P.kwargs) -> T:
            started = time.perf_counter()
            self._depth += 1
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - started

        return on_the_clock

    def timed_class(self, of: type) -> type:
        """The class with every public method of its own on the clock."""
        methods = {name: m for name, m in vars(of).items() if callable(m) and not name.startswith("_")}
        return type(of.__name__, (of,), {name: self.timed(method) for name, method in methods.items()})


def timed_report() -> None:
    """What the child process does: the command, and into a file the seconds that it spent on MLflow."""
    path, *arguments = sys.argv[1:]
    from benchmarks import tracking
    from reports import samples
    from reports.__main__ import main as report

    started = time.perf_counter()
    tracking.Tracking().deliver(Outbox(Path(path).parent / "nothing"))
    starting = time.perf_counter() - started
    clock = Clock()
    with (
        patch.object(tracking, "Tracking", clock.timed_class(tracking.Tracking)),
        patch.object(samples, "read_samples", clock.timed(samples.read_samples)),
    ):
        status = report(arguments)
    Path(path).write_text(json.dumps({"starting": starting, "reading": clock.seconds}))
    raise SystemExit(status)


def run_report(results: Path, arguments: Sequence[str]) -> Timing:
    """One ``python -m reports`` into a fresh folder. Raises UserError with what it complained of."""
    with tempfile.TemporaryDirectory() as folder:
        out, reading = Path(folder) / "out", Path(folder) / "reading.json"
        command = [sys.executable, "-c", CHILD, str(reading), *arguments, "--out", str(out)]
        environment = os.environ | {"MLFLOW_TRACKING_URI": uri_of(results)}
        started = time.perf_counter()
        done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
        total = time.perf_counter() - started
        if done.returncode:
            raise UserError(f"python -m reports {' '.join(arguments)} failed: {done.stderr.strip()}")
        n_files = sum(path.is_file() for path in out.rglob("*"))
        return Timing(total, **json.loads(reading.read_text()), n_files=n_files)


def sentence(timings: Sequence[Timing]) -> str:
    """Medians, in words, with the range of several rounds."""
    totals = [one.total for one in timings]
    total = statistics.median(totals)
    starting, reading = (
        statistics.median(one) for one in zip(*((t.starting, t.reading) for t in timings), strict=True)
    )
    rounds = f", median of {len(timings)} ({min(totals):.1f} to {max(totals):.1f})" if len(timings) > 1 else ""
    return (
        f"{total:.1f} s in all{rounds}; of that reading MLflow {reading:.1f} s ({reading / total:.0%}), "
        f"starting it {starting:.1f} s ({starting / total:.0%}); {timings[0].n_files} files"
    )


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 where a report of one dataset took longer than it may; 2 with one line for bad input."""
    parser = Parser(prog="python -m reports.speed", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=_at_least_one, default=10_000, help="runs in the store (default: 10000)")
    parser.add_argument(
        "--rounds", type=_at_least_one, default=3, help="how often one dataset is reported (default: 3)"
    )
    options = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _measure(Path(folder), options.runs, options.rounds)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return STATUS_BAD_INPUT


def _measure(results: Path, n_runs: int, rounds: int) -> int:
    started = time.perf_counter()
    made = make_store(results, n_runs)
    seconds, size = time.perf_counter() - started, (results / "mlflow.db").stat().st_size / 1e6
    print(
        f"store: {made.n_runs:,} runs in {made.n_rows:,} rows of {made.n_tables} tables, "
        f"and {made.n_sweep_runs:,} runs of sweeps; {size:.0f} MB, made in {seconds:.0f} s",
        flush=True,
    )
    one = [run_report(results, ["--dataset", DATASET]) for _ in range(rounds)]
    print(f"python -m reports --dataset {DATASET}: {sentence(one)}", flush=True)
    print(f"python -m reports: {sentence([run_report(results, [])])}", flush=True)
    print(f"python -m reports --sweep: {sentence([run_report(results, ['--sweep'])])}", flush=True)
    is_fast = all(timing.reading < READING_LIMIT and timing.total < LIMIT for timing in one)
    limits = f"{READING_LIMIT:.0f} s reading, {LIMIT:.0f} s in all"
    print(f"one dataset is {'within' if is_fast else 'OVER'} its limits: {limits}")
    return 0 if is_fast else 1


def _at_least_one(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return value


if __name__ == "__main__":
    raise SystemExit(main())
