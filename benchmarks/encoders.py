"""Which encoder reads which modality: what a suite says, checked and in full. Importing it makes all of them known."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from benchmarks import backbones
from benchmarks.errors import UserError
from dmil import encoders as known
from dmil.data import Split
from dmil.encoders import Source, sources_of
from dmil.settings import Settings

log = logging.getLogger("dmil.benchmarks")

Choice = Mapping[str, Mapping[str, Any]]

known.ENCODERS.update(backbones.BACKBONES)
known.READS.update(backbones.READS)


def checked(choice: Choice, train: Split) -> dict[str, Source]:
    """What a method is told of every modality of a dataset.

    Raises:
        UserError: an encoder that is unknown, does not fit its modality or takes no such option, or a modality that the
            dataset lacks.
    """
    try:
        return sources_of(train, choice)
    except ValueError as error:
        raise UserError(f"encoders: {error}") from error


def choice_of(told: Mapping[str, Source]) -> dict[str, dict[str, Any]]:
    """Modality -> ``{"name": .., option: value}``, defaults filled in."""
    return {name: {"name": source.encoder, **source.options} for name, source in told.items()}


def files_of(choice: Choice) -> dict[str, dict[str, str]]:
    """Modality -> SHA-256 by name of the files that its encoder starts from; those that start from none left out.

    Raises:
        UserError: a file is missing.
    """
    each = {modality: dict(options) for modality, options in choice.items()}
    found = {modality: backbones.identity(options.pop("name"), options) for modality, options in each.items()}
    return {modality: files for modality, files in found.items() if files}


def check_built(told: Mapping[str, Source], settings: Iterable[Settings]) -> None:
    """Builds the encoders once for each of these settings, as what does not fit shows only then.

    Raises:
        UserError: a width, depth or option that an encoder cannot take.
    """
    sizes = dict.fromkeys((one.width, one.depth) for one in settings)
    for (width, depth), (name, source) in product(sizes, told.items()):
        if source.encoder == known.DEFAULTS[known.FEATURES]:
            continue  # takes all
        try:
            known.Encoders({name: source}, width=width, depth=depth, dropout=0.0)
        except ValueError as error:
            raise UserError(f"encoder {source.encoder} of {name}, width {width}, depth {depth}: {error}") from error
        except RuntimeError as error:
            log.warning("%s, width %d: %s", name, width, error)  # no memory: a failed row, which says so


def sources(train: Split, choice: Choice) -> dict[str, Source]:
    """What a method is told of the modalities of a training split, which may have fewer than are chosen for."""
    return sources_of(train, {name: options for name, options in choice.items() if name in train.inputs})
