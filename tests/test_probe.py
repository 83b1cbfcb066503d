"""The linear probe: closed forms, the optimality condition, scikit-learn, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dmil.interactions.probe import fit_probe
from dmil.seeds import generator


def problem(n: int = 400, d: int = 6, n_classes: int = 3) -> tuple[Tensor, Tensor]:
    """Features of unlike scale and offset, and labels drawn from a softmax of a linear map of them."""
    rng = generator("test_probe", n, d, n_classes)
    x = torch.randn(n, d, generator=rng, dtype=torch.float64)
    logits = x @ torch.randn(d, n_classes, generator=rng, dtype=torch.float64)
    y = torch.multinomial(logits.softmax(1), 1, generator=rng).squeeze(1)
    return x * torch.logspace(-2, 3, d) + 7, y


def objective(x: Tensor, y: Tensor, coefficients: Tensor, n_classes: int, l2: float) -> Tensor:
    """The penalised cross-entropy, written out from its docstring."""
    features = torch.cat([(x - x.mean(0)) / x.std(0, correction=0), torch.ones(len(x), 1)], 1)
    origin = torch.zeros_like(coefficients)
    origin[-1] = ((torch.bincount(y, minlength=n_classes) + 1) / (len(y) + n_classes)).log()
    return F.cross_entropy(features @ coefficients, y) + l2 / 2 * (coefficients - origin).square().sum()


@pytest.mark.parametrize("l2", [1e-3, 1.0])
def test_the_gradient_of_the_objective_is_zero(l2: float) -> None:
    x, y = problem()
    coefficients = fit_probe(x, y, 3, l2=[l2]).coefficients.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(x, y, coefficients, 3, l2), coefficients)
    assert float(gradient.abs().max()) < 1e-6


def test_as_scikit_learn_with_a_small_penalty() -> None:
    """scikit-learn leaves the intercept free; at 1e-6 that makes no difference."""
    from sklearn.linear_model import LogisticRegression

    x, y = problem()
    scaled = ((x - x.mean(0)) / x.std(0, correction=0)).numpy()
    theirs = LogisticRegression(C=1 / (len(y) * 1e-6), tol=1e-10, max_iter=5000).fit(scaled, y.numpy())
    ours = fit_probe(x, y, 3, l2=[1e-6]).log_prob(x)
    torch.testing.assert_close(ours.exp(), torch.from_numpy(theirs.predict_proba(scaled)), atol=1e-3, rtol=0)


def test_features_that_say_nothing_give_the_class_frequencies() -> None:
    y = torch.tensor([0] * 30 + [1] * 10)
    log_prob = fit_probe(torch.full((40, 2), 5.0), y, 2).log_prob(torch.tensor([[5.0, 5.0], [9.0, -3.0]]))
    torch.testing.assert_close(log_prob.exp(), torch.tensor([[0.75, 0.25]] * 2, dtype=torch.float64), atol=1e-3, rtol=0)


def test_a_class_absent_from_training_keeps_a_finite_log_probability() -> None:
    x, y = problem(n_classes=2)
    log_prob = fit_probe(x, y, 3, l2=[1e-4]).log_prob(x)
    assert -16 < float(log_prob[:, 2].min()) < float(log_prob[:, 2].max()) < math.log(0.05)


def test_scale_offset_and_type_of_the_features_do_not_matter() -> None:
    x, y = problem()
    expected = fit_probe(x, y, 3).log_prob(x)
    moved = 100 - 0.01 * x.flip(1)
    torch.testing.assert_close(fit_probe(moved, y, 3).log_prob(moved), expected, atol=1e-5, rtol=0)
    assert fit_probe(x.float(), y, 3).log_prob(x.float()).dtype == torch.float64


def test_validation_data_choose_the_penalty() -> None:
    x, y = problem(60, 30, 2)
    valid_x, valid_y = problem(500, 30, 2)
    probe = fit_probe(x, y, 2, valid=(valid_x, valid_y))
    losses = {
        l2: F.nll_loss(fit_probe(x, y, 2, l2=[l2]).log_prob(valid_x), valid_y).item() for l2 in (1e-4, 1e-3, 1e-2, 1e-1)
    }
    assert probe.l2 == min(losses, key=lambda l2: losses[l2])
    assert F.nll_loss(probe.log_prob(valid_x), valid_y).item() == pytest.approx(losses[probe.l2], abs=1e-5)


def test_without_validation_data_noise_is_penalised_most_and_a_clear_signal_least() -> None:
    y = torch.arange(300) % 3
    rng = generator("test_probe", "noise")
    assert fit_probe(torch.randn(300, 40, generator=rng), y, 3).l2 == 0.1
    assert fit_probe(F.one_hot(y).double(), y, 3).l2 == 1e-4
    assert fit_probe(torch.zeros(3, 1), y[:3], 3).l2 == 0.1  # too few rows for a choice


def test_it_is_deterministic_and_works_where_gradients_are_off() -> None:
    x, y = problem()
    with torch.no_grad():
        first = fit_probe(x, y, 3)
    assert torch.equal(first.coefficients, fit_probe(x, y, 3).coefficients)
    assert not first.coefficients.requires_grad


@pytest.mark.parametrize(
    ("x", "y", "settings", "message"),
    [
        (torch.zeros(4), torch.zeros(4).long(), {}, r"\(N, D\)"),
        (torch.zeros(4, 2), torch.zeros(3).long(), {}, r"\[4, 2\] and \[3\]"),
        (torch.zeros(0, 2), torch.zeros(0).long(), {}, "N >= 1"),
        (torch.zeros(4, 2), torch.full((4,), 2), {}, r"0\.\.1, but got torch.int64 2\.\.2"),
        (torch.full((4, 2), math.nan), torch.zeros(4).long(), {}, "finite"),
        (torch.zeros(4, 2), torch.zeros(4).long(), {"l2": [0.0]}, "positive"),
        (torch.zeros(4, 2), torch.zeros(4).long(), {"l2": []}, "positive"),
        (
            torch.zeros(4, 2),
            torch.zeros(4).long(),
            {"valid": (torch.zeros(4, 3), torch.zeros(4).long())},
            "width 2, validation 3",
        ),
    ],
)
def test_what_does_not_fit_is_refused(x: Tensor, y: Tensor, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_probe(x, y, 2, **settings)  # type: ignore[arg-type]
