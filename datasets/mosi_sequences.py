"""CMU-MOSI: 2199 utterances of opinion videos as sequences of text, audio and vision; a family, named by options.

``mosi`` itself is another dataset, of the transcripts and of statistics of audio, and so is ``mosi-acl2017``.
"""

from __future__ import annotations

from . import _affect
from ._affect import Corpus, Variant

CORPUS = Corpus(
    name="mosi",
    title="CMU-MOSI",
    short="mosi-aligned",
    folder="MOSI/Processed",
    file=__file__,
    citation="Zadeh, Zellers, Pincus, Morency: MOSI: Multimodal Corpus of Sentiment Intensity and Subjectivity "
    "Analysis in Online Opinion Videos, arXiv 1606.06259, 2016.",
    widths=(("text", 768), ("audio", 5), ("vision", 20)),
    sensors={"text": "BERT vectors", "audio": "COVAREP, selected", "vision": "Facet, selected"},
    checksums={
        "aligned": "d3994fd25681f9c7ad6e9c6596a6fe9b4beb85ff7d478ba978b124139002e5f9",
        "unaligned": "78e0f8b5ef8ff71558e7307848fc1fa929ecb078203f565ab22b9daab2e02524",
    },
    traps=(
        "Its splits (1284, 229 and 686 utterances) are not those of mosi and mosi-acl2017 (1447 and 752).",
        "686 test utterances: the standard error of an accuracy of 0.8 is 0.015.",
    ),
)
NAMES = ("mosi-aligned", "mosi-aligned-nonzero", "mosi-aligned-regression", "mosi-unaligned")
GRAMMAR = f"mosi-OPTION...: {_affect.GRAMMAR}"


def canonical(name: str) -> str:
    """Raises ValueError, one line, for a name that means nothing."""
    return _affect.canonical(CORPUS, name)


def variant(name: str) -> Variant:
    """Raises ValueError, one line, for a name that means nothing."""
    return _affect.variant(CORPUS, name)
