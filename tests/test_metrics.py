"""Metrics against values worked out by hand and against scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dmil.metrics import (
    accuracy,
    expected_calibration_error,
    macro_f1,
    mean_absolute_error,
    negative_log_likelihood,
    synergy_indicator,
)
from dmil.seeds import generator


def logits_of(*probabilities: list[float]) -> Tensor:
    return torch.tensor(probabilities, dtype=torch.float64).log()


def votes(*classes: int, n_classes: int = 3) -> Tensor:
    """Logits whose largest entry is the given class."""
    return torch.nn.functional.one_hot(torch.tensor(classes), n_classes).double()


def test_by_hand() -> None:
    logits = logits_of([0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.5, 0.25, 0.25], [0.1, 0.1, 0.8])
    target = torch.tensor([0, 1, 1, 0])
    assert accuracy(logits, target) == 0.5
    # class 0: tp 1, fp 1, fn 1 -> 1/2; class 1: tp 1, fp 0, fn 1 -> 2/3; class 2: tp 0, fp 1 -> 0
    assert macro_f1(logits, target) == pytest.approx((1 / 2 + 2 / 3 + 0) / 3, abs=1e-15)
    expected = -(math.log(0.7) + math.log(0.6) + math.log(0.25) + math.log(0.1)) / 4
    assert negative_log_likelihood(logits, target) == pytest.approx(expected, abs=1e-15)
    assert isinstance(accuracy(logits, target), float)


def test_nll_ignores_the_scale_of_the_logits_sum() -> None:
    logits, target = logits_of([0.7, 0.2, 0.1]), torch.tensor([0])
    assert negative_log_likelihood(logits + 100, target) == pytest.approx(-math.log(0.7), abs=1e-12)


def test_a_class_that_is_neither_there_nor_predicted_counts_as_zero() -> None:
    assert macro_f1(votes(0, 1, n_classes=4), torch.tensor([0, 1])) == 0.5


@pytest.mark.parametrize(("n_classes", "absent"), [(2, ()), (5, ()), (5, (3,)), (6, (0, 5))])
def test_as_scikit_learn(n_classes: int, absent: tuple[int, ...]) -> None:
    from sklearn import metrics as theirs

    rng = generator("test_metrics", n_classes)
    logits = 2 * torch.randn(200, n_classes, generator=rng)
    target = torch.randint(n_classes, (200,), generator=rng)
    for label in absent:
        target[target == label] = 1
        logits[:, label] = -9.0
    predicted, probabilities = logits.argmax(1).numpy(), logits.double().softmax(1).numpy()
    y, labels = target.numpy(), list(range(n_classes))
    assert accuracy(logits, target) == pytest.approx(theirs.accuracy_score(y, predicted), abs=1e-15)
    f1 = theirs.f1_score(y, predicted, labels=labels, average="macro", zero_division=0)
    assert macro_f1(logits, target) == pytest.approx(f1, abs=1e-15)
    nll = theirs.log_loss(y, probabilities, labels=labels)
    assert negative_log_likelihood(logits, target) == pytest.approx(nll, abs=1e-12)
    error = theirs.mean_absolute_error(y.astype(float), probabilities[:, 0])
    ours = mean_absolute_error(logits.double().softmax(1)[:, :1], target.double())
    assert ours == pytest.approx(error, abs=1e-15)


def test_calibration_by_hand_with_three_bins() -> None:
    """Bins (0, 1/3], (1/3, 2/3], (2/3, 1]; gaps of a bin add up before their absolute value is taken."""
    logits = logits_of([0.6, 0.4], [0.5, 0.5], [0.9, 0.1], [0.2, 0.8])
    target = torch.tensor([0, 1, 1, 1])
    middle = (1 - 0.6) + (0 - 0.5)  # right at 0.6; a tie predicts class 0: wrong at 0.5
    last = (0 - 0.9) + (1 - 0.8)
    expected = (abs(middle) + abs(last)) / 4
    assert expected_calibration_error(logits, target, n_bins=3) == pytest.approx(expected, abs=1e-12)


def test_a_confidence_on_an_edge_belongs_to_the_lower_bin() -> None:
    """0.5 is the end of (0.25, 0.5], so it does not cancel against the 0.7 of (0.5, 0.75]."""
    logits, target = torch.cat([torch.zeros(1, 2), logits_of([0.7, 0.3]).float()]), torch.tensor([0, 1])
    separate = (abs(1 - 0.5) + abs(0 - 0.7)) / 2
    assert expected_calibration_error(logits, target, n_bins=4) == pytest.approx(separate, abs=1e-7)
    together = abs((1 - 0.5) + (0 - 0.7)) / 2
    assert expected_calibration_error(logits, target, n_bins=1) == pytest.approx(together, abs=1e-7)


def test_certain_predictions_are_calibrated_when_right() -> None:
    logits = 1000 * votes(0, 1, 2)
    assert expected_calibration_error(logits, torch.tensor([0, 1, 2])) == 0.0
    assert expected_calibration_error(logits, torch.tensor([1, 2, 0])) == 1.0


def test_synergy_by_hand() -> None:
    """Right together and wrong alone in rows 0 and 3; row 1 is known to one alone, row 2 to nobody."""
    target = torch.tensor([0, 1, 2, 1, 0])
    together, left, right = votes(0, 1, 0, 1, 0), votes(1, 1, 1, 2, 0), votes(2, 0, 1, 0, 0)
    assert synergy_indicator(together, [left, right], target) == 2 / 5
    assert synergy_indicator(together, [left], target) == 2 / 5
    assert synergy_indicator(together, [right], target) == 3 / 5
    assert synergy_indicator(together, [together], target) == 0.0
    assert synergy_indicator(together, [], target) == accuracy(together, target)


def test_with_two_classes_a_mean_of_probabilities_has_no_synergy_at_all() -> None:
    rng = generator("two classes")
    members = [3 * torch.randn(5000, 2, generator=rng, dtype=torch.float64) for _ in range(3)]
    members[0][:50] = members[1][:50] = members[2][:50] = 0.0  # ties
    target = torch.randint(2, (5000,), generator=rng)
    mean = torch.stack([m.softmax(1) for m in members]).mean(0)
    assert synergy_indicator(mean, members, target) == 0.0


def test_with_three_classes_a_mean_of_probabilities_may_flip_to_the_third() -> None:
    left, right = torch.tensor([[0.5, 0.1, 0.4]]), torch.tensor([[0.1, 0.5, 0.4]])
    assert synergy_indicator((left + right) / 2, [left, right], torch.tensor([2])) == 1.0


def test_absolute_error_by_hand() -> None:
    target = torch.tensor([1.0, 2.0, 4.0])
    assert mean_absolute_error(torch.tensor([[1.5], [2.0], [1.0]]), target) == pytest.approx(3.5 / 3, abs=1e-7)
    assert mean_absolute_error(torch.tensor([1.5, 2.0, 1.0]), target) == pytest.approx(3.5 / 3, abs=1e-7)
