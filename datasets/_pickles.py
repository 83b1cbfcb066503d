"""Pickles of arrays and plain containers, read without running anything that they ask for.

A pickle is a program, and ``pickle.load`` calls whatever functions it names. Here it is not run: the standard library's
``pickletools`` cuts the file into instructions, and the few that are followed make None, truth values, numbers, texts,
bytes, lists, tuples, dicts and, of what numpy writes, arrays and scalars; no instruction calls anything that the file
brought along. Arrays are views of the file: reading them takes no memory.
"""

from __future__ import annotations

import mmap
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from ._download import DataError
from ._pickled_arrays import Array, Dtype, Name, Refused, shown

MAX_DEPTH = 20  # containers within containers
MAX_LINE = 1 << 28  # bytes, of the instructions that end with a line
SLACK = 1 << 20  # bytes
# What a pickle may name, and what it gets. numpy 2 calls numpy.core numpy._core.
NAMES = {
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",  # this and the next: bytes, before protocol 3
    **{f"{module} bytes": "bytes" for module in ("builtins", "__builtin__")},
    **{f"numpy.{core}.multiarray _reconstruct": "array" for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray scalar": "scalar" for core in ("core", "_core")},
    **{f"numpy.{core}.numeric _frombuffer": "buffer" for core in ("core", "_core")},
}
VALUES = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)


def read_pickle(path: Path) -> Any:
    """What the pickle at ``path`` holds; its arrays are read-only views of the file, arrays of objects become lists.

    Raises DataError, naming the file, where it is damaged, no pickle, or asks for anything but arrays and plain
    containers; nothing of it has been run then.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path} is empty: delete it and put the right file in its place") from error
    try:
        return plain(Machine(budget=2 * len(data) + SLACK).run(File(data)))
    except Refused as error:
        raise DataError(
            f"{path} is refused, and nothing of it was run: {error}; only arrays and plain containers are admitted, "
            "do not open this file with pickle.load"
        ) from error
    except (ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        raise DataError(
            f"{path} is no complete pickle ({shown(error)}): delete it and put the right file in its place"
        ) from error


class File:
    """A mapped file as ``pickletools`` reads it; long byte strings come as views, which stay in the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.view, self.position = data, memoryview(data), 0
        self.instruction = b""

    def tell(self) -> int:
        return self.position

    def read(self, n: int) -> bytes | memoryview:
        found = self.view[self.position : self.position + n]
        self.position += len(found)
        if n > 255 and self.instruction in (b"B", b"\x8e"):  # BINBYTES, BINBYTES8
            return found
        if n == 1:
            self.instruction = bytes(found)
        return bytes(found)

    def readline(self) -> bytes:
        end = self.data.find(b"\n", self.position, self.position + MAX_LINE) + 1
        found = bytes(self.view[self.position : end])
        self.position += len(found)
        return found


