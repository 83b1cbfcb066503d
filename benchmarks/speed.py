"""`make speed`: what training replicas as one stack is worth, against the same trainings one after another.

Times are paired: each round runs both, and the ratio quoted is the median over rounds.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.methods import METHODS
from benchmarks.parallel import n_cores
from benchmarks.suite import DEFAULT_SUITE
from dmil.data import Split, Task
from dmil.encoders import sources_of
from dmil.losses import task_loss
from dmil.method import Method
from dmil.seeds import derive_seed, generator
from dmil.selection import Budget
from dmil.settings import Settings, override
from dmil.train import Replica, fit

N_BENCHES = 2  # whole ones of each kind


@dataclass(frozen=True)
class Problem:
    """What is trained: data on its device, task, and the number of epochs, the same for both contestants."""

    train: Split
    valid: Split
    task: Task
    epochs: int
    device: str


def sequential(method: type[Method], problem: Problem, seeds: Sequence[int]) -> None:
    """Plain trainings one after another: torch.optim.AdamW, gradient clipping, validation and the best state."""
    for seed in seeds:
        torch.manual_seed(derive_seed("init", seed))
        model = method(method.Settings(), sources_of(problem.train), problem.task).to(problem.device)
        order = generator("order", seed)
        for stage in model.stages(problem.epochs):
            model.stage = stage.name
            for name, child in model.named_children():
                child.requires_grad_(stage.trains is None or name in stage.trains)
            trained = [p for p in model.parameters() if p.requires_grad]
            optimiser = torch.optim.AdamW(trained, lr=model.settings.lr, weight_decay=model.settings.weight_decay)
            best, state = (-1.0, 0.0), copy.deepcopy(model.state_dict())
            for _ in range(stage.epochs):
                _plain_epoch(model, stage.trains, problem.train, optimiser, order)
                score = _plain_validation(model, problem)
                if score > best:
                    best, state = score, copy.deepcopy(model.state_dict())
            model.load_state_dict(state)


def _plain_epoch(
    model: Method,
    trains: tuple[str, ...] | None,
    train: Split,
    optimiser: torch.optim.Optimizer,
    order: torch.Generator,
) -> None:
    model.train()
    for name, child in model.named_children():
        child.train(trains is None or name in trains)
    parameters = optimiser.param_groups[0]["params"]
    shuffled = torch.randperm(len(train), generator=order).to(train.target.device)
    for index in shuffled.split(model.settings.batch_size):
        target = train.target[index]
        loss = model.loss(model({name: x[index] for name, x in train.inputs.items()}), target, model.stage)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()


@torch.no_grad()
def _plain_validation(model: Method, problem: Problem) -> tuple[float, float]:
    """What selection looks at: accuracy, and minus the loss for ties."""
    model.eval()
    logits = model(problem.valid.inputs).logits
    loss = task_loss(problem.task, logits, problem.valid.target)
    return (logits.argmax(-1) == problem.valid.target).double().mean().item(), -loss.item()


def stacked(method: type[Method], problem: Problem, seeds: Sequence[int], settings: Settings | None = None) -> None:
    """The same trainings as one stack; patience as long as the budget, so that nothing stops early."""
    budget = Budget(epochs=problem.epochs, patience=problem.epochs)
    replicas = [Replica(seed, settings) for seed in seeds]
    results = fit(
        method, problem.train, problem.valid, problem.task, replicas=replicas, budget=budget, device=problem.device
    )
    for one in results:
        if one.status != "finished":
            raise RuntimeError(f"training of {method.__name__} ended as {one.status}: {one.error}")


def seconds(work: Callable[[], None], device: str) -> float:
    started = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def compare(name: str, problem: Problem, *, n_seeds: int, rounds: int) -> str:
    """One line: median paired ratio of sequential over stacked time, with its range."""
    seeds, method = range(n_seeds), METHODS[name]
    stacked(method, problem, seeds)
    pairs = []
    for _ in range(rounds):
        plain = seconds(lambda: sequential(method, problem, seeds), problem.device)
        pairs.append((plain, seconds(lambda: stacked(method, problem, seeds), problem.device)))
    ratios = sorted(plain / together for plain, together in pairs)
    times = [statistics.median(column) for column in zip(*pairs, strict=True)]
    return (
        f"{name:<10} {n_seeds} seeds: sequential {times[0]:.2f} s, stacked {times[1]:.2f} s, "
        f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f} in {rounds} rounds)"
    )


def step_ratio(name: str, problem: Problem, *, n_seeds: int, rounds: int) -> str:
    """Time of an epoch of a DMIL, all of it in the last stage, over one of ``joint`` and ``joint_mlp``; stacked."""
    whole = override(METHODS[name].Settings(), {"intra_epochs": 0, "decomposition_epochs": 0})
    pairs = []
    for _ in range(rounds):
        times = {
            one: seconds(partial(stacked, METHODS[one], problem, range(n_seeds), settings), problem.device)
            for one, settings in ((name, whole), ("joint", None), ("joint_mlp", None))
        }
        pairs.append((times[name] / times["joint"], times[name] / times["joint_mlp"]))
    joint, joint_mlp = (statistics.median(column) for column in zip(*pairs, strict=True))
    return f"a training step of {name} in its last stage costs {joint:.1f} of joint, {joint_mlp:.1f} of joint_mlp"


def profile(problem: Problem, *, n_seeds: int) -> str:
    """The operations in which stacked training of ``dmil`` spends most."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if problem.device != "cpu" else [])
    with profiler(activities=activities) as recorded:
        stacked(METHODS["dmil"], problem, range(n_seeds))
    events = recorded.key_averages()
    cost = {e.key: e.self_cpu_time_total if problem.device == "cpu" else e.self_device_time_total for e in events}
    total = sum(cost.values())
    top = sorted(cost.items(), key=lambda item: -item[1])[:6]
    return "largest costs of stacked dmil: " + ", ".join(f"{name} {100 * t / total:.0f} %" for name, t in top)


