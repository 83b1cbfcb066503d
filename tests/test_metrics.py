"""Metrics against values worked out by hand and against scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dmil import data
from dmil.metrics import (
    SENTIMENT,
    accuracy,
    correlation,
    expected_calibration_error,
    macro_f1,
    mean_absolute_error,
    negative_log_likelihood,
    seven_class_accuracy,
    sign_accuracy,
    sign_f1,
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


PREDICTED = torch.tensor([[0.2], [-0.1], [1.4], [0.0], [-2.6], [3.9]])
SENTIMENTS = torch.tensor([1.0, 0.0, -0.6, 0.0, -3.0, 2.8])


def test_signs_by_hand() -> None:
    """With zeros: + - + + - + for + + - + - +, four of six. Without: + + - + for + - - +, three of four."""
    assert sign_accuracy(PREDICTED, SENTIMENTS, has_neutral=True) == pytest.approx(4 / 6)
    assert sign_accuracy(PREDICTED, SENTIMENTS, has_neutral=False) == 3 / 4
    # Of four + three are found, one - is called +: 2 * 3 / 8. Of two - one is found, one + is called -: 2 * 1 / 4.
    assert sign_f1(PREDICTED, SENTIMENTS, has_neutral=True) == pytest.approx((4 * 6 / 8 + 2 * 2 / 4) / 6)
    # Of two + both are found, three called +: 4 / 5. Of two - one is found and called -: 2 / 3.
    assert sign_f1(PREDICTED, SENTIMENTS, has_neutral=False) == pytest.approx((2 * 4 / 5 + 2 * 2 / 3) / 4)


def test_a_prediction_of_zero_is_positive_with_neutral_and_negative_without() -> None:
    """Without neutral > 0 stands against the rest, as in MMSA."""
    zero = torch.tensor([0.0])
    assert sign_accuracy(zero, torch.tensor([2.0]), has_neutral=True) == 1
    assert sign_accuracy(zero, torch.tensor([2.0]), has_neutral=False) == 0
    assert sign_accuracy(zero, torch.tensor([-2.0]), has_neutral=False) == 1


def test_nothing_but_zeros_has_no_signs() -> None:
    zeros = torch.zeros(3)
    assert math.isnan(sign_accuracy(zeros, zeros, has_neutral=False))
    assert math.isnan(sign_f1(zeros, zeros, has_neutral=False))


def test_seven_classes_by_hand() -> None:
    """Rounded: 0 0 1 0 -3 3 for 1 0 -1 0 -3 3, four of six; halves go to the even number, and 9 is clipped to 3."""
    assert seven_class_accuracy(PREDICTED, SENTIMENTS) == pytest.approx(4 / 6)
    assert seven_class_accuracy(torch.tensor([0.5, 1.5, 9.0]), torch.tensor([0.0, 2.0, 3.0])) == 1
    assert seven_class_accuracy(torch.tensor([0.5, 1.5, 9.0]), torch.tensor([1.0, 1.0, 2.0])) == 0


def test_correlation_by_hand() -> None:
    """Deviations -1 0 1 and -2 1 1: products 3, squares 2 and 6."""
    assert correlation(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0.0, 3.0, 3.0])) == pytest.approx(
        3 / math.sqrt(12)
    )
    assert correlation(torch.tensor([1.0, 2.0]), torch.tensor([5.0, 4.0])) == pytest.approx(-1)
    assert math.isnan(correlation(torch.tensor([0.1, 0.1]), torch.tensor([5.0, 4.0])))
    assert math.isnan(correlation(torch.tensor([0.1, 0.2]), torch.tensor([4.0, 4.0])))


def test_sentiment_as_scikit_learn_and_numpy() -> None:
    import numpy as np
    from sklearn import metrics as theirs

    rng = generator("sentiment")
    target = (3 * torch.randn(300, generator=rng)).round().clamp(-9, 9) / 3
    predicted = (target + 1.5 * torch.randn(300, generator=rng)).unsqueeze(-1)
    y, p = target.numpy(), predicted.squeeze(-1).numpy()
    assert correlation(predicted, target) == pytest.approx(np.corrcoef(p, y)[0, 1], abs=1e-6)
    counted = y != 0
    signs = {"has0": (y >= 0, p >= 0), "non0": (y[counted] > 0, p[counted] > 0)}
    for name, (true, said) in signs.items():
        assert SENTIMENT[f"acc2_{name}"](predicted, target) == pytest.approx(theirs.accuracy_score(true, said))
        f1 = theirs.f1_score(true, said, average="weighted")
        assert SENTIMENT[f"f1_{name}"](predicted, target) == pytest.approx(f1)
    seven = np.mean(np.round(np.clip(p, -3, 3)) == np.round(np.clip(y, -3, 3)))
    assert SENTIMENT["acc7"](predicted, target) == pytest.approx(seven)
    assert tuple(SENTIMENT) == data.SENTIMENT
