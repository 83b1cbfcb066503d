"""The sweep report: what counts as found and spent, budgets, tables and page."""

from __future__ import annotations

import csv
import re
from typing import cast

import pytest

from benchmarks.errors import UserError
from benchmarks.tracking import Tracking
from benchmarks.trials import FAILED, FINISHED, PRUNED, StudyRow, Trial
from reports.sweep import build_sweep, build_sweeps
from reports.sweep_figures import orderings
from reports.sweep_page import sentence, spent, to_html
from reports.sweep_plots import ordering
from reports.sweep_tables import changes, settings, summary, to_csv, to_markdown
from tests.made_studies import made_params, made_study
from tests.made_trials import column, mixed, row, study, sweep, trial


def test_only_what_was_trained_to_the_end_can_win() -> None:
    found = study(trial(0, 0.6), trial(1, 0.7), trial(2, 0.9, PRUNED), trial(3, None, FAILED))
    assert found.winner
    assert found.winner.number == 1
    assert found.gain == pytest.approx(0.1)
    # the dropped one counts as the winner, the failed one as the worst
    assert found.counted == [0.6, 0.7, 0.7, 0.6]
    assert found.n_capped == 1


def test_ties_go_to_the_lower_loss_and_then_to_the_first() -> None:
    trials = [trial(i, 0.7, loss=loss) for i, loss in enumerate((0.5, 0.4, 0.4))]
    winner = study(*trials).winner
    assert winner
    assert winner.number == 1


def test_the_summary_says_what_was_found_and_spent() -> None:
    found = summary(sweep(study(*mixed())))
    cells = dict(zip(found["headings"], found["rows"][0], strict=True))
    # 2 x 9 epochs of two finished, 2 x 3 of the dropped one, 2 x 1 of the failed one; of 4 x 2 x 9 = 72
    assert cells == {
        "method": "joint",
        "tried": "4 of 4",
        "finished": "2",
        "dropped": "1",
        "failed": "1",
        "seeds": "2",
        "best valid acc. %": "80.0",
        "default": "60.0",
        "gain": "+20.0",
        "found at": "3",
        "epochs": "44",
        "of full %": "61.1",
        "train s": "2",
        "status": "complete",
    }
    # halving saved 2 x 6 of 72, the rest is the failed one's 2 x 8
    assert spent(study(*mixed())) == (
        "44 of 72 epochs spent (61.1 %): halving saved 16.7 %, trainings that ended early by themselves 22.2 %."
    )


def test_methods_stand_by_score_and_those_without_one_last() -> None:
    found = sweep(
        study(trial(0, None, FAILED), method="a"), study(trial(0, 0.6), method="b"), study(trial(0, 0.7), method="c")
    )
    assert column(found, "method") == ["c", "b", "a"]
    assert column(found, "best valid acc. %") == ["70.0", "60.0", ""]
    assert column(found, "default") == ["70.0", "60.0", ""]
    assert column(found, "gain") == ["0.0", "0.0", ""]


def test_a_default_that_is_missing_or_failed_has_no_score_and_no_gain() -> None:
    for first in ((), (trial(0, None, FAILED),)):
        found = study(*first, trial(1, 0.7), n_trials=4)
        assert (found.default_score, found.gain) == (None, None)
        assert sentence(found).endswith(" Best: 70.0 by no. 1.")


def test_settings_show_what_the_winner_changed() -> None:
    winner = trial(1, 0.9, params={"lr": 0.00234, "dropout": 0.5, "width": 64})
    found = study(trial(0, 0.6), winner)
    shown = {one["name"]: (one["default"], one["winner"], one["range"], one["is_changed"]) for one in settings(found)}
    assert shown["lr"] == ("0.001", "0.00234", "0.0001 to 0.01, log", True)
    assert shown["dropout"] == ("0.5", "0.5", "0 to 0.6", False)
    assert shown["width"] == ("128", "64", "32, 64, 128, 256", True)
    assert shown["depth"] == ("1", "1", "not searched", False)
    assert changes(found) == "lr 0.001 → 0.00234, width 128 → 64"
    assert changes(study(trial(0, 0.6))) == "the defaults"
    assert changes(study(trial(0, None, FAILED))) == "no configuration has been trained to the end"


def test_the_page_is_self_contained_and_escapes() -> None:
    broken = trial(5, None, FAILED, error="seed 1: <script>boom")
    trials = [trial(i, 0.6 + i / 100, PRUNED if i % 3 else FINISHED) for i in range(12) if i != 5]
    found = sweep(study(*trials, broken), study(*mixed(), method="dmil_pid", n_trials=12))
    page = to_html(found)
    assert not re.search(r"<link|\bsrc=|url\(|@import", page)
    assert page.count("<script") == 1, "the page's own"
    assert "<li>failed: seed 1: &lt;script&gt;boom (no. 5)</li>" in page
    assert page.count('class="winner"') == 3 * 2 + 2, "a ring in each of 3 panels of 2 methods, and in their legends"
    assert len(re.findall(r'<circle class="(?:finished|pruned)" cx="[0-9.]+%"', page)) == 3 * (11 + 3)
    assert len(re.findall(r'<svg class="failed" x="[0-9.]+%"', page)) == 3 * 2
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for name in re.findall(r'aria-labelledby="([^"]+)"', page):
        assert set(name.split()) <= set(ids)
    assert all("aria-label" in tag for tag in re.findall(r"<svg[^>]*role=\"img\"[^>]*>", page))
    assert "Not complete, the same command goes on: dmil_pid (4 of 12)." in page
    assert "none: 3 configurations have a score, 10 are needed." in page
    assert page == to_html(found)


