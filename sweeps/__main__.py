"""Command line of the search: `python -m sweeps run`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from benchmarks.errors import STATUS_BAD_INPUT, Parser, UserError, end_on_interrupt
from benchmarks.registry import DEFAULT_DATASET
from benchmarks.suite import DEFAULT_SUITE


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    if options.data:
        os.environ["DMIL_DATA"] = options.data
    try:
        return _run(options, "python -m sweeps " + shlex.join(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return STATUS_BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m sweeps", description="Hyper-parameter search with an equal budget for every method")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="search the settings of methods on a dataset; goes on where it was stopped")
    run.add_argument("--dataset", default=DEFAULT_DATASET, help="default: %(default)s")
    run.add_argument("--suite", default=DEFAULT_SUITE, help="whose budget and methods are used (default: %(default)s)")
    run.add_argument("--methods", default="all", help="comma-separated (default: all that the suite trains)")
    run.add_argument("--trials", type=int, default=64, help="configurations for each method (default: %(default)s)")
    run.add_argument("--seeds", type=int, default=2, help="seeds of each configuration (default: %(default)s)")
    run.add_argument("--epochs", type=int, help="training epochs, instead of the suite's")
    run.add_argument(
        "--population", type=int, default=8, help="configurations trained as one stack (default: %(default)s)"
    )
    run.add_argument(
        "--ahead",
        type=int,
        default=2,
        help="populations of a study proposed before results are awaited; more of them keep more devices "
        "busy but know less (default: %(default)s)",
    )
    run.add_argument("--no-halving", action="store_true", help="train every configuration to the end")
    run.add_argument("--backend", choices=("ray", "local"), default="ray", help="default: %(default)s")
    run.add_argument("--jobs", type=int, metavar="N", help="populations at a time (default: one per core, one per GPU)")
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    run.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="METHOD.SETTING=VALUE",
        help="set by hand, not searched, for example dmil.alignment=0.5 or all.width=128",
    )
    run.add_argument("--data", metavar="DIR", help="data folder (default: $DMIL_DATA, else ./data)")
    return parser


def _run(options: argparse.Namespace, command: str) -> int:
    from benchmarks.store import RESULTS
    from sweeps.plan import Options
    from sweeps.run import make_place, run_sweep

    asked = Options(
        dataset=options.dataset,
        suite=options.suite,
        methods=tuple(filter(None, map(str.strip, options.methods.split(",")))),
        trials=options.trials,
        seeds=options.seeds,
        epochs=options.epochs,
        population=options.population,
        ahead=options.ahead,
        is_halving=not options.no_halving,
        assignments=tuple(options.settings),
        command=command,
    )
    return run_sweep(asked, make_place(options.backend, options.device, options.jobs), RESULTS)


if __name__ == "__main__":
    end_on_interrupt("\ninterrupted; finished populations are kept, the same command goes on from there")
    sys.exit(main())
