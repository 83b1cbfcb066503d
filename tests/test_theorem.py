"""The theorem's terms where their values are known, and that the bound holds in what is estimated."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dmil.interactions.theorem import TheoremTerms, theorem_terms
from dmil.seeds import generator

SHARES = torch.tensor([[0.3, 0.1, 0.1], [0.1, 0.2, 0.2]])  # P(y, c)


def labels(n: int = 3000) -> tuple[Tensor, Tensor]:
    """y and c in these shares, exactly."""
    cells = torch.repeat_interleave(torch.arange(6), (n * SHARES.flatten()).round().long())
    cells = cells[torch.randperm(n, generator=generator("test_theorem"))]
    return cells // 3, cells % 3


def terms(z: Tensor, y: Tensor, c: Tensor) -> TheoremTerms:
    return theorem_terms(z, y, c, n_classes=2, n_compositions=3)


def entropy(p: Tensor) -> float:
    return float(-torch.xlogy(p, p).sum())


def known() -> dict[str, float]:
    """Entropies of the shares, written out."""
    y, c, both = entropy(SHARES.sum(1)), entropy(SHARES.sum(0)), entropy(SHARES)
    return {"y": y, "c": c, "y|c": both - c, "i": y + c - both}


def test_the_terms_of_the_labels_alone() -> None:
    y, c = labels()
    found = terms(torch.zeros(3000, 1), y, c)
    assert found.label_entropy == pytest.approx(known()["y"], abs=1e-6)
    assert found.entropy_of_compositions == pytest.approx(known()["c"], abs=1e-6)
    assert found.label_entropy_given_composition == pytest.approx(known()["y|c"], abs=1e-6)
    assert found.label_and_composition == pytest.approx(known()["i"], abs=1e-6)


def test_a_representation_that_says_everything() -> None:
    y, c = labels()
    found = terms(F.one_hot(3 * y + c, 6).float(), y, c)
    assert found.information == pytest.approx(known()["y"], abs=0.02)
    assert found.information_given_composition == pytest.approx(known()["y|c"], abs=0.02)
    assert found.composition_entropy == pytest.approx(0, abs=0.02)
    assert found.bound == pytest.approx(known()["y"], abs=0.04)  # H(Y|C) - 0 + I(Y;C) = H(Y): the bound is tight


def test_a_representation_that_says_nothing() -> None:
    y, c = labels()
    noise = torch.randn(3000, 8, generator=generator("test_theorem", "noise"))
    found = terms(noise, y, c)
    assert found.information == pytest.approx(0, abs=0.02)
    assert found.information_given_composition == pytest.approx(0, abs=0.03)
    assert found.composition_entropy == pytest.approx(known()["c"], abs=0.02)
    assert found.bound < 0
    assert found.clipped().information >= 0
    assert found.clipped().information_given_composition >= 0
    assert found.clipped().composition_entropy <= found.entropy_of_compositions


def test_a_representation_of_the_label_alone_does_not_say_the_composition() -> None:
    y, c = labels()
    found = terms(F.one_hot(y, 2).float(), y, c)
    assert found.information == pytest.approx(known()["y"], abs=0.02)
    assert found.composition_entropy == pytest.approx(known()["c"] - known()["i"], abs=0.02)  # H(C|Y)
    assert found.bound <= found.information + 0.04


def test_a_gaussian_representation_is_bounded_from_below() -> None:
    """Two normals one unit apart on each side: I(Z;Y) by quadrature."""
    y = torch.arange(6000) % 2
    z = (2.0 * y - 1).unsqueeze(1) + torch.randn(6000, 1, generator=generator("test_theorem", "gauss"))
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    density = torch.stack([(-((grid - m) ** 2) / 2).exp() / math.sqrt(2 * math.pi) for m in (-1, 1)])
    given = (density / density.sum(0)).clamp(min=1e-300)
    exact = math.log(2) + float((density * given.log()).sum() * (grid[1] - grid[0]) / 2)
    found = theorem_terms(z, y, y * 0, n_classes=2, n_compositions=4)
    assert exact == pytest.approx(0.3369, abs=1e-3)
    assert exact - 0.02 < found.information < exact + 0.02
    assert found.information_given_composition == pytest.approx(found.information, abs=1e-9)  # one composition
    assert found.composition_entropy == pytest.approx(0, abs=0.02)
    assert found.label_and_composition == pytest.approx(0, abs=1e-12)


def test_units_and_repeatability() -> None:
    y, c = labels(600)
    z = F.one_hot(y, 2) + 0.5 * torch.randn(600, 2, generator=generator("test_theorem", "units"))
    found = terms(z, y, c)
    assert terms(z, y, c) == found
    assert found.bits().information == pytest.approx(found.information / math.log(2))
    assert found.bits().bound == pytest.approx(found.bound / math.log(2))


def test_a_composition_too_rare_to_be_fitted_counts_as_no_information() -> None:
    y, c = torch.arange(400) % 2, torch.zeros(400).long()
    c[0] = 1
    found = terms(F.one_hot(y, 2).float(), y, c)
    assert found.information_given_composition == pytest.approx(math.log(2) * 399 / 400, abs=0.02)


def test_what_does_not_fit_is_refused() -> None:
    y = torch.zeros(4).long()
    with pytest.raises(ValueError, match=r"0\.\.2, but got"):
        terms(torch.zeros(4, 2), y, y + 3)
    with pytest.raises(ValueError, match="two samples or more"):
        terms(torch.zeros(1, 2), y[:1], y[:1])
