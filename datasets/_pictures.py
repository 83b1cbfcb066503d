"""A picture as pixels. Processes that decode import this module: it holds nothing that takes long to import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ._download import DataError
from ._media import check_content

if TYPE_CHECKING:
    from numpy import uint8
    from numpy.typing import NDArray
    from PIL.Image import Image

SIDE = 224


def file_of(folder: Path, name: str) -> tuple[Path]:
    """Of what ``read_square`` reads."""
    return (folder / name,)


def read_square(folder: Path, name: str) -> dict[str, NDArray[uint8]]:
    """The picture ``folder/name`` as ``image``, (3, 224, 224): all of it, squeezed into a square (bicubic).

    Raises DataError where the file cannot be decoded to its end.
    """
    from PIL import Image

    path = folder / name
    check_content(path)
    try:
        with Image.open(path) as image:
            return {"image": to_square(image)}
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()).replace(str(path), "the file")
        raise DataError(f"{path} is damaged or no picture ({reason}): unpack its archive again") from error


def to_square(image: Image) -> NDArray[uint8]:
    """(3, 224, 224), as ``read_square`` has it."""
    import numpy as np
    from PIL.Image import Resampling

    small = image.convert("RGB").resize((SIDE, SIDE), Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
