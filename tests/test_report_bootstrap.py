"""The paired bootstrap, against values computed by hand and against simulated leaderboards."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.bootstrap import N_RESAMPLES, drawn_means, half_widths, paired_intervals, units_of
from reports.coverage import REGIMES, Regime, coverage, main
from reports.statistics import summarise

ALONE = np.arange(40)


def ones_and_minus(n_ahead: int, n_behind: int, n_seeds: int = 5, n: int = 40) -> np.ndarray:
    """(n, n_seeds): 1 on the first samples, -1 on the next, 0 on the others, the same with every seed."""
    column = np.array([1] * n_ahead + [-1] * n_behind + [0] * (n - n_ahead - n_behind), dtype=np.int8)
    return np.repeat(column[:, None], n_seeds, axis=1)


def test_half_widths_without_interaction_by_hand() -> None:
    # Unit means 1/2, -1/2, variance of their mean 1/4, t quantile 12.706205 for 1 degree of freedom; seed means 1/2, 0,
    # -1/2, variance 1/4 of a seed and 1/12 of their mean, t quantile 4.302653 for 2; nothing is left to subtract.
    found = half_widths(np.array([[2.0, 1, 0], [0, -1, -2]]), np.array([2.0, 2]))
    assert found == pytest.approx((12.706205 / 2, 4.302653 / math.sqrt(12)))


def test_half_widths_with_interaction_by_hand() -> None:
    # Unit means 1/2, -1/8; seed means 3/8, 0; residuals ±1/16. Variances of units, seeds, rest: 25, 9 and 1 of 256.
    found = half_widths(np.array([[3.0, 1], [0, -1]]), np.array([4.0, 4]))
    assert found == pytest.approx((12.706205 * 5 / 16, 12.706205 * math.sqrt(9 - 1) / 16))


def test_no_variance_is_below_zero() -> None:
    # Unit means ∓1/4 around the mean; seed means 1/2, 0, no more than residuals of ±3/4 explain.
    assert half_widths(np.array([[1.0, -1], [0, 1]]), np.ones(2)) == pytest.approx((12.706205 / 4, 0))


def test_samples_alone_give_the_interval_of_a_mean() -> None:
    # 14 ahead, 6 behind of 40: mean 0.2, variance (20 - 40 * 0.04) / 39 = 0.471795, standard error 0.108604;
    # t quantile for 39 degrees of freedom 2.022691: half width 0.219672.
    assert half_widths(ones_and_minus(14, 6).astype(float), np.ones(40)) == pytest.approx((0.219672, 0), abs=1e-6)
    (found,) = paired_intervals([ones_and_minus(14, 6)], ALONE, "toy")
    assert found.low is not None
    assert found.high is not None
    assert found.mean == pytest.approx(0.2)
    assert found.high - found.low == pytest.approx(2 * 0.219672, abs=1e-5)
    assert found.low == pytest.approx(0.2 - 0.219672, abs=0.02), "the draws' shape is not quite symmetric"


def test_seeds_alone_give_student_t_over_seeds() -> None:
    # Every sample says the same, so that the interval must be that of five numbers.
    by_seed = np.array([1, 0, 0, -1, 1], dtype=np.int8)
    sums = np.repeat(by_seed[None], 40, axis=0)
    expected = summarise(by_seed.tolist())
    assert expected.high is not None
    assert half_widths(sums.astype(float), np.ones(40)) == pytest.approx((0, expected.high - expected.mean))
    (found,) = paired_intervals([sums], ALONE, "toy")
    assert found.mean == pytest.approx(expected.mean)
    assert found.low is not None
    assert found.low == pytest.approx(expected.low, abs=0.15)
    assert found.high == 1.0, "an accuracy cannot gain more"


def test_methods_that_answer_alike_differ_by_nothing() -> None:
    (found,) = paired_intervals([np.zeros((40, 5), dtype=np.int8)], ALONE, "toy")
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)


def test_two_seeds_are_too_few() -> None:
    (found,) = paired_intervals([ones_and_minus(14, 6, n_seeds=2)], ALONE, "toy")
    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high) == (None, None)


def test_samples_of_a_group_are_drawn_together() -> None:
    once = ones_and_minus(14, 6)
    thrice = np.repeat(once, 3, axis=0)
    (alone,) = paired_intervals([once], ALONE, "toy")
    (grouped,) = paired_intervals([thrice], np.repeat(ALONE, 3), "toy")
    (ungrouped,) = paired_intervals([thrice], np.arange(120), "toy")
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high)), "copies tell nothing new"
    assert alone.high is not None
    assert ungrouped.high is not None
    assert (alone.high - 0.2) / (ungrouped.high - 0.2) == pytest.approx(np.sqrt(3), rel=0.1)


def test_groups_become_units() -> None:
    units, n_groups = units_of(["b", "a", "b", "c"], 4)
    assert (units.tolist(), n_groups) == ([1, 0, 1, 2], 3)
    for groups in ([], ["a"] * 4, ["a", "b", "c", "d"]):
        units, n_groups = units_of(groups, 4)
        assert (units.tolist(), n_groups) == ([0, 1, 2, 3], None)


def test_a_pair_has_the_same_interval_whoever_else_is_compared() -> None:
    pairs = [ones_and_minus(14, 6), ones_and_minus(3, 9, n_seeds=3), ones_and_minus(0, 5)]
    together = paired_intervals(pairs, ALONE, "toy")
    assert together == [paired_intervals([pair], ALONE, "toy")[0] for pair in pairs]
    assert together != paired_intervals(pairs, ALONE, "another name")


def test_draws_come_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sums, sizes = [ones_and_minus(14, 6).astype(float)], np.ones(40)
    ((whole, _),) = drawn_means(sums, sizes, "toy")
    monkeypatch.setattr("reports.bootstrap.BLOCK", 40 * 333)
    ((blocks, _),) = drawn_means(sums, sizes, "toy")
    assert whole.shape == (N_RESAMPLES,)
    np.testing.assert_allclose(blocks, whole)


def test_the_interval_covers_the_truth() -> None:
    found = coverage(Regime("fast", n_samples=200, luck=0.2), n_boards=400)
    assert 0.925 <= found.reported <= 0.975
    assert found.over_seeds < 0.9, "seeds alone say nothing of other samples"


@pytest.mark.slow
@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: regime.name)
def test_the_interval_covers_the_truth_on_a_thousand_leaderboards(regime: Regime) -> None:
    found = coverage(regime)
    # With six groups and five seeds, both few, the interval is on the safe side.
    assert 0.93 <= found.reported <= (0.98 if regime.n_groups == 6 else 0.97), found


def test_the_command_prints_a_line_per_regime(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("reports.coverage.REGIMES", (Regime("tiny", n_samples=50), Regime("groups", 60, n_groups=9)))
    monkeypatch.setattr("reports.coverage.BATCH", 5)
    monkeypatch.setattr("reports.coverage.N_BOARDS", 5)
    monkeypatch.setattr("reports.coverage.AGGREGATES", ((2, 3),))
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line] == ["5", "reported", "tiny", "groups", "IQM", "2"]
