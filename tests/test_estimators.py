"""Neural estimators and their parts: oracles with the true densities, naive loops, closed forms, what seeds decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from dmil.interactions.batch import BatchSettings, conditional_information, fit_batch, sinkhorn, solve_coupling
from dmil.interactions.broja import broja
from dmil.interactions.knife import Knife
from dmil.interactions.lsmi import LsmiSettings, fit_lsmi
from dmil.interactions.pointwise import Pointwise, mean_adjustment, pointwise
from dmil.interactions.training import Features, Schedule, rows, train_stack
from dmil.seeds import generator

problems = import_module("benchmarks.datasets.estimator_problems")

QUICK = LsmiSettings(discriminators=Schedule(15, 64, 3e-3, step=10), densities=Schedule(8, 64, 1e-2, step=5))
QUICK_BATCH = BatchSettings(
    classifiers=Schedule(15, 128, 3e-3), coupling=Schedule(6, 128, 3e-3, drop_last=True), depth=2
)


def gate_samples(name: str, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy one-hot codes of a gate's symbols, and its output."""
    p = problems.gate(name)
    rng = generator("test_estimators", name, seed)
    cell = torch.multinomial(p.flatten(), n, replacement=True, generator=rng)
    a, b, y = (index.long() for index in torch.unravel_index(cell, p.shape))
    codes = [torch.nn.functional.one_hot(s, size) for s, size in zip((a, b), p.shape[:2], strict=True)]
    first, second = (code + 0.1 * torch.randn(code.shape, generator=rng) for code in codes)
    return first, second, y


def means(found: Pointwise, *, adjusted: bool) -> list[float]:
    return list(found.mean(adjusted=adjusted).atoms.values())


def test_true_densities_of_the_gaussians_against_torch() -> None:
    from torch.distributions import MultivariateNormal

    problem = problems.Gaussian(3, -0.4, 0.7)
    x1, x2, y = problem.sample(50, generator("test_estimators", "density"))
    terms = problem.terms(x1, x2, y)
    eye = torch.eye(3).double()
    covariance = 0.7**2 * torch.cat([torch.cat([eye, -0.4 * eye], 1), torch.cat([-0.4 * eye, eye], 1)])
    logs = {
        "1": torch.stack([MultivariateNormal(eye[k], 0.49 * eye).log_prob(x1.double()) for k in range(3)], 1),
        "12": torch.stack(
            [
                MultivariateNormal(eye[k].repeat(2), covariance).log_prob(torch.cat([x1, x2], 1).double())
                for k in range(3)
            ],
            1,
        ),
    }
    for name, log in logs.items():
        marginal = log.logsumexp(1) - math.log(3)
        torch.testing.assert_close(terms[f"i{name}"], log[torch.arange(50), y] - marginal, atol=1e-6, rtol=0)
    torch.testing.assert_close(terms["h1"], -(logs["1"].logsumexp(1) - math.log(3)), atol=1e-6, rtol=0)


def test_pointwise_terms_by_hand_and_the_adjustment_keeps_what_it_must() -> None:
    values = {"h1": [1.0, 2.0], "h2": [1.5, 0.5], "i1": [0.5, 0.2], "i2": [0.1, 0.3], "i12": [1.0, 0.0]}
    found = pointwise(**{name: torch.tensor([value]) for name, value in values.items()}).replica(0)
    # min(1, 1.5) - min(0.5, 1.4) = 0.5; min(2, 0.5) - min(1.8, 0.2) = 0.3
    assert found.r.tolist() == pytest.approx([0.5, 0.3])
    assert found.u1.tolist() == pytest.approx([0.0, -0.1])
    assert found.u2.tolist() == pytest.approx([-0.4, 0.0])
    assert found.s.tolist() == pytest.approx([0.9, -0.2])
    # Means: r 0.4, u1 -0.05, u2 -0.2, s 0.35: no negative r or s, so the smaller u becomes 0.
    assert found.delta.item() == pytest.approx(-0.2)
    assert means(found, adjusted=True) == pytest.approx([0.2, 0.15, 0.0, 0.15])
    for name, other in (("u1", "i1"), ("u2", "i2")):
        torch.testing.assert_close(found.adjusted()["r"] + found.adjusted()[name], getattr(found, other))
    torch.testing.assert_close(sum(found.adjusted().values()), found.i12)


