"""What the runs of a table said about each test sample, from their predictions files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import UserError

Floats = NDArray[np.float32]
PREDICTION = "prediction"
LIKELIEST = ("answer", "confidence")  # all that is kept of the probabilities of very many classes
# Method -> seed -> what that run said.
TableSamples = Mapping[str, Mapping[int, "Samples"]]
TableAnswers = Mapping[str, Mapping[int, "Answers"]]


@dataclass(frozen=True)
class Samples:
    """N test samples in the order of their ids.

    target: (N,). truth: (N,), the true composition by name, None where it is not known of every sample. components:
    names of the parts a method predicts from, empty where it has none; gate: (N, K), their weights, None where they are
    not weighed. info: what an estimator of information says, (N,) nats by composition. groups: N names of what a sample
    belongs to (its speaker, its subject), empty where the data have no groups.
    """

    ids: tuple[str, ...]
    target: NDArray[Any]
    truth: NDArray[np.str_] | None
    components: tuple[str, ...] = ()
    gate: Floats | None = None
    info: Mapping[str, Floats] | None = None
    groups: tuple[str, ...] = ()

    @property
    def measured(self) -> NDArray[Any]:
        """The table's measure on each sample, (N,)."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Answers(Samples):
    """Of a classification. is_right: (N,), whether the likeliest class, answer (N,), is the target; confidence: (N,),
    its probability."""

    is_right: NDArray[np.bool_]
    answer: NDArray[np.int64]
    confidence: Floats

    @property
    def measured(self) -> NDArray[np.int8]:
        """1 where the answer is right, 0 elsewhere."""
        return self.is_right.astype(np.int8)


@dataclass(frozen=True, kw_only=True)
class Estimates(Samples):
    """Of a regression. prediction: (N,)."""

    prediction: NDArray[np.float64]

    @property
    def measured(self) -> NDArray[np.float64]:
        """The absolute error."""
        return np.abs(self.prediction - self.target)


def answers_in(samples: TableSamples) -> TableAnswers:
    """The runs that answer with a class: all of a classification, none of a regression."""
    return {
        method: {seed: one for seed, one in by_seed.items() if isinstance(one, Answers)}
        for method, by_seed in samples.items()
    }


def estimates_in(runs: Iterable[Samples]) -> list[Estimates]:
    return [one for one in runs if isinstance(one, Estimates)]


def read_samples(path: Path, run: str) -> Samples:
    """Reads a run's ``predictions.parquet``. Raises UserError where it is damaged or predicts no test sample."""
    from pyarrow import ArrowException

    try:
        return _read(path)
    except (ArrowException, OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"file {path.name} of {run} is damaged ({reason}); it lies at {path}") from error


def _read(path: Path) -> Samples:
    from pyarrow import parquet

    names = parquet.read_schema(path).names
    classes = sorted((name for name in names if name.startswith("prob_")), key=lambda name: int(name[5:]))
    gates = [name for name in names if name.startswith("gate_")]
    infos = [name for name in names if name.startswith("info_")]
    known = ["truth"] if "truth" in names else []
    listed = ["group"] if "group" in names else []
    values = [] if classes else [name for name in names if name in (PREDICTION, *LIKELIEST)]
    wanted = ["id", "split", "target", *listed, *known, *classes, *values, *gates, *infos]
    table = parquet.read_table(path, columns=wanted)
    is_test = np.asarray(table["split"].to_pylist()) == "test"
    if not (classes or values) or not is_test.any():
        raise ValueError("no probabilities of test samples")
    ids = np.asarray(table["id"].to_pylist())[is_test]
    order = np.argsort(ids, kind="stable")

    def columns(wanted: list[str]) -> Floats:
        return np.stack([table[name].to_numpy() for name in wanted], axis=1)[is_test][order].astype(np.float32)

    target = table["target"].to_numpy()[is_test][order]
    truth = [name for name, chosen in zip(table["truth"].to_pylist(), is_test, strict=True) if chosen] if known else []
    common = Samples(
        tuple(ids[order].tolist()),
        target,
        np.asarray(truth)[order] if known and None not in truth else None,
        components=tuple(name.removeprefix("gate_") for name in gates) or _ungated(names),
        gate=columns(gates) if gates else None,
        info={name.removeprefix("info_"): columns([name])[:, 0] for name in infos} if infos else None,
        groups=_groups(np.asarray(table["group"].to_pylist())[is_test][order].tolist()) if listed else (),
    )
    if PREDICTION in values:
        return Estimates(**vars(common), prediction=table[PREDICTION].to_numpy()[is_test][order].astype(np.float64))
    if classes:
        probabilities = columns(classes)
        answer, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    else:
        answer, confidence = table["answer"].to_numpy()[is_test][order], columns(["confidence"])[:, 0]
    return Answers(**vars(common), is_right=answer == target, answer=answer, confidence=confidence)


def _groups(names: list[str]) -> tuple[str, ...]:
    """Empty where no sample has a group."""
    return tuple(names) if any(names) else ()


def _ungated(names: list[str]) -> tuple[str, ...]:
    """Components that predict but are not weighed, from columns logit_<component>_<class> or answer_<component>."""
    found = [name.removeprefix("logit_").rpartition("_")[0] for name in names if name.startswith("logit_")]
    found += [name.removeprefix("answer_") for name in names if name.startswith("answer_")]
    return tuple(dict.fromkeys(found))


def same_samples(samples: TableSamples) -> TableSamples:
    """The same runs, sharing one copy of ids, targets and truth.

    Raises UserError where two runs hold different test samples: what they say cannot be compared.
    """
    runs = [(method, seed, one) for method, by_seed in samples.items() for seed, one in by_seed.items()]
    shared: dict[str, dict[int, Samples]] = {method: {} for method in samples}
    for method, seed, one in runs:
        name, first_seed, first = runs[0]
        difference = _difference(one, first)
        if difference:
            raise UserError(
                f"{name} (seed {first_seed}) and {method} (seed {seed}) hold different test samples ({difference} "
                "differ); run the suite again on one version of the data"
            )
        shared[method][seed] = replace(one, ids=first.ids, target=first.target, truth=first.truth, groups=first.groups)
    return shared


def _difference(one: Samples, other: Samples) -> str | None:
    if one.ids != other.ids:
        return "ids"
    if not np.array_equal(one.target, other.target):
        return "targets"
    if one.groups != other.groups:
        return "groups"
    if (one.truth is None) != (other.truth is None):
        return "true compositions"
    is_same = one.truth is None or other.truth is None or np.array_equal(one.truth, other.truth)
    return None if is_same else "true compositions"
