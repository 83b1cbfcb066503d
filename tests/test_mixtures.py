"""Mixtures by name: the grammar, and what is exactly true of each, against samples and theorems."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import registry
from benchmarks.errors import UserError

names = import_module("benchmarks.datasets._mixture_names")
draw = import_module("benchmarks.datasets._mixture_draw")
exactly = import_module("benchmarks.datasets._mixture_exact")
interactions = import_module("benchmarks.datasets.interactions")
settings = import_module("benchmarks.datasets._mixture")

N_SAMPLES = 200_000
FAST = (*names.NAMES, "interactions-mixed-3m", "interactions-mixed-unequal")
SLOW = tuple(
    f"interactions-{rest}"
    for rest in (
        *("mixed-c4", "mixed-3m-c4", "u50r50-unequal", "mixed-3m-unequal", "u40r30s30-c3-unequal"),
        *("mixed-silent", "mixed-distract30", "mixed-flip10"),
    )
)


def mixture(name: str) -> Any:
    return names.build(names.parse(name))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("interactions", "mixed"),
        ("interactions-mixed", "mixed"),
        ("interactions-3m", "mixed-3m"),
        ("interactions-r100", "r"),
        ("interactions-s0u100", "u"),
        ("interactions-r50u50", "u50r50"),
        ("interactions-s50r50", "r50s50"),
        ("interactions-r30u40s30", "u40r30s30"),
        ("interactions-u25r75-2m-c2-n4000-distract10-flip5-noise10", "u25r75"),
        ("interactions-s-distract0", "s-silent"),
        ("interactions-noise20-flip10-distract30-n50000-c4-3m-r", "r-3m-c4-n50000-distract30-flip10-noise20"),
        ("interactions-silent-unequal-r50s50", "r50s50-unequal-silent"),
    ],
)
def test_every_mixture_has_one_name(name: str, expected: str) -> None:
    found = registry.canonical(name)
    assert found == f"interactions-{expected}"
    assert registry.canonical(found) == found
    assert names.parse(found) == names.parse(name)
    assert interactions.variant(name) == interactions.variant(found)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("interactions-mixd", "cannot read 'mixd', did you mean 'mixed'"),
        ("interactions-r-unequl", "did you mean 'unequal'"),
        ("interactions-", "cannot read ''"),
        ("interactions-R", "cannot read 'R'"),
        ("interactions-r-c04", "cannot read 'c04'"),
        ("interactions-r50", "sum to 50, but must sum to 100"),
        ("interactions-r60u60", "sum to 120"),
        ("interactions-r50r50", "names a kind twice"),
        ("interactions-r-u", "'r' and 'u' say the same thing twice"),
        ("interactions-silent-distract30", "'silent' and 'distract30' say"),
        ("interactions-unequal-flip10", "leave out 'flip10'"),
        ("interactions-4m", "'4m' is out of range: 2 to 3m"),
        ("interactions-c1", "c2 to 15"),
        ("interactions-n10", "n100 to 200000"),
        ("interactions-noise30", "noise0 to 20"),
        ("interactions-flip51", "flip0 to 50"),
        ("interactions-c6-3m", "40353607 symbol states, but at most 20000000"),
    ],
)
def test_a_malformed_name_is_one_line(name: str, message: str) -> None:
    for ask in (registry.canonical, registry.load_dataset, registry.prepare, registry.status):
        with pytest.raises(UserError, match=message) as error:
            ask(name)
        assert str(error.value).startswith(f"unknown dataset {name!r}: ")
        assert "\n" not in str(error.value)
    if "cannot read" in message:
        assert names.GRAMMAR in str(error.value)


def test_names_mean_what_they_say() -> None:
    assert mixture("interactions") == settings.Mixture()
    assert mixture("interactions-u50r50").weights == (0.5, 0.25, 0.25, 0)
    assert mixture("interactions-r30u40s30-3m").weights == pytest.approx((0.3, *[0.4 / 3] * 3, 0.3))
    assert mixture("interactions-3m").truth_names == ("r", "u1", "u2", "u3", "s")
    assert mixture("interactions-r-flip10-silent-noise20-n500-c3") == settings.Mixture(
        3, (1, 0, 0, 0), (settings.Modality(flip=0.1),) * 2, distract=0, noise=0.2, n_train=500
    )
    easy, hard = mixture("interactions-unequal").modalities
    assert easy.flip > settings.Modality().flip > hard.flip
    assert hard.veiled
    assert not easy.veiled


def test_names_are_read_without_torch(root: Path) -> None:
    code = "import sys, benchmarks.registry as r; r.canonical('interactions-r'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_exact_values_agree_with_200000_samples(name: str) -> None:
    """Bar 3: accuracy and attribution within 0.3 points; information within four standard errors."""
    mixed = mixture(name)
    exact = exactly.exact(mixed)
    symbols, label, composition = draw.sample(mixed, N_SAMPLES, torch.Generator().manual_seed(0))
    posterior = exactly.posterior(mixed, symbols)
    right = posterior.sum(2).argmax(1) == label
    assert float(right.double().mean()) == pytest.approx(exact.accuracy, abs=0.003)
    told = posterior.sum(1).argmax(1) == composition
    assert float(told.double().mean()) == pytest.approx(exact.attribution, abs=0.003)
    # The posterior is calibrated: its mean confidence is its accuracy, for the label and for the composition.
    assert float(posterior.sum(2).amax(1).mean()) == pytest.approx(exact.accuracy, abs=0.003)
    assert float(posterior.sum(1).amax(1).mean()) == pytest.approx(exact.attribution, abs=0.003)

    found = exactly.pointwise(mixed, symbols, label, composition)
    alone = [exactly.exact(mixed, (m,)).label for m in range(mixed.n_modalities)]
    values = torch.cat([found.joint[:, None], found.given_composition[:, None], found.alone], dim=1)
    expected = torch.tensor([exact.label, exact.label_given_composition, *alone], dtype=torch.float64)
    assert ((values.mean(0) - expected).abs() <= 4 * values.std(0) / N_SAMPLES**0.5 + 1e-9).all()
    own = posterior[torch.arange(N_SAMPLES), :, composition].sum(1)
    assert float(-own.log().mean()) == pytest.approx(exact.composition_entropy, abs=0.003)


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_the_terms_of_the_theorem(name: str) -> None:
    """I(X;Y) >= E_c[I(X;Y|c)] - H(C|X) + I(Y;C), label and composition independent."""
    mixed = mixture(name)
    exact = exactly.exact(mixed)
    assert exact.prior == pytest.approx(0, abs=1e-12)
    assert exact.label_given_composition - exact.composition_entropy + exact.prior <= exact.label + 1e-9
    assert 0 <= exact.label <= log(mixed.n_classes)
    weighted = [w * a for w, a in zip(mixed.weights, exact.accuracies, strict=True) if w]
    assert sum(weighted) == pytest.approx(exact.accuracy, abs=1e-12)
    for m in range(mixed.n_modalities):
        assert exactly.exact(mixed, (m,)).label <= exact.label + 1e-12
        assert exactly.exact(mixed, (m,)).accuracy <= exact.accuracy + 1e-12


@pytest.mark.parametrize(
    "name", ["interactions-s", "interactions-s-3m", "interactions-s-c4", "interactions-s-3m-unequal"]
)
def test_synergy_is_hidden_from_every_proper_subset(name: str) -> None:
    mixed = mixture(name)
    subsets = [(0,), (1,)] if mixed.n_modalities == 2 else [(0,), (2,), (0, 1), (0, 2), (1, 2)]
    for subset in subsets:
        exact = exactly.exact(mixed, subset)
        assert exact.accuracy == pytest.approx(1 / mixed.n_classes, abs=1e-12)
        assert exact.label == pytest.approx(0, abs=1e-12)
    assert exactly.exact(mixed).label > 0.1


@pytest.mark.parametrize("name", ["interactions-mixed", "interactions-3m-c4-silent", "interactions-unequal-noise20"])
def test_symbols_can_be_read_from_features(name: str) -> None:
    mixed = mixture(name)
    symbols, _, _ = draw.sample(mixed, 20_000, torch.Generator().manual_seed(1))
    found = draw.read(mixed, draw.observe(mixed, symbols, torch.Generator().manual_seed(2)))
    wrong = float((found != symbols).flatten(1).any(1).double().mean())
    assert wrong <= draw.misreading(mixed)
    assert mixed.noise > 0.1 or torch.equal(found, symbols)


def test_the_bound_on_misreading_by_hand() -> None:
    """At noise 0.2 a coordinate is exceeded with Phi(-3.5355) = 2.035e-4: six slots of two others."""
    assert draw.misreading(settings.Mixture(noise=0.2)) == pytest.approx(6 * 2 * 2.035e-4, rel=1e-3)
    assert draw.misreading(settings.Mixture()) < 1e-10
    assert draw.misreading(settings.Mixture(noise=0)) == 0


def test_a_veiled_modality_shows_nothing_to_a_linear_map() -> None:
    """Its features have mean zero and no covariance with the label, whatever the class; the other one's do not."""
    mixed = replace(mixture("interactions-u-unequal"), noise=0.0)
    symbols, label, _ = draw.sample(mixed, 100_000, torch.Generator().manual_seed(3))
    inputs = draw.observe(mixed, symbols, torch.Generator().manual_seed(4))
    means = {name: torch.stack([x[label == y].mean(0) for y in (0, 1)]) for name, x in inputs.items()}
    assert means["x2"].abs().max() < 0.02
    assert (means["x1"][0] - means["x1"][1]).abs().max() > 0.05
    shown = (inputs["x2"].double() @ draw.rotation(mixed, 1))[:, :9]
    first = shown[symbols[:, 1, 0] == 0, 0]
    torch.testing.assert_close(first.abs(), torch.ones_like(first), atol=1e-5, rtol=0)
    assert float((first < 0).double().mean()) == pytest.approx(0.5, abs=0.03)


