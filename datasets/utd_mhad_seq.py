"""UTD-MHAD as sequences: the clips, subjects and split of ``utd_mhad``, for encoders that read step by step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from dmil.data import Splits

from ._sequence import pad, summarised
from .utd_mhad import CARD as STATISTICS_CARD
from .utd_mhad import LIBRARIES, RAW, Recording, assembled

__all__ = ["CARD", "LIBRARIES", "RAW", "prepare"]

N_STEPS = 16

CARD = replace(
    STATISTICS_CARD,
    name="utd_mhad-seq",
    title="UTD-MHAD, 27 human actions as sequences (accelerometer, gyroscope, skeleton)",
    preprocessing=f"skeleton relative to the hip centre, less the mean pose of its clip, divided by the size of its "
    f"movement (root mean square over joints and frames); {N_STEPS} equal segments of each clip, of each mean and "
    "standard deviation; both standardised on the training steps, all axes of a sensor by one deviation, "
    "and clipped to +-5",
    traps=(
        *STATISTICS_CARD.traps,
        "Segments are shares of a clip: how long an action lasts is not shown, and so is the size of its movement.",
    ),
    modalities={
        "accelerometer": f"{N_STEPS} steps, mean and deviation of 3 axes, existence (7)",
        "gyroscope": f"{N_STEPS} steps, mean and deviation of 3 axes, existence (7)",
        "skeleton": f"{N_STEPS} steps, mean and deviation of 20 joints x 3 coordinates, existence (121)",
    },
)


def prepare(root: Path) -> Splits:
    """Raises DataError where raw files are missing or not as pinned."""
    return assembled(root, _steps, card=CARD, n_blocks=dict.fromkeys(CARD.modalities, 2))


def _steps(recording: Recording) -> dict[str, Tensor]:
    """(N_STEPS, 2 d + 1) of every modality."""
    shown = {
        "accelerometer": recording.inertial[:, :3],
        "gyroscope": recording.inertial[:, 3:],
        "skeleton": movement(recording.skeleton),
    }
    return {modality: pad([summarised(series, N_STEPS)])[0] for modality, series in shown.items()}


def movement(skeleton: Tensor) -> Tensor:
    """(frames, 20, 3), relative to the hip centre -> (frames, 60): away from the mean pose, its mean square being 1.

    How tall someone is and how far away drops out with the size, how someone stands with the mean pose.
    """
    moved = (skeleton - skeleton.mean(0)).flatten(1)
    return moved / moved.square().mean().sqrt()
