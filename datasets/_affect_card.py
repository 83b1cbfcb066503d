"""Cards of the variants of CMU-MOSI and CMU-MOSEI."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dmil.data import Card

if TYPE_CHECKING:
    from ._affect import Variant

LABELS = {
    "nonneg": "Scores below 0 are negative, all others, neutral ones too, non-negative: the protocol called Acc-2 "
    "Has0, and that of the paper's tables as far as their figures tell. Option nonzero leaves the neutral ones out.",
    "nonzero": "Neutral utterances (score exactly 0) are left out of all splits: the protocol called Acc-2 Non0, but "
    "trained on what it is tested on. Published Non0 figures come from regressions that saw neutral ones too.",
    "regression": "The score itself, from -3 to 3. Acc-2 with neutral utterances (Has0) and without (Non0) and Acc-7 "
    "are read off the predicted score.",
}
TRAPS = (
    "Text is the frozen output of BERT: published rows that fine-tune BERT on text_bert cannot be compared.",
    "The lengths in the unaligned file end at the first step that is all zeros, which may be the first one or a lost "
    "face; they are not used. Every step with a value is.",
)


def card(variant: Variant) -> Card:
    """The card as far as it is known without the file."""
    corpus, alignment = variant.corpus, variant.alignment
    steps = "aligned to 50 word pieces" if alignment == "aligned" else "each at its own rate"
    features = dict(corpus.widths)
    return Card(
        name=variant.name,
        title=f"{corpus.title}, sentiment of utterances ({alignment} sequences: {', '.join(variant.modalities)})",
        source=f"https://github.com/thuiar/MMSA, feature file {variant.path}, put there by hand",
        licence=f"MIT (repository of the features); {corpus.title} is offered for research",
        citation=f"{corpus.citation} Feature files: Yu, Xu, Meng, Zhu, Ma, Wu, Zou, Yang: CH-SIMS: A Chinese "
        "Multimodal Sentiment Analysis Dataset with Fine-grained Annotation of Modality, ACL 2020.",
        split_rule="the published train, valid and test, by video: a file with a video in two of them is refused",
        preprocessing=f"sequences {steps}; values that are not finite (-inf in audio) set to 0, as in MMSA's loader; a "
        "step of text exists where BERT was shown a word piece, one of audio or vision where any value differs from 0; "
        "every feature standardised over the existing steps of the training rows and clipped to +-5",
        traps=(LABELS[variant.labels], *corpus.traps, *TRAPS),
        checksums={variant.path: corpus.checksums[alignment]},
        modalities={
            m: f"steps of {features[m]} features: {corpus.sensors[m]}; and existence ({features[m] + 1})"
            for m in variant.modalities
        },
    )


def with_checksum(known: Card, path: str, found: str) -> Card:
    """The card with the checksum of the file that was found, and a warning where it is not the published one."""
    expected = known.checksums[path]
    if found == expected:
        return known
    warning = (
        f"These are not the published features: {path} has sha256 {found}, the file of MMSA {expected}. Results on it "
        "cannot be compared with any published one."
    )
    return replace(known, checksums={path: found}, warning=warning)