class Machine:
    """Follows the instructions of one pickle. budget: bytes that arrays, scalars and texts made bytes may take in all.

    Without it a short file could have one long text made into bytes again and again.
    """

    def __init__(self, *, budget: int) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.budget = budget
        self.calls: dict[str, Callable[..., Any]] = {
            "array": Array,
            "buffer": self.buffer,
            "bytes": lambda: b"",
            "dtype": Dtype,
            "encode": self.encode,
            "scalar": self.scalar,
        }

    def run(self, file: File) -> Any:
        for opcode, argument, _ in pickletools.genops(cast(IO[bytes], file)):
            if opcode.name in VALUES:
                self.stack.append(argument)
            elif step := STEPS.get(opcode.name):
                step(self, argument)
            else:
                raise Refused(f"it has the instruction {opcode.name}")
        (value,) = self.stack
        return value

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def pop(self, _: Any = None) -> Any:
        if self.marks and self.marks[-1] == len(self.stack):
            return self.marks.pop()
        return self.stack.pop()

    def look_up(self, name: str) -> None:
        if name not in NAMES:
            raise Refused(f"it asks for {shown(name.replace(' ', '.', 1))}")
        self.stack.append(Name(NAMES[name]))

    def look_up_both(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a name that is no text")
        self.look_up(f"{module} {name}")

    def call(self, _: Any) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, Name) or name.name not in self.calls or type(arguments) is not tuple:
            raise Refused("it calls what is no function of numpy's pickles")
        self.stack.append(self.calls[name.name](*arguments))

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, Array | Dtype) or type(state) is not tuple:
            raise Refused("it sets the state of what is no array")
        if isinstance(target, Array):
            self.spend(len(state[-1]))
        target.build(state)

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("items for what is no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or not all(isinstance(key, SCALARS) for key in items[::2]):
            raise ValueError("items for what is no dict, or keys that are no texts or numbers")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def new_dict(self, _: Any) -> None:
        items = self.since_mark()
        self.stack.append({})
        self.set_items(items)

    def pack(self, n: int) -> None:
        if len(self.stack) < n:
            raise ValueError("a tuple of nothing")
        self.stack[-n:] = [tuple(self.stack[-n:])]

    def spend(self, n_bytes: int) -> None:
        self.budget -= n_bytes
        if self.budget < 0:
            raise Refused("it would grow far beyond its size")

    def encode(self, text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise Refused("it encodes what is no text")
        self.spend(len(text))
        return text.encode("latin-1")

    def scalar(self, dtype: Any, data: Any) -> Any:
        if not isinstance(dtype, Dtype) or dtype.is_object:
            raise Refused("it has a scalar that is an object")
        self.spend(len(data))
        return dtype.array((), data, fortran=False).item()

    def buffer(self, data: Any, dtype: Any, shape: Any, order: Any) -> Array:
        self.spend(len(data))
        found = Array(Name("ndarray"))
        found.fill(shape, dtype, data, fortran=order == "F")
        return found


STEPS: dict[str, Callable[[Machine, Any], Any]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP": Machine.pop,
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "DICT": Machine.new_dict,
    "LIST": lambda machine, _: machine.stack.append(machine.since_mark()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.pack(1),
    "TUPLE2": lambda machine, _: machine.pack(2),
    "TUPLE3": lambda machine, _: machine.pack(3),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(), machine.stack.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, n: machine.stack.append(machine.memo[n])),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda machine, n: machine.memo.update({n: machine.stack[-1]})),
    "MEMOIZE": lambda machine, _: machine.memo.update({len(machine.memo): machine.stack[-1]}),
    "GLOBAL": Machine.look_up,
    "STACK_GLOBAL": Machine.look_up_both,
    "REDUCE": Machine.call,
    "BUILD": Machine.build,
}
SCALARS = (str, bytes, int, float, bool, type(None))


def plain(value: Any, seen: dict[int, Any] | None = None, depth: int = 0) -> Any:
    """What was made, its arrays in the place of what stood for them. Raises Refused for anything that is not plain."""
    seen = {} if seen is None else seen
    if isinstance(value, str | memoryview | list | tuple | dict):
        if id(value) not in seen:
            if depth >= MAX_DEPTH:
                raise Refused(f"it nests containers more than {MAX_DEPTH} deep")
            seen[id(value)] = _plain(value, seen, depth + 1)
        return seen[id(value)]
    if isinstance(value, Array):
        return plain(value.value, seen, depth + 1) if type(value.value) is list else value.content()
    if not isinstance(value, SCALARS):
        raise Refused(f"it holds a {type(value).__name__.lower()}")
    return value


def _plain(value: Any, seen: dict[int, Any], depth: int) -> Any:
    if isinstance(value, str):
        value.encode()  # raises ValueError where it has characters that do not exist
        return value
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, dict):
        return {plain(key, seen, depth): plain(one, seen, depth) for key, one in value.items()}
    return type(value)([plain(one, seen, depth) for one in value])
