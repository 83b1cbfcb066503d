"""Videos that are cut off, overwritten or odd: what FFmpeg would make the best of in silence is one line here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.made_media import NO_AV, write_video

av = pytest.importorskip("av", reason=NO_AV)
video = import_module("benchmarks.datasets._video")
files = import_module("benchmarks.datasets._files")

CODECS = {"flv": "flv1", "avi": "mpeg4"}
N_FRAMES = 40


@pytest.fixture(params=CODECS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A ramp that brightens, 1.6 s of it."""
    import numpy as np

    ramp = np.add.outer(np.arange(96), np.arange(128))[..., None]
    images = [np.clip(ramp // 2 + np.array([3 * i, 0, 10]), 0, 255).astype(np.uint8) for i in range(N_FRAMES)]
    write_video(tmp_path / f"a.{request.param}", images, codec=CODECS[request.param])
    return tmp_path / f"a.{request.param}"


def says(path: Path, message: str) -> None:
    with pytest.raises(files.DataError, match=message) as error:
        video.read_frames(path, 3, 32)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_whole_video_is_read(path: Path) -> None:
    images, n_frames = video.chosen_frames(path, lambda n: range(0, n, 10))
    assert (len(images), n_frames) == (4, N_FRAMES)
    reds = [image.getpixel((0, 0))[0] for image in images]
    assert reds == pytest.approx([0, 30, 60, 90], abs=12)


def test_a_video_that_is_cut_off_is_one_line(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    says(path, r"is cut off: [0-9.]+ of (40 frames|1\.6 s) are there")


def test_a_video_that_is_overwritten_in_the_middle_is_one_line(path: Path) -> None:
    """Frames after a damaged one are made from it, so none of them is to be had."""
    data = path.read_bytes()
    middle = len(data) * 6 // 10
    path.write_bytes(data[:middle] + bytes(i * i % 251 for i in range(300)) + data[middle + 300 :])
    says(path, r"is damaged in frame [0-9]+|is cut off")


def test_a_title_in_another_encoding_does_no_harm(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "MARKER"
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    assert b"MARKER" in data
    path.write_bytes(data.replace(b"MARKER", b"caf\xe9s\xff"))
    assert video.read_frames(path, 3, 32).mean() == pytest.approx(90, abs=4)


def test_a_codec_that_nobody_knows_is_one_line(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "a.avi"
    write_video(path, [np.full((48, 64, 3), 90, np.uint8)] * 5, codec="mpeg4")
    data = path.read_bytes()
    assert b"FMP4" in data
    path.write_bytes(data.replace(b"FMP4", b"Q?Q?"))
    says(path, "has video that no decoder is there for|cannot be decoded")
