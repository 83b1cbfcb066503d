"""The lists of UCF101, what can be wrong with them, and the groups that validation is made of."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from dmil.seeds import generator
from tests.made_ucf101 import write_lists

lists = import_module("benchmarks.datasets._ucf101_lists")
splits_module = import_module("benchmarks.datasets._splits")
files = import_module("benchmarks.datasets._files")


def test_validation_is_whole_groups_of_every_class() -> None:
    """18 groups of a class with 2 to 5 clips each: as many as come closest to a sixth."""
    groups = [f"{name} g{group:02d}" for name in "ab" for group in range(18) for _ in range(2 + group % 4)]
    classes = [group[0] for group in groups]

    def chosen(seed: int) -> list[int]:
        found: list[int] = splits_module.held_out(groups, classes, share=1 / 6, rng=generator("test", seed))
        return found

    rows = chosen(0)
    assert rows == sorted(rows)
    assert rows == chosen(0) != chosen(1)
    held = {groups[i] for i in rows}
    assert len(rows) == sum(groups.count(group) for group in held)
    for name in "ab":
        n_class, n_held = classes.count(name), sum(groups[i][0] == name for i in rows)
        assert abs(n_held - n_class / 6) <= 2.5  # half the largest group
    assert {group[2:] for group in held if group[0] == "a"} != {group[2:] for group in held if group[0] == "b"}


def test_one_group_is_held_out_and_one_is_left() -> None:
    few = splits_module.held_out(["x", "x", "y"], ["a"] * 3, share=0.0, rng=generator("test"))
    assert few in ([0, 1], [2])
    many = splits_module.held_out(["x", "x", "y"], ["a"] * 3, share=1.0, rng=generator("test"))
    assert many in ([0, 1], [2])
    with pytest.raises(files.DataError, match="class 'b' has one group alone, 'z'"):
        splits_module.held_out(["x", "y", "z"], ["a", "a", "b"], share=0.5, rng=generator("test"))
    with pytest.raises(files.DataError, match="group 'x' is of class 'a' and of class 'b'"):
        splits_module.held_out(["x", "y", "x"], ["a", "a", "b"], share=0.5, rng=generator("test"))


LIST_FAULTS = [
    ("trainlist01.txt", "g08_c01.avi 1", "g08_c01.avi 3", "line 1: label 3 of .* is outside 1 to 2"),
    ("trainlist01.txt", "g08_c01.avi 1", "g08_c01.avi 0", "line 1: label 0 of .* is outside 1 to 2"),
    ("trainlist01.txt", "g08_c01.avi 1", "g08_c01.avi 2", "line 1: label 2 .* is that of HandstandPushups"),
    ("trainlist01.txt", "g08_c02", "g08_c01", "line 2: v_ApplyEyeMakeup_g08_c01 stands there twice"),
    ("trainlist01.txt", "ApplyEyeMakeup/", "Archery/", "line 1: class 'Archery' is not in classInd.txt"),
    ("trainlist01.txt", "ApplyEyeMakeup/", "../", "line 1: class '..' is not in classInd.txt"),
    ("trainlist01.txt", ".avi", ".mp4", "line 1: CLASS/v_CLASS_gXX_cYY.avi must stand here"),
    ("testlist01.txt", "_g01", "_g08", "group ApplyEyeMakeup g08 is also in trainlist01.txt"),
    ("testlist01.txt", "HandstandPushups/", "ApplyEyeMakeup/", "has no clip of class HandstandPushups"),
    ("classInd.txt", "2 Hand", "3 Hand", "line 2: class number 2 and a new name must stand here"),
    ("classInd.txt", "2 HandstandPushups", "2 ApplyEyeMakeup", "line 2: class number 2 and a new name"),
    ("classInd.txt", "2 HandstandPushups", "", "names 1 classes"),
]


@pytest.mark.parametrize(("name", "old", "new", "message"), LIST_FAULTS)
def test_a_faulty_list_is_one_line_that_names_it(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    write_lists(tmp_path / "lists")
    path = tmp_path / "lists" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(files.DataError, match=message) as error:
        lists.read_lists(tmp_path / "lists", 1)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_list_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    write_lists(tmp_path / "lists")
    (tmp_path / "lists" / "classInd.txt").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(files.DataError, match=r"classInd\.txt line 1: class number 1") as error:
        lists.read_lists(tmp_path / "lists", 1)
    assert "\n" not in str(error.value)
