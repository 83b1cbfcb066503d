"""What kind of interaction each method learned, from what its runs said about every test sample.

Where the true composition of a sample is known: accuracy, synergy and gate within each composition, and attribution,
the share of samples whose largest gate belongs to their true composition. Where it is not: how the gate is
distributed, and whether it agrees with a sample-wise estimate of information.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reports.line import ESTIMATOR, Line
from reports.samples import Answers, Floats, Samples, TableSamples
from reports.statistics import Summary, entropy, mean_or_none, rank_correlation, summarise, synergy_indicator
from reports.ternary import Counts
from reports.ternary import counts as ternary_counts

ALL = "all"
S = TypeVar("S", bound=Samples)
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """One method on the samples of one composition, over seeds. result: mean of the table's measure; gate: component ->
    mean weight.

    attribution: share of these samples whose largest gate is that of their true composition. None, or empty, where
    it is not defined or a seed is missing.
    """

    result: Summary | None = None
    synergy: float | None = None
    gate: dict[str, float] = field(default_factory=dict)
    attribution: Summary | None = None


@dataclass(frozen=True)
class Agreement:
    """Gate against estimator, over the seeds of both. share: of samples whose largest gate is the composition with
    most information; ranks: composition -> mean Spearman correlation, None where one of the two is constant."""

    share: Summary
    ranks: dict[str, float | None]


@dataclass(frozen=True)
class Analysis:
    """One method. parts: by composition, ``ALL`` first; empty where a seed or its predictions are missing.

    largest: component -> share of samples where its gate is the largest; entropy of the gate: mean, bits. owners:
    composition -> its component, empty where the components do not correspond to compositions; why_not says why.
    ternary: gates of every seed by cell of the triangle, empty unless the components are R, U_<modality>.. and S.
    """

    line: Line
    components: tuple[str, ...] = ()
    parts: dict[str, Part] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    entropy: float | None = None
    owners: dict[str, str] = field(default_factory=dict)
    why_not: str = ""
    agreement: Agreement | None = None
    ternary: Counts = field(default_factory=dict)

    @property
    def is_gated(self) -> bool:
        return bool(self.largest)

    @property
    def attribution(self) -> Summary | None:
        return self.parts[ALL].attribution if self.parts else None


@dataclass(frozen=True)
class Information:
    """What the estimator says. means: composition -> nats, mean over samples, over seeds; largest: share of samples
    by most information; attribution: share where that is the true composition, None where it is not known."""

    means: dict[str, Summary]
    largest: dict[str, float]
    attribution: Summary | None


@dataclass(frozen=True)
class Interactions:
    """truths: the compositions that the test split holds, in the order of the card, empty where not known.

    sizes: number of test samples by composition, ``ALL`` first.
    """

    truths: tuple[str, ...]
    sizes: dict[str, int]
    methods: tuple[Analysis, ...]
    information: Information | None


def analyse(
    lines: Sequence[Line], samples: TableSamples, card: Mapping[str, Any], unimodal: Sequence[str]
) -> Interactions | None:
    """The analysis of a table; None where no run knows compositions, weighs components or estimates information.

    samples: of the same test samples in every run. unimodal: the rows that a synergistic sample defeats.
    """
    runs = [one for by_seed in samples.values() for one in by_seed.values()]
    if all(one.truth is None and one.gate is None and one.info is None for one in runs):
        return None
    truth = runs[0].truth
    found = [] if truth is None else sorted(set(truth.tolist()))
    truths = tuple(name for name in card.get("truth_names") or found if name in found)
    masks: dict[str, Mask] = {ALL: np.ones(len(runs[0].ids), dtype=bool)}
    masks |= {name: truth == name for name in truths}
    names = tuple(card.get("truth_names") or found)
    estimates = complete(lines, samples, ESTIMATOR)
    methods = tuple(_analysis(line, samples, unimodal, masks, names, estimates) for line in lines if line.row)
    sizes = {name: int(mask.sum()) for name, mask in masks.items()}
    return Interactions(truths, sizes, methods, _information(estimates))


def owners_of(components: Sequence[str], truths: Sequence[str]) -> dict[str, str]:
    """Composition -> component, where R, U_<modality>.. and S each stand for one of them; else empty.

    truths: names of the possible compositions, empty where not known. The i-th U_ component belongs to u<i>.
    """
    unique = [name for name in components if name.startswith("U_")]
    owners = {"r": "R", **{f"u{i}": name for i, name in enumerate(unique, start=1)}, "s": "S"}
    fits = unique and set(components) == set(owners.values()) and set(truths) <= set(owners)
    return owners if fits else {}


def synergy(
    method: str, unimodal: Sequence[str], samples: TableSamples, seeds: Sequence[int], mask: Mask | None = None
) -> float | None:
    """Mean over seeds of the synergy indicator; None where predictions of a seed are missing, its own or unimodal.

    mask: the samples that count, all where None.
    """
    shares = []
    for seed in seeds:
        found = [samples.get(name, {}).get(seed) for name in (method, *unimodal)]
        right = [one.is_right if mask is None else one.is_right[mask] for one in found if isinstance(one, Answers)]
        if not unimodal or len(right) < len(found):
            return None
        shares.append(synergy_indicator(right[0], right[1:]))
    return summarise(shares).mean if shares else None


def complete(lines: Sequence[Line], samples: Mapping[str, Mapping[int, S]], method: str) -> Mapping[int, S]:
    """Samples by seed of a method that lacks none, else empty."""
    line = next((line for line in lines if line.method == method), None)
    by_seed = samples.get(method, {})
    is_complete = line and line.result and line.row and all(run.seed in by_seed for run in line.row.runs)
    return by_seed if is_complete else {}


def _analysis(
    line: Line,
    samples: TableSamples,
    unimodal: Sequence[str],
    masks: Mapping[str, Mask],
    truths: Sequence[str],
    estimates: Mapping[int, Samples],
) -> Analysis:
    by_seed = complete([line], samples, line.method)
    runs = list(by_seed.values())
    if not runs:
        return Analysis(line)
    components = runs[0].components
    gates = [one.gate for one in runs if one.gate is not None and one.components == components]
    is_gated = len(gates) == len(runs)
    gates = gates if is_gated else []
    owners = owners_of(components, truths) if is_gated else {}
    others = unimodal if line.is_competitor and not line.is_unimodal else []
    wanted = None
    if owners and runs[0].truth is not None:
        wanted = np.asarray([components.index(owners[name]) for name in runs[0].truth])
    parts = {
        name: Part(
            summarise([float(one.measured[mask].mean()) for one in runs]),
            synergy(line.method, others, samples, list(by_seed), mask),
            _means(components, [gate[mask] for gate in gates]),
            None if wanted is None else summarise([_hits(gate[mask], wanted[mask]) for gate in gates]),
        )
        for name, mask in masks.items()
    }
    largest = _means(components, [gate.argmax(axis=1)[:, None] == np.arange(len(components)) for gate in gates])
    spread = summarise([entropy(gate) for gate in gates]).mean if gates else None
    known = {name: mask for name, mask in masks.items() if name != ALL} or masks
    return Analysis(
        line,
        components,
        parts,
        largest,
        spread,
        owners,
        why_not(components, is_gated, owners),
        _agreement(by_seed, estimates, owners),
        ternary_counts(gates, components, known) if gates and owners_of(components, ()) else {},
    )


def why_not(components: Sequence[str], is_gated: bool, owners: Mapping[str, str]) -> str:
    """Why attribution is not defined for a method, empty where it is."""
    listed = ", ".join(components)
    if owners:
        return ""
    if not components:
        return "no components"
    if not is_gated:
        return f"components {listed} are not weighed by a gate for each sample"
    if any(name.startswith("M_") for name in components):
        return f"components {listed}: what an M_ component says may be redundant or unique, it does not tell which"
    if "S" not in components:
        return f"components {listed}: none of them stands for synergy"
    return f"components {listed} do not correspond one to one to the compositions"


def _means(components: Sequence[str], weights: Sequence[NDArray[Any]]) -> dict[str, float]:
    """Component -> mean over seeds of the mean over samples of (N, K); empty for no seed."""
    if not weights:
        return {}
    means = np.mean([one.mean(axis=0, dtype=np.float64) for one in weights], axis=0)
    return dict(zip(components, means.tolist(), strict=True))


def _hits(weights: Floats, wanted: NDArray[np.int64]) -> float:
    """Share of samples whose largest of (N, K) stands at the wanted place, (N,)."""
    return float((weights.argmax(axis=1) == wanted).mean())


def _information(estimates: Mapping[int, Samples]) -> Information | None:
    runs = [one.info for one in estimates.values() if one.info]
    if not runs or len(runs) < len(estimates):
        return None
    names = list(runs[0])
    means = {name: summarise([float(info[name].mean(dtype=np.float64)) for info in runs]) for name in names}
    chosen = [_stack(info, names) for info in runs]
    largest = _means(names, [weights.argmax(axis=1)[:, None] == np.arange(len(names)) for weights in chosen])
    truth = next(iter(estimates.values())).truth
    if truth is None or not set(truth.tolist()) <= set(names):
        return Information(means, largest, None)
    wanted = np.asarray([names.index(name) for name in truth])
    return Information(means, largest, summarise([_hits(weights, wanted) for weights in chosen]))


def _agreement(
    by_seed: Mapping[int, Samples], estimates: Mapping[int, Samples], owners: Mapping[str, str]
) -> Agreement | None:
    """Gate and information of the same seed; None where the two do not speak of the same compositions."""
    shares: list[float] = []
    ranks: dict[str, list[float | None]] = {name: [] for name in owners}
    for seed, one in by_seed.items():
        info = estimates[seed].info if seed in estimates else None
        if one.gate is None or not info or set(info) != set(owners):
            continue
        gate = one.gate[:, [one.components.index(name) for name in owners.values()]]
        shares.append(_hits(gate, _stack(info, owners).argmax(axis=1)))
        for i, name in enumerate(owners):
            ranks[name].append(rank_correlation(gate[:, i], info[name]))
    if not shares:
        return None
    return Agreement(summarise(shares), {name: mean_or_none(values) for name, values in ranks.items()})


def _stack(info: Mapping[str, Floats], names: Iterable[str]) -> Floats:
    """(N, number of names)."""
    return np.stack([info[name] for name in names], axis=1)
