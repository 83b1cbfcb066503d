"""CMU-MOSI: is the speaker's opinion positive? Text from the raw transcripts, and audio."""

from __future__ import annotations

from pathlib import Path

from dmil.data import Card, Split, Splits

from . import _mosi
from ._assemble import assemble
from ._files import fetch
from ._minilm import CHECKSUMS, WEIGHTS, embed_cached

FILES = _mosi.raw_files("audio")
RAW = (*FILES, WEIGHTS)
LIBRARIES = ("torch", "transformers", "tokenizers")
describe = _mosi.describe

CARD = Card(
    name="mosi",
    title="CMU-MOSI, sentiment of spoken utterances (text and audio)",
    source=_mosi.BASE + "; text embedding: sentence-transformers/all-MiniLM-L6-v2 at 1110a243",
    licence=_mosi.LICENCE + "; MiniLM-L6-v2: Apache-2.0",
    citation=_mosi.CITATION
    + " Text embedding: Wang et al., MiniLM, NeurIPS 2020; Reimers and Gurevych, Sentence-BERT, EMNLP 2019.",
    split_rule=_mosi.SPLIT_RULE,
    preprocessing="transcripts in lower case, embedded by MiniLM-L6-v2 (mean over tokens, at most 256); every column "
    "standardised on the training rows and clipped to +-5; columns constant in training set to 0",
    traps=(
        "Audio alone is at chance, below the constant row: the honest question here is whether a method is hurt "
        "by a useless modality.",
        _mosi.CONSTANT_TRAP,
        "No video, and not the published text features: both were trained on training labels, so validation on them "
        "is void (see mosi-acl2017). Logistic regression on this text gives 0.787 cross-validated by video, 0.79 test.",
        "Audio has heavy tails (raw values from -12 to 376): hence the clipping.",
        "Three text columns are constant up to rounding.",
    ),
    checksums={file.path: file.sha256 for file in FILES}
    | {f"{WEIGHTS.path}/{name}": digest for name, digest in CHECKSUMS.items()},
    modalities={"text": "MiniLM-L6-v2 sentence embedding (384)", "audio": "openSMILE statistics, selected (73)"},
)


def prepare(root: Path) -> Splits:
    """Raises DataError where raw files are missing or not as pinned."""
    fetch(FILES, root)
    utterances = _mosi.read_utterances(root)
    samples = Split(
        inputs={
            "text": embed_cached([text.lower() for text in utterances.texts], root),
            "audio": _mosi.read_features(root, "audio", utterances),
        },
        target=utterances.target,
        ids=utterances.ids,
        groups=utterances.videos,
    )
    return assemble(samples, _mosi.split_rows(utterances), task=_mosi.TASK, card=CARD)
