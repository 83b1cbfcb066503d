"""The synergy indicator: what only the multimodal prediction gets right."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def is_synergistic(prediction: Tensor, unimodal: Sequence[Tensor], target: Tensor) -> Tensor:
    """Which samples the multimodal prediction gets right and every unimodal one gets wrong: (N,) bool.

    prediction (N, C): logits or probabilities; unimodal: one (N, C) per separately trained unimodal model, the same
    ones for every method of a table; target (N,). Of equal scores the first class counts as predicted.

    With two classes it is nowhere true for the mean of the unimodal probabilities: what all of them give less than
    one half, their mean gives less than one half. With more classes the mean can turn to a third one.

    Its share is the synergy indicator (Yang et al., CVPR 2026, arXiv 2606.11614).

    Raises:
        ValueError: shapes that differ.
    """
    if any(alone.shape != prediction.shape for alone in unimodal) or target.shape != prediction.shape[:-1]:
        shapes = [[*part.shape] for part in (prediction, *unimodal, target)]
        raise ValueError(f"predictions (N, C) and target (N,) are needed, but got {shapes}")
    only_together = prediction.argmax(-1) == target
    for alone in unimodal:
        only_together = only_together & (alone.argmax(-1) != target)
    return only_together
