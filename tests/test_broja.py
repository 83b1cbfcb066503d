"""The exact decomposition: logic gates, dit's cone solver, nested brute force, its certificate and invariances."""

from __future__ import annotations

import math
from importlib import import_module

import pytest
import torch
from torch import Tensor

from dmil.interactions.atoms import Decomposition
from dmil.interactions.broja import broja
from dmil.interactions.pointwise import discrete_lsmi
from dmil.interactions.tables import mutual_information
from dmil.seeds import generator

problems = import_module("benchmarks.datasets.estimator_problems")

AND = 0.75 * math.log2(4 / 3)  # I(X1;Y) of a fair AND in bits
GATES = {
    "and": (AND, 0, 0, 0.5),
    "or": (AND, 0, 0, 0.5),
    "xor": (0, 0, 0, 1),
    "unique1": (0, 1, 0, 0),
    "redundant": (1, 0, 0, 0),
    "redundant_and_unique1": (AND, 0.5, 0, 0),
    "redundant_or_unique1": (AND, 0.5, 0, 0),
    "redundant_xor_unique1": (0, 1, 0, 0),
}


def atoms(found: Decomposition) -> list[float]:
    return list(found.atoms.values())


def table(*shape: int, seed: int = 0, kind: str = "even") -> Tensor:
    """A random distribution: even, uneven, with empty cells, or over 300 orders of magnitude."""
    rng = generator("test_broja", *shape, seed, kind)
    p = torch.rand(shape, generator=rng, dtype=torch.float64)
    if kind == "uneven":
        p = p**10
    if kind == "holes":
        p = p * (torch.rand(shape, generator=rng) < 0.5)
        p[0, 0, 0] += 0.1
    if kind == "tiny":
        p = 10 ** (-300 * p)
    return p / p.sum()


@pytest.mark.parametrize("name", GATES)
def test_gates(name: str) -> None:
    found = broja(problems.gate(name)).bits()
    assert atoms(found) == pytest.approx(GATES[name], abs=1e-6)
    assert atoms(found.clipped()) == pytest.approx(atoms(found), abs=1e-12)
    assert min(atoms(found.clipped())) >= 0


@pytest.mark.parametrize("name", GATES)
def test_adjusted_discrete_lsmi_gives_the_same_rows(name: str) -> None:
    raw, adjusted = discrete_lsmi(problems.gate(name))
    assert atoms(adjusted.bits()) == pytest.approx(GATES[name], abs=1e-9)
    if name in ("and", "or"):
        expected = (AND + 0.25, -0.25, -0.25, 0.75)
        assert atoms(raw.mean(adjusted=False).bits()) == pytest.approx(expected, abs=1e-9)


def cone(p: Tensor) -> list[float]:
    """r, u1, u2, s in bits by dit with ECOS."""
    import dit
    from dit.pid import PID_BROJA

    outcomes = ["".join(map(str, index)) for index in p.nonzero().tolist()]
    found = PID_BROJA(dit.Distribution(outcomes, p[p > 0].tolist()), [[0], [1]], [2], method="cone")
    return [float(found.get_pi(node)) for node in (((0,), (1,)), ((0,),), ((1,),), ((0, 1),))]


@pytest.mark.parametrize("shape", [(2, 2, 2), (3, 3, 3)])
def test_random_tables_agree_with_the_cone_program_of_dit(shape: tuple[int, ...]) -> None:
    for seed in range(30):
        p = table(*shape, seed=seed)
        found = broja(p).bits()
        assert atoms(found) == pytest.approx(cone(p), abs=1e-4), f"seed {seed}"
        assert min(atoms(found)) >= -1e-13
        assert found.gap is not None
        assert found.gap < 1e-7


def smallest_union_by_grid(p: Tensor, n: int = 801) -> float:
    """min I_q(X1,X2;Y) of a 2x2x2 table: given y one number is free, q(0, 0 | y)."""
    families = []
    for y in (0, 1):
        (a, b), (c, d) = p[:, :, y].tolist()
        free = torch.linspace(max(0.0, a - d), min(a + b, a + c), n, dtype=torch.float64)
        families.append(torch.stack([free, a + b - free, a + c - free, d - a + free]))
    q = torch.stack(families).clamp(min=0)  # (y, cell, n)
    both = q[0, :, :, None] + q[1, :, None, :]
    inner = torch.xlogy(q, q).sum(1)  # (y, n)
    minus_conditional = inner[0][:, None] + inner[1][None] - torch.xlogy(both, both).sum(0)
    label = p.sum((0, 1))
    return float(minus_conditional.min() - torch.xlogy(label, label).sum())


