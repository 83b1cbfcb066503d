"""Pickles that would run something, or ask for more than arrays and plain containers: refused, and nothing runs."""

from __future__ import annotations

import copyreg
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.made_pickles import ARRAY, PROTOCOLS, array, dtype, refusal, text


class Calls:
    """Unpickled, it calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def touch(marker: Path) -> Calls:
    return Calls(os.system, f"touch {marker}")


def holds(value: Any) -> Callable[[Path], bytes]:
    """A pickle, made for a marker that running it would leave behind."""
    return lambda marker: pickle.dumps(value(marker), 4)


RUNS = {
    "os.system": holds(touch),
    "in a list in a dict": holds(lambda marker: {"train": [1, (touch(marker),)]}),
    "as a key": lambda marker: b"\x80\x04}" + pickle.dumps(touch(marker), 0)[:-1] + b"K\x01s.",
    "in an array of objects": holds(lambda marker: np.array([1, touch(marker)], dtype=object)),
    "made and dropped": lambda marker: b"\x80\x04" + pickle.dumps(touch(marker), 0)[:-1] + b"0N.",
    "eval": holds(lambda marker: Calls(eval, f"open({str(marker)!r}, 'w')")),
    "exec": holds(lambda marker: Calls(exec, f"open({str(marker)!r}, 'w')")),
    "numpy's own exec": lambda marker: (
        b"\x80\x04cnumpy.testing._private.utils\nrunstring\n" + text(f"open({str(marker)!r}, 'w')") + b"}\x86R."
    ),
    "numpy's own writer": lambda marker: (
        b"\x80\x04cnumpy\nsave\n" + text(f"{marker}") + b"]\x86R0ccopyreg\n_reconstructor\n0cos\nrename\n"
        + text(f"{marker}.npy") + text(f"{marker}") + b"\x86R."
    ),
    "INST": lambda marker: f"(S'touch {marker}'\nios\nsystem\n.".encode(),
    "OBJ": lambda marker: b"(cos\nsystem\n" + text(f"touch {marker}") + b"o.",
    "a chain of getattr": lambda marker: (
        b"\x80\x04cbuiltins\ngetattr\ncbuiltins\n__import__\n" + text("os") + b"\x85R" + text("system") + b"\x86R"
        + text(f"touch {marker}") + b"\x85R."
    ),
    "a dotted name": lambda marker: (
        b"\x80\x04" + text("numpy") + text("os.system") + b"\x93" + text(f"touch {marker}") + b"\x85R."
        if hasattr(np, "os")
        else b"\x80\x04" + text("pickle") + text("sys.modules") + b"\x930" + pickle.dumps(touch(marker), 0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("trick", RUNS)
@pytest.mark.filterwarnings("ignore")
def test_what_would_run_is_refused_and_does_not_run(trick: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    content = RUNS[trick](marker)
    message = refusal(tmp_path, content)
    assert "is refused, and nothing of it was run: it " in message
    assert not marker.exists()
    pickle.loads(content)  # the trick is a real one
    assert marker.exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_command_is_refused_by_its_name(protocol: int, tmp_path: Path) -> None:
    message = refusal(tmp_path, pickle.dumps(touch(tmp_path / "ran"), protocol))
    assert f"it asks for {os.system.__module__}.system; only arrays and plain containers are admitted" in message


def test_nothing_that_is_named_is_imported(tmp_path: Path) -> None:
    assert "it asks for this.s;" in refusal(tmp_path, b"cthis\ns\n.")
    assert "this" not in sys.modules


def test_a_registered_extension_is_refused(tmp_path: Path) -> None:
    """Codes of extensions stand for any function, and pickle keeps them once they were looked up."""
    copyreg.add_extension("os", "system", 77)
    try:
        pickle.loads(b"\x82\x4d.")
        assert "EXT1" in refusal(tmp_path, b"\x82\x4d" + text("true") + b"\x85R.")
    finally:
        copyreg.remove_extension("os", "system", 77)


NAMED = b"cnumpy\nndarray\n"
REFUSED = {
    "EXT2": (b"\x83\x01\x00.", "EXT2"),
    "EXT4": (b"\x84\x01\x00\x00\x00.", "EXT4"),
    "PERSID": (b"Psomething\n.", "PERSID"),
    "BINPERSID": (text("something") + b"Q.", "BINPERSID"),
    "NEWOBJ": (NAMED + b"(K\x03t\x81.", "NEWOBJ"),
    "NEWOBJ_EX": (NAMED + b")}\x92.", "NEWOBJ_EX"),
    "a buffer from elsewhere": (b"\x97.", "NEXT_BUFFER"),
    "a buffer made read-only": (b"C\x00\x98.", "READONLY_BUFFER"),
    "a set": (pickle.dumps({1}, 4), "EMPTY_SET"),
    "a frozen set": (pickle.dumps(frozenset({1}), 4), "FROZENSET"),
    "a set of Python 2": (pickle.dumps({1}, 2), "asks for __builtin__.set"),
    "changeable bytes": (pickle.dumps(bytearray(b"x"), 5), "holds a bytearray"),
    "a complex number": (pickle.dumps(1j, 4), "asks for builtins.complex"),
    "a class": (pickle.dumps(dict, 4), "asks for builtins.dict"),
    "a name": (NAMED + b".", "holds a name"),
    "a type": (dtype("f4") + b".", "holds a dtype"),
    "a type in a list": (b"]" + dtype("f4") + b"a.", "holds a dtype"),
    "the class called": (NAMED + b"(K\x03tR.", "calls what is no function"),
    "a value called": (text("os.system") + b")R.", "calls what is no function"),
    "state of a name": (NAMED + b"}b.", "sets the state"),
    "attributes of a name": (NAMED + b"N}" + text("__doc__") + NAMED + b"s\x86b.", "sets the state"),
    "state of a dict": (b"}}" + text("get") + NAMED + b"sb.", "sets the state"),
    "attributes of an array": (ARRAY + b"}" + text("value") + NAMED + b"sb.", "sets the state"),
    "an array without content": (ARRAY + b".", "without content"),
    "an array of another class": (ARRAY.replace(b"ndarray", b"dtype") + b".", "a class of its own"),
    "a class that is a text": (ARRAY.replace(b"cnumpy\nndarray\n", text("ndarray")) + b".", "a class of its own"),
    "a scalar of objects": (
        b"cnumpy.core.multiarray\nscalar\n" + dtype("O8") + NAMED + b"\x86R.", "a scalar that is an object",
    ),
    "addresses as objects": (array("O8", b"K\x01\x85", b"C\x08" + bytes(range(8))), "no list of them"),
    "a table of objects": (array("O8", b"K\x01K\x01\x86", b"]K\x01a"), "no list of them"),
    "objects that are called": (array("O8", b"K\x01\x85", b"]" + NAMED + b"a"), "holds a name"),
    "records": (array("V8", b"K\x01\x85", b"C\x08" + bytes(8)), "the type V8"),
    "dates": (pickle.dumps(np.array(["2020-01-01"], "M8[D]"), 4), "the type M8"),
    "named fields": (pickle.dumps(np.zeros(1, [("a", "f4")]), 4), "the type V4"),
    "a type with fields": (
        dtype("f8") + b"(K\x03" + text("<") + b"N" + text("x") + b"\x85}J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.",
        "an array of fields",
    ),
    "a type with metadata": (pickle.dumps(np.dtype("f4", metadata={"a": 1}), 4), "an array of fields"),
    "a type that is no text": (b"cnumpy\ndtype\n" + NAMED + b"\x85R.", "the type Name"),
    "another codec": (b"c_codecs\nencode\n" + text("x") + text("zip") + b"\x86R.", "encodes what is no text"),
    "a masked array": (pickle.dumps(np.ma.array([1.0]), 4), "asks for numpy.ma"),
    "a codec's decoder": (b"c_codecs\ndecode\n" + text("x") + text("zip") + b"\x86R.", "asks for _codecs.decode"),
    "numpy's reader": (b"cnumpy\nload\n" + text("x") + b"\x85R.", "asks for numpy.load"),
    "a name with a line end": (text("os\nevil\x1b[2J") + text("x") + b"\x93.", r"asks for os\nevil\x1b[2J.x"),
}  # fmt: skip


@pytest.mark.parametrize("trick", REFUSED)
def test_what_is_no_array_and_no_container_is_refused(trick: str, tmp_path: Path) -> None:
    content, reason = REFUSED[trick]
    message = refusal(tmp_path, content)
    assert "is refused, and nothing of it was run" in message
    assert reason in message