@pytest.mark.parametrize(
    ("atoms", "delta"),
    [
        ((-0.2, 0.5, 0.4, 0.3), 0.2),
        ((0.1, 0.1, 0.1, -0.4), 0.4),  # and u becomes negative: one pass only
        ((0.5, -0.1, -0.3, 0.2), -0.3),
        ((0.5, 0.1, 0.3, 0.2), 0.0),
    ],
)
def test_mean_adjustment(atoms: tuple[float, ...], delta: float) -> None:
    assert mean_adjustment(*map(torch.tensor, atoms)).item() == pytest.approx(delta)


def test_knife_of_one_component_is_a_normal_density() -> None:
    knife = Knife(3, 1).double()
    with torch.no_grad():
        knife.log_scale.copy_(torch.tensor([[0.3, -0.5, 0.1]]))
        scale = knife.log_scale[0].tanh().exp().diag()
        root = (torch.eye(3) + knife.lower[0].tril(-1)).double() @ scale
        precision = root.T @ root
        x = torch.randn(20, 3, generator=generator("test_estimators", "knife"), dtype=torch.float64)
        expected = torch.distributions.MultivariateNormal(knife.mean[0], precision_matrix=precision).log_prob(x)
        torch.testing.assert_close(knife(x), -expected)


def test_knife_learns_the_entropy_of_a_normal() -> None:
    x = torch.randn(1, 4000, 2, generator=generator("test_estimators", "entropy"))
    x = Features.of(x)(x)
    knife = train_stack(
        "k", lambda: Knife(2), lambda net, i: net(rows(x, i)).mean(-1), 4000, seeds=[0], schedule=Schedule(10, 64, 1e-2)
    )
    fresh = torch.randn(4000, 2, generator=generator("test_estimators", "fresh"))
    assert knife(fresh).mean().item() == pytest.approx(math.log(2 * math.pi * math.e), abs=0.06)


def test_sinkhorn_reaches_its_margins_or_stops_where_totals_disagree() -> None:
    rng = generator("test_estimators", "sinkhorn")
    kernel = torch.rand(2, 3, 6, 6, generator=rng) + 0.1
    totals = torch.rand(2, 3, 6, generator=rng) + 0.1
    totals = totals / totals.sum(-1, keepdim=True)
    u, v = sinkhorn(kernel, totals, totals.flip(-1))
    q = u.unsqueeze(-1) * kernel * v.unsqueeze(-2)
    torch.testing.assert_close(q.sum(-1), totals)
    torch.testing.assert_close(q.sum(-2), totals.flip(-1), atol=0.01, rtol=0)
    u, v = sinkhorn(kernel, totals, 2 * totals)
    q = u.unsqueeze(-1) * kernel * v.unsqueeze(-2)
    torch.testing.assert_close(q.sum(-2), totals, atol=0.002, rtol=0)


def test_conditional_information_against_loops() -> None:
    rng = generator("test_estimators", "loops")
    log_a = torch.randn(2, 4, 3, generator=rng, dtype=torch.float64)  # class, i, j
    p1 = torch.rand(4, 2, generator=rng, dtype=torch.float64)
    p1 = p1 / p1.sum(1, keepdim=True)
    q = log_a.softmax(-1)
    expected = 0.0
    for i in range(4):
        for j in range(3):
            mixture = sum(float(q[y, i, j] * p1[i, y]) for y in range(2))
            for y in range(2):
                expected += float(p1[i, y] * q[y, i, j]) * math.log(float(q[y, i, j]) / mixture) / 4
    assert conditional_information(log_a, p1.log()).item() == pytest.approx(expected, abs=1e-12)


