"""Aggregates over datasets, against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.aggregate import (
    MIN_DATASETS_FOR_RANKS,
    Estimate,
    RankTest,
    holm,
    interquartile_mean,
    mean_ranks,
    normalise,
    probability_of_improvement,
    rank_test,
    signed_rank,
    why_no_rank_test,
)

Method = list[np.ndarray]


def method(*datasets: list[float]) -> Method:
    return [np.array(runs) for runs in datasets]


def constant(*means: float) -> Method:
    """One mean per dataset, three seeds alike."""
    return [np.full(3, mean) for mean in means]


def test_scores_are_shares_of_what_is_there_to_gain() -> None:
    assert normalise(np.array([0.6, 0.8, 1.0, 0.4]), 0.6) == pytest.approx([0, 0.5, 1, -0.5])
    with pytest.raises(ValueError, match=r"`0 <= floor < 1` must hold, but got floor=1"):
        normalise(np.array([0.5]), 1.0)


def test_the_interquartile_mean_by_hand() -> None:
    # Eight runs, the two lowest and the two highest cut: (3 + 4 + 5 + 6) / 4.
    found = interquartile_mean(method([8, 1, 3, 5], [2, 4, 6, 100]), "toy")
    assert found.value == 4.5
    assert found.low is not None
    assert found.high is not None
    assert found.low < 4.5 < found.high
    assert interquartile_mean(method([8, 1, 3, 5], [2, 4, 6, 100]), "toy") == found


def test_the_draws_belong_to_a_name() -> None:
    scores = list(np.random.default_rng(0).normal(size=(3, 5)))
    assert interquartile_mean(scores, "toy") == interquartile_mean(scores, "toy")
    assert interquartile_mean(scores, "toy") != interquartile_mean(scores, "other")


def test_a_dataset_with_more_seeds_weighs_no_more() -> None:
    # Weights of 1/8 for each run of the first, 1/4 for each of the second: 0 and half of 1 are cut, and 50.
    found = interquartile_mean(method([0, 2, 3, 9], [1, 50]), "toy")
    assert found.value == pytest.approx((1 + 2 + 3 + 9) / 4)
    assert (found.low, found.high) == (None, None), "two seeds are too few"


def test_datasets_are_not_resampled() -> None:
    assert interquartile_mean(constant(0.1, 0.9), "toy") == Estimate(0.5, 0.5, 0.5)


def test_the_width_is_right_for_few_seeds() -> None:
    # One dataset, three runs: nothing is cut, so that this is a mean whose interval Student's t gives:
    # half width 4.302653 * 1 / sqrt(3) = 2.484; widened draws have its spread, and a flatter shape.
    found = interquartile_mean(method([1, 2, 3]), "toy")
    assert found.value == 2
    assert found.high is not None
    assert found.high - 2 == pytest.approx(1 * math.sqrt(3 / 2) * 4.302653 / 1.959964, abs=0.01)


def test_probability_of_improvement_by_hand() -> None:
    # First dataset: 2 beats 1 and ties 2, 3 beats both: 3.5 of 4; second: never.
    found = probability_of_improvement(method([2, 3], [0, 0]), method([1, 2], [1, 1]), "toy")
    assert found == Estimate((3.5 / 4 + 0) / 2, None, None)
    assert probability_of_improvement(constant(1, 1), constant(0, 1), "toy") == Estimate(0.75, 0.75, 0.75)


def test_a_probability_stays_one() -> None:
    x, y = method([1, 2, 3, 4, 5], [5, 6, 7, 8, 9]), method([0, 0, 1, 2, 9], [1, 2, 3, 4, 6])
    found = probability_of_improvement(x, y, "toy")
    other = probability_of_improvement(y, x, "toy")
    assert found.value + other.value == pytest.approx(1)
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low < found.value < found.high <= 1


def test_mean_ranks_share_ties() -> None:
    # By dataset: 1, 2, 3; 1.5, 1.5, 3; 3, 1, 2.
    scores = [constant(0.9, 0.5, 0.1), constant(0.8, 0.5, 0.3), constant(0.7, 0.4, 0.2)]
    assert mean_ranks(scores) == pytest.approx([5.5 / 3, 4.5 / 3, 8 / 3])
    same = [method([0.6, 0.7, 0.8]), method([0.7, 0.7, 0.7])]
    assert mean_ranks(same) == pytest.approx([1.5, 1.5]), "equal but for rounding"


@pytest.mark.parametrize("n", [1, 3, MIN_DATASETS_FOR_RANKS - 1])
def test_few_datasets_give_no_rank_test_but_a_reason(n: int) -> None:
    scores = [constant(*[level] * n) for level in (0.1, 0.2, 0.3)]
    assert rank_test(scores) is None
    assert f"fewer than {MIN_DATASETS_FOR_RANKS}" in why_no_rank_test(n, 3)
    assert why_no_rank_test(8, 2)
    assert why_no_rank_test(8, 3) == ""


def test_eight_datasets_tell_a_clear_winner_from_two_alike() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=9)
    signs = np.array([1, -1, 1, -1, 1, -1, 1, -1, 1])
    scores = [
        constant(*base),
        constant(*base + 1 + np.arange(9) / 10),
        constant(*base + signs * np.arange(1, 10) / 100),
    ]
    found = rank_test(scores)
    assert found
    # Friedman's statistic, 9 datasets, ranks 1 (once each), and 2 or 3 (5 and 4 times): rank sums 23, 9, 22;
    # 12 / (9 * 3 * 4) * (23^2 + 9^2 + 22^2) - 3 * 9 * 4 = 13.5556; exp(-13.5556 / 2) for 2 degrees of freedom.
    assert found.friedman_p == pytest.approx(math.exp(-(12 / 108 * (23**2 + 9**2 + 22**2) - 108) / 2))
    # Of 2^9 signs all nine point one way: 2 / 512, three times that after Holm; the last pair is level.
    assert found.pairs[0, 1] == found.pairs[1, 2] == pytest.approx(3 * 2 / 512)
    assert found.pairs[0, 2] > 0.5
    assert found.groups == ((2, 0),)


def test_methods_that_are_alike_are_one_group() -> None:
    assert rank_test([constant(*range(8))] * 3) == RankTest(1.0, {}, ((0, 1, 2),))
    shifts = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [2, 1, 0], [1, 0, 2], [0, 1, 2], [1, 2, 0]])
    found = rank_test([constant(*column) for column in shifts.T.astype(float)])
    assert found
    assert (found.friedman_p > 0.05, found.pairs, len(found.groups)) == (True, {}, 1)


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04, made monotone 0.02, 0.03, 0.06, 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 2 / 256),  # one way of 256 to have all signs alike, and its mirror
        ([0.1] * 8, 2 / 256),
        ([0.3, -0.3], 1.0),
        ([0.0, 0.0, 0.2], 1.0),
        ([0.0] * 8, 1.0),
    ],
)
def test_the_signed_rank_test_is_exact(differences: list[float], p: float) -> None:
    assert signed_rank(np.array(differences)) == pytest.approx(p)


def test_the_signed_rank_test_is_scipys() -> None:
    from scipy.stats import wilcoxon

    rng = np.random.default_rng(0)
    for n in (5, 8, 12, 20):
        differences = rng.normal(0.3, 1, n)
        assert signed_rank(differences) == pytest.approx(wilcoxon(differences).pvalue)
    tied = np.array([0.0, 0.1, 0.1, -0.1, 0.2, 0.3, -0.3, 0.0])
    assert signed_rank(tied) == pytest.approx(wilcoxon(tied, zero_method="pratt").pvalue)
