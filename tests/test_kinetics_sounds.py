"""Kinetics-Sounds from a small tree in the layout of its users."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks import registry
from benchmarks.errors import UserError
from benchmarks.methods import METHODS
from tests.made_bench import bench_every_method
from tests.made_media import NO_AV, grey, kinetics_sounds_tree, tone, write_video

pytest.importorskip("av", reason=NO_AV)

clips = import_module("benchmarks.datasets._clips")
kinetics_sounds = import_module("benchmarks.datasets.kinetics_sounds")

CLASSES = ("playing drums", "tap dancing")
LISTED = "kinetics_sounds-listed"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data root: one clip of two classes in each part, and the list of the two."""
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))
    kinetics_sounds_tree(tmp_path / "data", CLASSES)
    (tmp_path / "data" / "kinetics_sounds" / "classes.txt").write_text("tap_dancing\n\nplaying drums\n")
    return tmp_path / "data"


def test_the_usual_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(clips, "MIN_SHARE", 100)  # 31 clips are faster than the start of a process
    assert len(set(kinetics_sounds.CLASSES)) == 31
    kinetics_sounds_tree(tmp_path, kinetics_sounds.CLASSES)
    splits = registry.load_dataset("kinetics_sounds", root=tmp_path)
    assert splits.task.class_names == kinetics_sounds.CLASSES
    for split in splits.parts().values():
        assert split.target.tolist() == list(range(31))
        assert len(set(split.groups)) == 31
        assert split.inputs["audio"].shape == (31, 1, 128, 1024)
        assert split.inputs["video"].shape == (31, 3, 3, 224, 224)
    brightness = splits.test.inputs["video"].float().mean((1, 2, 3, 4))
    torch.testing.assert_close(brightness, 20.0 + 200 * torch.arange(31) // 31, atol=4, rtol=0)
    energies = splits.test.inputs["audio"][:, 0, :, 4:12].mean(-1)
    assert (energies.argmax(-1).diff() >= 0).all()  # class k hums at 200 + 100 k Hz


def test_listed_classes_keep_the_order_of_their_list(tree: Path) -> None:
    splits = registry.load_dataset(LISTED, root=tree)
    assert splits.task.class_names == ("tap dancing", "playing drums")
    assert splits.train.ids == (
        "train/playing drums/000-00_abcd_000010_000020.mp4",
        "train/tap dancing/001-00_abcd_000010_000020.mp4",
    )
    assert splits.train.target.tolist() == [1, 0]
    assert splits.train.groups == ("video 000-00_abcd", "video 001-00_abcd")


def first(root: Path, part: str = "train") -> Path:
    return sorted((root / "kinetics_sounds" / part).glob("*/*.mp4"))[0]


def fails(root: Path, message: str, path: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        registry.load_dataset("kinetics_sounds-listed", root=root)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_class_is_named(tree: Path) -> None:
    path = tree / "kinetics_sounds" / "val" / "yodelling"
    path.mkdir()
    fails(tree, "is none of the 2 classes of this dataset: tap dancing, playing drums", path)


def test_a_file_of_another_name_is_named(tree: Path) -> None:
    path = first(tree).with_name("drums.mp4")
    first(tree).rename(path)
    fails(tree, "has an unexpected name: put the clips", path)


def test_a_video_in_two_parts_is_named(tree: Path) -> None:
    path = first(tree, "test").with_name("000-00_abcd_000040_000050.mp4")
    shutil.copyfile(first(tree), path)
    fails(tree, "is of the same video as", path)
    fails(tree, "is of the same video as", first(tree))


def test_a_clip_without_sound_a_damaged_and_an_empty_one_are_named(tree: Path) -> None:
    path = first(tree)
    good = path.read_bytes()
    write_video(path, grey([50] * 5), codec="mpeg4")
    fails(tree, "has no sound", path)
    path.write_bytes(good[: len(good) // 2])
    fails(tree, "cannot be decoded", path)
    path.write_bytes(b"")
    fails(tree, "is empty", path)
    path.write_bytes(good)
    assert len(registry.load_dataset(LISTED, root=tree).train) == 2


def test_what_is_missing_is_advice(tree: Path) -> None:
    (tree / "kinetics_sounds" / "train" / "tap dancing").rename(tree / "elsewhere")
    fails(tree, "has no clip of tap dancing: put the clips", tree / "kinetics_sounds" / "train")
    shutil.rmtree(tree / "kinetics_sounds" / "val" / "playing drums")
    shutil.rmtree(tree / "kinetics_sounds" / "val" / "tap dancing")
    fails(tree, "holds no clip", tree / "kinetics_sounds" / "val")
    (tree / "kinetics_sounds" / "val").rmdir()
    fails(tree, "is missing: put the clips of Kinetics-400", tree / "kinetics_sounds" / "val")
    (tree / "kinetics_sounds" / "classes.txt").write_text("tap dancing\ntap_dancing\n")
    (tree / "kinetics_sounds" / "val").mkdir()
    fails(tree, "must name two classes at least, each once", tree / "kinetics_sounds" / "classes.txt")


def test_a_clip_of_the_length_in_print() -> None:
    """10 s are 998 frames of 25 ms every 10 ms; the 26 others are filled."""
    audio = import_module("benchmarks.datasets._audio")
    found = audio.log_filterbank(tone(500, seconds=10))[0]
    filled = (found == found[0, -1]).all(0)
    assert filled.nonzero()[0].tolist() == list(range(998, 1024))


def test_a_name_that_means_nothing_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"write kinetics_sounds\[-listed\]"):
        registry.canonical("kinetics_sounds-34")


@pytest.mark.slow
def test_every_method_trains_on_it(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = "{encoders: {audio: cnn, video: cnn}, settings: {all: {width: 8, batch_size: 2}}}"
    assert bench_every_method(LISTED, entry, data=tree, folder=tmp_path, monkeypatch=monkeypatch) == set(METHODS)
