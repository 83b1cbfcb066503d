"""CREMA-D from a small tree in its raw layout: both splits, what the samples hold, and every way to be wrong."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import registry
from benchmarks.errors import UserError
from benchmarks.methods import METHODS
from tests.made_checkout import Checkout
from tests.made_media import EMOTIONS, NO_AV, cremad_tree, grey, tone, write_video, write_wave

pytest.importorskip("av", reason=NO_AV)

cremad = import_module("benchmarks.datasets.cremad")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data root: one actor of each split with a clip of each emotion."""
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))
    cremad_tree(tmp_path / "data", n_actors=1)
    return tmp_path / "data"


def write_lists(root: Path, names: list[str], *, n_test: int) -> None:
    for part, chosen in (("train", names[n_test:]), ("test", names[:n_test])):
        lines = "".join(f"{name},{name.split('_')[2]}\n" for name in chosen)
        (root / "cremad" / f"{part}.csv").write_text(lines, encoding="utf-8-sig")


def test_actors_are_kept_apart_and_samples_are_what_their_names_say(tree: Path) -> None:
    splits = registry.load_dataset("cremad", root=tree)
    groups = [set(split.groups) for split in splits.parts().values()]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3
    assert splits.task.class_names == ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
    for split in splits.parts().values():
        assert split.target.tolist() == [0, 1, 2, 3, 4, 5]
        assert [name.split("_")[2] for name in split.ids] == list(EMOTIONS)
        sound, video = split.inputs["audio"], split.inputs["video"]
        assert (sound.shape, sound.dtype) == ((6, 1, 257, 188), torch.float32)
        assert (video.shape, video.dtype) == ((6, 3, 3, 224, 224), torch.uint8)
        # emotion k hums at 300 (k + 1) Hz and is as bright as 20 + 40 k
        pitch = sound[:, 0, :, 10:20].mean(-1).argmax(-1) * 22050 / 512
        torch.testing.assert_close(pitch, 300.0 * torch.arange(1, 7), atol=25, rtol=0)
        torch.testing.assert_close(video.float().mean((1, 2, 3, 4)), 20.0 + 40 * torch.arange(6), atol=4, rtol=0)
    assert splits.card.warning == "Made from 18 clips instead of 7,442: compare with no other result."


def test_the_actors_of_a_split_are_always_the_same(tree: Path) -> None:
    actors = cremad.split_actors()
    assert [len(chosen) for chosen in actors.values()] == [63, 14, 14]
    assert set.union(*actors.values()) == {str(number) for number in range(1001, 1092)}
    parts = cremad.parts_by_actor([f"{actor}_DFA_ANG_XX" for actor in sorted(set.union(*actors.values()))])
    assert {part: {name[:4] for name in names} for part, names in parts.items()} == actors


def test_the_common_split_says_that_it_leaks(tree: Path) -> None:
    names = cremad_tree(tree, n_actors=1, n_clips=2)
    write_lists(tree, names, n_test=12)
    splits = registry.load_dataset("cremad-common", root=tree)
    assert sorted(splits.test.ids) == sorted(names[:12])
    assert sorted(splits.train.ids + splits.valid.ids) == sorted(names[12:])
    assert sorted(splits.valid.target.tolist()) == [0, 1, 2, 3, 4, 5]  # a tenth of four, but one at least
    assert splits.card.warning is not None
    assert splits.card.warning.startswith("Every actor is in training, validation and test")
    assert splits.card.traps[0] in splits.card.warning
    assert registry.load_dataset("cremad-common", root=tree).checksum() == splits.checksum()


def test_frames_are_a_setting_of_the_name(tree: Path) -> None:
    splits = registry.load_dataset("cremad-f1", root=tree)
    assert splits.train.inputs["video"].shape == (6, 1, 3, 224, 224)
    assert "(1, 3, 224, 224)" in splits.card.modalities["video"]
    assert registry.canonical("cremad-f3") == "cremad"
    assert registry.canonical("cremad-common-f5") == "cremad-common-f5"


@pytest.mark.parametrize("name", ["cremad-f0", "cremad-f17", "cremad-f", "cremad-comon", "cremad-f2-common"])
def test_a_name_that_means_nothing_is_a_user_error(name: str) -> None:
    with pytest.raises(UserError, match=r"unknown dataset .*(write cremad\[-common\]|are too many)"):
        registry.canonical(name)


def rename(root: Path, folder: str, old: str, new: str) -> Path:
    path = root / "cremad" / folder
    (path / old).rename(path / new)
    return path / new


@pytest.mark.parametrize("name", ["cremad", "cremad-common"])
def test_missing_files_are_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"AudioWAV is missing: clone .*CREMA-D with Git LFS"):
        registry.load_dataset(name, root=tmp_path)
    assert registry.status(name, root=tmp_path).missing[:2] == ("cremad/AudioWAV", "cremad/VideoFlash")


def test_the_common_split_needs_its_lists(tree: Path) -> None:
    with pytest.raises(UserError, match=r"cremad/train\.csv is missing: cremad-common takes train\.csv and test\.csv"):
        registry.load_dataset("cremad-common", root=tree)


