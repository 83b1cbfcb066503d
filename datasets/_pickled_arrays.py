"""Arrays as numpy pickles them: what stands for numpy while such a pickle is read, so that numpy itself is not called.

numpy's own functions trust what a pickle hands them (a type that says it holds no objects though it does is enough to
make it follow any address). Here the parts are checked first, and an array is made of plain bytes and a plain type.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPE = re.compile(r"b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,6}|O[48]?")


class Refused(Exception):
    """The file asks for what is no array and no plain container; the message says for what."""


class Name:
    """A name that stands in the table above; it cannot be called, and nothing can be set on it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Dtype:
    """The type of an array, as ``numpy.dtype`` pickles it: a code, and the order of its bytes, set later."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not DTYPE.fullmatch(code):
            raise Refused(f"it has an array of the type {shown(code)}")
        self.code, self.order = code, "="

    def build(self, state: Any) -> None:
        _, order, *fields = state
        if order not in ("<", ">", "=", "|") or any(field is not None for field in fields[:3]) or len(fields) > 6:
            raise Refused("it has an array of fields")
        self.order = order

    @property
    def is_object(self) -> bool:
        return self.code.startswith("O")

    def array(self, shape: Any, data: Any, *, fortran: Any) -> NDArray[Any]:
        """Raises ValueError where the data are not those of such an array."""
        import numpy as np

        if isinstance(data, str):  # of Python 2
            data = data.encode("latin-1")
        if not isinstance(data, bytes | bytearray | memoryview):
            raise ValueError("an array whose data are no bytes")
        found = np.frombuffer(data, np.dtype(self.order + self.code)) if data else np.empty(0, self.order + self.code)
        found.flags.writeable = False
        if self.code.startswith("U"):
            points = found.view(f"{self.order}u4")
            if points.size and (points.max() > 0x10FFFF or ((points >= 0xD800) & (points <= 0xDFFF)).any()):
                raise ValueError("an array of texts with characters that do not exist")
        return found.reshape(dimensions(shape), order="F" if fortran else "C")


class Array:
    """An array as numpy pickles it: an empty one first, its content set later."""

    __slots__ = ("value",)

    def __init__(self, kind: Any, *_: Any) -> None:
        if not (isinstance(kind, Name) and kind.name == "ndarray"):
            raise Refused("it has an array of a class of its own")
        self.value: Any = None

    def content(self) -> Any:
        if self.value is None:
            raise Refused("it has an array without content")
        return self.value

    def build(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.fill(shape, dtype, data, fortran=fortran)

    def fill(self, shape: Any, dtype: Any, data: Any, *, fortran: Any) -> None:
        if not isinstance(dtype, Dtype):
            raise Refused("it has an array without a type")
        if not dtype.is_object:
            self.value = dtype.array(shape, data, fortran=fortran)
        elif type(data) is list and dimensions(shape) == (len(data),):
            self.value = data
        else:
            raise Refused("it has an array of objects that is no list of them")


def dimensions(shape: Any) -> tuple[int, ...]:
    if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("an array without a shape")
    return shape


def shown(what: Any) -> str:
    """A word or two of what a file says, in one line of plain characters."""
    text = ascii(str(what)[:80])[1:-1]
    return text if isinstance(what, str | Exception) and text else f"{type(what).__name__}"
