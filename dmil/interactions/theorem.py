"""The terms of DMIL's theorem for a trained representation, estimated by linear probes on held-out data."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dmil.interactions.probe import check_features, fit_probe
from dmil.interactions.tables import entropy, mutual_information
from dmil.seeds import generator

L2 = (1e-3, 1e-2, 1e-1, 1.0)  # the last one for wide representations and rare compositions


@dataclass(frozen=True)
class TheoremTerms:
    """I(Z;Y) >= E_c[I(Z;Y|c)] - H(C|Z) + I(Y;C): representation Z, label Y, interaction composition C of a sample
    (Yang et al., CVPR 2026, arXiv 2606.11614). In nats, raw; ``clipped`` respects what must hold.

    information_given_composition: E_c[I(Z;Y|c)], from below. composition_entropy: H(C|Z), from above. information:
    I(Z;Y), from below. label_and_composition: I(Y;C), and the entropies H(Y), H(Y|C), H(C), of the empirical
    distribution.
    """

    information_given_composition: float
    composition_entropy: float
    information: float
    label_and_composition: float
    label_entropy: float
    label_entropy_given_composition: float
    entropy_of_compositions: float

    @property
    def bound(self) -> float:
        """The theorem's lower bound of I(Z;Y). Each probe errs to the same side, so this is one too."""
        return self.information_given_composition - self.composition_entropy + self.label_and_composition

    def clipped(self) -> TheoremTerms:
        """Informations no less than 0 and no more than H(Y), H(Y|C); H(C|Z) between 0 and H(C)."""
        return replace(
            self,
            information=_between(self.information, self.label_entropy),
            information_given_composition=_between(
                self.information_given_composition, self.label_entropy_given_composition
            ),
            composition_entropy=_between(self.composition_entropy, self.entropy_of_compositions),
        )

    def bits(self) -> TheoremTerms:
        """The same in bits."""
        terms: dict[str, Any] = {entry.name: getattr(self, entry.name) / math.log(2) for entry in fields(self)}
        return replace(self, **terms)


def theorem_terms(z: Tensor, y: Tensor, c: Tensor, *, n_classes: int, n_compositions: int) -> TheoremTerms:
    """Terms for a representation z (N, D) of held-out samples with labels y (N,) and compositions c (N,).

    Cross-fitted: probes are fitted on one random half (always the same one) and evaluated on the other, and the
    other way round. A probe's cross-entropy on samples it has not seen is at least the conditional entropy in
    expectation, so H(Y) minus it bounds I(Z;Y) from below, and it bounds H(C|Z) from above. How tight that is depends
    on how much of Z is linearly readable and how many samples there are; a raw information below zero means that the
    probe is worse than the class frequencies. For E_c[I(Z;Y|c)] each composition has a probe of its own, fitted and
    judged on its samples alone; one that is missing in a half counts as no information.

    Raises:
        ValueError: shapes or classes that do not fit, or fewer than two samples.
    """
    check_features(z, y, n_classes)
    check_features(z, c, n_compositions)
    if len(y) < 2:
        raise ValueError("cross-fitting needs two samples or more, but got one")
    order = torch.randperm(len(y), generator=generator("theorem", len(y))).to(y.device)
    first = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    first[order[: len(y) // 2]] = True
    joint = torch.zeros(n_classes, n_compositions, dtype=torch.float64)
    joint.index_put_((y.cpu(), c.cpu()), torch.tensor(1 / len(y), dtype=torch.float64), accumulate=True)
    given = 0.0
    for k in range(n_compositions):
        own = c == k
        if (own & first).any() and (own & ~first).any():
            share = joint[:, k].sum().item()
            label = entropy(joint[:, k] / share)
            given += share * (label - _cross_entropy(z[own], y[own], first[own], n_classes))
    label, both = entropy(joint.sum(1)), entropy(joint)
    composition = entropy(joint.sum(0))
    return TheoremTerms(
        information_given_composition=given,
        composition_entropy=_cross_entropy(z, c, first, n_compositions),
        information=label - _cross_entropy(z, y, first, n_classes),
        label_and_composition=mutual_information(joint),
        label_entropy=label,
        label_entropy_given_composition=both - composition,
        entropy_of_compositions=composition,
    )


def _cross_entropy(z: Tensor, y: Tensor, first: Tensor, n_classes: int) -> float:
    """Mean -log p(y | z) in nats, each half by a probe fitted on the other."""
    total = 0.0
    for half in (first, ~first):
        probe = fit_probe(z[~half], y[~half], n_classes, l2=L2)
        total += F.nll_loss(probe.log_prob(z[half]), y[half], reduction="sum").item()
    return total / len(y)


def _between(value: float, most: float) -> float:
    return min(max(value, 0.0), most)
