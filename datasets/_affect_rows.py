"""The feature files of MMSA for CMU-MOSI and CMU-MOSEI: what they must hold, and their samples as sequences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._download import DataError
from ._pickled_arrays import shown
from ._pickles import read_pickle

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = ("train", "valid", "test")
MODALITIES = ("text", "audio", "vision")
KEYS = (*MODALITIES, "text_bert", "id", "regression_labels")
TEXTS = "raw_text"
SEPARATOR = "$_$"  # between the video and the number of an utterance
MAX_SCORE = 3.0
BLOCK = 256  # samples at once: in float64 they take twice their room
CLIP = 5.0  # standard deviations
CONSTANT = 1e-7  # as in `_scaling`, which needs torch and whole tensors

Widths = tuple[tuple[str, int], ...]  # features of a step, by modality
Moments = Mapping[str, tuple[Any, Any]]  # mean and scale of each feature, by modality


@dataclass(frozen=True)
class Part:
    """One part of the file, n samples. features: modality -> (n, T, d); words: (n, T), whether a step has a word."""

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    texts: tuple[str, ...]
    features: dict[str, NDArray[Any]]
    words: NDArray[Any]

    @cached_property
    def videos(self) -> tuple[str, ...]:
        return tuple(name.partition(SEPARATOR)[0] for name in self.ids)

    @cached_property
    def rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    def steps(self, modality: str, rows: slice) -> tuple[NDArray[Any], NDArray[Any]]:
        """Features (n, T, d) in float64, finite, and which steps exist, (n, T).

        What is not finite (-inf in the logarithms of audio) becomes 0, as in MMSA's own loader. A step of text exists
        where BERT was shown a word, one of audio or vision where any of its features differs from 0.
        """
        import numpy as np

        found = np.nan_to_num(self.features[modality][rows].astype(np.float64), posinf=0.0, neginf=0.0)
        exists = self.words[rows] if modality == "text" else (found != 0).any(-1)
        return found, exists


def open_parts(path: Path, widths: Widths) -> dict[str, Part]:
    """The parts of the file at ``path``, read once per process as long as the file stays the same; arrays are mapped.

    Raises DataError, naming the file, where it is missing, damaged or not what such a file holds.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})") from error
    return _open_parts(path, widths, (stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=1)
def _open_parts(path: Path, widths: Widths, _: tuple[int, int]) -> dict[str, Part]:
    content = read_pickle(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(name), dict) for name in PARTS):
        raise DataError(f"{path} must hold the parts {', '.join(PARTS)}, but {_found(content)}")
    parts = {name: _part(f"{path}, part {name}", content[name], widths) for name in PARTS}
    for modality, _d in widths:
        lengths = {part.features[modality].shape[1] for part in parts.values()}
        if len(lengths) > 1:
            raise DataError(f"{path}: {modality} has sequences of {sorted(lengths)} steps, but one length is expected")
    _check_names(path, parts)
    return parts


def _part(where: str, content: dict[Any, Any], widths: Widths) -> Part:
    missing = [key for key in KEYS if key not in content]
    if missing:
        raise DataError(f"{where} lacks {', '.join(missing)}: {_found(content)}")
    ids = _texts(where, "id", content["id"])
    n = len(ids)
    if not ids or not all(SEPARATOR in name for name in ids):
        odd = next((repr(shown(name)) for name in ids if SEPARATOR not in name), "none")
        raise DataError(f"{where}: samples must be named video{SEPARATOR}number, but there is {odd}")
    features = {modality: _features(where, modality, content[modality], n, width) for modality, width in widths}
    words = content["text_bert"]
    n_words = features["text"].shape[1]
    if not _is_array(words, "biuf", (n, 3, n_words)):
        raise DataError(f"{where}: text_bert must be an array ({n}, 3, {n_words}), but is {_shape(words)}")
    texts = _texts(where, TEXTS, content[TEXTS]) if TEXTS in content else ("",) * n
    if len(texts) != n:
        raise DataError(f"{where}: {TEXTS} has {len(texts)} entries, but there are {n} samples")
    return Part(ids, _scores(where, content["regression_labels"], ids), texts, features, words[:, 1] > 0)


