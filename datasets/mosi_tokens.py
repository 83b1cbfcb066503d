"""CMU-MOSI with its transcripts as text, tokens in the numbers of MiniLM, which may then be fine-tuned; and audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dmil.data import Split, Splits

from . import _mosi, mosi
from ._assemble import assemble
from ._files import fetch
from ._minilm import MAX_TOKENS, WEIGHTS

FILES = mosi.FILES
RAW = mosi.RAW
LIBRARIES = ("torch", "tokenizers")
describe = _mosi.describe

CARD = replace(
    mosi.CARD,
    name="mosi-tokens",
    title="CMU-MOSI, sentiment of spoken utterances (text as tokens, and audio)",
    source=_mosi.BASE + "; tokenizer: sentence-transformers/all-MiniLM-L6-v2 at 1110a243",
    preprocessing="transcripts in lower case, as numbers of MiniLM's tokenizer (101 first, 102 last, 0 for padding); "
    "audio columns standardised on the training rows and clipped to +-5; columns constant in training set to 0",
    traps=(
        "Read the text with encoder minilm: the numbers are those of its 30,522 pieces, and 8 to 9 % of those in "
        "validation and test texts are in no training text: an encoder that starts from nothing knows nothing of them.",
        "With minilm frozen this is mosi, at a much higher price: mosi holds what minilm says of these texts.",
        *mosi.CARD.traps[:2],
    ),
    modalities={"text": "tokens of MiniLM-L6-v2 (126)", "audio": mosi.CARD.modalities["audio"]},
)


def token_ids(texts: Sequence[str], folder: Path) -> Tensor:
    """Texts in the numbers of the tokenizer in ``folder``: int64 (N, T), T that of the longest, 256 at most."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    ids = [torch.tensor(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]
    return torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)


def prepare(root: Path) -> Splits:
    """Raises DataError where raw files are missing or not as pinned."""
    fetch(FILES, root)
    utterances = _mosi.read_utterances(root)
    samples = Split(
        inputs={
            "text": token_ids([text.lower() for text in utterances.texts], WEIGHTS.fetch(root)),
            "audio": _mosi.read_features(root, "audio", utterances),
        },
        target=utterances.target,
        ids=utterances.ids,
        groups=utterances.videos,
    )
    return assemble(samples, _mosi.split_rows(utterances), task=_mosi.TASK, card=CARD)
