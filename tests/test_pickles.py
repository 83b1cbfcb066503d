"""Pickles: what numpy and Python write is read back; damage and growth end in one line that names the file."""

from __future__ import annotations

import os
import pickle
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.made_pickles import ARRAY, PROTOCOLS, _pickles, array, dtype, files, read, refusal, text


def tree() -> dict[str, Any]:
    values = np.random.default_rng(0).normal(size=(7, 5, 3)).astype("f4")
    part = {
        "audio": values,
        "fortran": np.asfortranarray(values[0]),
        "strided": values[:, ::2],
        "swapped": values.astype(">f8"),
        "labels": np.array([0.4, -3.0]),
        "counts": np.arange(5),
        "flags": np.array([True, False]),
        "id": np.array(["a$_$1", "böse$_$2"]),
        "old": np.array([b"ab", b"c"]),
        "annotations": np.array(["Neutral", "Positive"], dtype=object),
        "empty": np.zeros((0, 3)),
        "single": np.array(3.0),
        "scalars": [np.float32(1.5), np.int64(-3), np.str_("hé"), np.bool_(True)],
        "plain": [1, -(2**70), 2.5, None, True, "é\n", b"", b"x" * 1000, (), (1,), (1, 2, 3, 4), {}, {"a": [()]}],
        300: "key",
    }
    return {"train": part, "again": part, "same": part["audio"]}


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, np.ndarray) and expected.dtype != object:
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert (found == expected).all()
    elif isinstance(expected, np.ndarray | np.generic):
        assert_same(found, expected.tolist())
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            assert_same(*pair)
    else:
        assert type(found) is type(expected)
        assert found == expected


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_python_and_numpy_write_is_read_back(protocol: int, tmp_path: Path) -> None:
    assert_same(read(tmp_path, pickle.dumps(tree(), protocol)), tree())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_1_called_its_core_otherwise(protocol: int, tmp_path: Path) -> None:
    new, old = pickle.dumps(tree(), protocol), b"numpy.core."
    for module in (b"multiarray", b"numeric"):  # in protocol 4 the length of a text stands before it
        name = b"numpy._core." + module
        new = new.replace(bytes([len(name)]) + name, bytes([len(name) - 1]) + old + module)
        new = new.replace(name, old + module)
    assert b"numpy.core." in new
    assert b"numpy._core." not in new
    assert_same(read(tmp_path, new), tree())


def test_python_2_wrote_texts_for_bytes(tmp_path: Path) -> None:
    values = np.array([1.5, -2, 1e30], dtype="<f8")
    written = (
        b"\x80\x02}U\x05audiocnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x03\x85"
        b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x18"
        + values.tobytes()
        + b"tbs."
    )
    assert_same(pickle.loads(written, encoding="latin1"), {"audio": values})
    assert_same(read(tmp_path, written), {"audio": values})


def test_arrays_stay_in_the_file(tmp_path: Path) -> None:
    """Two of them are one where the pickle says so; nobody can write to them."""
    found = read(tmp_path, pickle.dumps(tree(), 4))
    assert found["same"] is found["train"]["audio"] is found["again"]["audio"]
    assert not found["same"].flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        found["same"][0] = 1


def laughs(n: int) -> bytes:
    """A list of two times the same list of two times the same list .., n deep: 2^n leaves."""
    lists = (b"](h%bh%be\x940" % ((bytes([i]),) * 2) for i in range(n))
    return b"\x80\x04]\x940" + b"".join(lists) + b"h%b." % bytes([n])


def encoded(n: int) -> bytes:
    """A text of a million letters, n times turned into bytes."""
    letters = b"X" + struct.pack("<I", 1_000_000) + b"x" * 1_000_000
    once = b"c_codecs\nencode\nh\x00" + text("latin1") + b"\x86R"
    return b"\x80\x04" + letters + b"\x940](" + once * n + b"e."


def repeated(n: int) -> bytes:
    """A text of a million letters, the data of n arrays."""
    letters = b"X" + struct.pack("<I", 1_000_000) + b"x" * 1_000_000
    once = ARRAY + b"(K\x01J\x40\x42\x0f\x00\x85" + dtype("i1") + b"\x89h\x00tb"
    return b"\x80\x04" + letters + b"\x940](" + once * n + b"e."


