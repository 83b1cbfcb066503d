"""The Gaussian table: estimates of five seeds within 0.1 nat of what the true densities say."""

from __future__ import annotations

import pytest

from benchmarks.estimators import PRESETS, expected, results, samples
from benchmarks.registry import estimator_problems

TABLE = estimator_problems().GAUSSIAN_TABLE


@pytest.mark.parametrize("key", TABLE)
def test_what_is_expected_is_the_published_table(key: tuple[int, float, float]) -> None:
    wanted = expected(key)
    assert wanted["lsmi"] == pytest.approx(TABLE[key], abs=0.01)
    assert sum(wanted["batch"]) == pytest.approx(sum(TABLE[key]), abs=0.015)


def test_seeds_have_data_of_their_own() -> None:
    x1, _, y = samples((2, 0.5, 0.5), 5, [0, 1], "train")
    assert x1.shape == (2, 5, 2)
    assert not x1[0].equal(x1[1])
    assert x1[1].equal(samples((2, 0.5, 0.5), 5, [1], "train")[0][0])
    assert not x1.equal(samples((2, 0.5, 0.5), 5, [0, 1], "test")[0])
    assert y.shape == (2, 5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("estimator", ["lsmi", "batch"])
@pytest.mark.parametrize("key", TABLE)
def test_estimates_are_within_a_tenth_of_a_nat(key: tuple[int, float, float], estimator: str) -> None:
    preset = PRESETS["published" if key[0] == 2 else "large"]
    (row,) = results([key], [estimator], preset, range(5))
    assert row.error < 0.1, str(row)