def _texts(where: str, key: str, value: Any) -> tuple[str, ...]:
    """A list of texts, or an array of them; of bytes where Python 2 wrote them."""
    found = value if isinstance(value, list | tuple) else value.tolist() if _is_array(value, "SU", None) else [None]
    if not all(isinstance(one, str | bytes) for one in found):
        raise DataError(f"{where}: {key} must be a list of texts, but is {_shape(value)}")
    return tuple(one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in found)


def _features(where: str, modality: str, value: Any, n: int, width: int) -> NDArray[Any]:
    if not _is_array(value, "f", None) or value.ndim != 3 or value.shape[::2] != (n, width) or not value.shape[1]:
        raise DataError(f"{where}: {modality} must be an array of numbers ({n}, T, {width}), but is {_shape(value)}")
    found: NDArray[Any] = value
    return found


def _scores(where: str, value: Any, ids: tuple[str, ...]) -> tuple[float, ...]:
    found = value.reshape(-1).tolist() if _is_array(value, "iuf", None) else value
    if not isinstance(found, list) or len(found) != len(ids) or not all(isinstance(one, int | float) for one in found):
        raise DataError(f"{where}: regression_labels must be {len(ids)} numbers, but is {_shape(value)}")
    for name, score in zip(ids, found, strict=True):
        if not abs(score) <= MAX_SCORE:
            label = score if isinstance(score, float) or abs(score) < 100 else "of a large number"
            raise DataError(f"{where}: {shown(name)} has the label {label}, but labels lie in [-3, 3]")
    return tuple(float(one) for one in found)


def _check_names(path: Path, parts: Mapping[str, Part]) -> None:
    """Raises DataError where a sample is there twice, or a video in two parts."""
    part_of: dict[str, str] = {}
    seen: set[str] = set()
    for name, part in parts.items():
        for sample, video in zip(part.ids, part.videos, strict=True):
            if sample in seen:
                raise DataError(f"{path}: sample {shown(sample)!r} is there twice")
            seen.add(sample)
            if part_of.setdefault(video, name) != name:
                both = f"{part_of[video]} and in {name}"
                raise DataError(f"{path}: video {shown(video)!r} is in {both}, but splits must be by video")


def _is_array(value: Any, kinds: str, shape: tuple[int, ...] | None) -> bool:
    import numpy as np

    return isinstance(value, np.ndarray) and value.dtype.kind in kinds and shape in (None, value.shape)


def _shape(value: Any) -> str:
    import numpy as np

    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list | tuple) else "")


def _found(content: Any) -> str:
    if not isinstance(content, dict):
        return f"it is {_shape(content)}"
    return f"it has {', '.join(shown(key) for key in list(content)[:12]) or 'nothing'}"


def moments(part: Part) -> dict[str, tuple[Any, Any]]:
    """Mean and 1 / deviation of each feature over the steps that exist, 0 for constant ones."""
    return {modality: _moments(part, modality) for modality in part.features}


def _moments(part: Part, modality: str) -> tuple[Any, Any]:
    import numpy as np

    def steps() -> Iterator[NDArray[Any]]:
        for start in range(0, len(part.ids), BLOCK):
            found, exists = part.steps(modality, slice(start, start + BLOCK))
            yield found[exists]

    total, n = np.zeros(part.features[modality].shape[-1]), 0
    for block in steps():
        total, n = total + block.sum(0), n + len(block)
    mean = total / max(n, 1)
    std = np.sqrt(sum((np.square(block - mean).sum(0) for block in steps()), np.zeros_like(mean)) / max(n, 1))
    constant = std <= CONSTANT * std.max()
    return mean, np.where(constant, 0.0, 1 / np.where(constant, 1.0, std))


@dataclass(frozen=True)
class Reader:
    """``reader(name of a sample)``: its sequences (T, d + 1), standardised, last feature 1 where a step exists."""

    path: Path
    part: str
    widths: Widths
    moments: Moments

    def __call__(self, name: str) -> dict[str, NDArray[Any]]:
        import numpy as np

        part = open_parts(self.path, self.widths)[self.part]
        row = part.rows[name]
        done = {}
        for modality in part.features:
            (found,), (exists,) = part.steps(modality, slice(row, row + 1))
            mean, scale = self.moments[modality]
            scaled = np.where(exists[:, None], np.clip((found - mean) * scale, -CLIP, CLIP), 0.0)
            done[modality] = np.concatenate([scaled, exists[:, None]], axis=1).astype(np.float32)
        return done
