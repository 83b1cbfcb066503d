"""Local pretrained weights: a folder as the model hub lays it out, safetensors only, never a download by itself."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.errors import UserError
from benchmarks.registry import data_root, minilm_folder

CONFIG, WEIGHTS, PIXELS = "config.json", "model.safetensors", "preprocessor_config.json"
IMAGE_FILES, TEXT_FILES = (CONFIG, WEIGHTS, PIXELS), (CONFIG, WEIGHTS)
HUB = {
    "resnet18": "https://huggingface.co/microsoft/resnet-18",
    "vit": "https://huggingface.co/google/vit-base-patch16-224",
}


@contextmanager
def quiet_transformers() -> Iterator[Any]:
    """The library, imported at first use and offline; it says nothing but errors while this lasts."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import transformers
    from transformers.utils import logging

    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield transformers
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()


def folder_of(encoder: str, weights: object) -> Path:
    """The folder that the option ``weights`` names, below the data root or absolute, with all its files.

    Raises UserError where it is no text or a file is missing.
    """
    advice = f"it takes a folder with {', '.join(IMAGE_FILES)}, for instance those of {HUB[encoder]}"
    if not isinstance(weights, str) or not weights:
        raise UserError(f"weights of encoder {encoder}: {weights!r} is no path; {advice}")
    folder = data_root() / weights
    for name in IMAGE_FILES:
        if not (folder / name).is_file():
            pickled = " (a pytorch_model.bin is a pickle and is not read)" if name == WEIGHTS else ""
            raise UserError(f"weights of encoder {encoder}: {folder / name} is missing{pickled}; {advice}")
    return folder


def check_switch(encoder: str, option: str, value: object) -> None:
    """Raises UserError for an option that is neither true nor false: a text such as "no" would count as true."""
    if not isinstance(value, bool):
        raise UserError(f"option {option!r} of encoder {encoder} must be true or false, but got {value!r}")


def checksums(encoder: str, weights: object) -> dict[str, str]:
    """SHA-256 by name of the files that an encoder starts from. Raises UserError like ``folder_of``."""
    if encoder == "minilm":
        folder = minilm_folder()
        return {name: _sha256(folder / name) for name in TEXT_FILES}
    if weights is None:
        return {}
    folder = folder_of(encoder, weights)
    return {name: _sha256(folder / name) for name in IMAGE_FILES}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_config(path: Path) -> dict[str, Any]:
    """Raises UserError where the file is no JSON object."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no JSON file: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds {type(config).__name__}, not a JSON object")
    return config


def pixel_statistics(folder: Path) -> tuple[list[float], list[float]]:
    """Mean and deviation per channel of the pixels (0..1) that the weights were trained on. Raises UserError."""
    path = folder / PIXELS
    config = read_config(path)
    found = config.get("image_mean"), config.get("image_std")
    for values in found:
        if not isinstance(values, list) or not all(isinstance(v, int | float) for v in values) or len(values) != 3:
            raise UserError(f"{path} needs image_mean and image_std, three numbers each, but has {found}")
    return found[0], found[1]  # type: ignore[return-value]


def load(kind: Any, config: Any, folder: Path, **options: Any) -> nn.Module:
    """A model of class ``kind`` with the weights in ``folder``, in float32; a classifier in the file is left behind.

    Raises UserError where the file is not readable, lacks a weight or has one of another shape.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / WEIGHTS
    try:
        with safe_open(path, "pt") as file:
            n_tensors = len(file.keys())
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is no safetensors file: {error}") from error
    model, found = kind.from_pretrained(
        folder,
        config=config,
        local_files_only=True,
        use_safetensors=True,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        dtype="float32",
        **options,
    )
    wrong = sorted([*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])])
    if wrong:
        raise UserError(
            f"{path} ({n_tensors} tensors) does not fit {CONFIG} beside it: {len(wrong)} weights are missing or of "
            f"another shape, {wrong[0]} among them"
        )
    loaded: nn.Module = model.train()
    return loaded
