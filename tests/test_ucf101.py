"""UCF101: clips from videos and from extracted frames, on made trees; what can be wrong with one; all methods on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import registry
from benchmarks.errors import UserError
from benchmarks.methods import METHODS
from dmil.data import Splits
from tests.made_bench import bench_every_method
from tests.made_media import NO_AV
from tests.made_ucf101 import (
    ITEM,
    MAKEUP,
    N_FRAMES,
    PUSHUPS,
    SIZE,
    VIDEO,
    flow,
    grey,
    make_tree,
    write_avi,
    write_clip,
)

ucf101 = import_module("benchmarks.datasets.ucf101")
frames = import_module("benchmarks.datasets._ucf101_frames")
files = import_module("benchmarks.datasets._files")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One tree of each layout; tests that change one work on a copy."""
    layouts = {"jpegs_256": make_tree(tmp_path_factory.mktemp("ucf101_frames"), "jpegs_256")}
    if find_spec("av") is None:
        return layouts
    return layouts | {"UCF-101": make_tree(tmp_path_factory.mktemp("ucf101_videos"), "UCF-101")}


@pytest.fixture(params=["jpegs_256", "UCF-101"])
def root(request: pytest.FixtureRequest, made: dict[str, Path], own_cache: None) -> Path:
    if request.param not in made:
        pytest.skip(NO_AV)
    return made[request.param]


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ucf101", "ucf101"),
        ("ucf101-split1", "ucf101"),
        ("ucf101-split3", "ucf101-split3"),
        ("ucf101-3", "ucf101-3"),
        ("ucf101-3-split2", "ucf101-3-split2"),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert registry.canonical(name) == expected
    assert ucf101.variant(name).CARD.name == expected


@pytest.mark.parametrize("name", ["ucf101-2", "ucf101-split0", "ucf101-split4", "ucf101-split2-3", "ucf101x-3"])
def test_a_name_that_means_nothing_is_a_user_error(name: str) -> None:
    with pytest.raises(UserError, match="unknown dataset") as error:
        registry.canonical(name)
    assert "\n" not in str(error.value)


def check(splits: Splits, modalities: tuple[str, ...]) -> None:
    """What the made tree must come out as, whichever layout it has."""
    assert {part: len(split) for part, split in splits.parts().items()} == {"train": 4, "valid": 4, "test": 2}
    groups = [set(split.groups) for split in splits.parts().values()]
    assert len(set.union(*groups)) == sum(map(len, groups)) == 6
    assert groups[2] == {"ApplyEyeMakeup g01", "HandstandPushups g01"}
    assert splits.test.ids == ("v_ApplyEyeMakeup_g01_c01", "v_HandStandPushups_g01_c01")
    # of 9 pairs of frames those in the middle of the thirds are 1, 4 and 7; from frame to frame they get 12 brighter
    expected = {
        "rgb": [[grey(i)] * 3 for i in (1, 4, 7)],
        "flow": [[flow("u", i), flow("v", i)] for i in (1, 4, 7)],
        "difference": [[140] * 3] * 3,
    }
    for split in splits.parts().values():
        assert tuple(split.inputs) == modalities
        assert split.target.tolist() == [int("Hand" in name) for name in split.ids]
        for modality, x in split.inputs.items():
            wanted = torch.tensor(expected[modality])[None, :, :, None, None]
            assert x.dtype == torch.uint8
            assert x.shape == (len(split), *wanted.shape[1:3], frames.SIDE, frames.SIDE)
            assert (x[..., ::37, ::37].int() - wanted).abs().max() <= 6  # compression loses something


def test_a_tree_becomes_clips(root: Path) -> None:
    splits = registry.load_dataset("ucf101-3", root=root)
    check(splits, ("rgb", "flow", "difference"))
    assert splits.card.warning is not None
    assert "8 and 2 clips instead of 9,537 and 3,783" in splits.card.warning
    again = registry.load_dataset("ucf101-3", root=root / "nowhere")  # from the cache
    check(again, ("rgb", "flow", "difference"))
    assert again.checksum() == splits.checksum()


