"""`python -m benchmarks.prepare_speed`: what parallel preparation of media is worth, and what reading it back is.

Clips of one second in the layout of CREMA-D are made, prepared by one process and by one per core, killed on the way
and continued, and read again from the cache. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

from benchmarks.parallel import n_cores

ACTORS = range(1001, 1092)
SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")
EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
RATE, N_FRAMES, HEIGHT, WIDTH = 16000, 25, 360, 480
N_DISTINCT = 8  # videos that are really made; the others are copies of them
BATCH = 64
MIN_EFFICIENCY, MIN_READING = 0.8, 10.0
MAX_REST = 0.9  # of the time of a whole run, that a run killed half way may still take
IMPORTS = 3.0  # seconds, about, before a process starts to prepare


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the measurements; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prepare_speed", description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(prepared()))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        make_clips(Path(folder) / "cremad", options.clips)
        found = measure(Path(folder), options.clips)
    for text, is_met in found:
        print(f"{'ok   ' if is_met else 'SLOW '} {text}", flush=True)
    return 0 if all(is_met for _, is_met in found) else 1


def make_clips(folder: Path, n_clips: int) -> None:
    """WAV and FLV files of noise that moves, which compresses as badly as a recording."""
    import numpy as np
    from scipy.io import wavfile

    rng = np.random.default_rng(0)
    videos = [_video(rng) for _ in range(N_DISTINCT)]
    for name in ("AudioWAV", "VideoFlash"):
        (folder / name).mkdir(parents=True)
    names = product(SENTENCES, EMOTIONS, ACTORS)
    for i, (sentence, emotion, actor) in enumerate(islice(names, n_clips)):
        stem = f"{actor}_{sentence}_{emotion}_XX"
        sound = (rng.standard_normal(RATE) * 3000).astype(np.int16)
        wavfile.write(folder / "AudioWAV" / f"{stem}.wav", RATE, sound)
        (folder / "VideoFlash" / f"{stem}.flv").write_bytes(videos[i % N_DISTINCT])


def _video(rng: Any) -> bytes:
    """One second of a picture that slides."""
    import av
    import numpy as np

    coarse = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    image = coarse.repeat(8, axis=0).repeat(8, axis=1)
    file = io.BytesIO()
    with av.open(file, "w", format="flv") as container:
        stream = container.add_stream("flv1", rate=N_FRAMES)
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = HEIGHT, WIDTH, "yuv420p", 1_000_000
        for i in range(N_FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(image, 2 * i, axis=1), format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def measure(root: Path, n_clips: int) -> list[tuple[str, bool]]:
    """What was found, and whether it meets its bar."""
    n = n_cores()
    one, every = finished(start(root, "one", n_processes=1)), finished(start(root, "every", n_processes=n))
    efficiency = one["seconds"] / (n * every["seconds"])
    process = start(root, "killed", n_processes=n)
    time.sleep(IMPORTS + every["seconds"] / 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rest = finished(start(root, "killed", n_processes=n))
    decoding = one["seconds"] / n_clips
    times = decoding / every["reading"]
    return [
        (
            f"{n_clips} clips: {one['seconds']:.1f} s in one process, {every['seconds']:.1f} s in {n}, efficiency "
            f"{efficiency:.2f} (at least {MIN_EFFICIENCY})",
            efficiency >= MIN_EFFICIENCY,
        ),
        (
            f"killed about half way, the rest took {rest['seconds']:.1f} s; the result is that of an undisturbed run",
            one["digest"] == every["digest"] == rest["digest"] and rest["seconds"] < MAX_REST * every["seconds"],
        ),
        (
            f"a clip takes {1e3 * decoding:.2f} ms to decode and {1e3 * every['reading']:.3f} ms to read from the "
            f"cache: {times:.0f} times less (at least {MIN_READING:.0f})",
            times >= MIN_READING,
        ),
    ]


def start(root: Path, cache: str, *, n_processes: int) -> subprocess.Popen[str]:
    """A process that prepares the clips into a cache, confined to so many cores."""
    cores = sorted(os.sched_getaffinity(0))[:n_processes]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.prepare_speed", "--child"],
        env=os.environ | {"DMIL_DATA": str(root), "DMIL_CACHE": str(root / cache), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        stdout=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a process of ``start`` found out. Raises RuntimeError where it failed."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"preparing ended with status {process.returncode}")
    found: dict[str, Any] = json.loads(output)
    return found


def prepared() -> dict[str, Any]:
    """Seconds that preparing takes and those that a clip takes to be read in a shuffled batch; and the checksum."""
    import torch

    from benchmarks.registry import load_dataset

    started = time.perf_counter()
    splits = load_dataset("cremad")
    seconds = time.perf_counter() - started
    train = load_dataset("cremad").train
    started = time.perf_counter()
    for index in torch.randperm(len(train)).split(BATCH):
        train.take(index)
    reading = (time.perf_counter() - started) / len(train)
    return {"seconds": seconds, "reading": reading, "digest": splits.checksum()}


if __name__ == "__main__":
    sys.exit(main())
