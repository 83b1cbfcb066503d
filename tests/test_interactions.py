"""The generator with a known truth, against nested loops and closed forms."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor

draw = import_module("benchmarks.datasets._mixture_draw")
exactly = import_module("benchmarks.datasets._mixture_exact")
settings = import_module("benchmarks.datasets._mixture")
Mixture, Modality = settings.Mixture, settings.Modality

SILENT = 2
EQUAL = (1 / 3, 1 / 6, 1 / 6, 1 / 3)
UNEVEN = (0.4, 0.25, 0.05, 0.3)
LOOPED = [
    Mixture(weights=EQUAL, modalities=(Modality(flip=0.1),) * 2, distract=0.3),
    Mixture(weights=UNEVEN, modalities=(Modality(flip=0.2), Modality(flip=0.05)), distract=0.25),
    Mixture(
        weights=(0.3, 0.2, 0.15, 0.1, 0.25),
        modalities=(Modality(flip=0.2), Modality(flip=0.02), Modality(flip=0.1)),
        distract=0.2,
    ),
]


def outcomes(mixture: Any, modality: int, carried: int | None) -> Iterator[tuple[int, float]]:
    """What one slot can show for two classes, and how likely: written from the description, for the loops below."""
    if carried is None:
        yield from [(0, mixture.distract / 2), (1, mixture.distract / 2), (SILENT, 1 - mixture.distract)]
    else:
        flip = mixture.modalities[modality].flip
        yield from [(carried, 1 - flip), (1 - carried, flip)]


def joint_by_loops(mixture: Any) -> dict[tuple[int, ...], dict[tuple[int, str], float]]:
    """P(symbols r1 u1 s1 r2 u2 s2 ..; y, composition) for two classes."""
    joint: dict[tuple[int, ...], dict[tuple[int, str], float]] = defaultdict(lambda: defaultdict(float))
    n = mixture.n_modalities
    for y, (name, weight) in itertools.product((0, 1), zip("r123"[: n + 1] + "s", mixture.weights, strict=True)):
        for summands in itertools.product((0, 1), repeat=n - 1):
            carried: list[int | None] = [None] * 3 * n
            if name == "r":
                carried[0::3] = [y] * n
            elif name == "s":
                carried[2::3] = [*summands, (y - sum(summands)) % 2]
            else:
                carried[3 * int(name) - 2] = y
            for slots in itertools.product(
                *(list(outcomes(mixture, i // 3, value)) for i, value in enumerate(carried))
            ):
                probability = weight / 2**n  # y and all but one summand are uniform
                for _, p in slots:
                    probability *= p
                joint[tuple(symbol for symbol, _ in slots)][y, name] += probability
    return joint


@pytest.fixture(scope="module", params=LOOPED, ids=["equal", "uneven", "three modalities"])
def looped(request: pytest.FixtureRequest) -> tuple[Any, Tensor, Tensor]:
    """A mixture, all its states (n, M, 3) and P(state, y, composition) (n, 2, M + 2) from the loops."""
    mixture = request.param
    joint = joint_by_loops(mixture)
    names = "r123"[: mixture.n_modalities + 1] + "s"
    table = [[[row[y, name] for name in names] for y in (0, 1)] for row in joint.values()]
    return mixture, torch.tensor(list(joint)).unflatten(1, (-1, 3)), torch.tensor(table, dtype=torch.float64)


def test_best_results_agree_with_nested_loops(looped: tuple[Any, Tensor, Tensor]) -> None:
    mixture, _, joint = looped
    exact = exactly.exact(mixture)
    assert float(joint.sum()) == pytest.approx(1)
    assert exact.accuracy == pytest.approx(float(joint.sum(2).amax(1).sum()), abs=1e-12)
    assert exact.attribution == pytest.approx(float(joint.sum(1).amax(1).sum()), abs=1e-12)
    hits = [0.0] * joint.shape[2]
    for row in joint.tolist():
        totals = [sum(row[0]), sum(row[1])]
        best = [y for y in (0, 1) if totals[y] > max(totals) - 1e-15]
        for c in range(len(hits)):
            hits[c] += sum(row[y][c] for y in best) / len(best)
    expected = [hit / weight for hit, weight in zip(hits, mixture.weights, strict=True)]
    assert exact.accuracies == pytest.approx(expected, abs=1e-9)


def test_posteriors_agree_with_nested_loops(looped: tuple[Any, Tensor, Tensor]) -> None:
    mixture, states, joint = looped
    expected = joint / joint.sum((1, 2), keepdim=True)
    torch.testing.assert_close(exactly.posterior(mixture, states), expected, atol=1e-12, rtol=0)
    for m in range(mixture.n_modalities):
        sums: dict[tuple[int, ...], Tensor] = defaultdict(lambda: torch.zeros_like(joint[0]))
        for state, row in zip(states[:, m].tolist(), joint, strict=True):
            sums[tuple(state)] += row
        alone = torch.stack([sums[tuple(state)] for state in states[:, m].tolist()])
        alone /= alone.sum((1, 2), keepdim=True)
        torch.testing.assert_close(exactly.posterior(mixture, states, modalities=(m,)), alone, atol=1e-12, rtol=0)


def test_information_agrees_with_its_definition(looped: tuple[Any, Tensor, Tensor]) -> None:
    """Means of pointwise values, which are logarithms of ratios of probabilities; nats."""
    mixture, states, joint = looped
    exact = exactly.exact(mixture)
    p_xy, p_xc, p_x = joint.sum(2), joint.sum(1), joint.sum((1, 2))
    expected = float((p_xy * (p_xy / p_x[:, None] / 0.5).log()).sum())
    assert exact.label == pytest.approx(expected, abs=1e-12)
    assert exact.composition_entropy == pytest.approx(-float(torch.xlogy(p_xc, p_xc / p_x[:, None]).sum()), abs=1e-12)
    given = joint * 2 / p_xc[:, None]
    assert exact.label_given_composition == pytest.approx(float(torch.xlogy(joint, given).nansum()), abs=1e-12)

    index = torch.cartesian_prod(*(torch.arange(n) for n in joint.shape))
    index = index[joint.flatten() > 0]
    found = exactly.pointwise(mixture, states[index[:, 0]], index[:, 1], index[:, 2])
    p = joint[tuple(index.T)]
    assert float((p * found.joint).sum()) == pytest.approx(exact.label, abs=1e-12)
    assert float((p * found.given_composition).sum()) == pytest.approx(exact.label_given_composition, abs=1e-12)
    for m in range(mixture.n_modalities):
        mean = float((p * found.alone[:, m]).sum())
        assert mean == pytest.approx(exactly.exact(mixture, (m,)).label, abs=1e-12)


def test_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = Mixture(n_classes=3, weights=UNEVEN)
    whole = exactly.exact(mixture)
    monkeypatch.setattr(exactly, "CHUNK", 1)
    in_pieces = exactly._exact.__wrapped__(mixture, (0, 1))
    for field in ("accuracy", "attribution", "accuracies", "label", "composition_entropy"):
        assert getattr(in_pieces, field) == pytest.approx(getattr(whole, field), abs=1e-12)


@pytest.mark.parametrize("n_classes", [2, 4, 7])
def test_pure_mixtures_have_closed_forms(n_classes: int) -> None:
    def bayes(weights: tuple[float, ...], *, flip: float, distract: float) -> float:
        mixture = Mixture(n_classes, weights, (Modality(flip=flip),) * 2, distract=distract)
        return float(exactly.exact(mixture).accuracy)

    # Two equal witnesses that disagree are no better than one.
    assert bayes((1, 0, 0, 0), flip=0.1, distract=0.5) == pytest.approx(0.9)
    assert bayes((0, 1, 0, 0), flip=0.1, distract=0.5) == pytest.approx(0.9)
    assert bayes((0, 0, 1, 0), flip=0.1, distract=0.0) == pytest.approx(0.9)
    # A sum is right if no summand is flipped, or both are and cancel.
    assert bayes((0, 0, 0, 1), flip=0.1, distract=0.0) == pytest.approx(0.81 + 0.01 / (n_classes - 1))
    # Without noise everything is told, whatever the composition; with a useless channel nothing is.
    assert bayes(EQUAL, flip=0.0, distract=0.0) == pytest.approx(1.0)
    guess = (n_classes - 1) / n_classes
    assert bayes((0.5, 0.2, 0.3, 0.0), flip=guess, distract=0.2) == pytest.approx(1 / n_classes)


def test_three_modalities_and_unequal_ones_have_closed_forms() -> None:
    """Of three witnesses the majority is right; of two unequal ones the better; a sum of three bits has parity."""
    three = (Modality(flip=0.1),) * 3
    majority = exactly.exact(Mixture(2, (1, 0, 0, 0, 0), three))
    assert majority.accuracy == pytest.approx(0.9**3 + 3 * 0.9**2 * 0.1)
    parity = exactly.exact(Mixture(2, (0, 0, 0, 0, 1), three, distract=0))
    assert parity.accuracy == pytest.approx((1 + 0.8**3) / 2)
    right = (1 + 0.8**3) / 2
    assert parity.label == pytest.approx(log(2) + right * log(right) + (1 - right) * log(1 - right))
    unequal = Mixture(2, (1, 0, 0, 0), (Modality(flip=0.2), Modality(flip=0.02)))
    assert exactly.exact(unequal).accuracy == pytest.approx(0.98)
    assert exactly.exact(unequal, (0,)).accuracy == pytest.approx(0.8)


def test_silence_tells_the_composition_when_nothing_distracts() -> None:
    """R shown by both, U by one, S by both: with distract=0 the mixture is as good as its parts."""
    flip = 0.05
    expected = (1 / 3 + 1 / 6 + 1 / 6) * (1 - flip) + 1 / 3 * ((1 - flip) ** 2 + flip**2 / 3)
    exact = exactly.exact(Mixture(4, distract=0.0))
    assert exact.accuracy == pytest.approx(expected)
    assert exact.attribution == pytest.approx(1)
    assert exact.composition_entropy == pytest.approx(0, abs=1e-12)


def test_the_default_has_headroom() -> None:
    exact = exactly.exact(Mixture())
    assert 0.90 < exact.accuracy < 0.93
    assert 0.95 < exact.attribution < 1


@pytest.mark.parametrize(("n_classes", "n_modalities"), [(4, 2), (2, 3), (3, 3)])
def test_slot_tables_are_distributions_and_synergy_is_hidden_from_any_all_but_one(
    n_classes: int, n_modalities: int
) -> None:
    n = n_modalities
    tables = draw.slot_tables(Mixture(n_classes, (1 / (n + 2),) * (n + 2), (Modality(),) * n))
    total = tables.flatten(3).sum(3)
    torch.testing.assert_close(total, torch.ones(3, n + 2, n_classes, dtype=torch.float64))
    synergy = tables[2, -1]
    for modality in range(n):
        rest = synergy.sum(modality + 1)
        torch.testing.assert_close(rest, rest[:1].expand_as(rest))
    assert (synergy[0] - synergy[1]).abs().max() > 0.7 / n_classes ** (n - 1)


@pytest.mark.parametrize("n_modalities", [2, 3])
def test_without_noise_the_slots_say_what_the_composition_promises(n_modalities: int) -> None:
    weights = (1 / (n_modalities + 2),) * (n_modalities + 2)
    mixture = Mixture(5, weights, (Modality(flip=0.0),) * n_modalities, distract=0.0)
    symbols, label, composition = draw.sample(mixture, 2000, torch.Generator().manual_seed(0))
    for index, name in enumerate(mixture.truth_names):
        rows = composition == index
        shown = torch.zeros(n_modalities, 3, dtype=torch.bool)
        if name in "rs":
            shown[:, "rs".index(name) * 2] = True
        else:
            shown[int(name[1]) - 1, 1] = True
        assert ((symbols[rows] == 5) == ~shown).all()
        if name == "s":
            sums = symbols[rows][:, :, 2]
            assert (sums.sum(1) % 5 == label[rows]).all()
            assert set(sums[:, 0].tolist()) == set(range(5))
        else:
            assert (symbols[rows][:, shown] == label[rows, None]).all()


def test_samples_have_the_composition_weights() -> None:
    _, _, composition = draw.sample(Mixture(weights=UNEVEN), 200_000, torch.Generator().manual_seed(0))
    share = composition.bincount(minlength=4) / 200_000
    torch.testing.assert_close(share, torch.tensor(UNEVEN), atol=0.005, rtol=0)


def test_features_are_rotated_symbols_and_the_rest_is_noise() -> None:
    mixture = Mixture(n_classes=4, modalities=(Modality(n_nuisance=17),) * 2)
    symbols, _, _ = draw.sample(mixture, 20_000, torch.Generator().manual_seed(1))
    inputs = draw.observe(mixture, symbols, torch.Generator().manual_seed(2))
    for m in range(2):
        q = draw.rotation(mixture, m)
        torch.testing.assert_close(q @ q.T, torch.eye(32, dtype=torch.float64))
        assert inputs[f"x{m + 1}"].dtype == torch.float32
        shown, nuisance = (inputs[f"x{m + 1}"].double() @ q).split([15, 17], dim=1)
        assert torch.equal(shown.reshape(-1, 3, 5).argmax(-1), symbols[:, m])
        one_hot = torch.nn.functional.one_hot(symbols[:, m], 5).flatten(1)
        assert float((shown - one_hot).std()) == pytest.approx(0.1, rel=0.02)
        correlation = torch.corrcoef(torch.cat([nuisance, one_hot], dim=1).T)
        assert (correlation[:17] - torch.eye(17, 32)).abs().max() < 0.04
    assert not torch.allclose(draw.rotation(mixture, 0), draw.rotation(mixture, 1))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_classes": 1}, "n_classes=1"),
        ({"weights": (0.5, 0.5, 0.5, 0.0)}, "sum to 1"),
        ({"weights": (1.5, 0.0, 0.0, -0.5)}, "sum to 1"),
        ({"weights": (0.5, 0.5)}, "one weight for each of r, u1, u2, s"),
        ({"weights": (float("nan"), 0.0, 0.0, 1.0)}, "sum to 1"),
        ({"distract": -0.1}, r"-0\.1"),
        ({"noise": 0.3}, r"\[0, 0\.2\]"),
        ({"n_train": 0}, "n_train=0"),
        ({"modalities": (Modality(),)}, "two or three modalities"),
        ({"n_classes": 16}, "24137569 symbol states"),
    ],
)
def test_settings_out_of_range_are_refused(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(**kwargs)


@pytest.mark.parametrize("kwargs", [{"flip": 1.2}, {"n_nuisance": -1}, {"nuisance_scale": float("nan")}])
def test_a_modality_out_of_range_is_refused(kwargs: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Modality(**kwargs)


def test_unknown_modalities_are_refused() -> None:
    for wrong in ((), (2,), (-1, 0)):
        with pytest.raises(ValueError, match="modalities must be some of 0, 1"):
            exactly.exact(Mixture(), wrong)