def test_two_modalities_and_what_is_listed(made: dict[str, Path], own_cache: None) -> None:
    root = made["jpegs_256"]
    assert str(registry.status("ucf101", root=root)) == "present, not prepared yet"
    check(registry.load_dataset("ucf101", root=root), ("rgb", "flow"))
    assert str(registry.status("ucf101", root=root)) == "prepared"
    missing = registry.status("ucf101-split2", root=root).missing
    assert missing == ("ucf101/ucfTrainTestlist/trainlist02.txt", "ucf101/ucfTrainTestlist/testlist02.txt")


def test_moments_by_hand() -> None:
    """Each with the frame after it; the moments are the middles of the thirds of all pairs."""
    assert frames._wanted(10) == [1, 2, 4, 5, 7, 8]
    assert frames._wanted(101) == [16, 17, 50, 51, 83, 84]
    assert frames._wanted(2) == [0, 1] * 3
    assert frames._wanted(1) == []


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def cut(share: float) -> Callable[[Path], None]:
    """Keeps the first part of a file; what else is linked to it stays whole."""

    def damage(path: Path) -> None:
        whole = path.read_bytes()
        path.unlink()
        path.write_bytes(whole[: int(share * len(whole))])

    return damage


TREE_FAULTS = [
    ("ucfTrainTestlist", "ucfTrainTestlist/classInd.txt is missing: unpack UCF101TrainTestSplits"),
    ("ucfTrainTestlist/testlist01.txt", "ucfTrainTestlist/testlist01.txt is missing: unpack UCF101TrainTestSplits"),
    ("jpegs_256", "UCF-101 is missing: unpack UCF101.rar"),
    ("tvl1_flow/v", "tvl1_flow/v is missing: unpack the optical flow of"),
    (f"jpegs_256/{MAKEUP}", f"jpegs_256/{MAKEUP} is missing, but a list in ucfTrainTestlist names it: unpack"),
    (f"tvl1_flow/u/{MAKEUP}", f"tvl1_flow/u/{MAKEUP} is missing, but a list in ucfTrainTestlist names it: unpack"),
]


@pytest.mark.parametrize(("path", "message"), TREE_FAULTS)
@pytest.mark.usefixtures("own_cache")
def test_what_is_missing_is_one_line_that_names_it(
    made: dict[str, Path], tmp_path: Path, path: str, message: str
) -> None:
    shutil.copytree(made["jpegs_256"], tmp_path / "raw", copy_function=os.link)
    remove(tmp_path / "raw" / "ucf101" / path)
    with pytest.raises(UserError) as error:
        registry.load_dataset("ucf101", root=tmp_path / "raw")
    assert f"dataset ucf101: {tmp_path / 'raw' / 'ucf101' / message}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("own_cache")
