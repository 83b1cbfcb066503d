"""Encoders that `transformers` builds: ResNet-18 and ViT for images, MiniLM for texts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.backbones.text import minilm
from benchmarks.backbones.vision import resnet18, vit
from benchmarks.backbones.weights import checksums
from dmil.encoders import CLIP, IMAGE, TOKENS, Builder

BACKBONES: dict[str, Builder] = {"resnet18": resnet18, "vit": vit, "minilm": minilm}
READS: dict[str, tuple[str, ...]] = {"resnet18": (IMAGE, CLIP), "vit": (IMAGE, CLIP), "minilm": (TOKENS,)}


def identity(encoder: str, options: Mapping[str, Any]) -> dict[str, str]:
    """What else than its name and options decides the numbers of an encoder of this package; of any other, nothing.

    The library's version, the code here, and the SHA-256 of every file that it starts from: the option ``weights`` is
    a path, which says nothing of what lies there.

    Raises:
        UserError: a file is missing, or cannot be had.
    """
    if encoder not in BACKBONES:
        return {}
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    made_by = {"transformers": version("transformers"), "code": hashlib.sha256(code).hexdigest()[:16]}
    return made_by | checksums(encoder, options.get("weights"))
