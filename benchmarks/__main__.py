"""Command line of the suite: `python -m benchmarks {run,list,data,sync}`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import STATUS_BAD_INPUT, Parser, UserError, end_on_interrupt
from benchmarks.registry import DEFAULT_DATASET
from benchmarks.suite import DEFAULT_SUITE


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    options.given = arguments
    if getattr(options, "data", None):
        os.environ["DMIL_DATA"] = options.data
    try:
        status: int = options.command(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return STATUS_BAD_INPUT
    return status


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m benchmarks", description="DMIL Bench")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="train and evaluate a suite on a dataset, or on all that it names")
    run.add_argument(
        "--dataset", help=f"see `list` (default: every dataset of the suite; without a suite {DEFAULT_DATASET})"
    )
    run.add_argument("--suite", help=f"file in benchmarks/suites (default: {DEFAULT_SUITE})")
    run.add_argument("--methods", help="comma-separated, instead of the suite's")
    run.add_argument("--seeds", type=int, help="number of seeds, instead of the suite's")
    run.add_argument("--epochs", type=int, help="training epochs, instead of the suite's")
    run.add_argument(
        "--tuned",
        choices=("0", "1"),
        help="1: settings tuned by a sweep where there are some, 0: none of them (default: as the suite says)",
    )
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    run.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="METHOD[@SEED].SETTING=VALUE",
        help="change a setting, for example dmil.alignment=0.5, all.width=128 or joint@3.lr=1e-2",
    )
    run.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="datasets, or of one dataset rows, that are trained side by side (default: one per core, where that pays; "
        "one on a GPU)",
    )
    run.set_defaults(command=_run)
    show = commands.add_parser("list", help="datasets (and whether their files are present), suites and methods")
    show.set_defaults(command=_list)
    data = commands.add_parser("data", help="fetch, check and prepare a dataset")
    data.add_argument("--dataset", required=True)
    data.set_defaults(command=_data)
    sync = commands.add_parser("sync", help="send runs waiting in the outbox to the tracking server")
    sync.set_defaults(command=_sync)
    for command in (run, show, data):
        command.add_argument("--data", metavar="DIR", help="data folder (default: $DMIL_DATA, else ./data)")
    return parser


def _run(options: argparse.Namespace) -> int:
    from benchmarks.parallel import default_jobs, run_side_by_side
    from benchmarks.run import Options, make_benches, run_benches
    from benchmarks.store import RESULTS

    if options.jobs is not None and options.jobs < 1:
        raise UserError(f"--jobs takes a whole number of 1 or more, but got {options.jobs}")
    methods = None if options.methods is None else tuple(filter(None, map(str.strip, options.methods.split(","))))
    asked = Options(
        dataset=options.dataset,
        suite=options.suite,
        methods=methods,
        seeds=options.seeds,
        epochs=options.epochs,
        tuned=None if options.tuned is None else options.tuned == "1",
        device=options.device,
        assignments=tuple(options.settings),
    )
    benches = make_benches(asked, RESULTS)
    jobs = options.jobs or default_jobs(benches[0].device)
    if len(benches) == 1 or jobs == 1:
        return run_benches(benches, options.jobs)
    longest_first = sorted(benches, key=lambda bench: -len(bench.specs) * bench.plan.budget["epochs"])
    return run_side_by_side([bench.plan.dataset for bench in longest_first], options.given, jobs)


def _list(options: argparse.Namespace) -> int:
    from benchmarks.listing import listing

    print(listing())
    return 0


def _data(options: argparse.Namespace) -> int:
    from benchmarks.audit import alarms, audited, summary
    from benchmarks.registry import canonical, prepare

    splits = prepare(options.dataset)
    sizes = ", ".join(f"{name} {len(split)}" for name, split in splits.parts().items())
    shapes = {name: "x".join(map(str, shape)) for name, shape in splits.train.shapes.items()}
    widths = ", ".join(f"{name} ({shape})" for name, shape in shapes.items())
    checksum = splits.checksum()
    print(f"{splits.card.name}: {sizes}; modalities {widths}; checksum {checksum[:16]}")
    found = audited(canonical(options.dataset), splits, checksum)
    print(f"audit: {summary(found)}")
    for text in alarms(found):
        print(f"alarm: {text}")
    if splits.card.warning:
        print(f"warning: {splits.card.warning}")
    return 0


def _sync(options: argparse.Namespace) -> int:
    from benchmarks.outbox import Outbox
    from benchmarks.store import RESULTS
    from benchmarks.tracking import Tracking

    delivery = Tracking(RESULTS).deliver(Outbox(Path(RESULTS) / "outbox"))
    print(f"{delivery.n_sent} runs sent, {delivery.n_left} left")
    if delivery.error:
        raise UserError(delivery.error)
    return 0


if __name__ == "__main__":
    end_on_interrupt("\ninterrupted; finished runs are kept, the same command goes on from there")
    sys.exit(main())
