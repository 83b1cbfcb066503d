"""The card of a mixture of spoken and written digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dmil.data import Card

from ._avdigits_draw import COMPOSITIONS, N_WORD_FRAMES, POOL, TONES
from ._files import RawFolder
from ._logmel import FRAME, HOP, N_BANDS, RATE

KINDS = {
    "r": "redundant (both show the label)",
    "u": "unique (one shows it, the other a random digit)",
    "s": "synergistic (the label is the sum modulo 10)",
}


def card(
    name: str,
    weights: Sequence[float],
    folder: RawFolder,
    speakers: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
) -> Card:
    """weights: probability of each composition; speakers, sizes: by split."""
    r, u1, u2, s = weights
    shares = {KINDS["r"]: r, KINDS["u"]: u1 + u2, KINDS["s"]: s}
    n_frames = N_WORD_FRAMES // POOL + 1
    seconds = (FRAME + (N_WORD_FRAMES - 1) * HOP) / RATE
    marks = ", ".join(f"{role} {hertz:.0f} Hz" for role, hertz in TONES.items())
    return Card(
        name=name,
        title="Spoken and written digits: " + ", ".join(f"{w:.0%} {kind}" for kind, w in shares.items() if w),
        source=f"{folder.url} (Free Spoken Digit Dataset, recordings); sklearn.datasets.load_digits (images); pairs: "
        "datasets/avdigits.py",
        licence="recordings CC BY-SA 4.0; images CC BY 4.0 (UCI dataset 80); pairing MIT, like the code",
        citation="Jackson et al.: Free Spoken Digit Dataset, github.com/Jakobovski/free-spoken-digit-dataset, at "
        "26eb9aa. Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998. "
        "Pairs with a known interaction: this suite.",
        split_rule="by speaker ("
        + "; ".join(f"{part}: {', '.join(who)}" for part, who in speakers.items())
        + ") and by image, within each class (50 % train, 20 % valid, the rest test); pairs drawn within a split, none "
        f"twice: {', '.join(f'{n} {part}' for part, n in sizes.items())}",
        preprocessing=f"recordings at {RATE} Hz, all equally loud, the middle {seconds:.2f} s, {N_BANDS} mel bands of "
        f"the logarithm of power, means over {1000 * POOL * HOP // RATE} ms; a tone before the word says what it "
        f"counts for ({marks}, idle: none), and so does the place of a bar above the image; every column standardised "
        "on the training rows and clipped to +-5; columns constant in training set to 0",
        traps=tuple(_traps(weights)),
        checksums={folder.path: folder.digest},
        modalities={
            "audio": f"log-mel spectrogram of tone and word, {n_frames}x{N_BANDS} ({n_frames * N_BANDS})",
            "image": "bar and 8x8 pixels (72)",
        },
        truth_names=COMPOSITIONS,
        bayes_attribution=1.0,
    )


def _traps(weights: Sequence[float]) -> list[str]:
    traps = [
        "The best possible accuracy is not known: recordings and images are real. Only what a digit counts for is "
        "marked without doubt, so every composition can be told.",
        "Reference points: logistic regression on words of speakers, or on images, that it never saw, its strength "
        "chosen on validation: audio 0.643 valid and 0.690 test, image 0.955 and 0.957. Speakers differ: with three to "
        "train on, leaving out one of the four that are not test, audio had 0.49 to 0.66.",
        "Two test speakers, and every recording and image is in several pairs: intervals over pairs understate what "
        "other speakers and writers would change.",
        "scikit-learn's copy of the images does not say who wrote a digit, so each writer is in every split.",
    ]
    if weights[-1]:
        traps.append("A model that does not see both modalities is at chance (0.10) on synergistic samples.")
    if max(weights) == 1:
        traps.append("There is one composition only: attribution is right whatever the sample.")
    return traps