def test_a_damaged_picture_goes_through_the_door_as_one_line(made: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "raw"
    shutil.copytree(made["jpegs_256"], root, copy_function=os.link)
    path = root / "ucf101" / "tvl1_flow" / "v" / PUSHUPS / "frame000005.jpg"
    whole = path.read_bytes()
    cut(0.5)(path)
    with pytest.raises(UserError, match="is damaged or no picture") as error:
        registry.load_dataset("ucf101", root=root)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert str(registry.status("ucf101", root=root)) == "present, not prepared yet"
    path.write_bytes(whole)
    check(registry.load_dataset("ucf101", root=root), ("rgb", "flow"))


CLIP_FAULTS: list[tuple[str, str, Callable[[Path], Any], str]] = [
    ("jpegs_256", f"jpegs_256/{PUSHUPS}/frame000003.jpg", remove, "is missing, but there are later ones"),
    ("jpegs_256", f"jpegs_256/{PUSHUPS}/frame000006.jpg", cut(0.5), "is damaged or no picture"),
    ("jpegs_256", f"jpegs_256/{PUSHUPS}/frame000006.jpg", lambda path: path.write_bytes(b""), "is empty"),
    ("UCF-101", VIDEO, remove, "cannot be decoded \\(No such file"),
    ("UCF-101", VIDEO, cut(0.1), "cannot be decoded|is empty"),
    ("UCF-101", VIDEO, cut(0.7), "cannot be decoded|holds 9 frames, but"),
    ("UCF-101", VIDEO, lambda path: path.write_bytes(b""), "is empty"),
    ("UCF-101", VIDEO, lambda path: path.write_bytes(bytes(range(256)) * 40), "cannot be decoded"),
    ("UCF-101", VIDEO, lambda path: write_avi(path, [40]), "has fewer than two frames"),
]


@pytest.mark.parametrize(("pictures", "path", "damage", "message"), CLIP_FAULTS)
def test_a_damaged_clip_is_one_line_that_names_the_file(
    tmp_path: Path, pictures: str, path: str, damage: Callable[[Path], Any], message: str
) -> None:
    if pictures == "UCF-101":
        pytest.importorskip("av", reason=NO_AV)
    write_clip(tmp_path, pictures, *ITEM)
    damage(tmp_path / path)
    with pytest.raises(files.DataError, match=message) as error:
        frames.read_clip(tmp_path, pictures, ("rgb", "flow"), ITEM)
    assert str(tmp_path / path) in str(error.value)
    assert "\n" not in str(error.value)


def test_pictures_and_flow_of_different_length_are_not_of_one_clip(tmp_path: Path) -> None:
    write_clip(tmp_path, "jpegs_256", *ITEM)
    u, v = (tmp_path / "tvl1_flow" / axis / PUSHUPS for axis in "uv")
    last = f"frame{N_FRAMES - 1:06d}.jpg"
    (v / last).unlink()
    with pytest.raises(files.DataError, match=f"^{v} holds 8 frames, but {u} holds 9: unpack"):
        frames.read_clip(tmp_path, "jpegs_256", ("rgb", "flow"), ITEM)
    (u / last).unlink()  # decoders may lose one
    assert set(frames.read_clip(tmp_path, "jpegs_256", ("rgb", "flow"), ITEM)) == {"rgb", "flow"}
    for i in range(7, N_FRAMES - 1):
        (u / f"frame{i:06d}.jpg").unlink()
        (v / f"frame{i:06d}.jpg").unlink()
    with pytest.raises(files.DataError, match=f"^{u} holds 6 frames, but .*jpegs_256/{PUSHUPS} has 10: unpack"):
        frames.read_clip(tmp_path, "jpegs_256", ("rgb", "flow"), ITEM)
    shutil.rmtree(v)
    v.mkdir()
    with pytest.raises(files.DataError, match=f"^{v} holds no frame, such as frame000001.jpg"):
        frames.read_clip(tmp_path, "jpegs_256", ("rgb", "flow"), ITEM)


def test_the_difference_is_that_of_pixels_and_stays_within_8_bits(tmp_path: Path) -> None:
    from PIL import Image

    write_clip(tmp_path, "jpegs_256", *ITEM)
    for i, level in ((2, 250), (3, 20), (5, 20), (6, 250), (8, 90), (9, 60)):  # the three pairs, files counted from 1
        Image.new("RGB", SIZE, (level,) * 3).save(tmp_path / "jpegs_256" / PUSHUPS / f"frame{i:06d}.jpg", quality=95)
    found = frames.read_clip(tmp_path, "jpegs_256", ("rgb", "flow", "difference"), ITEM)["difference"]
    assert found[:, 0, 0, 0].tolist() == [0, 255, pytest.approx(128 - 30, abs=2)]


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_every_method_runs_on_three_modalities(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "UCF-101" not in made:
        pytest.skip(NO_AV)
    entry = "{encoders: {rgb: cnn, flow: cnn, difference: cnn}, settings: {all: {width: 8, batch_size: 4}}}"
    ran = bench_every_method("ucf101-3", entry, data=made["UCF-101"], folder=tmp_path, monkeypatch=monkeypatch)
    assert ran == set(METHODS) - {"factorcl"}  # takes two modalities


@pytest.mark.usefixtures("own_cache")
def test_arrays_that_another_make_has_replaced_are_not_taken(made: dict[str, Path], tmp_path: Path) -> None:
    splits = registry.load_dataset("ucf101", root=made["jpegs_256"])
    (folder,) = (tmp_path / "cache" / "ucf101").glob("*/test")
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("valid"), folder)
    again = registry.load_dataset("ucf101", root=made["jpegs_256"])
    check(again, ("rgb", "flow"))
    assert again.checksum() == splits.checksum()