def test_a_solved_coupling_is_the_exact_minimum_of_its_batch() -> None:
    """A batch is a table with rows of equal weight, whose margins with y are the posteriors."""
    rng = generator("test_estimators", "solved")
    p1, p2 = ((2 * torch.randn(n, 3, generator=rng, dtype=torch.float64)).log_softmax(1) for n in (9, 9))
    first, second = p1.exp() / 9, p2.exp() / 9
    second = second * first.sum(0) / second.sum(0)  # to the totals of the rows
    table = torch.einsum("iy,jy,y->ijy", first, second, 1 / first.sum(0))
    assert solve_coupling(p1, p2, 3000).item() == pytest.approx(broja(table).u2, abs=1e-4)
    values = [solve_coupling(p1, p2, n).item() for n in (1, 3, 10, 30, 100)]
    assert values == sorted(values, reverse=True)
    both = solve_coupling(torch.stack([p1, p2]), torch.stack([p2, p1]), 100)
    assert both[0].item() == pytest.approx(values[-1])


def test_features_are_standardised_and_principal_components_white() -> None:
    rng = generator("test_estimators", "features")
    x = torch.randn(500, 4, generator=rng) @ torch.randn(4, 4, generator=rng) + 3
    x[:, 2] = 7.0
    plain = Features.of(x)(x)
    torch.testing.assert_close(plain.std(0, correction=0), torch.tensor([1.0, 1, 0, 1]), atol=1e-4, rtol=0)
    white = Features.of(x, 2)(x)
    torch.testing.assert_close(white.T @ white / 500, torch.eye(2), atol=1e-3, rtol=0)
    doubled = torch.stack([x, 2 * x + 1])
    torch.testing.assert_close(Features.of(doubled)(doubled)[1], plain, atol=1e-4, rtol=0)


