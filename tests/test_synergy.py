"""The synergy indicator of single samples; its share is tested in test_metrics."""

from __future__ import annotations

import pytest
import torch

from dmil.interactions.synergy import is_synergistic
from dmil.metrics import synergy_indicator
from dmil.seeds import generator


def test_by_hand() -> None:
    target = torch.tensor([0, 0, 1, 1])
    together = torch.tensor([[2.0, 1.0], [2.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    left = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    right = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0]])  # a tie is the first class
    assert is_synergistic(together, [left, right], target).tolist() == [True, False, False, True]
    assert is_synergistic(together, [], target).tolist() == [True, True, False, True]
    assert synergy_indicator(together, [left, right], target) == 0.5


@pytest.mark.parametrize("n_modalities", [2, 3, 5])
def test_the_mean_of_two_class_probabilities_has_none_at_all(n_modalities: int) -> None:
    """Over scales from near ties to certainty; float32 probabilities add up exactly in float64."""
    rng = generator("test_synergy", n_modalities)
    scale = torch.logspace(-6, 3, 20_000).unsqueeze(1)
    members = [(scale * torch.randn(20_000, 2, generator=rng)).softmax(1).double() for _ in range(n_modalities)]
    members[0][:500] = 0.5
    target = torch.randint(2, (20_000,), generator=rng)
    mean = torch.stack(members).mean(0)
    assert not is_synergistic(mean, members, target).any()
    flipped = is_synergistic(mean.flip(1), members, target)
    assert flipped.any()  # the property is the mean's, not the indicator's


def test_with_three_classes_the_mean_can_turn_to_a_third() -> None:
    left, right = torch.tensor([[0.5, 0.0, 0.5 - 1e-6]]), torch.tensor([[0.0, 0.5, 0.5 - 1e-6]])
    assert is_synergistic((left + right) / 2, [left, right], torch.tensor([2])).all()


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[\[4, 2\], \[4, 3\], \[4\]\]"):
        is_synergistic(torch.zeros(4, 2), [torch.zeros(4, 3)], torch.zeros(4).long())
