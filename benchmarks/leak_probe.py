"""Do features know the label? A linear model per modality, judged inside the training data and on the test data.

Features that were made with the labels of the training data (by a network trained on them, by a selection of columns)
are easy to read inside that data and no better than others outside. Cross-validation does not notice, validation
neither: only the fall from cross-validated to test accuracy does. Published features of CMU-MOSI are like that.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.checks import is_far_above
from benchmarks.pooled import BLOCK, Pool
from dmil.data import Split, Splits

N_FOLDS = 5
PENALTY = 0.03  # C of scikit-learn's LogisticRegression, on standardised columns
N_ITERATIONS, TOLERANCE = 500, 1e-3
N_MOST = 2000  # samples to fit on; of a larger dataset as many are drawn: a leak of ten points needs no more
N_MOST_TEST = 5000  # and to judge on

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Probe:
    """Accuracy of a linear model on one modality, with standard errors.

    inside: cross-validated over all that is not test; test: fitted on all of that, judged on test. n_unconverged: fits,
    of one for each fold and one for the test, that were stopped at ``N_ITERATIONS``. shown: what the model sees of a
    sample whose numbers are no features, empty where they are.
    """

    modality: str
    inside: float
    inside_error: float
    test: float
    test_error: float
    n_unconverged: int
    shown: str = ""

    @property
    def is_alarm(self) -> bool:
        return is_far_above(self.inside, self.test, math.hypot(self.inside_error, self.test_error))


@dataclass(frozen=True)
class Known:
    """All that is not test, training and validation together: rows drawn, labels, and groups by number or None."""

    rows: Ints
    target: Ints
    groups: Ints | None

    @property
    def n_folds(self) -> int:
        """As many as groups, or samples of the rarest class, allow; below two there is nothing to cross-validate."""
        parts = np.unique(self.target, return_counts=True)[1].min() if self.groups is None else np.ptp(self.groups) + 1
        return min(N_FOLDS, int(parts))

    def folds(self) -> Iterator[tuple[Ints, Ints]]:
        """By group where there are groups, else by sample within each class."""
        from sklearn.model_selection import GroupKFold, StratifiedKFold

        if self.groups is None:
            yield from StratifiedKFold(self.n_folds, shuffle=True, random_state=0).split(self.target, self.target)
        else:
            yield from GroupKFold(self.n_folds).split(self.target, self.target, self.groups)


def known_part(splits: Splits) -> Known:
    """What the probe may fit on, at most ``N_MOST`` rows, drawn with a fixed seed."""
    target = np.concatenate([splits.train.target.numpy(), splits.valid.target.numpy()])
    names = [*splits.train.groups, *splits.valid.groups]
    rows = _drawn(len(target), N_MOST)
    groups = np.unique(np.asarray(names)[rows], return_inverse=True)[1] if len(names) == len(target) else None
    return Known(rows, target[rows], groups)


def _drawn(n: int, most: int) -> Ints:
    """All of n row numbers, or ``most`` of them, in order."""
    rows = np.arange(n)
    return rows if n <= most else np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def why_not(splits: Splits) -> str:
    """Why a dataset cannot be probed, empty where it can."""
    if splits.task.kind != "classification":
        return f"the task is a {splits.task.kind}"
    if not all(_is_finite(split) for split in splits.parts().values()):
        return "features are not finite"
    known = known_part(splits)
    if len(np.unique(known.target)) < 2:
        return "training and validation hold samples of one class only"
    if known.n_folds < 2:
        return "training and validation hold " + (
            "a class with a single sample" if known.groups is None else "a single group"
        )
    if any(len(np.unique(known.target[fit])) < 2 for fit, _ in known.folds()):
        return "without one fold of groups, training and validation hold samples of one class only"
    return ""


def _is_finite(split: Split) -> bool:
    floats = (x for x in split.inputs.values() if x.is_floating_point())
    return all(bool(part.isfinite().all()) for x in floats for part in x.split(BLOCK))


def probe(splits: Splits) -> list[Probe]:
    """One result per modality. The dataset must be one that ``why_not`` has nothing against."""
    known, test = known_part(splits), splits.test
    drawn = _drawn(len(test), N_MOST_TEST)
    truth = test.target.numpy()[drawn]
    places = np.unique(np.asarray(test.groups)[drawn], return_inverse=True)[1] if test.groups else None
    n_train = len(splits.train)
    early, late = known.rows[known.rows < n_train], known.rows[known.rows >= n_train] - n_train
    found = []
    for modality in test.inputs:
        pool = Pool.of(splits.train, modality)
        x = np.concatenate([pool.rows(splits.train, early), pool.rows(splits.valid, late)])
        hits, n_unconverged = np.zeros(len(x), dtype=bool), 0
        for fit, rest in known.folds():
            model = _fitted(x[fit], known.target[fit])
            hits[rest] = model.predict(x[rest]) == known.target[rest]
            n_unconverged += _is_unfinished(model)
        model = _fitted(x, known.target)
        on_test = model.predict(pool.rows(test, drawn)) == truth
        found.append(
            Probe(
                modality,
                float(hits.mean()),
                standard_error(hits, known.groups),
                float(on_test.mean()),
                standard_error(on_test, places),
                n_unconverged + _is_unfinished(model),
                pool.how,
            )
        )
    return found


def standard_error(hits: Mask, groups: Ints | None) -> float:
    """Of an accuracy: of independent samples or, where it is larger, of independent groups of them. hits (N,), groups
    (N,) numbers from 0."""
    n, share = len(hits), float(hits.mean())
    alone = math.sqrt(share * (1 - share) / n)
    if groups is None:
        return alone
    sums = np.bincount(groups, weights=hits - share)
    n_groups = len(sums)
    return max(alone, math.sqrt(n_groups / max(n_groups - 1, 1) * float(np.square(sums).sum())) / n)


def _fitted(x: Floats, target: Ints) -> Any:
    """Standardisation belongs to the fit: of every fold its own."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, tol=TOLERANCE, max_iter=N_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted instead
        warnings.filterwarnings("ignore", "The number of unique classes is greater")  # of few samples of many classes
        return model.fit(x, target)


def _is_unfinished(model: Any) -> bool:
    return bool(np.max(model[-1].n_iter_) >= N_ITERATIONS)
