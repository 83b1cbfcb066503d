"""Tuned settings: ``benchmarks/tuned/<dataset>/<method>.yaml``, written by a sweep, used by the bench. No torch here.

Order of settings, later ones winning: those of the method, of the suite, tuned ones, ``--set`` by hand. What was tuned
on other data or for another revision of the method is refused. What was tuned for another budget, such as more epochs
than a quick bench has, for other encoders or with other code, is used, and the table says so.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.convert import clip
from benchmarks.errors import UserError, suggestion
from benchmarks.provenance import CHECKOUT

if TYPE_CHECKING:
    from benchmarks.methods import Row

TUNED_DIR = Path(__file__).parent / "tuned"
TEXT, COUNT, NUMBER, MAPPING = "text", "a whole number of 1 or more", "a finite number", "a mapping of names"
SEEDS, TEXTS = "a list of whole numbers", "a list of texts"
# What a row of a table says itself.
OF_THE_ROW = ("dataset", "method", "settings", "data_checksum")
COMMAND_LENGTH = 1000


@dataclass(frozen=True)
class Tuned:
    """The winner of a study, and what finding it took.

    method: name of a table row, such as unimodal_text. settings: every setting of the method. sweep: key of the study;
    suite, budget: whose budget each of its replicas had. encoders: of its modalities. overrides: settings set by hand,
    not searched. seeds: of every configuration; n_epochs: trained by all replicas together. valid_score: mean over the
    seeds of the best validation accuracy (regression: minus the absolute error), valid_loss: of the loss at these
    epochs; default_score: of the configuration that was tried first, None where it failed. revision: of the method.
    code: revision of the code. tuned_at: ISO 8601, UTC.
    """

    dataset: str
    method: str
    settings: dict[str, Any]
    sweep: str
    suite: str
    budget: dict[str, Any]
    encoders: dict[str, dict[str, Any]]
    overrides: tuple[str, ...]
    n_configurations: int
    seeds: tuple[int, ...]
    n_epochs: int
    valid_score: float
    valid_loss: float
    default_score: float | None
    revision: int
    code: str
    data_checksum: str
    torch: str
    device: str
    tuned_at: str
    command: str

    @property
    def provenance(self) -> dict[str, Any]:
        """What a row of a table keeps of it, ready for JSON and short enough for a tag of MLflow."""
        kept = {name: value for name, value in self.to_dict().items() if name not in OF_THE_ROW}
        return kept | {"command": clip(self.command, COMMAND_LENGTH)}

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"seeds": list(self.seeds), "overrides": list(self.overrides)}


SHAPES = {entry.name: TEXT for entry in fields(Tuned)}
SHAPES |= dict.fromkeys(("n_configurations", "n_epochs", "revision"), COUNT)
SHAPES |= dict.fromkeys(("valid_score", "valid_loss", "default_score"), NUMBER)
SHAPES |= {"settings": MAPPING, "budget": MAPPING, "encoders": MAPPING, "seeds": SEEDS, "overrides": TEXTS}


def path_of(dataset: str, method: str, folder: Path | None = None) -> Path:
    """folder: ``TUNED_DIR`` where it is None."""
    return (TUNED_DIR if folder is None else folder) / dataset / f"{method}.yaml"


def save(tuned: Tuned, folder: Path | None = None) -> Path:
    """Writes the file of a method, whole or not at all; the same content gives the same bytes.

    Raises:
        UserError: the folder cannot be written.
    """
    import yaml

    path = path_of(tuned.dataset, tuned.method, folder)
    header = f"# Written by: {' '.join(tuned.command.split())}\n"
    text = header + yaml.safe_dump(tuned.to_dict(), sort_keys=False, allow_unicode=True, width=120)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise UserError(f"cannot write tuned settings to {path} ({error.strerror})") from error
    return path


def load(dataset: str, method: str, folder: Path | None = None) -> Tuned | None:
    """The file of a method, None where there is none. Whether it fits the data and the method of now is not checked.

    Raises:
        UserError: the file is no YAML, lacks a key, has one too many, or a value of another type.
    """
    import yaml

    path = path_of(dataset, method, folder)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _faulty(path, f"cannot be read ({' '.join(str(error).split())})") from error
    _check_shape(path, content)
    if (content["dataset"], content["method"]) != (dataset, method):
        raise _faulty(path, f"speaks of {content['method']} on {content['dataset']}, not of {method} on {dataset}")
    return Tuned(**content | {name: tuple(content[name]) for name in ("seeds", "overrides")})


def is_tuned(dataset: str, folder: Path | None = None) -> bool:
    """Whether there is a file for any method on a dataset."""
    return any(path_of(dataset, "any", folder).parent.glob("*.yaml"))


def tuned_settings(
    dataset: str, rows: Iterable[Row], data_checksum: str, folder: Path | None = None
) -> dict[str, Tuned]:
    """Row name -> its tuned settings, of those rows that have a file.

    Raises:
        UserError: a file is faulty, was made on other data or for another revision of its method, or does not hold
            exactly the settings of the method, each in its type and range.
    """
    found = {}
    for row in dict.fromkeys(rows):
        tuned = load(dataset, row.name, folder)
        if tuned is not None:
            _check_fit(path_of(dataset, row.name, folder), tuned, row, data_checksum)
            found[row.name] = tuned
    return found


def _check_fit(path: Path, tuned: Tuned, row: Row, data_checksum: str) -> None:
    from dmil.settings import override

    advice = f"tune again with `make sweep DATASET={tuned.dataset} METHODS={tuned.method}` or run with TUNED=0"
    if tuned.data_checksum != data_checksum:
        checksums = f"checksum {tuned.data_checksum[:16]} instead of {data_checksum[:16]}"
        raise UserError(f"{_shown(path)} was tuned on other data ({checksums}); {advice}")
    if tuned.revision != row.method.revision:
        revisions = f"revision {tuned.revision} instead of {row.method.revision}"
        raise UserError(f"{_shown(path)} was tuned for another version of the method ({revisions}); {advice}")
    defaults = row.method.Settings()
    try:
        override(defaults, tuned.settings)
    except ValueError as error:
        raise _faulty(path, str(error)) from error
    missing = [name for name in defaults.to_dict() if name not in tuned.settings]
    if missing:
        raise _faulty(path, f"lacks the setting {', '.join(missing)}")


def _check_shape(path: Path, content: Any) -> None:
    if not isinstance(content, dict):
        raise _faulty(path, f"must be a mapping, but got {str(content)[:80]!r}")
    for name in content:
        if name not in SHAPES:
            raise _faulty(path, f"unknown key {name!r}; {suggestion(name, SHAPES)}")
    missing = [name for name in SHAPES if name not in content]
    if missing:
        raise _faulty(path, f"lacks {', '.join(missing)}")
    for name, kind in SHAPES.items():
        if not _is(kind, content[name]) and not (name == "default_score" and content[name] is None):
            raise _faulty(path, f"{name} must be {kind}, but got {content[name]!r}")
    if not _is(COUNT, content["budget"].get("epochs")):
        raise _faulty(path, f"budget must say epochs, {COUNT}, but got {content['budget']!r}")


def _is(kind: str, value: Any) -> bool:
    if kind == TEXT:
        return isinstance(value, str)
    if kind == MAPPING:
        return isinstance(value, dict) and all(isinstance(name, str) for name in value)
    if kind == TEXTS:
        return isinstance(value, list) and all(isinstance(text, str) for text in value)
    if kind == SEEDS:
        return isinstance(value, list) and bool(value) and all(type(seed) is int for seed in value)
    if kind == COUNT:
        return type(value) is int and value >= 1
    return type(value) in (int, float) and math.isfinite(value)


def _faulty(path: Path, reason: str) -> UserError:
    return UserError(f"tuned settings {_shown(path)}: {reason}; mend or delete the file, or run the bench with TUNED=0")


def _shown(path: Path) -> str:
    """As seen from the checkout, where it lies there."""
    return str(path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path)
