"""CMU-MOSI with the published ACL 2017 features: a reference variant on which validation means nothing."""

from __future__ import annotations

from pathlib import Path

from dmil.data import Card, Split, Splits

from . import _mosi
from ._assemble import assemble
from ._files import fetch

MODALITIES = {
    "text": "CNN features trained on training labels (100)",
    "audio": "openSMILE statistics, selected (73)",
    "video": "3D-CNN features trained on training labels (100)",
}
RAW = _mosi.raw_files(*MODALITIES)
LIBRARIES = ("torch",)
describe = _mosi.describe

CARD = Card(
    name="mosi-acl2017",
    title="CMU-MOSI, sentiment of spoken utterances (published text, audio and video features)",
    source=_mosi.BASE,
    licence=_mosi.LICENCE,
    citation=_mosi.CITATION,
    split_rule=_mosi.SPLIT_RULE,
    preprocessing="every column standardised on the training rows and clipped to +-5; columns constant in training "
    "set to 0",
    traps=(
        _mosi.CONSTANT_TRAP,
        "Audio alone is at chance: logistic regression 0.50 cross-validated, 0.55 test.",
        "32 of the 100 video columns are constant.",
    ),
    checksums={file.path: file.sha256 for file in RAW},
    modalities=MODALITIES,
    warning="Validation on this dataset is void: its text and video features were trained on the labels of the "
    "training set, from which validation is carved. Logistic regression, cross-validated by video inside train / on "
    "test: text 0.98 / 0.76, video 0.91 / 0.52. Early stopping, tuning and modality importance mean nothing here; "
    "use `mosi`.",
)


def prepare(root: Path) -> Splits:
    """Raises DataError where raw files are missing or not as pinned."""
    fetch(RAW, root)
    utterances = _mosi.read_utterances(root)
    samples = Split(
        inputs={modality: _mosi.read_features(root, modality, utterances) for modality in MODALITIES},
        target=utterances.target,
        ids=utterances.ids,
        groups=utterances.videos,
    )
    return assemble(samples, _mosi.split_rows(utterances), task=_mosi.TASK, card=CARD)