def test_one_configuration_alone_has_a_page() -> None:
    found = study(trial(0, 0.6))
    page = to_html(sweep(found))
    assert sentence(found) == (
        "1 of 1 configurations tried: 1 trained to the end. Best: 60.0 by no. 0; default: 60.0, gain 0.0."
    )
    assert sentence(found) in page
    assert "nan" not in page
    figure = ordering(found, sweep(found))
    assert figure
    assert figure["point"] is not None


@pytest.mark.parametrize("trials", [(), (trial(0, None, FAILED),), (trial(0, None, FAILED), trial(1, 0.5, PRUNED))])
def test_a_study_without_a_winner_has_a_page(trials: tuple[Trial, ...]) -> None:
    found = sweep(study(*trials, n_trials=4), study(*mixed(), method="dmil"))
    page = to_html(found)
    assert "There is no winner yet." in page
    assert "no configuration has been trained to the end" in page
    assert len(to_csv(found).splitlines()) == 1 + len(trials) + 4
    assert to_html(sweep(study(*trials, n_trials=4)))


def test_the_scores_of_a_regression_are_absolute_errors() -> None:
    found = sweep(study(trial(0, -1.2, loss=1.2), trial(1, -0.85, loss=0.85), is_higher_better=False))
    assert column(found, "best valid MAE") == ["0.850"]
    assert column(found, "default") == ["1.200"]
    assert column(found, "gain") == ["+0.350"]
    page = to_html(found)
    assert "Best: 0.850 by no. 1; default: 1.200, gain +0.350." in page
    figure = orderings(found)
    assert figure
    # the axis goes from -1.05, the mean of one, to -0.85: a smaller error stands higher
    assert [point["title"] for point in figure["series"][0]["points"]] == [
        "joint, best of 1: 1.025 (1.200 to 0.850)",
        "joint, best of 2: 0.850 (0.850 to 0.850)",
    ]
    heights = [y for y, _ in figure["ticks"]]
    errors = [float(label) for _, label in figure["ticks"]]
    assert sorted(errors) == [error for _, error in sorted(zip(heights, errors, strict=True))]
    assert next(csv.DictReader(to_csv(found).splitlines()))["score"] == "-1.200000", "as stored: higher is better"


def test_csv_has_a_line_per_configuration_with_every_setting() -> None:
    found = sweep(study(*mixed()), study(trial(0, 0.9), method="dmil", base=made_study().base | {"alignment": 0.1}))
    rows = list(csv.DictReader(to_csv(found).splitlines()))
    assert [(one["method"], one["number"]) for one in rows] == [("dmil", "0"), *(("joint", str(i)) for i in range(4))]
    assert rows[0]["setting.alignment"] == "0.1"
    assert rows[1]["setting.alignment"] == ""
    last = rows[4]
    assert {name: last[name] for name in ("dataset", "status", "is_winner", "is_default", "score", "loss")} == {
        "dataset": "toy",
        "status": "finished",
        "is_winner": "true",
        "is_default": "false",
        "score": "0.800000",
        "loss": "0.200000",
    }
    assert float(last["setting.lr"]) == made_params(3)["lr"]
    assert (last["setting.depth"], last["epochs"], last["run_id"]) == ("1", "18", "run3")
    assert (rows[2]["pruned_at"], rows[3]["score"], rows[3]["error"]) == ("3", "", "seed 0: loss not finite")


class MadeTracking:
    """The reading methods that the report needs."""

    def __init__(self, *rows: StudyRow) -> None:
        self._rows = rows

    def studies(self, dataset: str | None = None, suite: str | None = None) -> list[StudyRow]:
        return [one for one in self._rows if dataset in (None, one.plan.dataset) and suite in (None, one.plan.suite)]

    def sweeps(self) -> list[tuple[str, str]]:
        return sorted({(one.plan.dataset, one.plan.suite) for one in self._rows})


def test_each_dataset_has_its_own_sweep() -> None:
    rows = [row(made_study(dataset=name), trial(0, 0.5)) for name in ("toy", "digits")]
    tracking = cast(Tracking, MadeTracking(*rows))
    assert [one.dataset for one in build_sweeps(tracking, None, None)] == ["digits", "toy"]
    assert [one.dataset for one in build_sweeps(tracking, "toy", "small")] == ["toy"]
    for wanted, said in (
        (("nope", None), "MLflow holds no study of dataset 'nope'; it knows digits (suite small), toy (suite small); "),
        (("toy", "far"), "MLflow holds no study of dataset 'toy' suite 'far'; it knows digits (suite small), toy "),
    ):
        with pytest.raises(UserError) as caught:
            build_sweeps(tracking, *wanted)
        assert str(caught.value).startswith(said)
    with pytest.raises(UserError, match="no study; it knows none yet; `make sweep DATASET="):
        build_sweeps(cast(Tracking, MadeTracking()), None, None)


def test_of_each_method_the_newest_study_of_the_newest_suite_is_shown() -> None:
    rows = [
        row(made_study(planned_at=1, key="old"), trial(0, 0.9)),
        row(made_study(planned_at=5, key="new"), trial(0, 0.5)),
        row(made_study("dmil", planned_at=2, key="far", suite="other"), trial(0, 0.9)),
    ]
    found = build_sweep(rows)
    assert [one.plan.key for one in found.studies] == ["new"]
    assert found.suite == "small"
    assert found.others == ("dmil (suite other, far)", "joint (suite small, old)")
    assert "Not shown, as they are older or of another suite: dmil (suite other, far), joint" in to_markdown(found)