def whole_bench(dataset: str) -> str:
    """Whole benches into stores of their own: one row at a time, with the share of its wall time that is not training,
    and as many rows at a time as there are cores. Taking turns; one before them pays for imports and caches."""
    _timed_bench(dataset, jobs=1, methods=("constant",))
    alone = trained = together = 0.0
    for _ in range(N_BENCHES):
        wall, fitting = _timed_bench(dataset, jobs=1)
        alone, trained = alone + wall / N_BENCHES, trained + fitting / N_BENCHES
        together += _timed_bench(dataset, jobs=n_cores())[0] / N_BENCHES
    return (
        f"whole bench on {dataset}: {alone:.0f} s row by row, of which {100 * (1 - trained / alone):.0f} % outside the "
        f"training loop; {together:.0f} s with rows side by side, {alone / together:.2f} times faster"
    )


def _timed_bench(dataset: str, jobs: int, methods: tuple[str, ...] | None = None) -> tuple[float, float]:
    """Wall time and seconds of training."""
    from benchmarks.run import Options, make_benches

    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        started = time.perf_counter()
        (bench,) = make_benches(Options(dataset, DEFAULT_SUITE, methods), Path(folder))
        bench.go(jobs=jobs)
        return time.perf_counter() - started, bench.fit_seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mosi")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--no-bench", action="store_true", help="leave out the whole bench, which needs MLflow")
    options = parser.parse_args()
    from benchmarks.registry import load_dataset

    splits = load_dataset(options.dataset)
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        train, valid = splits.train.to(device), splits.valid.to(device)
        problem = Problem(train, valid, splits.task, options.epochs, device)
        what = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
        print(f"{options.dataset} on {device} ({what}), {options.epochs} epochs, torch {torch.__version__}", flush=True)
        for name in ("joint_mlp", "dmil", "dmil_pid"):
            print(compare(name, problem, n_seeds=options.seeds, rounds=options.rounds), flush=True)
        for name in ("dmil", "dmil_pid"):
            print(step_ratio(name, problem, n_seeds=options.seeds, rounds=options.rounds), flush=True)
        print(profile(problem, n_seeds=options.seeds), flush=True)
    if not options.no_bench:
        print(whole_bench(options.dataset))
    return 0


if __name__ == "__main__":
    sys.exit(main())