def test_a_seed_decides_a_network_whoever_shares_its_stack() -> None:
    x1, x2, y = gate_samples("and", 256, 0)
    short = LsmiSettings(discriminators=Schedule(1, 32), densities=Schedule(1, 32))
    both = fit_lsmi(x1, x2, y, 2, seeds=[3, 5], settings=short).estimate(x1, x2, y)
    alone = fit_lsmi(x1, x2, y, 2, seeds=[5], settings=short).estimate(x1, x2, y)
    for name in ("i1", "i12", "r", "delta"):
        torch.testing.assert_close(getattr(both, name)[1], getattr(alone, name)[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(both.i1[0], both.i1[1])
    quick = BatchSettings(classifiers=Schedule(1, 64), coupling=Schedule(1, 64, drop_last=True), depth=1)
    twins = fit_batch(x1, x2, y, 2, seeds=[5, 3], settings=quick).estimate(x1, x2)
    (single,) = fit_batch(x1, x2, y, 2, seeds=[5], settings=quick).estimate(x1, x2)
    assert list(twins[0].atoms.values()) == pytest.approx(list(single.atoms.values()), abs=1e-4)


@pytest.mark.parametrize("name", ["xor", "redundant", "unique1"])
def test_both_estimators_tell_the_gates_apart(name: str) -> None:
    """Adjusted LSMI and the batch estimator in bits, on noisy codes, against the exact decomposition."""
    train, test = gate_samples(name, 1024, 0), gate_samples(name, 1024, 1)
    expected = list(broja(problems.gate(name)).bits().atoms.values())
    found = fit_lsmi(*train, 2, settings=QUICK).estimate(*test).replica(0)
    assert list(found.mean(adjusted=True).bits().atoms.values()) == pytest.approx(expected, abs=0.1)
    model = fit_batch(*train, 2, settings=QUICK_BATCH)
    (batch,) = model.estimate(*test[:2])
    assert list(batch.bits().atoms.values()) == pytest.approx(expected, abs=0.1)
    (solved,) = model.estimate(*test[:2], batch_size=1024, n_steps=50)
    assert list(solved.bits().atoms.values()) == pytest.approx(expected, abs=0.1)


def test_samples_of_their_own_for_each_seed_and_terms_of_each_sample() -> None:
    x1, x2, y = (
        torch.stack(part) for part in zip(gate_samples("xor", 300, 0), gate_samples("xor", 300, 1), strict=True)
    )
    short = LsmiSettings(discriminators=Schedule(1, 32), densities=Schedule(1, 32))
    model = fit_lsmi(x1, x2, y, 2, seeds=[0, 1], settings=short)
    found = model.estimate(x1, x2, y)
    assert found.s.shape == (2, 300)
    assert found.delta.shape == (2, 1)
    torch.testing.assert_close(sum(found.adjusted().values()), found.i12, atol=1e-5, rtol=0)
    assert model.log_prob(x1, x2).shape == (3, 2, 300, 2)
    one = fit_lsmi(x1[1], x2[1], y[1], 2, seeds=[1], settings=short)
    torch.testing.assert_close(one.estimate(x1[1], x2[1], y[1]).i12[0], found.i12[1], atol=1e-5, rtol=0)


def test_uneven_widths_are_reduced_and_uneven_priors_counted() -> None:
    x1, x2, y = gate_samples("redundant_and_unique1", 400, 0)
    short = LsmiSettings(discriminators=Schedule(1, 32), densities=Schedule(1, 32))
    model = fit_lsmi(x1, x2, y, 2, settings=short)
    assert x1.shape[1] == 4
    assert model.features[0].matrix.shape == (1, 4, 2)
    share = y.bincount() / 400
    torch.testing.assert_close(model.log_prior[0], share.log())
    i12 = model.log_prob(x1, x2)[2, 0].gather(1, y.unsqueeze(1)).squeeze(1) - share.log()[y]
    torch.testing.assert_close(model.estimate(x1, x2, y).i12[0], i12)


@pytest.mark.parametrize("name", ["redundancy", "uniqueness1", "mix6"])
def test_latent_factors(name: str) -> None:
    x1, x2, y = problems.latent_factors(name, 1000, generator("test_estimators", "latent"), n_classes=4)
    assert x1.shape == x2.shape == (1000, 64)
    assert y.bincount().tolist() == [250] * 4
    assert torch.equal(x1[:, 32:], x2[:, 32:])
    right = {"redundancy": (0.4, 0.4), "uniqueness1": (0.4, 0.0), "mix6": (0.2, 0.4)}[name]
    from dmil.interactions.probe import fit_probe

    for x, least in zip((x1, x2), right, strict=True):
        gained = math.log(4) + fit_probe(x, y, 4, l2=[1e-3]).log_prob(x).gather(1, y.unsqueeze(1)).mean().item()
        assert gained > least
        if least == 0.0:
            assert gained < 0.25


def refuse_both(x1: Tensor, x2: Tensor, y: Tensor, seeds: Sequence[int] = (0,)) -> None:
    """Raises what the batch estimator raises, after LSMI has raised the same."""
    with pytest.raises(ValueError, match=r"are needed|one seed or more|must be classes"):
        fit_lsmi(x1, x2, y, 2, seeds=seeds)
    fit_batch(x1, x2, y, 2, seeds=seeds)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: refuse_both(x, x[:5], y), r"\[\[10, 3\], \[5, 3\], \[10\]\]"),
        (lambda x, y: refuse_both(x, x, y, seeds=[]), "one seed or more"),
        (lambda x, y: refuse_both(x, x, y + 2), r"0\.\.1, but got torch.int64 2\.\.3"),
        (lambda x, y: fit_lsmi(x, x, y, 2, settings=LsmiSettings(n_components=4)), "n_components <= 3"),
        (lambda x, y: fit_batch(x, x, y, 2), "10 rows are fewer than one batch of 256"),
        (lambda x, y: problems.Gaussian(rho=1.0), "-1 < rho < 1"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.randn(10, 3, generator=generator("test_estimators", "bad")), torch.arange(10) % 2)
