"""Video as a few frames.

Processes that decode import this module: it holds nothing that takes long to import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ._download import DataError
from ._media import opened

if TYPE_CHECKING:
    from numpy import uint8
    from numpy.typing import NDArray
    from PIL.Image import Image

LEAST = 0.8  # share of what a container announces that must be there
SLACK = 0.5  # seconds that may be missing at any rate: the last packet may not say how long it lasts


def read_frames(path: Path, n_frames: int, size: int) -> NDArray[uint8]:
    """The frames in the middle of ``n_frames`` equal parts of a video: (n_frames, 3, size, size), RGB.

    The shorter side is scaled to ``size`` (bilinear, over all pixels that one covers), the middle of the longer one is
    kept. Of a video with fewer frames some come twice. Raises DataError where it has no frame or cannot be decoded.
    """
    import numpy as np
    from PIL import Image, ImageOps

    images, _ = chosen_frames(path, lambda n_there: middles(n_there, n_frames))
    squares = [ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(square).transpose(2, 0, 1) for square in squares])


def middles(n: int, n_parts: int) -> list[int]:
    """The numbers in the middle of equal parts of 0 .. n - 1. Of 9 and 3 parts: 1, 4 and 7."""
    return [(2 * part + 1) * n // (2 * n_parts) for part in range(n_parts)]


def chosen_frames(path: Path, choose: Callable[[int], Sequence[int]]) -> tuple[list[Image], int]:
    """The frames with the numbers that ``choose`` gives, in RGB, and how many frames there are, which it is told.

    Raises DataError where there is no frame, or the video cannot be decoded.
    """
    n_there = _n_packets(path)
    found, n_decoded = _decoded(path, choose(n_there))
    if n_decoded == 0:
        raise DataError(f"{path} is empty: there is no frame in it; get the file again, or leave the clip out")
    if n_decoded <= max(choose(n_there), default=0):  # some packets held no frame
        n_there = n_decoded
        found, _ = _decoded(path, choose(n_there))
    return [found[index] for index in choose(n_there)], n_there


def _n_packets(path: Path) -> int:
    """How many frames a video has, by its packets: what containers say of it is often wrong.

    Raises DataError where far less is there than the container says: the file has been cut off.
    """
    import av

    n_packets, end = 0, 0.0
    with opened(path) as container:
        if not container.streams.video:
            raise DataError(f"{path} has no picture: get the file again, or leave the clip out")
        video = container.streams.video[0]
        for packet in container.demux():
            n_packets += packet.stream is video and packet.size > 0
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        duration = (container.duration or 0) / av.time_base
    if n_packets < LEAST * video.frames:
        raise DataError(f"{path} is cut off: {n_packets} of {video.frames} frames are there; get the file again")
    if end < min(LEAST * duration, duration - SLACK):
        raise DataError(f"{path} is cut off: {end:.1f} of {duration:.1f} s are there; get the file again")
    return n_packets


def _decoded(path: Path, wanted: Sequence[int]) -> tuple[dict[int, Image], int]:
    """The wanted frames by their number, and how many were decoded to get them."""
    found: dict[int, Image] = {}
    n_decoded = 0
    with opened(path) as container:
        for frame in container.decode(video=0):
            if frame.is_corrupt:  # and so, for all that is known, are those after it
                raise DataError(f"{path} is damaged in frame {n_decoded}: get the file again, or leave the clip out")
            if n_decoded in wanted:
                found[n_decoded] = frame.to_image(threads=1)  # every core has a process; by itself it takes them all
            n_decoded += 1
            if n_decoded > max(wanted, default=0):
                break
    return found, n_decoded