Damage = Callable[[Path, str], Path]
FAULTS: dict[str, tuple[Damage, str]] = {
    "emotion": (
        lambda root, name: rename(root, "AudioWAV", f"{name}.wav", f"{name.replace('ANG', 'JOY')}.wav"),
        "has the unknown emotion 'JOY'; known: ANG, DIS, FEA, HAP, NEU, SAD",
    ),
    "actor": (
        lambda root, name: rename(root, "VideoFlash", f"{name}.flv", f"2{name[1:]}.flv"),
        "has an unexpected name: 1001_DFA_ANG_XX.flv is expected",
    ),
    "suffix": (
        lambda root, name: rename(root, "VideoFlash", f"{name}.flv", f"{name}.mp4"),
        "has an unexpected name",
    ),
    "partner": (
        lambda root, name: removed(root / "cremad" / "VideoFlash" / f"{name}.flv"),
        "is missing, but its partner is there",
    ),
    "video": (
        lambda root, name: overwritten(root / "cremad" / "VideoFlash" / f"{name}.flv", b"FLV\1" + b"\0" * 500),
        "cannot be decoded|is empty",
    ),
    "pointer": (
        lambda root, name: overwritten(root / "cremad" / "VideoFlash" / f"{name}.flv", b"version https://git-lfs"),
        "run `git lfs pull`",
    ),
    "empty": (lambda root, name: silenced(root / "cremad" / "AudioWAV" / f"{name}.wav"), "there is no sound in it"),
}


def removed(path: Path) -> Path:
    path.unlink()
    return path


def overwritten(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def silenced(path: Path) -> Path:
    write_wave(path, tone(1, seconds=0))
    return path


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_names_the_file(tree: Path, fault: str) -> None:
    damage, message = FAULTS[fault]
    name = cremad.read_clips(tree)[0]
    path = damage(tree, name)
    with pytest.raises(UserError, match=message) as error:
        registry.load_dataset("cremad", root=tree)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_done_is_kept_when_a_video_is_damaged(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(name for name in cremad.read_clips(tree) if name[:4] in cremad.split_actors()["train"])
    path = tree / "cremad" / "VideoFlash" / f"{name}.flv"
    good = path.read_bytes()
    path.write_bytes(good[:20])
    with pytest.raises(UserError, match="cannot be decoded"):
        registry.load_dataset("cremad", root=tree)
    path.write_bytes(good)
    decoded, original = [], cremad.read_frames

    def noted(path: Path, n_frames: int, size: int) -> Any:
        decoded.append(path.stem)
        return original(path, n_frames, size)

    monkeypatch.setattr(cremad, "read_frames", noted)
    splits = registry.load_dataset("cremad", root=tree)
    assert decoded == [name, *splits.valid.ids, *splits.test.ids]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", r"train\.csv is empty"),
        ("{0},ANG\n{0},ANG\n", r"train\.csv names a clip twice"),
        ("{0},JOY\n", r"train\.csv row 1 is '.*,JOY', not a clip and one of ANG, DIS"),
        ("{0}\n", r"train\.csv row 1 is"),
        ("{0},SAD\n", r"train\.csv row 1 says SAD, but the name of clip"),
        ("1091_WSI_ANG_XX,ANG\n", r"train\.csv row 1 names 1091_WSI_ANG_XX, of which there is no WAV and FLV"),
        ("{0},ANG\n", r"train\.csv needs two clips of each emotion"),
        ("{1},DIS\n", r"test\.csv names .*, which .*train\.csv names as well"),
    ],
)
def test_a_faulty_list_is_one_line(tree: Path, lines: str, message: str) -> None:
    names = cremad.read_clips(tree)
    write_lists(tree, names, n_test=6)
    anger = next(name for name in names[6:] if "ANG" in name)
    disgust = next(name for name in names[:6] if "DIS" in name)
    (tree / "cremad" / "train.csv").write_text(lines.format(anger, disgust))
    with pytest.raises(UserError, match=message) as error:
        registry.load_dataset("cremad-common", root=tree)
    assert "\n" not in str(error.value)


def test_too_few_actors_for_three_parts(tree: Path) -> None:
    for actor in cremad.split_actors()["test"]:
        for path in (tree / "cremad").glob(f"*/{actor}_*"):
            path.unlink()
    with pytest.raises(UserError, match="there is no clip of any actor of the test split"):
        registry.load_dataset("cremad", root=tree)


def test_a_wide_video_of_one_frame_is_enough(tree: Path) -> None:
    name = cremad.read_clips(tree)[0]
    write_video(tree / "cremad" / "VideoFlash" / f"{name}.flv", grey([90], 48, 160), codec="flv1")
    assert len(registry.load_dataset("cremad", root=tree).train) == 6


SMALL = f"""
base: leaderboard
methods: [{", ".join(METHODS)}]
datasets:
  cremad:
    encoders: {{audio: cnn, video: cnn}}
    settings: {{all: {{width: 8, batch_size: 6}}}}
"""


@pytest.mark.slow
def test_every_method_trains_on_it(tmp_path: Path, root: Path) -> None:
    """Two epochs of every method, from the raw files, as a user would; with small networks."""
    checkout = Checkout(root, tmp_path / "checkout")
    (checkout.folder / "benchmarks" / "suites" / "small.yaml").write_text(SMALL)
    cremad_tree(tmp_path / "data", n_actors=1, n_clips=1)
    checkout.environment |= {"DMIL_DATA": str(tmp_path / "data"), "DMIL_CACHE": str(tmp_path / "cache")}
    checkout.run("benchmarks", "data", "--dataset", "cremad")
    printed = checkout.bench("--suite", "small", "--dataset", "cremad", "--epochs", "2", "--seeds", "1")
    n = len(METHODS) + 1  # each of two modalities alone
    assert f"{n} of {n} runs trained" in printed, printed