@pytest.mark.parametrize("kind", ["even", "uneven", "holes"])
def test_the_minimum_agrees_with_a_grid(kind: str) -> None:
    for seed in range(5):
        p = table(2, 2, 2, seed=seed, kind=kind)
        found = broja(p)
        union = found.total - found.s
        grid = smallest_union_by_grid(p)
        assert found.gap is not None
        assert union - found.gap - 1e-12 <= grid <= union + 5e-5


@pytest.mark.parametrize("kind", ["even", "uneven", "holes", "tiny"])
@pytest.mark.parametrize("shape", [(2, 2, 2), (4, 3, 2), (1, 3, 2), (3, 2, 1), (3, 5, 4)])
def test_every_decomposition_is_certified_adds_up_and_has_no_negative_atom(kind: str, shape: tuple[int, ...]) -> None:
    p = table(*shape, kind=kind)
    found = broja(p)
    assert found.gap is not None
    assert found.gap < 1e-7
    assert min(atoms(found)) >= -1e-14
    assert sum(atoms(found)) == pytest.approx(found.total, abs=1e-12)
    assert found.r + found.u1 == pytest.approx(mutual_information(p.sum(1)), abs=1e-12)
    assert found.r + found.u2 == pytest.approx(mutual_information(p.sum(0)), abs=1e-12)
    assert found.total == pytest.approx(mutual_information(p.flatten(0, 1)), abs=1e-12)


def test_names_of_symbols_do_not_matter_and_sources_swap() -> None:
    p = table(4, 3, 3, kind="uneven")
    r, u1, u2, s = atoms(broja(p))
    assert atoms(broja(p[[2, 0, 3, 1]][:, [1, 2, 0]][:, :, [2, 1, 0]])) == pytest.approx([r, u1, u2, s], abs=1e-8)
    assert atoms(broja(p.transpose(0, 1))) == pytest.approx([r, u2, u1, s], abs=1e-8)
    padded = torch.zeros(5, 4, 4, dtype=torch.float64)
    padded[1:, :3, 1:] = p
    assert atoms(broja(padded)) == pytest.approx([r, u1, u2, s], abs=1e-8)


def test_a_copy_is_redundant_and_two_unrelated_labels_are_unique() -> None:
    margin = table(4, 1, 3)[:, 0]
    copy = torch.einsum("iy,ij->ijy", margin, torch.eye(4, dtype=torch.float64))  # x1 = x2
    assert atoms(broja(copy)) == pytest.approx([mutual_information(margin), 0, 0, 0], abs=1e-8)
    pairs = torch.zeros(2, 3, 6, dtype=torch.float64)  # y = (x1, x2), independent: u is each entropy
    first, second = torch.tensor([0.3, 0.7]).double(), torch.tensor([0.2, 0.3, 0.5]).double()
    for i in range(2):
        for j in range(3):
            pairs[i, j, 3 * i + j] = first[i] * second[j]
    h1, h2 = (float(-torch.xlogy(p, p).sum()) for p in (first, second))
    assert atoms(broja(pairs)) == pytest.approx([0, h1, h2, 0], abs=1e-8)


def test_a_large_table_is_certified_too() -> None:
    found = broja(table(20, 20, 10, kind="uneven"))
    assert found.gap is not None
    assert found.gap < 1e-6


def test_units_names_and_text() -> None:
    found = broja(problems.gate("and"), target="label", sources=("text", "audio"))
    assert found.unit == "nat"
    assert found.bits().total == pytest.approx(found.total / math.log(2))
    assert found.bits().bits() == found.bits()
    assert str(found.bits()) == "I(text,audio;label) = 0.811 bit: r 0.311, u(text) 0.000, u(audio) 0.000, s 0.500"
    assert atoms(Decomposition(0.2, -0.1, 0.3, -0.05, 0.35).clipped()) == [0.2, 0.0, 0.3, 0.0]


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (torch.ones(2, 2) / 4, r"shape \[2, 2\]"),
        (torch.ones(2, 2, 2), "sum 8"),
        (torch.tensor([[[1.5, -0.5]]]), "minimum -0.5"),
        (torch.full((1, 1, 2), math.nan), "non-negative"),
    ],
)
def test_what_is_no_distribution_is_refused(p: Tensor, message: str) -> None:
    for decompose in (broja, discrete_lsmi):
        with pytest.raises(ValueError, match=message):
            decompose(p)