GROWS = {
    "20,000 lists in each other": (b"]" * 20_000 + b"a" * 19_999 + b".", "more than 20 deep"),
    "a list in itself": (b"]\x94h\x00a.", "more than 20 deep"),
    "tuples in each other": (b")" + b"\x85" * 20_000 + b".", "more than 20 deep"),
    "a dict in itself": (b"}\x94K\x01h\x00s.", "more than 20 deep"),
    "an array of itself": (
        ARRAY + b"\x94(K\x01K\x01\x85" + dtype("O8") + b"\x89]h\x00atb.", "more than 20 deep",
    ),
    "a shared list": (laughs(60), "more than 20 deep"),
    "one text encoded again and again": (encoded(5), "grow far beyond its size"),
    "one text as many arrays": (repeated(5), "grow far beyond its size"),
    "bytes that are not there": (b"\x8e" + struct.pack("<Q", 2**62) + b"x.", "no complete pickle"),
    "a text that is not there": (b"X\xff\xff\xff\x7fx.", "no complete pickle"),
    "a large array of nothing": (array("f8", b"J\xff\xff\xff\x7f\x85", b"C\x00"), "no complete pickle"),
    "a large empty array": (array("f8", b"J\xff\xff\xff\x7fK\x00\x86", b"C\x08" + bytes(8)), "no complete pickle"),
    "a negative shape": (array("f8", b"J\xff\xff\xff\xff\x85", b"C\x08" + bytes(8)), "without a shape"),
    "a wrong shape": (array("f8", b"K\x03\x85", b"C\x08" + bytes(8)), "no complete pickle"),
    "texts without width": (array("U0", b"K\x03\x85", b"C\x00"), "the type U0"),
    "texts of characters that do not exist": (array("U1", b"K\x01\x85", b"C\x04\xff\xff\xff\xff"), "do not exist"),
    "half a character": (b"X\x03\x00\x00\x00\xed\xa0\x80.", "no complete pickle"),
    "a number of a million digits": (b"I" + b"9" * 1_000_000 + b"\n.", "no complete pickle"),
    "something that was never kept": (b"h\x07.", "no complete pickle"),
    "a far place to keep": (b"Nr\xff\xff\xff\xff.", None),
    "two values": (b"NN.", "no complete pickle"),
    "no value": (b".", "no complete pickle"),
    "a list as a key": (b"}]K\x01s.", "keys that are no texts"),
    "items for a text": (text("x") + b"K\x01a.", "no list"),
    "a mark alone": (b"e.", "no complete pickle"),
}  # fmt: skip


@pytest.mark.parametrize("trick", GROWS)
def test_what_grows_or_makes_no_sense_ends_in_one_line(trick: str, tmp_path: Path) -> None:
    content, reason = GROWS[trick]
    if reason is None:
        assert read(tmp_path, content) is None
    else:
        assert reason in refusal(tmp_path, content)


def test_shared_lists_are_not_written_out(tmp_path: Path) -> None:
    found = read(tmp_path, laughs(15))
    assert found[0] is found[1]


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>quota</html>", bytes(100), b"\x80\x04"])
def test_another_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    assert "put the right file in its place" in refusal(tmp_path, content)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.pkl"):
        with pytest.raises(files.DataError, match=f"^cannot read {path} "):
            _pickles.read_pickle(path)


@pytest.mark.parametrize("protocol", [0, 4])
def test_a_file_cut_short_anywhere_is_one_line(protocol: int, tmp_path: Path) -> None:
    small = {"audio": np.ones((2, 3), "f4"), "id": ["a", np.str_("b")], "x": np.array(["y"], object)}
    content = pickle.dumps(small, protocol)
    path = tmp_path / "features.pkl"
    path.write_bytes(content)
    for end in range(len(content) - 1, 0, -1):
        os.truncate(path, end)
        with pytest.raises(files.DataError, match="no complete pickle"):
            _pickles.read_pickle(path)


def test_damaged_files_lead_to_nothing_but_refusals(tmp_path: Path) -> None:
    """Bytes changed at random: either something is read, or the file is named; never another exception."""
    chosen = random.Random(0)
    content = bytearray(pickle.dumps({"audio": np.ones((2, 3), "f4"), "id": ["a", np.float32(2)], "x": (1, b"y")}, 4))
    n_read = 0
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(chosen.randint(1, 4)):
            changed[chosen.randrange(len(changed))] = chosen.randrange(256)
        try:
            read(tmp_path, bytes(changed))
            n_read += 1
        except files.DataError:
            continue
    assert 0 < n_read < 300
