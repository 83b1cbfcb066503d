"""What is exactly true of a mixture: posteriors, best possible results and information, in float64 and nats.

Everything speaks of symbols. Features tell them apart but for a chance below ``_mixture_draw.misreading``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ._mixture import Mixture
from ._mixture_draw import slot_tables

CHUNK = 2_000_000  # numbers held at a time


@dataclass(frozen=True)
class Exact:
    """What the symbols X of some modalities tell about the label Y and the composition C, in nats.

    accuracy, attribution: highest share of right labels, of right compositions. accuracies: that classifier's accuracy
    on each composition, ties shared out evenly, NaN where the composition has no weight. label: I(X;Y).
    label_given_composition: E_c[I(X;Y|c)]. composition_entropy: H(C|X). prior: I(Y;C). With a representation Z in the
    place of X these are the terms of Yang et al., CVPR 2026: I(Z;Y) >= E_c[I(Z;Y|c)] - H(C|Z) + I(Y;C).
    """

    accuracy: float
    attribution: float
    accuracies: tuple[float, ...]
    label: float
    label_given_composition: float
    composition_entropy: float
    prior: float


@dataclass(frozen=True)
class Pointwise:
    """Information of each sample in nats. alone: i(x_m;y) (..., M); joint: i(x_1..x_M;y) (...);
    given_composition: i(x_1..x_M;y|c) (...)."""

    alone: Tensor
    joint: Tensor
    given_composition: Tensor


def posterior(mixture: Mixture, symbols: Tensor, *, modalities: Sequence[int] | None = None) -> Tensor:
    """P(y, composition | symbols): symbols (..., M, 3) by modality and slot -> (..., C, M + 2).

    modalities: those whose symbols are known, all of them by default. NaN where the mixture cannot show these symbols.
    """
    known = _known(mixture, modalities)
    tables = _marginal(mixture, known).movedim((1, 2), (-1, -2))  # (slot, V, .., V, C, composition)
    joint = torch.tensor(mixture.weights, dtype=torch.float64) / mixture.n_classes
    for slot, table in enumerate(tables):
        joint = joint * table[symbols[..., known, slot].unbind(-1)]
    return joint / joint.sum((-2, -1), keepdim=True)


def pointwise(mixture: Mixture, symbols: Tensor, label: Tensor, composition: Tensor) -> Pointwise:
    """Information that the symbols (..., M, 3) of samples hold about their own labels (...)."""
    both = posterior(mixture, symbols)
    alone = [posterior(mixture, symbols, modalities=(m,)) for m in range(mixture.n_modalities)]
    known = both.gather(-1, composition[..., None, None].expand(*both.shape[:-1], 1))[..., 0]
    return Pointwise(
        alone=torch.stack([_gain(table.sum(-1), label) for table in alone], dim=-1),
        joint=_gain(both.sum(-1), label),
        given_composition=_gain(known / known.sum(-1, keepdim=True), label),
    )


def exact(mixture: Mixture, modalities: Sequence[int] | None = None) -> Exact:
    """By enumeration of everything that the slots of ``modalities`` (all by default) can show."""
    return _exact(mixture, tuple(_known(mixture, modalities)))


@lru_cache(maxsize=64)
def _exact(mixture: Mixture, known: tuple[int, ...]) -> Exact:
    shape = (len(mixture.truth_names), mixture.n_classes)
    prior, right = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape[0], dtype=torch.float64)
    accuracy = attribution = h_all = h_xy = h_xc = h_x = 0.0
    for joint in _states(mixture, known):  # P(composition, y, states)
        by_label, by_composition = joint.sum(0), joint.sum(1)
        best = by_label.amax(0)
        is_best = (by_label >= best * (1 - 1e-9)).double()
        right += (joint * (is_best / is_best.sum(0))).sum((1, 2))
        prior += joint.sum(2)
        accuracy += float(best.sum())
        attribution += float(by_composition.amax(0).sum())
        h_all, h_xy, h_xc = h_all + _entropy(joint), h_xy + _entropy(by_label), h_xc + _entropy(by_composition)
        h_x += _entropy(by_label.sum(0))
    h_y, h_c, h_yc = _entropy(prior.sum(0)), _entropy(prior.sum(1)), _entropy(prior)
    return Exact(
        accuracy=min(accuracy, 1.0),  # sums of many numbers end near 1, not at it
        attribution=min(attribution, 1.0),
        accuracies=tuple((right / prior.sum(1)).tolist()),
        label=h_x + h_y - h_xy,
        label_given_composition=h_xc + h_yc - h_c - h_all,
        composition_entropy=h_xc - h_x,
        prior=h_y + h_c - h_yc,
    )


def _states(mixture: Mixture, known: Sequence[int]) -> Iterator[Tensor]:
    """P(composition, y, states) in pieces (M + 2, C, n), states last: together all that the slots can show."""
    weights = torch.tensor(mixture.weights, dtype=torch.float64)[:, None, None] / mixture.n_classes
    first, second, third = _marginal(mixture, known).flatten(3)
    rest = (second[..., :, None] * third[..., None, :]).flatten(-2)
    for piece in (weights * first).split(max(1, CHUNK // rest.numel()), dim=-1):
        yield (piece[..., :, None] * rest[..., None, :]).flatten(-2)


def _marginal(mixture: Mixture, known: Sequence[int]) -> Tensor:
    """``slot_tables`` with the modalities that are not known summed out."""
    hidden = [m + 3 for m in range(mixture.n_modalities) if m not in known]
    tables = slot_tables(mixture)
    return tables.sum(hidden) if hidden else tables


def _known(mixture: Mixture, modalities: Sequence[int] | None) -> list[int]:
    every = range(mixture.n_modalities)
    known = sorted(set(every if modalities is None else modalities))
    if not known or not set(known) <= set(every):
        raise ValueError(f"modalities must be some of {', '.join(map(str, every))}, but got {modalities}")
    return known


def _entropy(p: Tensor) -> float:
    return float(torch.special.entr(p).sum())


def _gain(p: Tensor, label: Tensor) -> Tensor:
    """log P(y | what is known) - log P(y) of each sample; labels are uniform, given the composition too."""
    return (p.gather(-1, label[..., None])[..., 0] * p.shape[-1]).log()
