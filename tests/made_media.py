"""Real media, made here: sounds, videos, and trees of them in the layout of published datasets.

Also what spawned processes call in the tests of parallel preparation, so nothing heavy is imported at the top.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

NO_AV = "av is not installed: make setup"
RATE = 16000


def tone(hertz: float, *, seconds: float = 1.0, rate: int = RATE, loudness: float = 0.5) -> Any:
    """(n,) float64"""
    import numpy as np

    return loudness * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write_wave(path: Path, sound: Any, rate: int = RATE) -> None:
    """16 bits; sound (n,) or (n, channels) in [-1, 1]."""
    import numpy as np
    from scipy.io import wavfile

    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, np.round(sound * (2**15 - 1)).astype(np.int16))


def write_video(path: Path, images: Sequence[Any], *, codec: str, sound: Any = None) -> None:
    """images: uint8 (H, W, 3) each, 25 a second; sound (n,) at ``RATE``, as AAC."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(codec, rate=25)
        video.height, video.width = images[0].shape[:2]
        video.pix_fmt, video.bit_rate = "yuv420p", 4_000_000
        audio: Any = None if sound is None else container.add_stream("aac", rate=RATE, layout="mono")
        packets = [p for image in images for p in video.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))]
        packets += video.encode(None)
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(sound[None].astype("float32"), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            packets += [*audio.encode(frame), *audio.encode(None)]
        for packet in packets:
            container.mux(packet)


def grey(levels: Sequence[int], height: int = 48, width: int = 64) -> list[Any]:
    """One plain image per level."""
    import numpy as np

    return [np.full((height, width, 3), level, np.uint8) for level in levels]


EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")


def cremad_tree(root: Path, *, n_actors: int = 2, n_clips: int = 1) -> list[str]:
    """CREMA-D in its raw layout: of ``n_actors`` of each split ``n_clips`` of each emotion, which hums and shines."""
    actors = import_module("benchmarks.datasets.cremad").split_actors()
    sentences = ("DFA", "IEO", "IOM", "ITH")[:n_clips]
    names = [
        f"{actor}_{sentence}_{emotion}_XX"
        for part in ("train", "valid", "test")
        for actor in sorted(actors[part])[:n_actors]
        for sentence in sentences
        for emotion in EMOTIONS
    ]
    for name in names:
        k = EMOTIONS.index(name.split("_")[2])
        write_wave(root / "cremad" / "AudioWAV" / f"{name}.wav", tone(300 * (k + 1), seconds=0.2))
        images = grey([20 + 40 * k] * 5)
        write_video(root / "cremad" / "VideoFlash" / f"{name}.flv", images, codec="flv1")
    return sorted(names)


def kinetics_sounds_tree(root: Path, classes: Sequence[str], *, n_clips: int = 1) -> list[Path]:
    """Kinetics-Sounds on disk: ``n_clips`` of each class in each part. Class k hums and shines."""
    paths = []
    for p, part in enumerate(("train", "val", "test")):
        for k, name in enumerate(classes):
            for i in range(n_clips):
                path = root / "kinetics_sounds" / part / name / f"{p}{k:02d}-{i:02d}_abcd_000010_000020.mp4"
                images = grey([20 + 200 * k // len(classes)] * 5)
                write_video(path, images, codec="mpeg4", sound=tone(200 + 100 * k, seconds=0.2))
                paths.append(path)
    return paths


def write_numbers(folder: Path, n: int) -> list[str]:
    """Files with a number each, for ``read_number``; their names."""
    folder.mkdir()
    names = [f"{i}.txt" for i in range(n)]
    for i, name in enumerate(names):
        (folder / name).write_text(str(i))
    return names


def read_number(log: Path, item: str) -> dict[str, Any]:
    """The number in a file beside ``log``, which gets a line with its name. Raises DataError where there is none."""
    import numpy as np

    with log.open("a") as file:
        file.write(f"{item}\n")
    text = (log.parent / item).read_text()
    if text == "die":
        os._exit(9)
    if not text.isdigit():
        raise import_module("benchmarks.datasets._download").DataError(f"{log.parent / item} holds {text!r}")
    number = int(text)
    return {"x": np.full((2, 3), number, np.float32), "y": np.array([number % 256], np.uint8)}


def read_number_slowly(log: Path, item: str) -> dict[str, Any]:
    time.sleep(0.05)
    return read_number(log, item)


def process_id(task: int) -> int:
    time.sleep(0.05)
    return os.getpid()
