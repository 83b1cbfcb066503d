"""What a leaderboard says of a regression beside the error itself: correlation, and the scores of a sentiment."""

from __future__ import annotations

from reports.line import Line
from reports.measure import ACC2, ACC2_NON0, ACC7, CORRELATION, ERROR, F1, F1_NON0, Measure, signed
from reports.text import four, number, percent

# Of the CSV, after the columns that every leaderboard has.
MEANS = {
    "valid_mae_mean": ERROR.valid,
    "test_corr_mean": CORRELATION,
    "test_acc2_has0_mean": ACC2,
    "test_f1_has0_mean": F1,
    "test_acc2_non0_mean": ACC2_NON0,
    "test_f1_non0_mean": F1_NON0,
    "test_acc7_mean": ACC7,
}
COLUMNS = ("test_mae_mean", "test_mae_std", "test_mae_ci_low", "test_mae_ci_high", *MEANS)
WHY_NOT = (
    "Synergy, samples won and lost by fusion, and calibration ask whether an answer is right; an estimate of a number "
    "is never simply right or wrong, so a regression has none of them."
)


def headings(*, has_sentiment: bool) -> tuple[str, ...]:
    """Of the scores in the short table."""
    return ("corr.", "acc-2 %", "acc-7 %") if has_sentiment else ("corr.",)


def cells(line: Line, *, has_sentiment: bool) -> tuple[str, ...]:
    """In the order of ``headings``: two classes with and without neutral in one cell."""
    correlation = signed(line.means.get(CORRELATION), 3)
    if not has_sentiment:
        return (correlation,)
    return correlation, pair_of(line, ACC2, ACC2_NON0), percent(line.means.get(ACC7))


def pair_of(line: Line, *names: str) -> str:
    """Means of two shares in percent, with and without neutral."""
    return " / ".join(filter(None, (percent(line.means.get(name)) for name in names)))


def csv_cells(line: Line) -> list[str]:
    """In the order of ``COLUMNS``: in units of the target, shares as fractions; empty where not known."""
    values = [line.means.get(name) for name in MEANS.values()]
    return [number(value, 6) for value in (*four(line.result), *values)]


def caption(*, has_sentiment: bool) -> list[str]:
    """What the scores are, and why some sections of a report are not there."""
    found = [
        "MAE: mean absolute error, in units of the target; the smaller the better. Corr.: Pearson's correlation of "
        "predictions and targets, mean over seeds."
    ]
    if has_sentiment:
        found.append(
            "Acc-2: share of samples with the right sign, zero counting as positive / without samples whose true value "
            "is zero. Acc-7: share that is right once both values are clipped to ±3 and rounded."
        )
    return [*found, WHY_NOT]


def gain_caption(measure: Measure) -> str:
    return (
        f"Gain: by how much the test {measure.name} is below that of the strongest conventional baseline by mean "
        f"validation {measure.name}, in units of the target; above 0 is better."
    )
