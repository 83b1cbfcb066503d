"""What Kinetics-Sounds says of itself."""

from __future__ import annotations

from dmil.data import Card


def card(name: str, classes: str) -> Card:
    return Card(
        name=name,
        title=f"Kinetics-Sounds, {classes} of actions that can be heard and seen (sound, 3 frames)",
        source="clips of Kinetics-400 (YouTube), downloaded by the user; the list of 31 classes is that of the authors "
        "of AdaMML, github.com/IBM/AdaMML, issue 3",
        licence="annotations CC BY 4.0; the clips belong to those who uploaded them",
        citation="Arandjelović, Zisserman: Look, Listen and Learn, ICCV 2017; Kay et al.: The Kinetics Human Action "
        "Video Dataset, arXiv 1705.06950, 2017.",
        split_rule="train, val and test as the user's folders have them (those of Kinetics-400, by intention); refused "
        "where a video is in two of them",
        preprocessing="sound as one channel at 16 kHz: 128 log-mel energies as Kaldi computes them (25 ms every "
        "10 ms), 1024 frames, (x + 4.503877) / (2 * 5.141276), constants as published; 3 frames, the middles of the "
        "thirds of the clip, shorter side scaled to 224, centre cropped",
        traps=(
            "The paper that introduced the name has 34 classes, of which Kinetics-400 as released lacks some or names "
            "them differently; publications use 31, 32, 33 or 34 and seldom say which. Of the 31 here the source is "
            "known; kinetics_sounds-listed takes others. Numbers on different lists do not compare.",
            "Videos vanish from YouTube, so no two copies hold the same clips (the lists of OGM-GE: 14,799 for "
            "training, 2,597 for test). Numbers compare within one copy: the checksum of the data tells.",
            "Published numbers of joint networks are 65.6 (BalanceBenchmark, whose validation is its test part) and "
            "85.1 % (digest of the paper of DMIL): likely without and with pretrained weights.",
            "Clips that end before 10.24 s are filled with energies of 0 before scaling, as published: loud, not "
            "silent. A network can see where a clip ends.",
            "At low frequencies some of the 128 bands are so narrow that no frequency falls into them: they are "
            "constant, as in print.",
            "Published training crops and flips frames at random; here every epoch sees the same centre crops.",
        ),
        modalities={
            "audio": "log-mel energies, band x time (1, 128, 1024)",
            "video": "3 RGB frames (3, 3, 224, 224)",
        },
    )
