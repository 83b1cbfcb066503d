"""The generator with a known truth, against nested loops, closed forms and samples."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

interactions = import_module("benchmarks.datasets.interactions")
Mixture = interactions.Mixture

SILENT = 2
UNEVEN = (0.4, 0.25, 0.05, 0.3)
FOUR_CLASSES = Mixture(n_classes=4, n_nuisance=17)


def outcomes(mixture: Any, carried: int | None) -> Iterator[tuple[int, float]]:
    """What one slot can show for two classes, and how likely: written from the description, for the loops below."""
    if carried is None:
        yield from [(0, mixture.distract / 2), (1, mixture.distract / 2), (SILENT, 1 - mixture.distract)]
    else:
        yield from [(carried, 1 - mixture.flip), (1 - carried, mixture.flip)]


def joint_by_loops(mixture: Any) -> dict[tuple[int, ...], dict[tuple[int, str], float]]:
    """P(symbols r1 u1 s1 r2 u2 s2; y, composition) for two classes."""
    joint: dict[tuple[int, ...], dict[tuple[int, str], float]] = defaultdict(lambda: defaultdict(float))
    for y, (name, weight), a1 in itertools.product((0, 1), zip("r12s", mixture.weights, strict=True), (0, 1)):
        carried: list[int | None] = [None] * 6
        if name == "r":
            carried[0] = carried[3] = y
        elif name in "12":
            carried[1 if name == "1" else 4] = y
        else:
            carried[2], carried[5] = a1, y ^ a1
        for slots in itertools.product(*(list(outcomes(mixture, value)) for value in carried)):
            probability = weight / 4  # y and a1 are uniform
            for _, p in slots:
                probability *= p
            joint[tuple(symbol for symbol, _ in slots)][y, name] += probability
    return joint


@pytest.mark.parametrize("weights", [(1 / 3, 1 / 6, 1 / 6, 1 / 3), UNEVEN])
def test_two_classes_agree_with_nested_loops(weights: tuple[float, ...]) -> None:
    mixture = Mixture(n_classes=2, weights=weights, flip=0.1, distract=0.3)
    joint = joint_by_loops(mixture)
    best = sum(max(sum(p for (label, _), p in row.items() if label == y) for y in (0, 1)) for row in joint.values())
    assert sum(p for row in joint.values() for p in row.values()) == pytest.approx(1)
    assert interactions.bayes_accuracy(mixture) == pytest.approx(best, abs=1e-12)

    states = list(joint)
    expected = torch.tensor(
        [[[joint[s][y, name] for name in "r12s"] for y in (0, 1)] for s in states], dtype=torch.float64
    )
    expected /= expected.sum((1, 2), keepdim=True)
    found = interactions.posterior(mixture, torch.tensor(states).reshape(-1, 2, 3))
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("n_classes", [2, 4, 7])
def test_pure_mixtures_have_closed_forms(n_classes: int) -> None:
    def bayes(weights: tuple[float, ...], *, flip: float, distract: float) -> float:
        return float(interactions.bayes_accuracy(Mixture(n_classes, weights, flip=flip, distract=distract)))

    # Two equal witnesses that disagree are no better than one.
    assert bayes((1, 0, 0, 0), flip=0.1, distract=0.5) == pytest.approx(0.9)
    assert bayes((0, 1, 0, 0), flip=0.1, distract=0.5) == pytest.approx(0.9)
    assert bayes((0, 0, 1, 0), flip=0.1, distract=0.0) == pytest.approx(0.9)
    # A sum is right if no summand is flipped, or both are and cancel.
    assert bayes((0, 0, 0, 1), flip=0.1, distract=0.0) == pytest.approx(0.81 + 0.01 / (n_classes - 1))
    # Without noise everything is told, whatever the composition; with a useless channel nothing is.
    assert bayes((1 / 3, 1 / 6, 1 / 6, 1 / 3), flip=0.0, distract=0.0) == pytest.approx(1.0)
    guess = (n_classes - 1) / n_classes
    assert bayes((0.5, 0.2, 0.3, 0.0), flip=guess, distract=0.2) == pytest.approx(1 / n_classes)


def test_silence_tells_the_composition_when_nothing_distracts() -> None:
    """R shown by both, U by one, S by both: with distract=0 the mixture is as good as its parts."""
    flip = 0.05
    expected = (1 / 3 + 1 / 6 + 1 / 6) * (1 - flip) + 1 / 3 * ((1 - flip) ** 2 + flip**2 / 3)
    assert interactions.bayes_accuracy(Mixture(4, flip=flip, distract=0.0)) == pytest.approx(expected)


def test_the_default_has_headroom_and_agrees_with_200000_samples() -> None:
    mixture = Mixture()
    bayes = interactions.bayes_accuracy(mixture)
    assert 0.90 < bayes < 0.93
    symbols, label, composition = interactions.sample(mixture, 200_000, torch.Generator().manual_seed(0))
    posterior = interactions.posterior(mixture, symbols)
    torch.testing.assert_close(posterior.sum((1, 2)), torch.ones(200_000, dtype=torch.float64))
    assert float((posterior.sum(2).argmax(1) == label).double().mean()) == pytest.approx(bayes, abs=0.003)
    # The posterior is calibrated: its mean confidence is its accuracy, for the label and for the composition.
    assert float(posterior.sum(2).amax(1).mean()) == pytest.approx(bayes, abs=0.003)
    hit = (posterior.sum(1).argmax(1) == composition).double().mean()
    assert float(posterior.sum(1).amax(1).mean()) == pytest.approx(float(hit), abs=0.003)
    share = composition.bincount(minlength=4) / 200_000
    torch.testing.assert_close(share, torch.tensor([1 / 3, 1 / 6, 1 / 6, 1 / 3]), atol=0.005, rtol=0)


def test_slot_tables_are_distributions_and_synergy_is_hidden_from_each_modality() -> None:
    tables = interactions.slot_tables(FOUR_CLASSES)
    torch.testing.assert_close(tables.sum((-2, -1)), torch.ones(3, 4, 4, dtype=torch.float64))
    synergy = tables[2, 3]
    for modality in (-1, -2):
        alone = synergy.sum(modality)
        torch.testing.assert_close(alone, alone[:1].expand_as(alone))
    assert (synergy[0] - synergy[1]).abs().max() > 0.2


def test_without_noise_the_slots_say_what_the_composition_promises() -> None:
    mixture = Mixture(n_classes=5, flip=0.0, distract=0.0)
    symbols, label, composition = interactions.sample(mixture, 2000, torch.Generator().manual_seed(0))
    (r1, u1, s1), (r2, u2, s2) = symbols.movedim(0, -1)
    silent = torch.full_like(label, 5)
    shown = {"r": [r1, r2], "u1": [u1], "u2": [u2], "s": [s1, s2]}
    for index, name in enumerate(interactions.TRUTH_NAMES):
        rows = composition == index
        for slot in (r1, u1, s1, r2, u2, s2):
            carries = any(slot is other for other in shown[name])
            assert ((slot == silent)[rows] != carries).all()
        if name != "s":
            assert all((slot == label)[rows].all() for slot in shown[name])
    rows = composition == 3
    assert ((s1 + s2) % 5 == label)[rows].all()
    assert set(s1[rows].tolist()) == set(range(5))


def test_symbols_can_be_read_from_the_observation_and_the_rest_is_noise() -> None:
    mixture = FOUR_CLASSES
    symbols, _, _ = interactions.sample(mixture, 20_000, torch.Generator().manual_seed(1))
    inputs = interactions.observe(mixture, symbols, torch.Generator().manual_seed(2))
    for m in range(2):
        q = interactions.rotation(mixture, m)
        torch.testing.assert_close(q @ q.T, torch.eye(mixture.width, dtype=torch.float64))
        assert inputs[f"x{m + 1}"].dtype == torch.float32
        turned_back: Tensor = inputs[f"x{m + 1}"].double() @ q
        shown, nuisance = turned_back.split([15, 17], dim=1)
        assert torch.equal(shown.reshape(-1, 3, 5).argmax(-1), symbols[:, m])
        one_hot = torch.nn.functional.one_hot(symbols[:, m], 5).flatten(1)
        assert float((shown - one_hot).std()) == pytest.approx(0.1, rel=0.02)
        correlation = torch.corrcoef(torch.cat([nuisance, one_hot], dim=1).T)
        assert (correlation[:17] - torch.eye(17, 32)).abs().max() < 0.04
    assert not torch.allclose(interactions.rotation(mixture, 0), interactions.rotation(mixture, 1))


def test_the_dataset_is_what_the_card_says() -> None:
    splits = interactions.prepare(None)
    assert {name: len(split) for name, split in splits.parts().items()} == {"train": 4000, "valid": 1000, "test": 4000}
    assert splits.card.bayes_accuracy == interactions.bayes_accuracy(Mixture())
    assert splits.card.truth_names == ("r", "u1", "u2", "s")
    assert not torch.equal(splits.train.inputs["x1"], splits.test.inputs["x1"])
    share = splits.train.truth.bincount(minlength=4) / 4000
    torch.testing.assert_close(share, torch.tensor([1 / 3, 1 / 6, 1 / 6, 1 / 3]), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_classes": 1}, "n_classes=1"),
        ({"weights": (0.5, 0.5, 0.5, 0.0)}, "sum to 1"),
        ({"weights": (1.5, 0.0, 0.0, -0.5)}, "sum to 1"),
        ({"flip": 1.2}, r"1\.2"),
        ({"distract": -0.1}, r"-0\.1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(**settings)
