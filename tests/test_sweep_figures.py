"""The figures of the sweep report: the best of n over all orders, and where every mark stands."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.trials import FAILED, FINISHED, PRUNED
from reports.figures import round_axis
from reports.importances import importances
from reports.mixture_figure import TOP as TOP_OF_ALL
from reports.orderings import best_of, best_so_far
from reports.sweep import Study
from reports.sweep_figures import costs, counts, orderings, spending
from reports.sweep_plots import BELOW, HEIGHT, TOP, Scale, across, down, ordering, panels, survivors
from tests.made_studies import made_params
from tests.made_trials import mixed, study, sweep, trial


@pytest.mark.parametrize(
    "scores", [[0.3], [0.1, 0.2], [0.5, 0.1, 0.9, 0.4], [0.2, 0.2, 0.7, 0.1, 0.7], [-3.0, -1.0, -2.0]]
)
def test_the_closed_form_is_what_all_orders_give(scores: list[float]) -> None:
    orders = [best_so_far(order) for order in itertools.permutations(scores)]
    for best in best_of(scores):
        reached = sorted(order[best.n - 1] for order in orders)
        assert best.mean == pytest.approx(sum(reached) / len(reached))
        # The smallest value that 5 (95) percent of the orders stay at or below.
        assert best.low == next(v for v in reached if sum(r <= v for r in reached) >= 0.05 * len(reached))
        assert best.high == next(v for v in reached if sum(r <= v for r in reached) >= 0.95 * len(reached))


def test_known_values_of_the_best_of_n() -> None:
    one, two, three = best_of([3.0, 1.0, 2.0])
    assert [one.mean, one.low, one.high] == pytest.approx([2.0, 1.0, 3.0])
    assert [two.mean, two.low, two.high] == pytest.approx([8 / 3, 2.0, 3.0]), "pairs 12 13 23 have the maxima 2 3 3"
    assert (three.mean, three.low, three.high) == (3.0, 3.0, 3.0)
    forty = best_of(range(1, 41))
    # n = 1: k / 40 reaches 0.05 at 2 and 0.95 at 38, both exactly; the mean is 41 / 2
    assert (forty[0].low, forty[0].high) == (2, 38)
    # n = 2: k (k - 1) / 1560 reaches 0.05 at 10 (9 gives 72, 10 gives 90, 78 is needed) and 0.95 = 1482 exactly at 39
    assert (forty[1].low, forty[1].high) == (10, 39)
    # E of the largest of n from 1..N without replacement: n (N + 1) / (n + 1)
    assert [best.mean for best in forty] == pytest.approx([n * 41 / (n + 1) for n in range(1, 41)])


def test_many_configurations_lose_no_precision() -> None:
    found = best_of(range(1, 2001))
    assert [found[i].mean for i in (0, 999, 1999)] == pytest.approx([2001 / 2, 1000 * 2001 / 1001, 2000], rel=1e-12)
    assert all(one.mean <= other.mean for one, other in itertools.pairwise(found))


def test_the_figure_over_orders_has_marks_at_powers_of_two() -> None:
    assert [counts(n) for n in (1, 2, 3, 5, 64, 70)] == [
        [1],
        [1, 2],
        [1, 2, 3],
        [1, 2, 5],
        [1, 2, 4, 8, 16, 32, 64],
        [1, 2, 4, 8, 16, 32, 70],
    ]
    figure = orderings(sweep(study(*mixed()), study(trial(0, 0.5), method="dmil")))
    assert figure
    points = {one["method"]: one["points"] for one in figure["series"]}
    assert [len(points[name]) for name in ("joint", "dmil")] == [3, 1]
    # counted 0.6 0.7 0.6 0.8: mean 0.675; largest of two of them: 0.6 once, 0.7 twice, 0.8 three times, 4.4 / 6
    titles = [point["title"] for point in points["joint"]]
    assert titles == [
        "joint, best of 1: 67.5 (60.0 to 80.0)",
        "joint, best of 2: 73.3 (60.0 to 80.0)",
        "joint, best of 4: 80.0 (80.0 to 80.0)",
    ]
    # the axis goes from 0.4 to 0.9: 0.1 are 330 / 5 = 66 pixels
    assert points["joint"][-1]["y"] == points["joint"][-1]["low"] == pytest.approx(TOP_OF_ALL + 66)
    assert points["dmil"][0]["y"] == pytest.approx(TOP_OF_ALL + 4 * 66)
    assert figure["description"] == "joint: 1 67.5, 2 73.3, 4 80.0; dmil: 1 50.0"
    assert orderings(sweep(study(trial(0, None, FAILED)))) is None


def test_the_order_tried_is_a_line_of_steps() -> None:
    found = study(*mixed())
    figure = ordering(found, sweep(found))
    assert figure
    # counted 0.6 0.7 0.6 0.8 on an axis from 0.55 to 0.85; x is log2(n) / 2; log2(3) / 2 = 0.7925
    assert figure["order"] == ("0.00,83.33 50.00,83.33 50.00,50.00 79.25,50.00 79.25,50.00 100.00,50.00 100.00,16.67")
    assert figure["mean"].split()[::3] == ["0.00,58.33", "100.00,16.67"]
    assert figure["point"] is None


def test_spending_counts_whole_populations() -> None:
    trials = [trial(8, 0.6, PRUNED), trial(9, 0.9), trial(0, 0.6), trial(1, 0.7), trial(2, None, FAILED)]
    trials += [trial(16, 0.8), trial(24, 0.95, PRUNED)]
    # 18 + 18 + 2 epochs for the first, 6 + 18 for the second, 18 and 6 for the others
    found = study(*trials, n_trials=25)
    assert spending(found) == [(38, 0.7), (62, 0.9), (80, 0.9), (86, 0.9)]
    figure = costs(sweep(found))
    assert figure
    assert [point["title"] for point in figure["series"][0]["points"]] == [
        "joint: 70.0 after 38 epochs",
        "joint: 90.0 after 62 epochs",
        "joint: 90.0 after 86 epochs",
    ]
    assert costs(sweep(study(trial(0, None, FAILED)))) is None


def test_survivors_leave_where_they_were_dropped() -> None:
    trials = [*mixed(), trial(4, 0.5, PRUNED, pruned_at=1, epochs=2)]
    figure = survivors(study(*trials))
    assert figure
    # the failed one, after one epoch of its two seeds, leaves with the one that was dropped there
    assert figure["description"] == "5 at the start, 3 after epoch 1, 2 after epoch 3"
    assert figure["line"].split()[-3:] == ["33.33,40.00", "33.33,60.00", "100.00,60.00"]
    assert survivors(study(n_trials=4)) is None


def test_panels_place_every_configuration() -> None:
    found = study(*mixed())
    lr, dropout, width = panels(found, sweep(found))
    assert [lr["name"], dropout["name"], width["name"]] == ["lr", "dropout", "width"]
    assert lr["default"] == across(0.5), "0.001 is in the middle of 0.0001 and 0.01 on a log scale"
    assert [label for _, label in lr["x_ticks"]] == ["0.0001", "0.001", "0.01"]
    assert [label for _, label in width["x_ticks"]] == ["32", "64", "128", "256"]
    assert width["default"] == across(0.625)
    kinds = [(dot["kind"], dot["is_winner"]) for dot in lr["dots"]]
    assert kinds == [("finished", False), ("pruned", False), ("failed", False), ("finished", True)]
    # the axis goes from 0.55 to 0.85
    assert [dot["y"] for dot in lr["dots"]] == [down(1 / 6), down(0.5), TOP + HEIGHT + BELOW, down(5 / 6)]
    assert lr["dots"][0]["title"] == "no. 0: 0.001, 60.0"
    assert lr["dots"][1]["title"].endswith(", 70.0, dropped at epoch 3")
    assert lr["dots"][2]["title"].endswith(", failed")
    assert panels(study(trial(0, None, FAILED)), sweep(found)) == []


def test_a_score_far_below_does_not_squeeze_the_others() -> None:
    found = study(trial(0, 0.70), trial(1, 0.72), trial(2, 0.74), trial(3, 0.1, PRUNED), trial(4, 0.65))
    (lr, *_) = panels(found, sweep(found))
    # median 0.70, best 0.74: what is not below 0.70 - 3 * 0.04 has its place, 0.65 among it
    places = {dot["title"].split(":")[0]: dot["y"] for dot in lr["dots"]}
    assert places["no. 3"] == down(0)
    assert down(0) > places["no. 4"] > places["no. 0"] > places["no. 2"]
    assert any(dot["title"].endswith("10.0, dropped at epoch 3") for dot in lr["dots"])
    assert lr["y_ticks"][0][1] == "64.0"


def test_a_scale_keeps_choices_apart_and_ranges_inside() -> None:
    choices = Scale({"choices": ["a", "b"]})
    first = [choices.place("a", number) for number in range(50)]
    assert len(set(first)) == 50
    assert 0 < min(first) < max(first) < 0.5
    narrow = Scale({"low": 0.2, "high": 0.5, "log": True})
    assert narrow.ticks == [0.2, 0.5], "no two powers of ten inside"
    assert 0 < narrow.place(0.2) < narrow.place(0.5) < 1
    assert Scale({"low": 0.3, "high": 0.3, "log": False}).place(0.3) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("low", "high", "ends"),
    [(0, 60, (0, 60)), (-0.913, -0.871, (-0.92, -0.87)), (0, 7680, (0, 8000)), (-2.0, -2.0, None), (0.0, 0.0, None)],
)
def test_round_axes_hold_their_values(low: float, high: float, ends: tuple[float, float] | None) -> None:
    axis = round_axis(low, high)
    assert axis.low <= low + 1e-9
    assert axis.high >= high - 1e-9
    assert axis.low < axis.high
    assert 2 <= len(axis.ticks) <= 8
    if ends:
        assert (axis.low, axis.high) == pytest.approx(ends)


def searched(n: int, score_of: Any, statuses: Sequence[str] = (FINISHED,)) -> Study:
    trials = []
    for number in range(n):
        params, status = made_params(number), statuses[number % len(statuses)]
        trials.append(trial(number, None if status == FAILED else score_of(params), status))
    return study(*trials)


def test_importances_find_the_setting_that_matters() -> None:
    def score_of(params: dict[str, Any]) -> float:
        return 0.9 - abs(params["dropout"] - 0.2)

    found = importances(searched(64, score_of, (FINISHED, PRUNED, PRUNED)))
    assert next(iter(found.shares)) == "dropout"
    assert found.shares["dropout"] > 0.6
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found == importances(searched(64, score_of, (FINISHED, PRUNED, PRUNED))), "the same every time"


def test_importances_are_silent_with_a_reason() -> None:
    few = importances(searched(20, lambda params: params["lr"], (FINISHED, FAILED, FAILED)))
    assert (few.shares, few.reason) == ({}, "7 configurations have a score, 10 are needed")
    flat = importances(searched(20, lambda params: 0.5))
    assert (flat.shares, flat.reason) == ({}, "all configurations have the same score")
    endless = importances(searched(20, lambda params: params["lr"], (FAILED, PRUNED)))
    assert (endless.shares, endless.reason) == ({}, "no configuration has been trained to the end")
