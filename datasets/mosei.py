"""CMU-MOSEI: 22,856 utterances of opinion videos as sequences of text, audio and vision; a family, named by options."""

from __future__ import annotations

from . import _affect
from ._affect import Corpus, Variant

CORPUS = Corpus(
    name="mosei",
    title="CMU-MOSEI",
    short="mosei",
    folder="MOSEI/Processed",
    file=__file__,
    citation="Zadeh, Liang, Poria, Cambria, Morency: Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and "
    "Interpretable Dynamic Fusion Graph, ACL 2018.",
    widths=(("text", 768), ("audio", 74), ("vision", 35)),
    sensors={"text": "BERT vectors", "audio": "COVAREP", "vision": "Facet"},
    checksums={
        "aligned": "45eccfb748a87c80ecab9bfac29582e7b1466bf6605ff29d3b338a75120bf791",
        "unaligned": "ad8b23d50557045e7d47959ce6c5b955d8d983f2979c7d9b7b9226f6dd6fec1f",
    },
    traps=(
        "Most utterances are not negative. In BalanceBenchmark's table two of three modalities alone score 71.1 and "
        "71.0 % with a macro-F1 below 42 %, hardly more than a constant answer: compare with that row, and read "
        "macro-F1.",
    ),
)
NAMES = ("mosei", "mosei-vt", "mosei-nonzero", "mosei-regression", "mosei-unaligned")
GRAMMAR = f"mosei[-OPTION...]: {_affect.GRAMMAR}"


def canonical(name: str) -> str:
    """Raises ValueError, one line, for a name that means nothing."""
    return _affect.canonical(CORPUS, name)


def variant(name: str) -> Variant:
    """Raises ValueError, one line, for a name that means nothing."""
    return _affect.variant(CORPUS, name)