def test_size_and_scale_of_the_nuisance() -> None:
    quiet, loud = settings.Modality(n_nuisance=0), settings.Modality(n_nuisance=5, nuisance_scale=3.0)
    mixed = settings.Mixture(modalities=(quiet, loud))
    assert mixed.widths == (9, 14)
    symbols, _, _ = draw.sample(mixed, 50_000, torch.Generator().manual_seed(5))
    inputs = draw.observe(mixed, symbols, torch.Generator().manual_seed(6))
    assert (inputs["x2"].double() @ draw.rotation(mixed, 1))[:, 9:].std(0).tolist() == pytest.approx(
        [3.0] * 5, rel=0.02
    )


def test_the_default_dataset_is_that_of_the_bare_name() -> None:
    assert registry.DEFAULT_DATASET == registry.canonical("interactions") == names.NAMES[0]
    splits = registry.load_dataset("interactions")
    assert splits.card.name == "interactions-mixed"
    assert {name: len(split) for name, split in splits.parts().items()} == {"train": 4000, "valid": 1000, "test": 4000}
    assert splits.test.inputs["x1"][0, :3].tolist() == pytest.approx([0.22110, -0.42958, -0.92874], abs=1e-4)
    assert splits.test.target[:10].tolist() == [0, 1, 0, 1, 1, 0, 1, 0, 0, 0]
    assert not torch.equal(splits.valid.inputs["x1"], splits.test.inputs["x1"][:1000])


