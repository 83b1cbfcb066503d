"""What the variants of CREMA-D say of themselves."""

from __future__ import annotations

from dataclasses import replace

from dmil.data import Card

N_CLIPS = 7442

LEAK = (
    "Every actor is in training, validation and test: a network that recognises the person, the voice and the way this "
    "person acts an emotion is rewarded. Numbers compare with publications that use this split, and with nothing else; "
    "cremad keeps the actors apart."
)


def card(name: str, *, is_common: bool, n_frames: int) -> Card:
    common_rule = (
        "the published lists of OGM-GE (6,698 clips for training, 744 for test), random over all clips: every actor is "
        "in both; a tenth of each class of the training list, drawn with a seed, is validation"
    )
    own_rule = (
        "by actor: of the 91 actors, drawn with a seed, 63 are train, 14 valid and 14 test; nobody is in two of them"
    )
    return Card(
        name=name,
        title=f"CREMA-D, 6 emotions acted by 91 people (voice, {n_frames} frames of the face), "
        + ("the common split" if is_common else "split by actor"),
        source="github.com/CheyneyComputerScience/CREMA-D, folders AudioWAV and VideoFlash"
        + ("; lists: github.com/GeWu-Lab/OGM-GE_CVPR2022, data/CREMAD" if is_common else ""),
        licence="Open Database License and Database Contents License (ODbL, DbCL)",
        citation="Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D: Crowd-sourced Emotional Multimodal Actors "
        "Dataset, IEEE Transactions on Affective Computing 5(4), 2014. Split of cremad-common: Peng, Wei, Deng, Wang, "
        "Hu: Balanced Multimodal Learning via On-the-fly Gradient Modulation, CVPR 2022.",
        split_rule=common_rule if is_common else own_rule,
        preprocessing="sound resampled to 22,050 Hz (polyphase), repeated to 3 s, clipped to +-1, log(|S| + 1e-7) of a "
        f"Fourier transform with windows of 512 every 353 samples; {n_frames} frames, the middles of as many equal "
        "parts of the clip, shorter side scaled to 224, centre cropped; nothing is standardised",
        traps=(
            *((LEAK,) if is_common else ()),
            "There is no single number for a joint network here: on the common split, with other numbers of frames, "
            "other optimisers and epochs chosen on the test part, figures from 65.5 (BalanceBenchmark) to 75.8 % (a "
            "user's run) are reported. Numbers of two protocols do not belong in one column.",
            "Published training crops and flips frames at random; here every epoch sees the same centre crops.",
            "The label is the emotion that the actor was asked for. People recognise it in 40.9 % of the clips by ear, "
            "in 58.2 % by eye, in 63.6 % by both (paper cited).",
            "Users report that clip 1076_MTI_SAD_XX is silent, and that three pairs of sounds (1006_TIE HAP and NEU, "
            "1013_WSI DIS and SAD, 1017_IWW ANG and FEA) are the same under two labels. They are kept, as in print.",
        ),
        modalities={
            "audio": "log spectrogram, frequency x time (1, 257, 188)",
            "video": f"{n_frames} RGB frames ({n_frames}, 3, 224, 224)",
        },
        warning=LEAK if is_common else None,
    )


def with_count(card: Card, n_clips: int) -> Card:
    """The card, with a warning where the raw data are not complete."""
    if n_clips == N_CLIPS:
        return card
    incomplete = f"Made from {n_clips:,} clips instead of {N_CLIPS:,}: compare with no other result."
    return replace(card, warning=f"{card.warning} {incomplete}" if card.warning else incomplete)
