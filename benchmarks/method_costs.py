"""`python -m benchmarks.method_costs`: what each method costs beside `joint`, as the table of docs/methods.md.

Both have their default settings, the same epochs, none of which is left out by patience, and train as stacks of the
same seeds; what a method does before its training proper is in its epochs or, where it comes on top, in its time. Times
are paired: each round trains the method and `joint`, and the ratio quoted is the median over rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from functools import partial

import torch

from benchmarks.encoders import checked
from benchmarks.errors import STATUS_BAD_INPUT, Parser, UserError
from benchmarks.methods import METHODS, left_out
from benchmarks.registry import load_dataset
from benchmarks.run import resolve_device
from benchmarks.speed import Problem, seconds, stacked
from dmil.data import Task
from dmil.encoders import Sources
from dmil.seeds import initialising

REFERENCE = "joint"
HEADINGS = ("method", "parameters", "× joint", "training time × joint", "range")
# These train nothing of their own, what joint trains on other labels, or one modality; ablations have a suite.
LEFT_OUT = ("constant", "ensemble", "label_shuffle", "unimodal")


def names_of(asked: str | None) -> list[str]:
    """The methods asked for, by default all that train on every modality.

    Raises:
        UserError: for a name that is none of them.
    """
    known = [name for name in METHODS if name not in LEFT_OUT and not name.startswith("dmil_pid_")]
    names = asked.split(",") if asked is not None else known
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"--methods {','.join(unknown)}: allowed are {', '.join(known)}")
    return names


def n_parameters(name: str, sources: Sources, task: Task) -> int:
    """Parameters of one replica, teachers and copies that only training needs included."""
    with initialising("init", 0):
        model = METHODS[name](METHODS[name].Settings(), sources, task)
    return sum(parameter.numel() for parameter in model.parameters())


def time_ratios(name: str, problem: Problem, *, seeds: Sequence[int], rounds: int) -> list[float]:
    """Time of a whole training of a method over one of ``joint``, once a round, in ascending order."""
    work = {one: partial(stacked, METHODS[one], problem, seeds) for one in (name, REFERENCE)}
    return sorted(seconds(work[name], problem.device) / seconds(work[REFERENCE], problem.device) for _ in range(rounds))


def table(names: Sequence[str], problem: Problem, sources: Sources, *, n_seeds: int, rounds: int) -> None:
    """Prints the table row by row, as each is measured."""
    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}", flush=True)
    base = n_parameters(REFERENCE, sources, problem.task)
    stacked(METHODS[REFERENCE], problem, range(n_seeds))  # pays for imports and caches
    for name in names:
        count = n_parameters(name, sources, problem.task)
        ratios = time_ratios(name, problem, seeds=range(n_seeds), rounds=rounds)
        median = statistics.median(ratios)
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        cells = (f"`{name}`", f"{count:,}", f"{count / base:.2f}", f"{median:.2f}", spread)
        print(f"| {' | '.join(cells)} |", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Exit status 0, or 2 with one line for what the user can put right."""
    parser = Parser(
        prog="python -m benchmarks.method_costs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", default="mosi")
    parser.add_argument("--methods", help="comma-separated (default: all that train on every modality)")
    parser.add_argument("--seeds", type=int, default=5, help="replicas of a stack (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of trainings for each method (default: 3)")
    parser.add_argument("--epochs", type=int, default=60, help="of every training (default: 60)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(argv)
    try:
        for name in ("seeds", "rounds", "epochs"):
            if getattr(options, name) < 1:
                raise UserError(f"--{name} {getattr(options, name)}: must be 1 or more")
        device, names = resolve_device(options.device), names_of(options.methods)
        splits = load_dataset(options.dataset)
        sources = checked({}, splits.train)
        unfit = left_out(names, sources, splits.task)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return STATUS_BAD_INPUT
    for why in unfit.values():
        print(f"left out on {options.dataset}: {why}", file=sys.stderr)
    problem = Problem(splits.train.to(device), splits.valid.to(device), splits.task, options.epochs, device)
    where = f"{torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name()
    print(f"{options.dataset}, {options.seeds} seeds, {options.epochs} epochs, {options.rounds} rounds, {where}\n")
    table([name for name in names if name not in unfit], problem, sources, n_seeds=options.seeds, rounds=options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