def test_training_size_leaves_validation_and_test_as_they_are() -> None:
    few, many = (interactions.variant(f"interactions-s-{n}").prepare(Path()) for n in ("n100", "n5000"))
    assert (len(few.train), len(many.train)) == (100, 5000)
    for part in ("valid", "test"):
        a, b = few.parts()[part], many.parts()[part]
        assert all(torch.equal(a.inputs[m], b.inputs[m]) for m in a.inputs)
        assert torch.equal(a.target, b.target)


def test_variants_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path))
    first, second = registry.load_dataset("interactions-r-n200"), registry.load_dataset("interactions-u-n200")
    assert first.checksum() != second.checksum()
    assert registry.load_dataset("interactions-n200-r100").checksum() == first.checksum()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["interactions-r-n200", "interactions-u-n200"]
    assert registry.status("interactions-r100-n200").is_prepared
    assert registry.status("interactions-r100-n200").name == "interactions-r-n200"


def test_cards_say_what_is_in_the_mixture() -> None:
    card = interactions.variant("interactions-r30u40s30-3m-c3-n500-unequal-noise20").CARD
    assert card.title == (
        "Known interactions: 40 % unique, 30 % redundant, 30 % synergistic samples; three modalities; 3 classes; "
        "500 training samples; x1 easy but less reliable, x2 hard but more reliable; noise 0.2"
    )
    assert card.truth_names == ("r", "u1", "u2", "u3", "s")
    exact = exactly.exact(mixture(card.name))
    assert (card.bayes_accuracy, card.bayes_attribution) == (exact.accuracy, exact.attribution)
    traps = " ".join(card.traps)
    assert all(words in traps for words in ("x1 20%, x2 2%, x3 5%", "x2 cannot be read by a linear map", "noise hides"))
    pure = interactions.variant("interactions-r").CARD
    assert pure.bayes_attribution == 1
    assert "one composition only" in pure.traps[-1]
    assert "synergistic" not in " ".join(pure.traps)
