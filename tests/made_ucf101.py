"""UCF101 in its two raw layouts: every frame and every flow is one plain grey, so that what comes out is known."""

from __future__ import annotations

from pathlib import Path

from tests.made_media import grey as images
from tests.made_media import write_video

CLASSES = ("ApplyEyeMakeup", "HandstandPushups")
SPELT = {"HandstandPushups": "HandStandPushups"}  # as its videos, not its folders, are spelt
CLIPS = {"trainlist01.txt": ("g08_c01", "g08_c02", "g09_c01", "g09_c02"), "testlist01.txt": ("g01_c01",)}
N_FRAMES = 10
SIZE = (48, 32)
MAKEUP, PUSHUPS = "v_ApplyEyeMakeup_g08_c01", "v_HandstandPushups_g09_c02"
ITEM = ("HandstandPushups", "v_HandStandPushups_g09_c02")
VIDEO = "UCF-101/HandstandPushups/v_HandStandPushups_g09_c02.avi"


def grey(i: int) -> int:
    """Of frame ``i``, which is all of it."""
    return 40 + 12 * i


def flow(axis: str, i: int) -> int:
    return {"u": 100, "v": 160}[axis] + 5 * i


def write_lists(folder: Path) -> list[tuple[str, str]]:
    """As they are published, labels in the training list alone. Returns class and name of every clip."""
    folder.mkdir(parents=True)
    (folder / "classInd.txt").write_text("".join(f"{i} {name}\r\n" for i, name in enumerate(CLASSES, start=1)))
    found = []
    for name, clips in CLIPS.items():
        lines = []
        for label, action in enumerate(CLASSES, start=1):
            names = [f"v_{SPELT.get(action, action)}_{clip}" for clip in clips]
            found += [(action, one) for one in names]
            lines += [f"{action}/{one}.avi" + f" {label}" * name.startswith("train") for one in names]
        (folder / name).write_text("\r\n".join(lines) + "\r\n")
    return found


def write_frames(folder: Path, levels: list[int], *, mode: str) -> None:
    from PIL import Image

    folder.mkdir(parents=True)
    for i, level in enumerate(levels, start=1):
        colour = level if mode == "L" else (level, level, level)
        Image.new(mode, SIZE, colour).save(folder / f"frame{i:06d}.jpg", quality=95)


def write_avi(path: Path, levels: list[int]) -> None:
    write_video(path, images(levels, *SIZE[::-1]), codec="mpeg4")


def write_clip(raw: Path, pictures: str, action: str, name: str) -> None:
    """Frames and flow lie in folders that are spelt like the class."""
    respelt = name.replace(SPELT.get(action, action), action)
    for axis in "uv":
        levels = [flow(axis, i) for i in range(N_FRAMES - 1)]
        write_frames(raw / "tvl1_flow" / axis / respelt, levels, mode="L")
    (raw / "tvl1_flow" / "u" / f"{respelt}.bin").write_bytes(b"range")  # as published
    levels = [grey(i) for i in range(N_FRAMES)]
    if pictures == "UCF-101":
        write_avi(raw / "UCF-101" / action / f"{name}.avi", levels)
    else:
        write_frames(raw / "jpegs_256" / respelt, levels, mode="RGB")


def make_tree(root: Path, pictures: str) -> Path:
    """All that users have on disk below ``root / ucf101``."""
    raw = root / "ucf101"
    for action, name in write_lists(raw / "ucfTrainTestlist"):
        write_clip(raw, pictures, action, name)
    return root
