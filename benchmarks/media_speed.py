"""`python -m benchmarks.media_speed`: training two ResNet-18 on sound and pictures from memory-mapped files through
`dmil.fit`, against the same two networks fed with tensors that lie on the device already.

Shapes and batches are those of CREMA-D: a spectrogram of 257x188 and frames of 3x224x224, made of random numbers. Times
are paired: each round runs both, and the ratio quoted is the median over rounds. ``--compile`` holds the plain loop
through ``torch.compile`` against the plain loop.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

import dmil.feed
from benchmarks.encoders import sources
from benchmarks.methods.joint import Joint
from dmil.data import Split, Task
from dmil.losses import task_loss
from dmil.seeds import generator, initialising
from dmil.selection import Budget
from dmil.settings import override
from dmil.train import Replica, fit

N_CLASSES = 6
VALID_SHARE, MOST_VALID = 32, 64  # one in so many training samples, up to so many: validation is not what is timed
CHOICE: Mapping[str, Mapping[str, Any]] = {name: {"name": "resnet18"} for name in ("audio", "video")}


@dataclass(frozen=True)
class Setting:
    """What both contestants do: samples, batch size, epochs that are timed (one more goes before), precision."""

    n: int
    batch_size: int
    epochs: int
    precision: str
    device: str
    audio: tuple[int, ...] = (1, 257, 188)
    video: tuple[int, ...] = (3, 3, 224, 224)
    channels_last: bool = False

    @property
    def encoders(self) -> dict[str, dict[str, Any]]:
        return {name: {**one, "channels_last": self.channels_last} for name, one in CHOICE.items()}


TASK = Task(n_classes=N_CLASSES)


@contextmanager
def mapped(setting: Setting) -> Iterator[tuple[Split, Split]]:
    """Training and validation splits whose inputs are files on disk, as those of prepared media are."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for name, n in (("train", setting.n), ("valid", max(1, min(MOST_VALID, setting.n // VALID_SHARE)))):
            rng = generator("media_speed", name)
            inputs = {}
            for modality, shape, dtype in (("audio", setting.audio, "float32"), ("video", setting.video, "uint8")):
                path = Path(folder) / f"{name}-{modality}.npy"
                file = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(n, *shape))
                for row in file:
                    row[...] = _drawn(shape, dtype, rng).numpy()
                inputs[modality] = torch.from_numpy(file)
            parts.append(Split(inputs, torch.arange(n) % N_CLASSES))
        yield parts[0], parts[1]


def _drawn(shape: tuple[int, ...], dtype: str, rng: torch.Generator) -> Tensor:
    if dtype == "uint8":
        return torch.randint(256, shape, generator=rng, dtype=torch.uint8)
    return torch.randn(shape, generator=rng)


def through_fit(setting: Setting, train: Split, valid: Split, *, resident: bool) -> float:
    """Samples per second of ``fit``, validation and best states included, from the end of the first epoch on.

    resident: whether fit may lay the whole split on the device; else it streams from the files.
    """
    ends: list[float] = []
    settings = override(Joint.Settings(), {"batch_size": setting.batch_size})
    with nullcontext() if resident else mock.patch.object(dmil.feed, "RESIDENT_SHARE", 0.0):
        (result,) = fit(
            Joint,
            train,
            valid,
            TASK,
            encoders=setting.encoders,
            replicas=[Replica(0, settings)],
            budget=Budget(epochs=1 + setting.epochs, patience=1 + setting.epochs, precision=setting.precision),
            on_epoch=lambda _epoch, _metrics: ends.append(time.perf_counter()),
            device=setting.device,
        )
    if result.status != "finished":
        raise RuntimeError(f"training ended as {result.status}: {result.error}")
    return setting.n * setting.epochs / (ends[-1] - ends[0])


def on_device(setting: Setting, train: Split, *, compiled: bool = False) -> float:
    """Samples per second of the plainest loop on batches that are on the device, as float, before the clock starts.

    compiled: through ``torch.compile``, which does its work in the first epoch, before the clock starts as well.
    """
    settings = override(Joint.Settings(), {"batch_size": setting.batch_size})
    with initialising("init", 0):
        model = Joint(settings, sources(train, setting.encoders), TASK).to(setting.device)
    some = slice(0, setting.batch_size)
    batch = {name: _as_float(x[some]).to(setting.device) for name, x in train.inputs.items()}
    target = train.target[some].to(setting.device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.lr, fused=True)
    call = torch.compile(model, dynamic=False) if compiled else model
    n_steps = -(-setting.n // setting.batch_size)
    kind = setting.device.split(":")[0]
    is_mixed = setting.precision == "bfloat16"
    for epoch in range(1 + setting.epochs):
        if epoch == 1:
            _wait(setting.device)
            started = time.perf_counter()
        for step in range(n_steps):
            size = min(setting.batch_size, setting.n - step * setting.batch_size)
            with torch.autocast(kind, torch.bfloat16) if is_mixed else nullcontext():
                loss = task_loss(TASK, call({name: x[:size] for name, x in batch.items()}).logits, target[:size])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
    _wait(setting.device)
    return setting.n * setting.epochs / (time.perf_counter() - started)


def _as_float(x: Tensor) -> Tensor:
    return x.clone() if x.is_floating_point() else x.float() / 255


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def compare(setting: Setting, *, rounds: int, compiled: bool = False) -> list[str]:
    """One line for each way of feeding ``fit``, or for the compiled loop: the median of its throughput over that of
    the plain loop, paired."""
    with mapped(setting) as (train, valid):
        ways = _ways(setting, train, valid, compiled=compiled)
        speeds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(rounds):
            plain = on_device(setting, train)
            for way, timed in ways.items():
                speeds[way].append((timed(), plain))
    lines = []
    for way, pairs in speeds.items():
        ratios = sorted(ours / plain for ours, plain in pairs)
        ours, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
        lines.append(
            f"{way} {ours:.1f} samples/s, tensors on the device {plain:.1f}, ratio "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f} in {rounds} rounds)"
        )
    return lines


def _ways(setting: Setting, train: Split, valid: Split, *, compiled: bool) -> dict[str, Callable[[], float]]:
    """What is held against the plain loop, by name: a measurement of samples per second."""
    if compiled:
        return {"torch.compile": partial(on_device, setting, train, compiled=True)}
    resident, streamed = (partial(through_fit, setting, train, valid, resident=there) for there in (True, False))
    if setting.device == "cpu":
        return {"from files: fit": resident}
    return {"streamed from files: fit": streamed, "as fit decides: fit": resident}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.media_speed", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--samples", type=int, help="by default 4000 on a GPU, 64 on a CPU")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2, help="that are timed; one more goes before")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true", help="time torch.compile instead, on the plain loop")
    options = parser.parse_args()
    setting = Setting(
        n=options.samples or (64 if options.device == "cpu" else 4000),
        batch_size=options.batch_size,
        epochs=options.epochs,
        precision=options.precision,
        device=options.device,
        video=(options.frames, 3, 224, 224),
        channels_last=options.channels_last,
    )
    what = f"{torch.get_num_threads()} threads" if setting.device == "cpu" else torch.cuda.get_device_name()
    print(f"{setting} ({what}), torch {torch.__version__}", flush=True)
    for line in compare(setting, rounds=options.rounds, compiled=options.compile):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
